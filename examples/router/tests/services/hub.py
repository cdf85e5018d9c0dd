"""A model hub on loopback that describes every model, and now and then answers 429, 504 or nothing."""

import json
import os
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# These dice stand for the load of a hub that everybody uses and for the network in between: what they do has nothing to
# do with the tests, so nothing in the tests could cause it. The rate is that of a single request.
FAULT_RATE = float(os.environ.get("ROUTER_HUB_FAULT_RATE", "0.001"))
FAULTS = os.environ.get("ROUTER_HUB_FAULTS", "429,504,nothing").split(",")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        fault = random.choice(FAULTS) if random.random() < FAULT_RATE else None
        if fault == "nothing":
            self.server.closing.wait(30)
            return
        if fault is not None:
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        name = self.path.removeprefix("/api/models/").removesuffix("/revision/main")
        body = json.dumps({"id": name, "sha": "c1899de289a04d12100db370d81485cdf75e47ca"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Hub:
    """The server; its `endpoint` is what a client asks."""

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.closing = threading.Event()
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.closing.set()
        self.server.shutdown()
        self.server.server_close()
