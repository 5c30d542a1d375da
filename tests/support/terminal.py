"""Streams that say they are a terminal, for what is drawn in this process; real ones come from `Junkie.terminal`."""

import io
import sys
from dataclasses import dataclass

import pytest


class Terminal(io.StringIO):
    """A stream that a person reads. `fileno` is missing, as in any StringIO: the size comes from COLUMNS."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Streams:
    """What was written to stdout and stderr."""

    out: io.StringIO
    err: io.StringIO


def replace_streams(
    monkeypatch: pytest.MonkeyPatch, *, columns: int = 80, out: io.StringIO | None = None, stdin: str | None = None
) -> Streams:
    """Make stdout, stderr and (when `stdin` is given) stdin terminals; `out` is another stdout, a StringIO say."""
    streams = Streams(out if out is not None else Terminal(), Terminal())
    monkeypatch.setattr(sys, "stdout", streams.out)
    monkeypatch.setattr(sys, "stderr", streams.err)
    monkeypatch.setattr(sys, "stdin", io.StringIO() if stdin is None else Terminal(stdin))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "PAGER", "TZ"):
        monkeypatch.delenv(name, raising=False)
    return streams
