"""A person at a terminal: what programs write to a pseudo-terminal, turned into a screen by pyte.

`PseudoTerminal` is one whose other end this process writes to; `Person` sits before a `junkie` process in one.
Neither sleeps: they read until what a test waits for is on the screen.
"""

import fcntl
import os
import re
import signal
import struct
import termios
import time
from collections.abc import Callable
from typing import Any, TextIO

import pexpect
import pyte

PATIENCE = 60.0
KEYS = {
    "enter": "\r",
    "alt-enter": "\x1b\r",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "ctrl-j": "\n",
    "tab": "\t",
    "up": "\x1b[A",
}


class Picture:
    """The screen and what has scrolled off it, from what a terminal was sent."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> None:
        # pyte takes CSI > and CSI = sequences for others; they change nothing that is shown
        self._stream.feed(re.sub(r"\x1b\[[>=][0-9;]*[a-zA-Z]", "", text))

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)

    @property
    def screen(self) -> list[str]:
        """The lines on the screen, without those at its end that are empty."""
        return _trimmed([line.rstrip() for line in self._screen.display])

    @property
    def everything(self) -> list[str]:
        """The lines that scrolled off, then those on the screen."""
        columns = self._screen.columns
        gone = ["".join(line[x].data for x in range(columns)).rstrip() for line in self._screen.history.top]
        return _trimmed(gone + [line.rstrip() for line in self._screen.display])

    @property
    def text(self) -> str:
        return "\n".join(self.everything)


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


class PseudoTerminal:
    """A terminal to draw on: write to `stream`, then look at `picture`; `raw` is all that was written."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self._master, slave = os.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8", newline="")
        self._picture = Picture(columns, lines)
        self.raw = ""
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """As if the window were dragged to another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._picture.resize(columns, lines)

    @property
    def picture(self) -> Picture:
        """What is to be seen now."""
        end = "\x1b]9;end\x07"  # behind what was written so far: read up to it
        self.stream.write(end)
        self.stream.flush()
        text = ""
        while end not in text:
            text += os.read(self._master, 65536).decode("utf-8", "replace")
        text = text.replace(end, "")
        self.raw += text
        self._picture.feed(text)
        return self._picture

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


class Person:
    """Somebody at a terminal in which `junkie` runs: types, looks, waits to see something."""

    def __init__(self, child: "pexpect.spawn[str]", columns: int, lines: int) -> None:
        self.child = child
        self.picture = Picture(columns, lines)
        self.raw = ""

    def sees(self, text: str, *, timeout: float = PATIENCE) -> str:
        """Wait until `text` is to be seen, on the screen or above it; returns everything shown so far."""
        return self.until(lambda picture: text in picture.text, repr(text), timeout)

    def prompted(self, *, timeout: float = PATIENCE) -> str:
        """Wait for an empty prompt as the last thing on the screen; returns everything shown so far."""
        return self.until(lambda picture: picture.screen[-1:] == ["›"], "the prompt", timeout)

    def until(self, right: Callable[[Picture], bool], what: str, timeout: float = PATIENCE) -> str:
        """Wait until the picture is `right`."""
        end = time.monotonic() + timeout
        while not right(self.picture):
            try:
                self._read(max(end - time.monotonic(), 0))
            except (pexpect.TIMEOUT, pexpect.EOF):
                raise AssertionError(f"waited in vain for {what}:\n{self.picture.text}") from None
        return self.picture.text

    def _read(self, timeout: float) -> None:
        text = self.child.read_nonblocking(65536, timeout)
        self.raw += text
        self.picture.feed(text)

    def types(self, text: str, key: str = "enter") -> None:
        """Type `text`, then press `key` ("" for none)."""
        self.child.send(text + (KEYS[key] if key else ""))

    def says(self, text: str) -> list[str]:
        """Type `text` and Enter at the prompt and wait for the next one; returns the lines shown in between."""
        self.prompted()
        before = self.lines_of(f"› {text}")
        self.types(text)
        shown = self.until(
            lambda picture: picture.screen[-1:] == ["›"] and self.lines_of(f"› {text}") > before,
            f"what {text!r} brings",
        ).splitlines()
        return shown[len(shown) - shown[::-1].index(f"› {text}") : -1]

    def lines_of(self, line: str) -> int:
        """How many such lines were shown."""
        return self.picture.everything.count(line)

    def presses(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            self.child.send(KEYS[key])

    def pastes(self, text: str) -> None:
        """Paste `text`, as a terminal with bracketed paste sends it."""
        self.child.send(f"\x1b[200~{text}\x1b[201~")

    def resizes(self, columns: int, lines: int) -> None:
        """Drag the window to another size."""
        self.child.setwinsize(lines, columns)
        self.picture.resize(columns, lines)

    def closes_the_window(self) -> None:
        """The terminal goes away under the process."""
        self.child.ptyproc.fileobj.close()
        self.child.ptyproc.closed = True  # nothing is left for pexpect to close

    def signals(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.child.kill(number)

    def leaves(self) -> int:
        """Press Ctrl-D and wait for the end; the exit code, or 128 and the signal's number."""
        self.presses("ctrl-d")
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit code, or 128 and the signal's number."""
        try:
            while True:
                self._read(PATIENCE)
        except pexpect.EOF:
            pass
        self.child.wait()
        return 128 + self.child.signalstatus if self.child.signalstatus else int(self.child.exitstatus or 0)


def person(junkie: Any, *arguments: str, columns: int = 80, lines: int = 24, **more: Any) -> Person:
    """A person who has just typed `junkie ARGUMENTS`."""
    return Person(junkie.terminal(*arguments, columns=columns, lines=lines, **more), columns, lines)
