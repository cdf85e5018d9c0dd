"""Six races, each of which hardly ever shows undisturbed. README.md says what each of them is."""

import os
import socket
import subprocess
import time

ROUNDS = int(os.environ.get("RACES_ROUNDS", "100"))


def test_lost_wakeup(library):
    assert library("lost_wakeup").lost_wakeups(2 * ROUNDS) == 0, "the waiter slept on: its wake-up was lost"


def test_order(library):
    rounds = ROUNDS // 2
    received = library("order").events_received(rounds)
    assert received == rounds, f"{rounds - received} of {rounds} events were sent before anybody had subscribed"


def test_check_then_act(library, tmp_path):
    most = library("check_then_act").most_writes(str(tmp_path).encode(), ROUNDS)
    assert most == min(ROUNDS, 1), f"an index was written {most} times"


def test_publish_before_init(library):
    empty = library("publish").empty_tables(ROUNDS)
    assert empty == 0, f"{empty} of {ROUNDS} readers saw an empty table"


def test_service_is_ready_after_300_ms(built, tmp_path):
    for number in range(ROUNDS // 10):
        path = f"/tmp/races-{os.getpid()}-{number}"
        service = subprocess.Popen([str(built("service")), path])
        try:
            time.sleep(0.3)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                assert client.recv(5) == b"ready"
        finally:
            service.kill()
            service.wait()
            if os.path.exists(path):
                os.unlink(path)


def test_double_init(library):
    # A runtime that is made twice takes the process with it.
    assert library("once").use_runtime(ROUNDS) == 0
