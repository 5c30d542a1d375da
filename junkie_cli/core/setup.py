"""Checks values and writes the `.env`, for `config init` and the first chat."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import ProviderError, SettingsError
from junkie_cli.core.files import FileError, complete_file
from junkie_cli.core.settings import BY_NAME, Settings, config_env_file, find_env_file, is_ours, read_env_file
from junkie_cli.core.value_class import frozen

GROQ_KEYS_PAGE = "https://console.groq.com/keys"
_LARGEST_ANSWER = 4 * 1024 * 1024  # bytes of a list of models; the longest known one has a tenth


# --- checks -----------------------------------------------------------------------------------------------------------


def check_key(base_url: str, key: str, *, timeout: float = 10.0) -> tuple[str, ...]:
    """Request the models of the provider at `base_url` (`GET /models`) with `key`, which can be empty.

    Returns their sorted names; empty if the server has no list, like some local ones. The request is free of charge.
    `timeout` is in seconds. Raises ProviderError with the codes of a conversation: `provider_key` (rejected),
    `provider_unreachable`, `provider_unavailable`, `provider_address`.
    """
    import json
    import urllib.error
    import urllib.request

    headers = {"Accept": "application/json", "User-Agent": "junkie"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    request = urllib.request.Request(f"{base_url.rstrip('/')}/models", headers=headers)  # noqa: S310  checked setting
    try:
        with _opener().open(request, timeout=timeout) as answer:
            return _names(json.loads(answer.read(_LARGEST_ANSWER)))
    except urllib.error.HTTPError as error:
        with error:
            return _refused(base_url, error.code)
    except (OSError, ValueError, _http_exception()) as error:
        raise _not_reached(base_url, error) from None


def _opener() -> Any:
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        """Refuses redirects, which would send the key to another server."""

        def redirect_request(self, *_: Any) -> None:
            return None

    return urllib.request.build_opener(NoRedirects)


def _http_exception() -> type[Exception]:
    import http.client

    return http.client.HTTPException


def _names(document: Any) -> tuple[str, ...]:
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError
    return tuple(sorted(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry))


def _refused(base_url: str, status: int) -> tuple[str, ...]:
    host = _host(base_url)
    if status in (404, 405, 501):
        return ()
    if status in (401, 403):
        raise ProviderError(
            f"{host} rejects this key ({status})", hint="copy the complete key again", code="provider_key"
        )
    if status == 429 or status >= 500:
        raise ProviderError(f"{host} is unavailable ({status})", hint="try again later", code="provider_unavailable")
    raise ProviderError(f"{host} answered {status}", hint="check the base URL", code="provider_address")


def _not_reached(base_url: str, error: Exception) -> ProviderError:
    host = _host(base_url)
    reason = getattr(error, "reason", error)
    if isinstance(error, ValueError):
        message, hint = f"{host} does not answer as an OpenAI-compatible server", "check the base URL; many end in /v1"
        return ProviderError(message, hint=hint, code="provider_address")
    if isinstance(reason, TimeoutError):
        what = "did not answer in time"
    elif isinstance(reason, ConnectionRefusedError):
        what = "cannot be reached: no server is listening there"
    else:
        what = f"cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    return ProviderError(f"{host} {what}", hint="check the address and the network", code="provider_unreachable")


def _host(base_url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(base_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


async def check_database(url: DatabaseUrl, *, timeout: float = 10.0) -> str:  # noqa: ASYNC109  it applies to each host
    """Connect to `url` and return the server's version. Raises DatabaseError; `timeout` is in seconds."""
    from junkie_cli.core.postgres.connect import close_connection, open_connection

    connection = await open_connection(url, timeout=timeout)
    try:
        return f"PostgreSQL {connection.get_settings().server_version}"
    finally:
        await close_connection(connection)


def checked_value(name: str, text: str) -> Any:
    """Parse `text` as the value of the variable `name`. Raises SettingsError."""
    try:
        return BY_NAME[name].parse(text) if text else ""
    except ValueError as error:
        raise SettingsError(f"{name} {error}", hint="try again") from None


# --- the .env ---------------------------------------------------------------------------------------------------------


@frozen
class WrittenFile:
    """The written file: whether it was `created`, and its `mode`."""

    path: Path
    created: bool
    mode: int


