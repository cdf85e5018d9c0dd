"""`python -m reproduce_flaky`: replaces itself by the program that was installed with it."""

import os
import shutil
import sys
import sysconfig

NAME = "reproduce-flaky"


def find():
    """Path of the program: where this Python's scripts are, in any of its schemes, or beside a `--target`."""
    folders = [sysconfig.get_path("scripts")]
    for scheme in sysconfig.get_scheme_names():
        if os.name in scheme:
            folders.append(sysconfig.get_path("scripts", scheme=scheme))
    here = os.path.dirname(os.path.abspath(__file__))
    folders.append(os.path.join(os.path.dirname(here), "bin"))
    return shutil.which(NAME, path=os.pathsep.join(folders))


if __name__ == "__main__":
    program = find()
    if program is None:
        sys.exit(
            "error: the program `" + NAME + "` is not where this Python installs programs\n"
            "hint: pip install --force-reinstall reproduce-flaky"
        )
    os.execv(program, [program] + sys.argv[1:])
