"""The message of a one-shot: what was given as an argument, and what comes through stdin when something does."""

import os
import select
import stat
import sys
from collections.abc import Callable

from junkie_cli.core.chat.conversation import LONGEST_MESSAGE
from junkie_cli.core.errors import UsageError
from junkie_cli.terminal.style import is_terminal

_LARGEST = LONGEST_MESSAGE  # bytes; what comes may never end
_NOTICE_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


def read_message(argument: str | None, note: Callable[[str], None]) -> str:
    """The whole message: the argument, and behind it the text that comes through stdin.

    Without an argument, or with `-`, stdin is read to its end however long that takes. Beside an argument it is read
    when it is a file or a pipe; a pipe in which nothing comes for _PATIENCE_SECONDS is left alone and said to be, as
    a program that starts us may have left its own open. Raises UsageError for no text at all, or none in UTF-8.
    """
    words = "" if argument is None or argument == "-" else argument.encode("utf-8", "replace").decode()
    piped = "" if is_terminal(sys.stdin) else _piped(note, alone=not words)
    message = "\n\n".join(part for part in (words.strip(), piped.strip("\n")) if part.strip())
    if not message:
        raise UsageError("there is nothing to say: no message, and nothing on stdin", hint='junkie chat "a message"')
    if "\x00" in message:
        raise UsageError("the message holds NUL bytes: it is no text", hint="give text, in UTF-8")
    return message


def _piped(note: Callable[[str], None], *, alone: bool) -> str:
    descriptor = sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if not alone and not stat.S_ISREG(kind) and not _something_comes(descriptor, kind, note):
        return ""
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"stdin cannot be read: {error.strerror}", hint="give a file or a pipe") from None
    if len(data) > _LARGEST:
        raise UsageError(
            f"stdin holds more than {_LARGEST // 2**20} MB: too much for one message",
            hint="send a part of it; junkie memories learn FILE extracts memories from files of any size",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"stdin is not UTF-8 text (byte {error.start})", hint="convert it, for example with iconv"
        ) from None


def _something_comes(descriptor: int, kind: int, note: Callable[[str], None]) -> bool:
    """Whether there is something to read on a pipe or socket, waiting a little for a slow one."""
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return False  # a device: /dev/null, as cron gives it
    if _readable(descriptor, _NOTICE_SECONDS):
        return True
    note("waiting for text on stdin ...")
    if _readable(descriptor, _PATIENCE_SECONDS - _NOTICE_SECONDS):
        return True
    note("nothing came on stdin: going on with the message alone (< /dev/null says so at once, - waits for ever)")
    return False


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(seconds * 1000))