def env_file_to_write(explicit: Path | None = None) -> Path:
    """Return the file for `config init`: the named one, the one in use if it is ours, or `.env` here.

    A `.env` of another program is not changed: the one in the user's config folder is used then. Raises SettingsError
    for a `.env` here that belongs to another user.
    """
    if explicit is not None:
        return explicit.absolute()
    found = find_env_file()
    if found is not None and not is_ours(found):
        return config_env_file()
    if found is not None:
        if not found.path.is_file():
            raise _no_plain_file(found.path)
        return found.path
    path = Path.cwd() / ".env"
    if path.exists():
        raise SettingsError(
            f"{path} belongs to another user, so root does not read it", hint=f"to use it: --env-file {path}"
        )
    return path


def env_file_to_keep(settings: Settings) -> Path | None:
    """Return the file to save answers of the first chat in: the one in use if it is ours, or the user's own.

    None if the one in use is ours, but not a regular file, so that nothing can be saved in it.
    """
    path = settings.env_file
    if path is None or not is_ours(read_env_file(path)):
        return config_env_file()
    return path if path.is_file() else None


def readable_by_others(path: Path) -> int | None:
    """Return the mode of the file at `path` if others can read or write it; None otherwise."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & 0o077 else None


def write_env_values(path: Path, values: Mapping[str, str], *, tighten: bool = False) -> WrittenFile:
    """Set `values` in the `.env` at `path`; create it, readable only by its owner, if it does not exist.

    Other lines stay unchanged, including comments and the bot's variables; if a variable is set twice, the last line,
    which is effective, is changed. The file is replaced atomically, following links; owner and mode stay the same,
    except that `tighten` makes it private. Raises SettingsError if it cannot be written, is not a regular file, or was
    changed by another program in the meantime.
    """
    target = Path(os.path.realpath(path))
    try:
        before = target.stat() if target.exists() else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            raise _no_plain_file(path)
        text = _with_values(target.read_bytes().decode("utf-8") if before else "", values)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with complete_file(target, private=tighten) as file:
            file.write(text.encode())
            if before is not None and _version(target.stat()) != _version(before):
                raise SettingsError(f"another program changed {path} in the meantime", hint="run the command again")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", hint="correct the file first; nothing was changed") from None
    except (OSError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        raise SettingsError(f"{path} cannot be written: {reason}", hint=f"nothing was changed; {_ANOTHER}") from None
    return WrittenFile(target, before is None, stat.S_IMODE(target.stat().st_mode))


_ANOTHER = "check the folder's permissions, or use another file: --env-file FILE"


def _no_plain_file(path: Path) -> SettingsError:
    return SettingsError(f"{path} is not a regular file, so nothing can be saved in it", hint="change it at its source")


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _with_values(text: str, values: Mapping[str, str]) -> str:
    from io import StringIO

    from dotenv.parser import parse_stream

    bom = "\ufeff" if text.startswith("\ufeff") else ""
    bindings = list(parse_stream(StringIO(text.removeprefix("\ufeff"), newline="")))
    last = {binding.key: position for position, binding in enumerate(bindings) if binding.key is not None}
    pieces = [binding.original.string for binding in bindings]
    newline = "\r\n" if "\r\n" in text else "\n"
    for name, value in values.items():
        if name in last:
            pieces[last[name]] = _changed(pieces[last[name]], name, value, bindings[last[name]].value or "")
        elif value:
            if pieces and not pieces[-1].endswith(("\n", "\r")):
                pieces.append(newline)
            pieces.append(f"{name}={_quoted(value)}{newline}")
    return bom + "".join(pieces)


def _changed(original: str, name: str, value: str, old: str) -> str:
    """Return the line with another value; indentation, `export` and comment stay."""
    before = re.match(r"\s*(?:export[^\S\r\n]+)?", original)
    comment = "" if "#" in old else r"[^\S\r\n]+#[^\r\n]*"
    after = re.search(rf"(?:{comment})?\s*\Z", original)
    return f"{before[0] if before else ''}{name}={_quoted(value)}{after[0] if after else ''}"


def _quoted(value: str) -> str:
    """Quote `value` so that python-dotenv, shells and `docker --env-file` read it back."""
    if "${" in value or not value.isprintable():
        raise SettingsError("a .env cannot contain a value with ${ or a control character", hint="write %24 for $")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./?&~^!*$-]*", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
