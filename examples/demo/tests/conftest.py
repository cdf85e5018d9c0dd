"""Each test gets a directory of its own below $DYN_TEST_OUTPUT_PATH, with a `test.log.txt` in it."""

import logging
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def log(request):
    root = os.environ.get("DYN_TEST_OUTPUT_PATH")
    logger = logging.getLogger(request.node.name)
    logger.setLevel(logging.INFO)
    handler = logging.NullHandler()
    if root:
        directory = Path(root) / request.node.name
        directory.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(directory / "test.log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    handler.close()
