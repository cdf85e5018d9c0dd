"""Fetches what a Python lacks into a directory of its own, without what that Python has already.

Arguments: the directory, a JSON object of installed versions, then pip's requirements. The interpreter that runs
this is the one the packages are for.
"""
import json
import os
import shutil
import subprocess
import sys


def installers():
    here = [sys.executable, "-m", "pip"]
    probe = subprocess.run(here + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if probe.returncode == 0:
        yield here + ["install", "--no-warn-script-location", "--disable-pip-version-check", "--no-input"]
    if shutil.which("uv"):
        yield ["uv", "pip", "install", "--python", sys.executable]
    if shutil.which("pip3"):
        yield ["pip3", "--python", sys.executable, "install", "--disable-pip-version-check", "--no-input"]


def install(target, pins, wanted):
    """Tries the versions that are installed first, so that nothing of them has to be shadowed."""
    constraints = target + ".constraints"
    log = "this Python has no pip, and there is no uv"
    tried = False
    for command in installers():
        tried = True
        for names in (sorted(pins), ["pytest"], []):
            with open(constraints, "w") as out:
                out.writelines("%s==%s\n" % (name, pins[name]) for name in names if name in pins)
            done = subprocess.run(
                command + ["-q", "--target", target, "-c", constraints] + wanted,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode == 0:
                os.remove(constraints)
                return
            log = done.stdout.decode("utf-8", "replace")
            shutil.rmtree(target, ignore_errors=True)
            if "No matching distribution" not in log and "ResolutionImpossible" not in log and "conflict" not in log:
                break
    if os.path.exists(constraints):
        os.remove(constraints)
    lines = [line for line in log.splitlines() if line.strip()] or ["no message"]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    print(errors[-1].replace("ERROR: ", ""), file=sys.stderr)
    sys.exit(3 if tried else 4)


def prune(target, pins):
    """Removes again what the Python has itself in a version that will do."""
    sys.path.insert(0, target)
    try:
        from importlib import metadata
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    fetched = {canonicalize_name(one.metadata["Name"]): one for one in metadata.distributions(path=[target])}
    for name in sorted(set(fetched) & set(pins)):
        needed = [
            requirement
            for other, one in fetched.items()
            if other != name
            for requirement in map(Requirement, one.requires or [])
            if canonicalize_name(requirement.name) == name
            and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        ]
        if not all(requirement.specifier.contains(pins[name], prereleases=True) for requirement in needed):
            continue
        for file in fetched[name].files or []:
            path = os.path.normpath(os.path.join(target, str(file)))
            if path.startswith(target + os.sep) and os.path.isfile(path):
                os.remove(path)
        del fetched[name]
    for directory, _, _ in os.walk(target, topdown=False):
        if directory != target and not os.listdir(directory):
            os.rmdir(directory)


target, pins = sys.argv[1], json.loads(sys.argv[2])
install(target, pins, sys.argv[3:])
prune(target, pins)
