"""Looks at the processes of a session that hangs, from where it runs. Python 3.6 and later, nothing but the library.

    look.py PIDS SIGNAL end|keep
PIDS is `all`, or process ids separated by commas. First it prints what each process and thread does and waits for
a line on its input: until then it has touched nothing. Then it has each Python process write its stacks, with `keep`
only as far as that changes nothing. Sections begin with a line `@@NAME`.
"""
import os
import signal
import socket
import stat
import struct
import sys
import time

try:
    import ctypes
except ImportError:
    ctypes = None

STACKS = ".stacks"
# Calls that the kernel begins anew after a signal was handled; those with a time limit end instead, and with them
# perhaps the hang.
RESTARTED = {"read", "write", "recvfrom", "recvmsg", "sendto", "sendmsg", "accept", "accept4", "connect", "openat"}
RESTARTED |= {"wait4", "waitid", "futex", "flock", "fcntl", "ioctl"}
TGKILL = {"x86_64": 234, "aarch64": 131}.get(os.uname().machine)
CALLS = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 9: "mmap", 16: "ioctl", 17: "pread64", 23: "select", 34: "pause",
        35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg",
        61: "wait4", 65: "semop", 70: "msgrcv", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync",
        128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex", 208: "io_getevents", 219: "restart_syscall",
        230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 270: "pselect6", 271: "ppoll",
        281: "epoll_pwait", 288: "accept4", 426: "io_uring_enter", 441: "epoll_pwait2", 449: "futex_waitv",
    },
    "aarch64": {
        22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 56: "openat", 63: "read", 64: "write", 67: "pread64",
        72: "pselect6", 73: "ppoll", 82: "fsync", 83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep",
        115: "clock_nanosleep", 128: "restart_syscall", 133: "rt_sigsuspend", 137: "rt_sigtimedwait", 188: "msgrcv",
        193: "semop", 202: "accept", 203: "connect", 206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg",
        242: "accept4", 260: "wait4", 426: "io_uring_enter", 441: "epoll_pwait2", 449: "futex_waitv",
    },
}.get(os.uname().machine, {})
TCP = "? ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING".split()


def text(*parts):
    try:
        with open(os.path.join("/proc", *map(str, parts)), "rb") as file:
            return file.read().decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def link(*parts):
    try:
        return os.readlink(os.path.join("/proc", *map(str, parts)))
    except OSError:
        return ""


def names(*parts):
    try:
        return sorted(os.listdir(os.path.join("/proc", *map(str, parts))), key=int)
    except (OSError, ValueError):
        return []


def status(pid):
    found = {}
    for line in text(pid, "status").splitlines():
        name, _, value = line.partition(":")
        found[name] = value.strip()
    return found


def command(pid):
    words = text(pid, "cmdline").split("\0")
    line = " ".join(word.replace("\n", "\\n") for word in words if word)
    return (line if len(line) <= 300 else line[:300] + " ...") or "[%s]" % text(pid, "comm").strip()


def parent(pid):
    return int(status(pid).get("PPid") or 0)


def chosen(which):
    if which != "all":
        return [int(pid) for pid in which.split(",") if pid and os.path.exists("/proc/" + pid)]
    own, pid = set(), os.getpid()
    # Not this program, nor what started it in here.
    while pid > 1 and pid not in own:
        own.add(pid)
        pid = parent(pid)
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        pids = []
    return sorted(pid for pid in pids if pid not in own)


def call(pid, tid):
    line = text(pid, "task", tid, "syscall").strip()
    if not line:
        return "?"
    words = line.split()
    if words[0] == "running":
        return "running"
    if words[0] == "-1":
        return "not in a system call"
    number = int(words[0])
    return "%s(%s)" % (CALLS.get(number, "syscall %d" % number), ", ".join(words[1:4]))


def tree(pids):
    known, children = set(pids), {}
    for pid in pids:
        above = parent(pid)
        children.setdefault(above if above in known else 0, []).append(pid)
    stack = [(pid, 0) for pid in reversed(children.get(0, []))]
    while stack:
        pid, depth = stack.pop()
        yield pid, depth
        stack.extend((child, depth + 1) for child in reversed(children.get(pid, [])))


def processes(pids):
    print("@@processes")
    for pid, depth in tree(pids):
        about = status(pid)
        if not about:
            continue
        indent = "  " * depth
        print("%s%d %s" % (indent, pid, command(pid)))
        print(
            "%s    state %s, parent %s, %s threads, memory %s"
            % (indent, about.get("State"), about.get("PPid"), about.get("Threads"), about.get("VmRSS", "?"))
        )
        for tid in names(pid, "task")[:200]:
            state = text(pid, "task", tid, "stat").rpartition(")")[2].split()[:1]
            print(
                "%s    thread %s %-16s %s  wchan %s  %s"
                % (
                    indent,
                    tid,
                    text(pid, "task", tid, "comm").strip(),
                    state[0] if state else "?",
                    text(pid, "task", tid, "wchan").strip() or "?",
                    call(pid, tid),
                )
            )
            kernel = text(pid, "task", tid, "stack").strip()
            if kernel:
                print("".join("%s        %s\n" % (indent, line) for line in kernel.splitlines()[:12]), end="")
    sys.stdout.flush()


def address(field, family):
    host, _, port = field.partition(":")
    raw = bytes.fromhex(host)
    packed = b"".join(struct.pack("=I", *struct.unpack(">I", raw[i : i + 4])) for i in range(0, len(raw), 4))
    return "%s:%d" % (socket.inet_ntop(family, packed), int(port, 16))


