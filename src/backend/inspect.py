"""Prints, as one line of JSON, what this Python is and what pytest would find in it (Python 3.6 and later)."""
import sys

# Started with `-c`, Python looks for modules where it stands, and a session may have put some of its own there.
sys.path = [place for place in sys.path if place]

import json
import os
import platform


def head(one):
    """Name and version of a distribution. Parsing the whole of its metadata took most of the time."""
    fields = {}
    text = one.read_text("METADATA") or one.read_text("PKG-INFO") or one.read_text("") or ""
    for line in text.splitlines():
        if not line:
            break
        name, colon, value = line.partition(":")
        if colon and name.lower() in ("name", "version"):
            fields.setdefault(name.lower(), value.strip())
    return fields.get("name"), fields.get("version")


def is_plugin(one):
    """Whether it is a plugin of pytest."""
    text = one.read_text("entry_points.txt") or ""
    return any(line.strip() == "[pytest11]" for line in text.splitlines())


def distributions():
    try:
        from importlib import metadata
    except ImportError:
        try:
            import importlib_metadata as metadata
        except ImportError:
            return {}
    found = {}
    for one in metadata.distributions():
        try:
            name, version = head(one)
            plugin = is_plugin(one)
        except Exception:
            continue
        # The first on the search path is the one that gets imported.
        if not name or name.lower().replace("_", "-") in found:
            continue
        found[name.lower().replace("_", "-")] = {
            "version": version or "",
            "plugin": plugin,
            "location": os.path.realpath(str(one.locate_file(""))),
        }
    return found


def modules():
    from importlib.util import find_spec

    found = {}
    for name in ("pytest", "xdist", "pytest_timeout", "pip"):
        try:
            found[name] = find_spec(name) is not None
        except Exception:
            found[name] = False
    return found


def hops(path):
    """Each file that the interpreter's name leads through."""
    found = []
    while path and path not in found:
        found.append(path)
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    if found:
        found.append(os.path.realpath(found[0]))
    return found


def report():
    import site

    sys.path[:] = [entry for entry in sys.path if entry]
    here = modules()
    version, error = None, None
    if here["pytest"]:
        try:
            import pytest

            version = pytest.__version__
        except BaseException as cause:
            error = "%s: %s" % (type(cause).__name__, cause)
    return {
        "executable": sys.executable,
        "hops": hops(sys.executable),
        "version": platform.python_version(),
        "implementation": getattr(sys.implementation, "cache_tag", None) or platform.python_implementation(),
        "machine": platform.machine(),
        "prefixes": sorted({sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}),
        "search": [os.path.abspath(entry) for entry in sys.path if os.path.exists(entry)],
        "user_base": site.getuserbase() if site.ENABLE_USER_SITE else None,
        "home": os.path.expanduser("~"),
        "modules": here,
        "pytest": version,
        "pytest_error": error,
        "distributions": distributions(),
    }


print("\nreproduce-flaky " + json.dumps(report()))
