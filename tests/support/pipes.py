"""Pipes that nobody reads."""

import select
import time

import pytest


def wait_until_full(writable: int) -> None:
    """Wait until nothing more goes into a pipe, given its end for writing."""
    poll = select.poll()
    poll.register(writable, select.POLLOUT)
    for _ in range(1200):
        if not poll.poll(0):
            return
        time.sleep(0.05)
    pytest.fail("the pipe does not fill up")
