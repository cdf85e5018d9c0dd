"""A KV-cache router: `DistributedRuntime`, `KvPushRouter`, mock workers, and the C interface through ctypes."""

import atexit
import ctypes
from pathlib import Path

try:
    from kv_router import _native
    from kv_router._native import DistributedRuntime, KvPushRouter, MockWorkers, fetch_model
except ImportError as error:
    raise ImportError(f"the extension is not built: {error}; run ./build in examples/router") from error

__all__ = ["BLOCK_SIZE", "DistributedRuntime", "KvPushRouter", "MockWorkers", "fetch_model", "publish_stored"]

BLOCK_SIZE = 16

# Threads of the extension log through Python; once the interpreter ends, waiting for its lock would end the process.
atexit.register(_native.stop_logging)


class _CInterface:
    """The extension's C functions, as an engine written in C++ would call them."""

    def __init__(self):
        library = ctypes.CDLL(str(Path(_native.__file__)))
        self.publish_stored = library.kv_event_publish_stored
        self.publish_stored.restype = ctypes.c_uint64
        self.publish_stored.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.POINTER(ctypes.c_uint32),
            ctypes.c_size_t,
        ]


_c = _CInterface()


def publish_stored(worker_id, first_event_id, tokens, publisher=None):
    """Publishes the blocks of `tokens` through the C interface; returns the next event id."""
    array = (ctypes.c_uint32 * len(tokens))(*tokens)
    return _c.publish_stored(publisher, worker_id, first_event_id, array, len(tokens))
