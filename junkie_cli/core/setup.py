"""What `config init` and the chat's first run need, without their questions: checks, and writing the `.env`."""

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
_LARGEST_ANSWER = 4 * 1024 * 1024  # bytes of a list of models; the longest known is a tenth of that


# --- checks -----------------------------------------------------------------------------------------------------------


def check_key(base_url: str, key: str, *, timeout: float = 10.0) -> tuple[str, ...]:
    """Ask the provider at `base_url` for its models (`GET /models`) with `key`, which may be empty.

    Returns their names, sorted: empty when the server has no such list, which some local ones have not. Nothing is
    generated and nothing costs money. `timeout` is in seconds. Raises ProviderError, codes as in a conversation:
    `provider_key` (refused), `provider_unreachable`, `provider_unavailable`, `provider_address`.
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
        """A redirect would carry the key to another server."""

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
        raise ProviderError(f"{host} refuses this key ({status})", hint="copy it again, whole", code="provider_key")
    if status == 429 or status >= 500:
        raise ProviderError(
            f"{host} is not available now ({status})", hint="try again later", code="provider_unavailable"
        )
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
        what = "cannot be reached: nothing listens there"
    else:
        what = f"cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    return ProviderError(f"{host} {what}", hint="check the address and the network", code="provider_unreachable")


def _host(base_url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(base_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


async def check_database(url: DatabaseUrl, *, timeout: float = 10.0) -> str:  # noqa: ASYNC109  it holds for each host
    """Connect to `url` and return the server's version. Raises DatabaseError; `timeout` is in seconds."""
    from junkie_cli.core.postgres.connect import close_connection, open_connection

    connection = await open_connection(url, timeout=timeout)
    try:
        return f"PostgreSQL {connection.get_settings().server_version}"
    finally:
        await close_connection(connection)


def checked_value(name: str, text: str) -> Any:
    """`text` read as the variable `name` would be. Raises SettingsError with what is wrong with it."""
    try:
        return BY_NAME[name].parse(text) if text else ""
    except ValueError as error:
        raise SettingsError(f"{name} {error}", hint="write it again") from None


# --- the .env ---------------------------------------------------------------------------------------------------------


@frozen
class WrittenFile:
    """What writing did: whether the file is `created`, and its `mode` now."""

    path: Path
    created: bool
    mode: int


def env_file_to_write(explicit: Path | None = None) -> Path:
    """The file that `config init` writes: the named one, else the one in force if it is ours, else `.env` here.

    A `.env` of another program stays as it is: the one in the user's config folder is written then. Raises
    SettingsError where there is a `.env` here that is not read, being somebody else's.
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
            f"{path} belongs to somebody else, and root does not read it unasked", hint=f"name it: --env-file {path}"
        )
    return path


def env_file_to_keep(settings: Settings) -> Path | None:
    """The file that answers given in passing are kept in: the one in force if it is ours, else the user's own.

    None where the one in force is ours and no plain file: nothing can be kept in it, and no other file is read.
    """
    path = settings.env_file
    if path is None or not is_ours(read_env_file(path)):
        return config_env_file()
    return path if path.is_file() else None


def readable_by_others(path: Path) -> int | None:
    """The mode of the file at `path` if others than its owner can read or write it; None if not, or without a file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & 0o077 else None


def write_env_values(path: Path, values: Mapping[str, str], *, tighten: bool = False) -> WrittenFile:
    """Set `values` in the `.env` at `path`, which is created, readable by its owner alone, when there is none.

    Every other line stays as it is, comments and the bot's variables included; where a variable is set twice the line
    that counts, the last, is changed. The file is replaced in one step, through links; its owner stays the same, and
    its mode too unless `tighten` takes it from all others. Raises SettingsError when it cannot be written, is no
    regular file, or was changed by somebody else meanwhile.
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
                raise SettingsError(f"{path} was changed by somebody else meanwhile", hint="run it again")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", hint="mend the file first; nothing was changed") from None
    except (OSError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        raise SettingsError(f"{path} cannot be written: {reason}", hint=f"nothing was changed; {_ANOTHER}") from None
    return WrittenFile(target, before is None, stat.S_IMODE(target.stat().st_mode))


_ANOTHER = "check the folder's permissions, or name another file: --env-file FILE"


def _no_plain_file(path: Path) -> SettingsError:
    return SettingsError(
        f"{path} is not a plain file: nothing can be kept in it", hint="write it where its content comes from"
    )


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
    """The line with another value; its indentation, `export` and comment stay."""
    before = re.match(r"\s*(?:export[^\S\r\n]+)?", original)
    comment = "" if "#" in old else r"[^\S\r\n]+#[^\r\n]*"
    after = re.search(rf"(?:{comment})?\s*\Z", original)
    return f"{before[0] if before else ''}{name}={_quoted(value)}{after[0] if after else ''}"


def _quoted(value: str) -> str:
    """`value` as python-dotenv, shells and `docker --env-file` read it back."""
    if "${" in value or not value.isprintable():
        raise SettingsError("a value with ${ or a control character cannot be kept in a .env", hint="write %24 for $")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./?&~^!*$-]*", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
