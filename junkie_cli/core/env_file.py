"""Finds and parses the `.env` file.

A `.env` can be a FIFO from a password manager, or `<(...)` of a shell. It is read once in a process. A file that cannot
be read (a folder, a broken link) is an error, because skipping it could select another database.
"""

import errno
import os
import re
import select
import stat
import time
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from junkie_cli.core.errors import SettingsError
from junkie_cli.core.reporting import report
from junkie_cli.core.value_class import field, frozen

NAME = ".env"
_MOST_BYTES = 1 << 20
_SILENT = 1.0  # seconds after which the wait for that writer is reported
_PATIENCE = 60.0  # seconds to wait for the writer of a FIFO; a password manager asks its user first
_read_once: dict[tuple[int, int], bytes] = {}


@frozen
class EnvFile:
    """A parsed `.env`: its path and, for each name, the value and the line (1-based) that sets it.

    `unset` contains, for values with references to unset `${VARIABLES}`, the first of these. `passed_over` is a closer
    file without settings of ours.
    """

    path: Path
    values: Mapping[str, tuple[str, int]] = field(repr=False)
    unset: Mapping[str, str]
    passed_over: Path | None = None


# --- finding ----------------------------------------------------------------------------------------------------------


def require_named(path: Path) -> Path:
    """Return the file that the user named. Raises SettingsError if it does not exist."""
    path = path.absolute()
    if not path.exists() or path.is_dir():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise SettingsError(f"--env-file {path} {problem}", hint="name the file itself")
    return path


def search(folders: Iterable[Path], *, as_root: bool) -> tuple[Path | None, tuple[Path, ...]]:
    """Return the first `.env` in these folders, and skipped ones of other users, which root does not read.

    Raises SettingsError for folders and broken links.
    """
    ignored: list[Path] = []
    for folder in folders:
        path = folder / NAME
        try:
            owner = path.lstat().st_uid
        except OSError:
            continue
        problem = ""
        try:
            status = path.stat()
            owner = status.st_uid
            problem = "is a folder" if stat.S_ISDIR(status.st_mode) else ""
        except OSError as error:
            problem = f"is a broken link ({error.strerror})"
        if as_root and owner != 0:
            if path not in ignored:
                ignored.append(path)
        elif problem:
            raise SettingsError(
                f"{path} {problem}",
                hint="delete or rename it, or use another file: --env-file FILE (/dev/null for none)",
            )
        else:
            return path, tuple(ignored)
    return None, tuple(ignored)


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path, environ: Mapping[str, str], known: Container[str]) -> EnvFile:
    """Parse `path` as the bot does, with python-dotenv's parser and its `${NAME}` and `${NAME:-default}`.

    `$` without braces is a normal character. Raises SettingsError if the file cannot be read, or a line that sets one
    of the `known` variables cannot be parsed.
    """
    from io import StringIO

    from dotenv.parser import parse_stream

    values: dict[str, tuple[str, int]] = {}
    unset: dict[str, str] = {}
    for binding in parse_stream(StringIO(_text_of(path))):
        # A binding begins with the blank lines before it: count to the line with the name.
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:blank].count("\n")
        if binding.error:
            _refuse_broken_line(binding.original.string, path, line, known)
        elif binding.key is not None:
            set_so_far = {name: value for name, (value, _) in values.items()} | dict(environ)
            value, missing = _expanded(binding.value or "", set_so_far)
            values[binding.key] = (value, line)
            unset.pop(binding.key, None)
            if missing:
                unset[binding.key] = missing
    return EnvFile(path, values, unset)


def _text_of(path: Path) -> str:
    try:
        return _content(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{path} cannot be read: {reason}", hint="correct the file or its permissions") from None


def _content(path: Path) -> bytes:
    """Read a file of limited size; the content of a FIFO, which can be read only once, is cached."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino)
        if stat.S_ISREG(status.st_mode):
            content = file.read(_MOST_BYTES + 1)
        elif key in _read_once:
            content = _read_once[key]
        else:
            content = _read_once[key] = _to_the_end(descriptor, path)
    if len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, "it is too large for a .env file")
    return content


def _to_the_end(descriptor: int, path: Path) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    content, end = b"", time.monotonic() + _PATIENCE
    if not poll.poll(_SILENT * 1000):
        report(f"waiting up to {_PATIENCE:.0f} seconds for a program to write to {path}, which is a pipe")
    while len(content) <= _MOST_BYTES:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise OSError(errno.ETIMEDOUT, f"nothing was written to it within {_PATIENCE:.0f} seconds")
        piece = os.read(descriptor, 65536)
        if not piece:
            break
        content += piece
    return content


def _refuse_broken_line(text: str, path: Path, line: int, known: Container[str]) -> None:
    name = re.match(r"\s*(?:export\s+)?['\"]?([A-Z_]+)", text)
    if name and name[1] in known:
        raise SettingsError(
            f"the line that sets {name[1]} cannot be parsed (set by {path}:{line})",
            hint="write NAME=value; check for missing closing quotes",
        )


def _expanded(value: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Return `value` with its references replaced, and the first unset name, or an empty string."""
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if name not in known and default is None:
            missing.append(name)
        return known.get(name, default or "")

    return re.sub(r"\$\{([^}:]*)(?::-([^}]*))?\}", fill, value), missing[0] if missing else ""
