"""Writes down what a pytest session does, one JSON line at a time, so that a crash cannot take it along.

Loaded with ``-p reproduce_flaky_trail``. The file is named by the variable REPRODUCE_FLAKY_TRAIL; without it
nothing happens. Every line is an unbuffered append: an abort, SIGKILL or ``os._exit`` leaves all of them. A test that
passes has one: its beginning, which says as well that the test before it has ended.
Works with pytest 7 to 9, in xdist's workers, in forked tests and with reruns. Whatever goes wrong in here is
swallowed: an instrument must not fail what it measures.

There is no assert in here to explain, so pytest need not look for one: PYTEST_DONT_REWRITE
"""

import json
import os
import time

_now = time.time
_now_ns = time.time_ns
_write = os.write
_quote = json.encoder.encode_basestring_ascii


def _reason(report):
    """First lines of what went wrong, bounded."""
    longrepr = getattr(report, "longrepr", None)
    crash = getattr(longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or str(longrepr or "")
    return text.strip()[:600]


class _Trail:
    """What every process of a session writes: where it begins and ends."""

    def __init__(self, fd, worker, role):
        self._fd = fd
        self._worker = _quote(worker) if worker else "null"
        self._role = role
        # What the next line says besides: that a test has ended.
        self._held = ""
        self._find_pid()
        # Asking the kernel every time would cost a fifth of what a line costs.
        os.register_at_fork(after_in_child=self._find_pid)

    def _find_pid(self):
        self._who = '"worker":%s,"pid":%d,"at_ns":' % (self._worker, os.getpid())

    def _line(self, event, fields):
        try:
            line = f'{{"event":"{event}",{fields}{self._held}{self._who}{_now_ns()}}}\n'
            self._held = ""
            _write(self._fd, line.encode("ascii", "replace"))
        except Exception:
            pass

    def begin(self, versions):
        """Writes the first line of this process."""
        self._line("session_start", '"role":"%s",%s' % (self._role, versions))

    def pytest_internalerror(self, excrepr):
        try:
            self._line("internal_error", '"reason":%s,' % _quote(str(excrepr)[-600:]))
        except Exception:
            pass

    def pytest_keyboard_interrupt(self, excinfo):
        self._line("interrupted", "")

    def pytest_sessionfinish(self, session, exitstatus):
        try:
            self._line("session_finish", '"role":"%s","exit_status":%d,' % (self._role, int(exitstatus)))
        except Exception:
            pass


# A phase that takes this long, in seconds, has a line of its own: how long a session is silent says whether it hangs.
_LONG = 1.0


class _Running(_Trail):
    """What a process that runs tests itself writes as well: before each test, and after what did not pass."""

    def __init__(self, fd, worker, role):
        super().__init__(fd, worker, role)
        self._nodeid = None
        self._quoted = ""
        self._waits = role == "worker"

    # These two run four times a test: what could be a function of its own stands in them, and a line is made in one go.

    def pytest_runtest_logstart(self, nodeid):
        try:
            self._nodeid = nodeid
            self._quoted = quoted = _quote(nodeid)
            line = f'{{"event":"start","nodeid":{quoted},{self._held}{self._who}{_now_ns()}}}\n'
            self._held = ""
            _write(self._fd, line.encode())
        except Exception:
            pass

    def pytest_runtest_logreport(self, report):
        try:
            if report.outcome == "passed" and report.duration < _LONG:
                if report.when != "teardown":
                    return
                if not self._waits and report.nodeid is self._nodeid:
                    # The next line follows at once, with nothing of the suite's in between.
                    self._held = f'"ended":{self._quoted},'
                    return
                # A worker may wait for its next test for long: the line goes out by itself.
            self._phase(report)
        except Exception:
            pass

    def _phase(self, report):
        outcome = report.outcome
        reason = "" if outcome in ("passed", "skipped") else '"reason":%s,' % _quote(_reason(report))
        fields = '"nodeid":%s,"when":"%s","outcome":"%s","duration_s":%.6f,%s' % (
            _quote(report.nodeid),
            report.when,
            outcome,
            report.duration,
            reason,
        )
        self._line("phase", fields)

    def pytest_collection_finish(self, session):
        try:
            self._line("selected", '"count":%d,' % len(session.items))
        except Exception:
            pass

    def pytest_collectstart(self, collector):
        # What hangs or dies while it is imported is named by nothing else.
        try:
            if collector.nodeid.endswith(".py"):
                self._line("collect", '"nodeid":%s,' % _quote(collector.nodeid))
        except Exception:
            pass

    def pytest_collectreport(self, report):
        try:
            if report.nodeid.endswith(".py"):
                self._line("collected", '"nodeid":%s,' % _quote(report.nodeid))
            if report.failed:
                self._line(
                    "collect_error",
                    '"nodeid":%s,"reason":%s,' % (_quote(report.nodeid), _quote(str(report.longrepr)[-600:])),
                )
        except Exception:
            pass


# The signal by which a process of the session is asked for its stacks: one that nobody else uses, and that means
# nothing to a program without this handler unless it is sent to it.
STACKS_SIGNAL = 60
_stacks = []


def _answer_with_stacks(directory):
    """Has faulthandler write every thread's Python stack to a file when asked by a signal.

    It does so in C, without the GIL, so also in a process that hangs in native code; and the process lives on. The
    file is not standard error, which may be captured, and is beside the trail, where it outlives the session: the
    signal may end the very wait that was the hang.
    """
    import faulthandler

    path = os.path.join(directory, ".stacks")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    _stacks.append(os.open(path, flags, 0o666))
    faulthandler.register(STACKS_SIGNAL, file=_stacks[0], all_threads=True)


def _select(items, ids):
    """The items of a list of ids in its order, and the ids that there is no item for."""
    by_id = {}
    for item in items:
        by_id.setdefault(item.nodeid, []).append(item)
    chosen, missing = [], []
    for nodeid in ids:
        # xdist's --dist loadgroup puts a group behind an id, which a session in one process does not have.
        found = by_id.get(nodeid) or by_id.get(nodeid.rpartition("@")[0])
        if found:
            chosen.append(found.pop(0))
        else:
            missing.append(nodeid)
    return chosen, missing


def _replay(config):
    """Runs the tests of the list that REPRODUCE_FLAKY_TESTS names, in its order, and no others.

    Unlike the trail this must not fail in silence: without its victim, the last of the list, nothing is run.
    """
    path = os.environ.get("REPRODUCE_FLAKY_TESTS")
    if not path:
        return
    import pytest

    with open(path, encoding="utf-8") as file:
        ids = json.load(file)

    class Replay:
        # Outermost, so that whatever others reorder or leave out has been done.
        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(self, items):
            yield
            chosen, missing = _select(items, ids)
            for nodeid in missing:
                os.write(2, ("reproduce-flaky: not collected: %s\n" % nodeid).encode("utf-8", "replace"))
            if ids and ids[-1] in missing:
                chosen = []
            items[:] = chosen

    # A test that fails on the way must not keep the last one from being run.
    config.option.maxfail = 0
    config.pluginmanager.register(Replay(), "reproduce-flaky-replay")


def _shuffled(items, seed):
    """The items in another order: their files in random order, and the items of each file.

    Drawn from the seed alone, so that xdist's workers agree on it and a session can be repeated.
    """
    import random

    files = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    draw = random.Random(seed)
    names = list(files)
    draw.shuffle(names)
    for name in names:
        draw.shuffle(files[name])
    return [item for name in names for item in files[name]]


def _perturb(config):
    """Brings about the conditions that REPRODUCE_FLAKY_CONDITIONS names.

    Nor must this fail in silence: what is recorded as a condition was one.
    """
    conditions = os.environ.get("REPRODUCE_FLAKY_CONDITIONS", "").split(",")
    if "switch-interval" in conditions:
        import sys

        sys.setswitchinterval(1e-6)
    # A list of tests has an order of its own, which is the recorded one.
    if "order" not in conditions or os.environ.get("REPRODUCE_FLAKY_TESTS"):
        return
    import pytest

    class Order:
        # Outermost, so that whatever others reorder or leave out has been done.
        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(self, items):
            yield
            items[:] = _shuffled(items, os.environ.get("REPRODUCE_FLAKY_SEED", ""))

    config.pluginmanager.register(Order(), "reproduce-flaky-order")


def _watch_workers(config, trail):
    """Writes down how each of xdist's workers ended, once xdist has waited for all of them.

    A worker that dies after its last test, in ``atexit`` or a destructor, is said by nothing else: xdist has all
    results by then, and looks at no wait status.
    """
    import pytest

    gateways = []

    class Workers:
        @pytest.hookimpl(optionalhook=True)
        def pytest_xdist_newgateway(self, gateway):
            gateways.append(gateway)

        # Outermost: xdist ends its workers, and waits for them, in its own part of the hook.
        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_sessionfinish(self):
            began = _now()
            yield
            try:
                waited = _now() - began
                for gateway in gateways:
                    status = gateway._io.popen.poll()
                    if status is not None:
                        fields = '"gateway":%s,"status":%d,"waited_s":%.3f,' % (_quote(str(gateway.id)), status, waited)
                        trail._line("worker_exit", fields)
            except Exception:
                pass

    config.pluginmanager.register(Workers(), "reproduce-flaky-workers")


def pytest_configure(config):
    """Opens the trail; a controller of workers runs no tests of its own."""
    _perturb(config)
    _replay(config)
    try:
        path = os.environ.get("REPRODUCE_FLAKY_TRAIL")
        if not path:
            return
        # Inherited by forked tests, closed in programs that tests start.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(path, flags, 0o666)
        workerinput = getattr(config, "workerinput", None)
        if workerinput is not None:
            trail = _Running(fd, workerinput.get("workerid"), "worker")
        elif getattr(config.option, "dist", "no") != "no" or getattr(config.option, "tx", None):
            trail = _Trail(fd, None, "controller")
        else:
            trail = _Running(fd, None, "main")
        config.pluginmanager.register(trail, "reproduce-flaky-trail")
        if type(trail) is _Trail:
            _watch_workers(config, trail)
        import platform

        import pytest

        try:
            _answer_with_stacks(os.path.dirname(path))
        except Exception:
            pass
        trail.begin('"pytest":%s,"python":%s,' % (_quote(pytest.__version__), _quote(platform.python_version())))
    except Exception:
        pass
