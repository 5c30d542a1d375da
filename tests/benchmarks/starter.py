"""Starts one process after another and measures each: orders come as JSON lines on stdin, figures go to stdout.

A small process of its own, because Linux counts the memory of whoever starts a program as the program's peak: started
from a large one, everything would look large.
"""

import fcntl
import json
import os
import select
import struct
import sys
import termios
import time

PATIENCE = 120  # seconds of silence in a terminal after which a process is given up


def measure(order):
    """Run `argv` in `env` and `cwd`; stdout goes to the file `out`, or into a terminal when `tty` gives its columns.

    With `until` the process is watched until it has shown that text, and killed then. Returns seconds, the seconds of
    CPU and the peak memory (kB, children that it waited for included), and the exit status (negative: by a signal).
    """
    master, inner = os.openpty() if order["tty"] else (None, None)
    if inner is not None:
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, order["tty"], 0, 0))
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        become(order, inner)
    if inner is not None:
        os.close(inner)
    shown_at = drain(master, order, pid) if master is not None else None
    _, status, usage = os.wait4(pid, 0)
    ended = time.perf_counter()
    return {
        "seconds": (shown_at or ended) - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss,
        "status": 0 if shown_at else os.waitstatus_to_exitcode(status),
    }


def become(order, inner):
    """In the child: be the program."""
    try:
        os.setsid()
        if order["until"]:  # a person's terminal
            fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
        null = os.open(os.devnull, os.O_RDONLY)
        out = inner if inner is not None else os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(inner if order["until"] else null, 0)
        os.dup2(out, 1)
        os.dup2(errors, 2)
        os.closerange(3, 64)
        os.chdir(order["cwd"])
        os.execve(order["argv"][0], order["argv"], order["env"])
    finally:
        os._exit(127)


def drain(master, order, pid):
    """Read what is drawn, to the end or to `until`; returns when that was shown."""
    until = order["until"].encode()
    seen = b""
    shown_at = None
    with open(order["out"], "wb") as out:  # noqa: PTH123  pathlib would make this process larger
        while True:
            if not select.select([master], [], [], PATIENCE)[0]:
                os.kill(pid, 9)
                break
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            out.write(piece)
            seen = seen[-64:] + piece
            if until and until in seen:
                shown_at = time.perf_counter()
                os.kill(pid, 9)
                break
    os.close(master)
    return shown_at


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
