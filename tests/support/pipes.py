"""Pipes that nobody reads."""

import fcntl
import sys
import termios
import time

import pytest


def wait_until_full(pipe: int) -> None:
    """Wait until nothing more goes into a pipe."""
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    for _ in range(1200):
        if int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder) == size:
            return
        time.sleep(0.05)
    pytest.fail("the pipe does not fill up")
