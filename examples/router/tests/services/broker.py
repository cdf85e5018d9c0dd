"""A NATS server of a test's own, on a port that the system chose."""

import json
import shutil
from pathlib import Path

import pytest

# Debian installs it where only root's PATH looks; `./build` unpacks it where the machine has none.
UNPACKED = Path(__file__).parents[2] / "target/nats/usr/sbin"
MORE_PLACES = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", UNPACKED]


def program():
    """Path of nats-server; without one the test cannot run and says what to do."""
    found = shutil.which("nats-server") or next(
        (str(path) for path in (Path(place) / "nats-server" for place in MORE_PLACES) if path.exists()), None
    )
    if found is None:
        pytest.fail("nats-server is not installed; hint: apt-get install nats-server", pytrace=False)
    return found


def start(services, directory, scratch):
    """Starts a server and returns its address."""
    ports = scratch / "ports"
    ports.mkdir()
    process = services.start(
        "nats-server",
        [program(), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", ports, "-js", "-sd", scratch / "jetstream"],
        directory / "nats-server.log.txt",
    )

    def address():
        for path in ports.glob("*.ports"):
            try:
                return json.loads(path.read_text())["nats"][0]
            except (ValueError, KeyError):
                return None  # Still being written.
        return None

    return process.wait_until(address)
