"""Processes with a log file each, ended together when the block that needs them ends."""

import ctypes
import logging
import os
import signal
import subprocess
import time

logger = logging.getLogger("router.services")

PR_SET_PDEATHSIG = 1


def _end_with_parent():
    """A session that is killed takes its processes along; nobody else would end them."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ManagedProcess:
    """One process; `wait` has a bound only if it is given one."""

    def __init__(self, name, command, log_path, env=None):
        self.name = name
        self.command = [str(word) for word in command]
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                preexec_fn=_end_with_parent,
            )

    def wait_until(self, is_ready, timeout=8.0):
        """Awaits a condition, not a time; a process that ended will never be ready."""
        deadline = time.monotonic() + timeout
        while True:
            result = is_ready()
            if result:
                return result
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: see {self.log_path.name}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready after {timeout:g} s: see {self.log_path.name}")
            time.sleep(0.005)

    def terminate(self):
        if self.process.poll() is None:
            self.process.terminate()

    def wait(self, timeout=None):
        """Waits for the end; after `timeout` seconds it makes one."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end within %g s and is killed", self.name, timeout)
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Services:
    """The processes of one test.

    They end in the reverse order of their start. Without a bound each gets a head start of fixed length on the next, and
    then all are awaited for as long as it takes: a worker that still has something to tell a broker that has ended
    meanwhile waits forever, and the test with it. With a bound each is told only after the one before it has ended, and
    has that long.
    """

    HEAD_START_S = 0.060

    def __init__(self, bound_s=None):
        self.bound_s = bound_s
        self.processes = []

    def start(self, name, command, log_path, env=None):
        process = ManagedProcess(name, command, log_path, env)
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.bound_s is None:
                for process in reversed(self.processes):
                    process.terminate()
                    if process is not self.processes[0]:
                        time.sleep(self.HEAD_START_S)
                for process in reversed(self.processes):
                    process.wait()
            else:
                for process in reversed(self.processes):
                    process.terminate()
                    process.wait(self.bound_s)
        finally:
            for process in self.processes:
                process.kill()
