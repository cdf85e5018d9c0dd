"""Fetches what a Python lacks into a directory of its own, without what that Python has already.

Arguments: the directory; a JSON object of installed versions; the list of packages with their digests; the names of
those that are lacking; at the end, if there is one, a requirements file of the user's and the directory that its paths
are relative to. Only wheels are fetched: what is no wheel would run its own code to be installed. The interpreter that
runs this is the one the packages are for.
"""
import json
import os
import re
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


def install(target, attempts, cwd=None):
    """Tries each installer with each of the attempts, which are further arguments, until one of them works."""
    log = "this Python has no pip, and there is no uv"
    tried = False
    for command in installers():
        tried = True
        for arguments in attempts:
            done = subprocess.run(
                command + ["-q", "--target", target, "--only-binary", ":all:"] + arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
            )
            if done.returncode == 0:
                return
            log = done.stdout.decode("utf-8", "replace")
            if "No matching distribution" not in log and "ResolutionImpossible" not in log and "conflict" not in log:
                break
    lines = [line for line in log.splitlines() if line.strip()] or ["no message"]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    print(errors[-1].replace("ERROR: ", ""), file=sys.stderr)
    sys.exit(3 if tried else 4)


def written(name, lines):
    with open(name, "w") as out:
        out.writelines(line + "\n" for line in lines)
    return name


def install_required(target, pins, requirements, cwd):
    """The user's own, with the versions that are installed first, so that nothing of them has to be shadowed."""
    attempts = []
    for number, names in enumerate((sorted(pins), ["pytest"], [])):
        constraints = ["%s==%s" % (name, pins[name]) for name in names if name in pins]
        file = written("%s.constraints-%d" % (target, number), constraints)
        attempts.append(["-c", file, "-r", requirements])
    install(target, attempts, cwd)


def install_pinned(target, there, packages, lacking):
    """Those of the list, each as the very wheel that the list names; `there` are versions that will do as they are."""
    sections = re.split(r"^\[(.*)\]$", packages, flags=re.M)
    sections = dict(zip(sections[1::2], sections[2::2]))
    is_old = re.match(r"[0-6]\.", there.get("pytest", "")) is not None
    lines = []
    for name in lacking:
        old = sections.get(name + " beside pytest 6") if is_old else None
        lines += [line for line in (old or sections[name]).splitlines() if line.strip()]
    fetched = fetched_into(target)
    lines = [line for line in lines if re.match(r"[\w-]+", line).group() not in fetched]
    if lines:
        file = written(target + ".packages", lines)
        install(target, [["--no-deps", "--require-hashes", "-r", file]])


def fetched_into(target):
    """Versions of what is in the directory, by normalized name."""
    found = {}
    for name in os.listdir(target) if os.path.isdir(target) else []:
        match = re.match(r"(.+)-([^-]+)\.dist-info$", name)
        if match:
            found[re.sub(r"[-_.]+", "-", match.group(1)).lower()] = match.group(2)
    return found


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


# Nobody else may write to what sessions and this tool will run.
os.umask(0o022)
target, pins, packages, lacking = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4].split()
if len(sys.argv) > 5:
    install_required(target, pins, sys.argv[5], sys.argv[6])
there = dict(pins)
there.update(fetched_into(target))
install_pinned(target, there, packages, [name for name in lacking if name not in fetched_into(target)])
prune(target, pins)
