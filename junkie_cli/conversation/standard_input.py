"""Reads the message of a one-shot from the argument and from stdin."""

import os
import select
import stat
import sys
from collections.abc import Callable

from junkie_cli.core.chat.conversation import LONGEST_MESSAGE
from junkie_cli.core.errors import UsageError
from junkie_cli.terminal.style import is_terminal

_LARGEST = LONGEST_MESSAGE  # bytes; stdin may never end
_NOTICE_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


def read_message(argument: str | None, note: Callable[[str], None]) -> str:
    """Return the message: the argument, followed by the text from stdin.

    Without an argument, or with `-`, stdin is read to its end. With an argument, stdin is read if it is a file or a
    pipe; a pipe that stays silent for _PATIENCE_SECONDS is ignored with a note, because a parent process may have left
    its own pipe open. Raises UsageError if there is no text, or if it is not UTF-8.
    """
    words = "" if argument is None or argument == "-" else argument.encode("utf-8", "replace").decode()
    piped = "" if is_terminal(sys.stdin) else _piped(note, alone=not words)
    message = "\n\n".join(part for part in (words.strip(), piped.strip("\n")) if part.strip())
    if not message:
        raise UsageError("no message given, and nothing on stdin", hint='for example: junkie chat "Hello"')
    if "\x00" in message:
        raise UsageError("the message contains NUL bytes, so it is not text", hint="send UTF-8 text")
    return message


def _piped(note: Callable[[str], None], *, alone: bool) -> str:
    descriptor = sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if not alone and not stat.S_ISREG(kind) and not _something_comes(descriptor, kind, note):
        return ""
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"stdin cannot be read: {error.strerror}", hint="use a file or a pipe") from None
    if len(data) > _LARGEST:
        raise UsageError(
            f"stdin contains more than {_LARGEST // 2**20} MB, too much for one message",
            hint="send a part of it; to extract memories from files of any size: junkie memories learn FILE",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"stdin is not UTF-8 text (byte {error.start})", hint="convert it, for example with iconv"
        ) from None


def _something_comes(descriptor: int, kind: int, note: Callable[[str], None]) -> bool:
    """Return whether a pipe or socket has data, waiting a little for a slow one."""
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return False  # a device, for example /dev/null under cron
    if _readable(descriptor, _NOTICE_SECONDS):
        return True
    note("waiting for text on stdin ...")
    if _readable(descriptor, _PATIENCE_SECONDS - _NOTICE_SECONDS):
        return True
    note("nothing on stdin; using the message alone (to skip this wait: < /dev/null; to wait for stdin: -)")
    return False


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(seconds * 1000))
