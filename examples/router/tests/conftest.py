"""Each test gets a directory of its own below $DYN_TEST_OUTPUT_PATH, named after it, for its log and its services'."""

import logging
import os
from pathlib import Path

import pytest
from kv_router import DistributedRuntime
from router.variants import VARIANT
from services.hub import Hub

FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def pytest_report_header():
    return f"router variant: {VARIANT}"


@pytest.fixture
def directory(request, tmp_path):
    root = os.environ.get("DYN_TEST_OUTPUT_PATH")
    directory = Path(root) / request.node.name if root else tmp_path / "output"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(autouse=True)
def test_log(directory):
    """Everything logged below `router` goes into the test's own log at once."""
    logger = logging.getLogger("router")
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(directory / "test.log.txt", mode="w")
    handler.setFormatter(FORMAT)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    handler.close()


@pytest.fixture(autouse=True)
def reset_runtime():
    """In the variant `reset` no test sees what another left in the process."""
    if VARIANT.resets:
        DistributedRuntime.reset()
    yield


@pytest.fixture(scope="session")
def hub():
    with Hub() as hub:
        yield hub
