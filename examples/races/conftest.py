"""Finds what ./build made, or builds it in the session's own temporary directory."""

import ctypes
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
C = {"lost_wakeup": True, "order": True, "check_then_act": True, "service": False}


def build(name, directory):
    """Builds one of the sources; libraries, and a program for the service."""
    if name in C:
        target = directory / (f"lib{name}.so" if C[name] else name)
        shared = ["-shared", "-fPIC"] if C[name] else []
        command = ["cc", "-O2", "-pthread", *shared, "-o", target, HERE / "c" / f"{name}.c"]
    else:
        target = directory / f"lib{name}.so"
        options = ["--edition", "2024", "--crate-type", "cdylib", "-O", "-C", "panic=abort"]
        command = ["rustc", *options, "-o", target, HERE / "rust" / f"{name}.rs"]
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} to build {name} with")
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A function from the name of a source to what was built of it."""

    def find(name):
        for made in (HERE / "built" / f"lib{name}.so", HERE / "built" / name):
            if made.exists():
                return made
        return build(name, tmp_path_factory.mktemp(name))

    return find


@pytest.fixture
def library(built):
    """A function from the name of a source to the library built of it."""
    return lambda name: ctypes.CDLL(str(built(name)))
