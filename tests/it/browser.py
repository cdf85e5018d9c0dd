"""Opens a file in headless Chromium and says, as JSON on stdout, what happened.

Usage: browser.py CHROMIUM FILE [--fragment F] [--width N] [--height N] [--dark] [--no-script]
                  [--axe] [--screenshot PNG] [--full] [--pdf PDF] [--evaluate JAVASCRIPT]…

Each JAVASCRIPT is evaluated in the page after it has loaded; its value is in `values`. Talks the DevTools protocol
over two pipes, so that it needs no port and nothing but Python's own library.
"""

import argparse
import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

DEADLINE_S = 120


class Browser:
    def __init__(self, chromium):
        self.home = tempfile.mkdtemp(prefix="report-browser-")
        to_browser, self.out = os.pipe()
        self.inn, from_browser = os.pipe()

        def place():
            # Chromium reads from 3 and writes to 4; the ends may have those very numbers.
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-component-update",
                "--disable-background-networking",
                "--no-first-run",
                "--remote-debugging-pipe",
                "--user-data-dir=" + self.home,
                "about:blank",
            ],
            preexec_fn=place,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.events = []
        self.deadline = time.monotonic() + DEADLINE_S

    def receive(self):
        while b"\0" not in self.buffer:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.inn], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.inn, 1 << 20)
            if not part:
                raise EOFError("the browser ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write_all(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except (OSError, EOFError, TimeoutError, RuntimeError):
            self.process.kill()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


os.write_all = write_all


def find_axe():
    """The accessibility checker, where a Python package ships it; nothing is fetched."""
    roots = [pathlib.Path(root) for root in sys.path if root]
    roots += [pathlib.Path(root) for root in os.environ.get("AXE_PATH", "").split(os.pathsep) if root]
    for root in roots:
        for package in ("axe_core_python", "axe_playwright_python", "axe_selenium_python", "."):
            for name in ("axe.min.js", "axe.js", "node_modules/axe-core/axe.min.js"):
                path = root / package / name
                if path.is_file():
                    return path.read_text(encoding="utf-8")
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("chromium")
    parser.add_argument("file")
    parser.add_argument("--fragment", default="")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--no-script", action="store_true")
    parser.add_argument("--axe", action="store_true")
    parser.add_argument("--screenshot")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--pdf")
    parser.add_argument("--evaluate", action="append", default=[], dest="expressions")
    args = parser.parse_args()
    browser = Browser(args.chromium)
    try:
        print(json.dumps(look(browser, args)))
    finally:
        browser.close()


def look(browser, args):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(domain + ".enable")
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=args.width,
        height=args.height,
        deviceScaleFactor=1,
        mobile=args.width < 600,
    )
    if args.dark:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    if args.no_script:
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
    address = pathlib.Path(args.file).resolve().as_uri() + args.fragment
    browser.events.clear()
    started = time.monotonic()
    browser.call("Page.navigate", url=address)
    browser.wait_for("Page.loadEventFired")
    # Laid out and painted, not only read.
    browser.call("Page.captureScreenshot", format="jpeg", quality=1)
    open_s = time.monotonic() - started
    values = [browser.evaluate(expression) for expression in args.expressions]
    found = {"open_s": open_s, "values": values}
    if args.axe:
        source = find_axe()
        if source:
            browser.evaluate(source + "\n;0")
            run = "axe.run(document, {resultTypes: ['violations']})"
            names = "v => ({id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))})"
            found["axe"] = browser.evaluate(f"{run}.then(r => r.violations.map({names}))")
        else:
            found["axe"] = None
    if args.screenshot:
        result = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=args.full, **clip(browser, args))
        pathlib.Path(args.screenshot).write_bytes(base64.b64decode(result["data"]))
    if args.pdf:
        pathlib.Path(args.pdf).write_bytes(base64.b64decode(browser.call("Page.printToPDF")["data"]))
    events = browser.events
    params = lambda method: [event["params"] for event in events if event.get("method") == method]
    found["console"] = [
        " ".join(str(arg.get("value", arg.get("description"))) for arg in call["args"])
        for call in params("Runtime.consoleAPICalled")
    ]
    found["errors"] = [str(error["exceptionDetails"]) for error in params("Runtime.exceptionThrown")]
    found["errors"] += [entry["entry"]["text"] for entry in params("Log.entryAdded")]
    found["dialogs"] = [dialog["message"] for dialog in params("Page.javascriptDialogOpening")]
    found["requests"] = [request["request"]["url"][:200] for request in params("Network.requestWillBeSent")]
    return found


def clip(browser, args):
    if not args.full:
        return {}
    size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    return {"clip": {"x": 0, "y": 0, "width": args.width, "height": min(size["height"], 12000), "scale": 1}}


if __name__ == "__main__":
    main()
