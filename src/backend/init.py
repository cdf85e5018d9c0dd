"""Stands in for an init process where the engine has none: passes signals on, and ends as the program ended."""
import os
import signal
import sys

pid = os.fork()
if not pid:
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        os.write(2, ("exec %s failed: %s\n" % (sys.argv[1], error)).encode())
        os._exit(127)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(pid, number))
while True:
    ended, status = os.wait()
    if ended == pid:
        os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
