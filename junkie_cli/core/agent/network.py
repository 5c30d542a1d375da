"""How a model server is reached: directly or by a proxy (HTTP, HTTPS, SOCKS5), and whose certificates are believed.

The usual variables decide (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR). The HTTP client
reads all of them when it is made, also those that do not concern the server, and fails without naming the one that is
wrong; so they are read here, for one address, and handed over. Loads nothing heavy.
"""

import os
import re
import ssl
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from junkie_cli.core.sanitize import one_line
from junkie_cli.core.value_class import field, frozen

_SCHEMES = ("http", "https", "socks5", "socks5h")


class NetworkSettingError(ValueError):
    """A variable of the environment that cannot be used; `hint` is what to do about it."""

    def __init__(self, message: str, hint: str, code: str) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@frozen
class Proxy:
    """The proxy for one address, and the variable that names it; `label` is for people and holds no password."""

    address: str = field(repr=False)
    variable: str

    @property
    def label(self) -> str:
        """Host and port. What stands before the last @ is left out, also where a password holds a slash."""
        return self.address.partition("://")[2].rpartition("@")[2].partition("/")[0] or "without a host"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 instead of HTTP."""
        return self.address.startswith("socks")


def proxy_for(url: str) -> Proxy | None:
    """The proxy by which `url` is asked; None when it is asked directly."""
    from urllib.request import getproxies

    parts = urlsplit(url)
    found = getproxies()
    if _is_excluded(parts.hostname or "", _port(url), found.get("no", "")):
        return None
    for scheme in (parts.scheme, "all"):
        address = found.get(scheme)
        if address:
            return Proxy(_with_scheme(address), _variable(scheme))
    return None


def client_arguments(url: str) -> dict[str, Any]:
    """Arguments of an HTTP client that asks `url` and no other server. Raises NetworkSettingError."""
    proxy = proxy_for(url)
    if proxy is not None:
        _check(proxy, url)
    tls = _certificates() if url.startswith("https:") or (proxy and proxy.address.startswith("https:")) else False
    if proxy is not None and (proxy.is_socks or url.startswith("https:")):
        from junkie_cli.core.agent.proxy_transport import ProxyTransport

        return {"trust_env": False, "transport": ProxyTransport(proxy=_argument(proxy, tls), verify=tls)}
    return {"trust_env": False, "verify": tls, "proxy": _argument(proxy, tls) if proxy else None}


def tls_failure(causes: Iterable[BaseException]) -> ssl.SSLError | None:
    """The error of TLS among the causes of a failure; not how it waits for bytes, which is behind every timeout."""
    waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
    return next((cause for cause in causes if isinstance(cause, ssl.SSLError) and not isinstance(cause, waits)), None)


def certificate_variables() -> list[str]:
    """The variables that name certificates here."""
    return [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]


def _port(url: str) -> int:
    parts = urlsplit(url)
    try:
        return parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:  # the client reports an invalid address
        return 0


def _with_scheme(address: str) -> str:
    """The address of a proxy as the client takes it: curl and desktops also write HOST:PORT and socks://."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return f"http://{address}"
    scheme = scheme.lower()
    return f"{'socks5' if scheme == 'socks' else scheme}://{rest}"


def _variable(scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), "the proxy of the system")


def _is_excluded(host: str, port: int, entries: str) -> bool:
    host = host.lower().rstrip(".")
    return any(_covers(entry, host, port) for entry in re.split(r"[,\s]+", entries.lower()) if entry)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY covers a host: a name, one with all below it, an address, a network, with a port."""
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    with_port = re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry)
    if with_port is not None:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".").rstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _check(proxy: Proxy, url: str) -> None:
    """Raises NetworkSettingError for a proxy that no client could use."""
    try:
        parts = urlsplit(proxy.address)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _wrong_proxy(proxy, url, "is not the address of a proxy")


def _wrong_proxy(proxy: Proxy, url: str, what: str) -> NetworkSettingError:
    host = urlsplit(url).hostname
    return NetworkSettingError(
        f"{proxy.variable} {what} ({one_line(proxy.label)[:80]})",
        f"set {proxy.variable} to http://HOST:PORT, unset it, or add {host} to NO_PROXY",
        "provider_proxy",
    )


def _argument(proxy: Proxy, tls: ssl.SSLContext | bool = False) -> Any:
    """The proxy as the client takes it, with its user name and password apart: they may hold an @."""
    import httpx2

    parts = urlsplit(proxy.address)
    auth = (unquote(parts.username or ""), unquote(parts.password or ""))
    return httpx2.Proxy(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        auth=auth if any(auth) else None,
        ssl_context=tls if parts.scheme == "https" and isinstance(tls, ssl.SSLContext) else None,
    )


def _certificates() -> ssl.SSLContext:
    import httpx2

    try:
        return httpx2.create_ssl_context()
    except (OSError, ValueError) as error:  # SSLError is an OSError
        variables = certificate_variables()
        if not variables:
            raise
        variable = variables[0]
        raise NetworkSettingError(
            f"{variable} names {one_line(os.environ[variable])[:200]}, {_what_is_wrong(error, variable)}",
            f"point {variable} at a file of certificates (PEM), or unset it",
            "provider_tls",
        ) from None


def _what_is_wrong(error: Exception, variable: str) -> str:
    path = Path(os.environ[variable])
    if not path.exists():
        return "which does not exist"
    if variable == "SSL_CERT_FILE" and path.is_dir():
        return "which is a folder"
    if isinstance(error, PermissionError):
        return "which cannot be read"
    return "which holds no certificate"