def sockets(pid):
    found = {}
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6), ("udp", socket.AF_INET)):
        for line in text(pid, "net", name).splitlines()[1:]:
            words = line.split()
            try:
                state = TCP[int(words[3], 16)] if name != "udp" else ""
                there = address(words[2], family)
                found[words[9]] = "%s %s -> %s %s" % (name, address(words[1], family), there, state)
            except (IndexError, ValueError, OSError):
                pass
    for line in text(pid, "net", "unix").splitlines()[1:]:
        words = line.split()
        if len(words) > 6:
            found[words[6]] = "unix " + (words[7] if len(words) > 7 else "")
    return found


def files(pids):
    print("@@files")
    for pid in pids:
        fds = names(pid, "fd")
        if not fds:
            continue
        known = sockets(pid)
        print("%d %s\n    cwd %s" % (pid, command(pid), link(pid, "cwd")))
        for fd in fds[:300]:
            target = link(pid, "fd", fd)
            if target.startswith("socket:["):
                target += " " + known.get(target[8:-1], "")
            print("    %s %s" % (fd, target))
    sys.stdout.flush()


def catches(pid, number):
    try:
        return bool(int(status(pid).get("SigCgt") or "0", 16) >> (number - 1) & 1)
    except ValueError:
        return False


def stacks_file(pid):
    """Where the session's plugin has a process write its stacks: beside the trail."""
    for entry in text(pid, "environ").split("\0"):
        if entry.startswith("REPRODUCE_FLAKY_TRAIL="):
            return os.path.join(os.path.dirname(entry.partition("=")[2]), STACKS)
    return ""


def patient(pid):
    """The thread of a process that a signal does not disturb; None if there is none."""
    for tid in names(pid, "task"):
        words = text(pid, "task", tid, "syscall").split()
        if words and words[0].isdigit() and CALLS.get(int(words[0])) in RESTARTED:
            return int(tid)
    return None


def ask(pid, tid, number):
    """Sends a signal to one thread, or to the process where that cannot be done."""
    try:
        if tid and TGKILL and ctypes and ctypes.CDLL(None).syscall(TGKILL, pid, tid, number) == 0:
            return
    except (OSError, AttributeError):
        pass
    os.kill(pid, number)


def opened(path):
    """A descriptor of a regular file, None for anything else: a link, a pipe or a device of that name is somebody's."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def written(fd, start):
    """What is appended to a file from `start` on, once it has stopped growing."""
    deadline, last, quiet = time.time() + 1.0, start, 0
    while time.time() < deadline and (last == start or quiet < 3):
        time.sleep(0.02)
        now = os.fstat(fd).st_size
        quiet, last = (quiet + 1, last) if now == last else (0, now)
    try:
        return os.pread(fd, 1 << 18, start).decode("utf-8", "replace")
    except OSError:
        return ""


def tell(who, found):
    if found.strip():
        print("@@stacks\n%s\n%s" % (who, found.rstrip()))
        sys.stdout.flush()
    return bool(found.strip())


def errors_file(pid):
    """Standard error of a process, if that is a file, as pytest captures it: it may have no name any more."""
    path = "/proc/%d/fd/2" % pid
    try:
        return open(path, "rb") if stat.S_ISREG(os.stat(path).st_mode) else None
    except OSError:
        return None


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def stacks(pids, number, is_kept):
    left = []
    for pid, _ in tree(pids):
        is_python = "python" in os.path.basename(link(pid, "exe") or text(pid, "comm"))
        path = stacks_file(pid)
        fd = opened(path) if catches(pid, number) else None
        if fd is not None:
            tid = patient(pid)
            if tid is None and is_kept:
                print("@@note\nprocess %d was not asked for its stacks, which would have ended its wait" % pid, end="")
                print("; `kill -%d %d` in there has it add them to %s" % (number, pid, path))
                continue
            start = os.fstat(fd).st_size
            who = "%d %s" % (pid, command(pid))
            print("@@asked\n%d\n%s" % (start, who))
            sys.stdout.flush()
            try:
                ask(pid, tid, number)
            except OSError as error:
                print("@@note\nprocess %d could not be asked for its stacks: %s" % (pid, error))
                continue
            if tell(who, written(fd, start)):
                continue
        if is_python:
            left.append(pid)
    aborted = []
    for pid in left:
        if is_kept:
            print("@@note\nprocess %d (%s) was not aborted for its stacks" % (pid, command(pid)))
        elif catches(pid, signal.SIGABRT):
            who, file = "%d %s" % (pid, command(pid)), errors_file(pid)
            # Whoever waits for it must not go on, and with it perhaps the session's end, before this is read.
            others = [other for other in pids if other not in (1, pid)]
            send(others, signal.SIGSTOP)
            try:
                start = os.fstat(file.fileno()).st_size if file else 0
                os.kill(pid, signal.SIGABRT)
                aborted.append(pid)
                tell(who, written(file.fileno(), start) if file else "")
            except OSError as error:
                print("@@note\nprocess %d could not be aborted: %s" % (pid, error))
            send(others, signal.SIGCONT)
        elif status(pid).get("State", "Z")[0] != "Z":
            print("@@note\nprocess %d (%s) has no faulthandler to print its stacks" % (pid, command(pid)))
    if aborted:
        print("@@aborted\n" + " ".join(map(str, aborted)))


pids = chosen(sys.argv[1])
processes(pids)
files(pids)
print("@@ready")
sys.stdout.flush()
if sys.stdin.readline():
    stacks(pids, int(sys.argv[2]), sys.argv[3:] == ["keep"])
print("@@end")
