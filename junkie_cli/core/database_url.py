"""Parses the URL of a PostgreSQL database, and converts it to the form of each driver and tool.

Three lanes connect with it: asyncpg (administration), SQLAlchemy over asyncpg (agno) and libpq's own tools (pg_dump,
psql). They accept different URLs, so it is parsed here once, by libpq's rules
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING), and converted for each:

- parameters that all three support are passed to all three (`CARRIED`);
- parameters that only libpq supports, and that are safe to omit for asyncpg, are passed to libpq (`LIBPQ_ONLY`);
- parameters that cannot be omitted safely are refused, with the reason (`REFUSED`);
- anything else (`pgbouncer=true`, options of a driver) is dropped and listed in `DatabaseUrl.ignored`.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from junkie_cli.core.os_account import home_file, login_name
from junkie_cli.core.password_file import password_entries, unescape
from junkie_cli.core.value_class import field, frozen

DEFAULT_PORT = 5432
MASK = "********"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "sslmode": SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "target_session_attrs": SESSION_ATTRS,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),  # asyncpg has no GSSAPI encryption, so `require` is impossible
}
_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # sun_path without its closing zero
DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi", "pg8000"})

# Where a local server listens if the URL names no host, in asyncpg's order. libpq's default folder depends on its
# build, so the same list is used for all.
LOCAL_SERVER = ("/run/postgresql", "/tmp", "localhost")  # noqa: S108  PostgreSQL's default folder, only read

# Parameters for all three, with libpq's variable for each.
CARRIED: Mapping[str, str] = {
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "application_name": "PGAPPNAME",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

# Only for libpq and its tools; asyncpg is as safe without them (channel_binding: see `notes`).
LIBPQ_ONLY: Mapping[str, str] = {
    "channel_binding": "PGCHANNELBINDING",
    "fallback_application_name": "",
    "gssencmode": "PGGSSENCMODE",
    "gssdelegation": "PGGSSDELEGATION",
    "keepalives": "",
    "keepalives_idle": "",
    "keepalives_interval": "",
    "keepalives_count": "",
    "tcp_user_timeout": "",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "sslsni": "PGSSLSNI",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcompression": "PGSSLCOMPRESSION",
}

REFUSED: Mapping[str, str] = {
    "service": "write the service's host, user and database into the URL",
    "servicefile": "write the service's host, user and database into the URL",
    "hostaddr": "write the address as the host",
    "require_auth": "use sslmode=verify-full, which protects the password from a fake server",
    "requirepeer": "use a socket folder that only the user of the server can write to",
    "requiressl": "use sslmode=require",
    "replication": "junkie makes no replication connections",
    "sslpassword": "use a key file without a passphrase, readable only by you",
    "sslcrldir": "put the revoked certificates into one file and name it with sslcrl",
}

# Variables of libpq that asyncpg ignores: they could lead the tools to another server.
_TOOLS_ALONE = (
    *("PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGSSLCRLDIR"),
    *("PGCLIENTENCODING", "PGOPTIONS", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGLOADBALANCEHOSTS"),
)

_ENCRYPTION = ("PGCHANNELBINDING", "PGGSSENCMODE", "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLROOTCERT")

_LIFTED = ("host", "port", "user", "password", "dbname")
_ASYNCPG_WORDS = ("ssl", "direct_tls", "target_session_attrs")
_TLS_FILES = (
    *("sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("krbsrvname", "gsslib"),
)
_TLS_WORDS = ("sslmode", "sslnegotiation", "channel_binding")
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@frozen
class Host:
    """A server: `name` is a host name, an address, or the folder of a Unix socket (begins with a slash)."""

    name: str
    port: int = DEFAULT_PORT

    @property
    def is_socket(self) -> bool:
        """Return whether this is the folder of a Unix socket."""
        return self.name.startswith("/")

    def __str__(self) -> str:
        if self.is_socket:
            return f"{self.name}/.s.PGSQL.{self.port}"
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@frozen
class DatabaseUrl:
    """The address and credentials of a database, decoded.

    `parameters` are libpq's, in a fixed order; `ignored` are the names of dropped query keys. Two URLs are equal if
    they connect to the same database in the same way. The password is not in the `repr`.
    """

    hosts: tuple[Host, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        """Parse a URL as libpq does; also accept SQLAlchemy's driver suffix and `ssl=`.

        Raises ValueError with the problem and the correct form; the text reads after the variable's name and quotes no
        part of the URL, because a badly encoded password can be anywhere in it.
        """
        return _parse(text)

    @classmethod
    def socket(cls, path: str | Path, *, user: str, database: str, port: int = DEFAULT_PORT) -> "DatabaseUrl":
        """Return the URL of the server whose Unix socket is in the folder `path`."""
        return cls(hosts=(Host(str(path), port),), user=user, database=database)

    @property
    def query(self) -> Mapping[str, str]:
        """Return the parameters by name, decoded."""
        return dict(self.parameters)

    @property
    def role(self) -> str:
        """Return the role: the URL's, `PGUSER`, or the login name, as in libpq."""
        return self.user or os.environ.get("PGUSER") or login_name() or str(os.geteuid())

    @property
    def database_name(self) -> str:
        """Return the database: the URL's, `PGDATABASE`, or the name of the role, as in libpq."""
        return self.database or os.environ.get("PGDATABASE") or self.role

    @property
    def is_local_socket(self) -> bool:
        """Return whether every host is a Unix socket, without TLS."""
        return all(host.is_socket for host in self.hosts)

    @property
    def connect_timeout(self) -> float | None:
        """Return the time limit for each host in seconds; None if unset or, as in libpq, not positive."""
        value = self._setting("connect_timeout") or ""
        return float(value) if re.fullmatch(r"0*[1-9][0-9]{0,8}", value) else None

    @property
    def target_session_attrs(self) -> str:
        """Return which of several servers to use: one of `SESSION_ATTRS`."""
        value = self._setting("target_session_attrs")
        return value if value in SESSION_ATTRS else "any"

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes about the interpretation of this URL, without secrets."""
        notes = []
        if self.ignored:
            notes.append(f"ignored, because it is not a parameter of PostgreSQL: {', '.join(self.ignored)}")
        if self._setting("channel_binding") == "require" and not self.is_local_socket:
            notes.append(
                "channel_binding=require: asyncpg cannot bind the password to the TLS channel, so the server's "
                f"certificate is verified instead (sslmode={self._verified_tls()['sslmode']})"
            )
        return tuple(notes)

    @property
    def tls_files(self) -> Mapping[str, str]:
        """Return the files that asyncpg will open, by parameter (`sslrootcert`, `sslcert`, `sslkey`, `sslcrl`)."""
        named = _dsn_query(self._tls_arguments(self.hosts).get("dsn", ""))
        return {key: named[key] for key in ("sslrootcert", "sslcert", "sslkey", "sslcrl") if key in named}

    def with_database(self, name: str) -> "DatabaseUrl":
        """Return the URL of another database on the same server with the same role."""
        return replace(self, database=name)

    def masked(self) -> str:
        """Return the URL for people, with asterisks instead of the password."""
        return self._plain(MASK if self.password else None, self.parameters)

    def libpq(self) -> str:
        """Return `postgresql://` with the password, for libpq; never use it on a command line."""
        return self._plain(quote(self.password, safe="") if self.password else None, self.parameters)

    def sqlalchemy(self) -> str:
        """Return `postgresql+asyncpg://` with the password, for `create_async_engine`.

        SQLAlchemy passes every query key to `asyncpg.connect` as an argument; it accepts `ssl` but neither `sslmode`
        nor `sslrootcert`, so these are passed in asyncpg's `dsn`.
        """
        arguments = self.asyncpg_arguments()
        credentials = quote(arguments["user"], safe="")
        if arguments["password"]:
            credentials += f":{quote(arguments['password'], safe='')}"
        netloc, query = "", {"database": arguments["database"]}
        if len(self.hosts) == 1 and re.fullmatch(r"[\w.-]+", self.hosts[0].name, re.ASCII):
            netloc = str(self.hosts[0])
        else:
            query |= self._host_lists("host", "port")
        query |= {key: str(arguments[key]) for key in _ASYNCPG_WORDS if key in arguments}
        if dsn := {**arguments.get("server_settings", {}), **_dsn_query(arguments.get("dsn", ""))}:
            query["dsn"] = f"postgresql://?{_encode(dsn)}"
        return f"postgresql+asyncpg://{credentials}@{netloc}/?{_encode(query)}"

    def asyncpg_arguments(self, host: Host | None = None) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect`, for all hosts or for one.

        The password is the URL's, `PGPASSWORD`, or the password file's, read by libpq's rules, because asyncpg does not
        decode escapes in that file. There is no timeout among them.
        """
        hosts = (host,) if host else self.hosts
        arguments: dict[str, Any] = {
            "host": [one.name for one in hosts],
            "port": [one.port for one in hosts],
            "user": self.role,
            "password": self.password or self._stored_password(hosts),
            "database": self.database_name,
            "target_session_attrs": self.target_session_attrs,
        }
        server = {key: self.query[key] for key in ("application_name", "options") if key in self.query}
        if server:
            arguments["server_settings"] = server
        return arguments | self._tls_arguments(hosts)

    @property
    def demands_tls(self) -> bool:
        """Return whether a server without TLS must be refused."""
        return self._tls_arguments(self.hosts).get("ssl", "prefer") not in {"disable", "allow", "prefer"}

    def libpq_environment(self) -> dict[str, str]:
        """Return libpq's variables for this URL. The password is in `PGPASSWORD`, not on a command line."""
        variables = self._host_lists("PGHOST", "PGPORT") | {"PGUSER": self.role, "PGDATABASE": self.database_name}
        if self.password:
            variables["PGPASSWORD"] = self.password
        names = {**CARRIED, **LIBPQ_ONLY}
        variables |= {names[key]: value for key, value in self.parameters if names[key]}
        if self._setting("sslrootcert") == "system" and (certificates := system_certificates()):
            # OpenSSL in a bundled libpq searches the path of its build, not the certificates of this system.
            variables["SSL_CERT_FILE"] = certificates
        return variables

    def tool_environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return a complete environment for a tool of libpq: `environ` (default: ours) with this URL.

        Variables that asyncpg does not read (`PGSERVICE`, `PGHOSTADDR`, ...) are left out: the tools must reach the
        same server as everything else.
        """
        base = os.environ if environ is None else environ
        # Sockets have no TLS: asyncpg ignores that, libpq would refuse.
        foreign = (*_TOOLS_ALONE, *_ENCRYPTION) if self.is_local_socket else _TOOLS_ALONE
        return {key: value for key, value in base.items() if key not in foreign} | self.libpq_environment()

    def _setting(self, key: str) -> str | None:
        return self.query.get(key) or os.environ.get({**CARRIED, **LIBPQ_ONLY}[key]) or None

    def _host_lists(self, names: str, ports: str) -> dict[str, str]:
        return {
            names: ",".join(host.name for host in self.hosts),
            ports: ",".join(str(host.port) for host in self.hosts),
        }

    def _plain(self, password: str | None, parameters: tuple[tuple[str, str], ...]) -> str:
        credentials = quote(self.user or "", safe="") + (f":{password}" if password else "")
        query = dict(parameters)
        netloc = ""
        if any(host.is_socket for host in self.hosts):
            query = self._host_lists("host", "port") | query
        else:
            netloc = ",".join(_netloc(host) for host in self.hosts)
        authority = f"{credentials}@{netloc}" if credentials else netloc
        tail = f"?{_encode(query)}" if query else ""
        return f"postgresql://{authority}/{quote(self.database or '', safe='')}{tail}"

    def _tls_arguments(self, hosts: tuple[Host, ...]) -> dict[str, Any]:
        if all(host.is_socket for host in hosts):
            return {"ssl": "disable"}
        tls = self._verified_tls()
        if tls.get("sslrootcert") == "system":
            tls["sslrootcert"] = system_certificates() or "/no/system/certificates"
        arguments: dict[str, Any] = {}
        if "sslmode" in tls:
            arguments["ssl"] = tls["sslmode"]
        if tls.get("sslnegotiation") == "direct":
            arguments["direct_tls"] = True
        if files := {key: tls[key] for key in _TLS_FILES if key in tls}:
            arguments["dsn"] = f"postgresql://?{_encode(files)}"
        return arguments

    def _verified_tls(self) -> dict[str, str]:
        """Return TLS parameters for asyncpg, which verify the certificate in the place of channel binding."""
        tls = {key: value for key in (*_TLS_WORDS, *_TLS_FILES) if (value := self._setting(key))}
        if tls.get("sslrootcert") == "system":
            tls["sslmode"] = "verify-full"
        if tls.get("channel_binding") == "require" and not tls.get("sslmode", "").startswith("verify"):
            tls["sslmode"] = "verify-ca" if "sslrootcert" in tls else "verify-full"
            if not home_file(".postgresql/root.crt"):
                tls.setdefault("sslrootcert", "system")
        return tls

    def _stored_password(self, hosts: tuple[Host, ...]) -> str:
        return os.environ.get("PGPASSWORD") or self._password_from_file(hosts) or ""

    def _password_from_file(self, hosts: tuple[Host, ...]) -> str | None:
        for entry in password_entries(self._setting("passfile")):
            if any(self._is_meant(host, entry) for host in hosts):
                return unescape(entry[4])
        return None

    def _is_meant(self, host: Host, entry: list[str]) -> bool:
        # libpq uses the name localhost for the default socket folder, asyncpg for every one: accept both.
        names = {host.name, "localhost"} if host.is_socket else {host.name}
        values = (names, {str(host.port)}, {self.database_name}, {self.role})
        return all(part == "*" or unescape(part) in meant for part, meant in zip(entry[:4], values, strict=True))


def system_certificates() -> str | None:
    """Return the file with the certificate authorities that this system trusts, or None."""
    import ssl  # takes 6 ms, and few commands need it

    for path in (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_SYSTEM_CERTIFICATES):
        if path and Path(path).is_file():
            return path
    return None


def _netloc(host: Host) -> str:
    name = f"[{quote(host.name, safe=':')}]" if ":" in host.name else quote(host.name, safe="")
    return f"{name}:{host.port}"


def _encode(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{key}={quote(value, safe='/,:')}" for key, value in parameters.items())


def _dsn_query(dsn: str) -> dict[str, str]:
    return dict(_pairs(dsn.partition("?")[2])) if dsn else {}


# --- reading a URL ----------------------------------------------------------------------------------------------------


def _parse(text: str) -> DatabaseUrl:
    _check_characters(text)
    authority, path, query = _split(text)
    user, password, hostlist = _credentials(authority)
    pairs = _pairs(query)
    known, ignored = _sort_out(pairs)
    named = {key: value for key, value in pairs if key in _LIFTED}
    hosts = _hosts(hostlist, [value for key, value in pairs if key == "host"], named.get("port"), "@" in authority)
    url = DatabaseUrl(
        hosts=hosts,
        user=named.get("user") or user or None,
        password=named.get("password") or password or None,
        database=named.get("dbname") or _decode(path, "its database name") or None,
        parameters=known,
        ignored=ignored,
    )
    _check(url)
    return url


def _check_characters(text: str) -> None:
    if text != text.strip() or text[:1] in {"'", '"'}:
        raise ValueError("has spaces or quotes around it")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("has a space or a control character in it (a space is written %20)")


def _split(text: str) -> tuple[str, str, str]:
    scheme, separator, rest = text.partition("://")
    dialect, _, driver = scheme.lower().partition("+")
    if not separator or dialect not in {"postgresql", "postgres"}:
        raise ValueError("has to begin with postgresql:// (or postgres://, postgresql+asyncpg://)")
    if driver and driver not in DRIVERS:
        raise ValueError("has an unknown driver after postgresql+ (supported: asyncpg, psycopg, psycopg_async)")
    # As in libpq, credentials end at the first @; before it, / must be encoded, ? and # need not.
    credentials, at, remainder = rest.partition("@")
    if at and "/" not in credentials:
        netloc, path, query = _cut(remainder)
        authority = f"{credentials}@{netloc}"
    else:
        authority, path, query = _cut(rest)
        if at and "@" not in query.partition("=")[2]:
            raise ValueError("has a / in the user name or password, which is written %2F")
    if authority.count("@") > 1 or "@" in path:
        raise ValueError("has more than one @ (inside a user name, password or database name it is written %40)")
    return authority, path, query


def _cut(text: str) -> tuple[str, str, str]:
    place, _, query = text.partition("?")
    netloc, _, path = place.partition("/")
    return netloc, path, query


def _credentials(authority: str) -> tuple[str, str, str]:
    credentials, at, hostlist = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    return _decode(user, "its user name"), _decode(password, "its password"), hostlist if at else authority


def _decode(text: str, where: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(f"has a % in {where} that is not followed by two hexadecimal digits (a % is written %25)")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError(f"has percent-encoded bytes in {where} that are not UTF-8") from None
    if "\x00" in decoded:
        raise ValueError(f"has a zero byte (%00) in {where}")
    return decoded


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError("has a part after the ? that is not name=value")
        pairs.append((_decode(key, "a name after the ?"), _decode(value, "a value after the ?")))
    return pairs


def _sort_out(pairs: list[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the parameters in a fixed order, and dropped names. An empty value counts as unset, as in libpq."""
    known: dict[str, str] = {}
    ignored: dict[str, None] = {}
    for key, value in pairs:
        if key in REFUSED:
            raise ValueError(f"has {key}, which junkie does not support: {REFUSED[key]}")
        if key in CARRIED or key in LIBPQ_ONLY or key == "ssl":
            known[key] = value
        elif key not in _LIFTED:
            ignored[key] = None
    if alias := known.pop("ssl", ""):
        mode = {"true": "require", "false": "disable"}.get(alias.lower(), alias)
        if known.setdefault("sslmode", mode) != mode:
            raise ValueError("has both ssl and sslmode, and they differ")
    if known.get("sslrootcert") == "system":
        known["sslmode"] = known.get("sslmode") or "verify-full"
    return tuple((key, known[key]) for key in (*CARRIED, *LIBPQ_ONLY) if known.get(key)), tuple(ignored)


def _hosts(hostlist: str, from_query: list[str], ports: str | None, has_at: bool) -> tuple[Host, ...]:
    """The hosts: those after the ?, else those of the authority, else this machine's. `ports` count for all of them."""
    listed = [_host(part) for part in hostlist.split(",")] if hostlist else []
    if any(from_query):
        listed = _hosts_in_query(from_query, listed[0][1] if len(listed) == 1 else None)
    elif not listed:
        listed = _default_hosts(has_at)
    if not all(name for name, _ in listed):
        raise ValueError("has an empty host name")
    if ports:
        listed = _with_ports([name for name, _ in listed], ports)
    return tuple(Host(name, port or DEFAULT_PORT) for name, port in listed)


def _hosts_in_query(values: list[str], default_port: int | None) -> list[tuple[str, int | None]]:
    named = [_host_in_query(part) for value in values for part in value.split(",")]
    return [(name, port or default_port) for name, port in named]


def _default_hosts(has_at: bool) -> list[tuple[str, int | None]]:
    if has_at:
        raise ValueError("has no host name after the @ (for a Unix socket add ?host=/its/folder)")
    return [(name, None) for name in LOCAL_SERVER]


def _host(part: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", part)
    if match:
        if not match[1]:
            raise ValueError("has an empty address between [ and ]")
        return _decode(match[1], "its host name"), _port(match[2])
    name, _, port = part.partition(":")
    if ":" in port:
        raise ValueError("has an IPv6 address without brackets (write [::1]), or an unencoded : in the password")
    return _decode(name, "its host name"), _port(port)


def _host_in_query(part: str) -> tuple[str, int | None]:
    """Parse `host=` in the form of libpq or of SQLAlchemy (`host:port`)."""
    if part.startswith("/") or (part.count(":") > 1 and not part.startswith("[")):
        return part, None
    return _host(quote(part, safe="[]:"))


def _with_ports(names: list[str], ports: str) -> list[tuple[str, int | None]]:
    numbers = [_port(port) for port in ports.split(",")]
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise ValueError(f"has {len(names)} hosts but {len(numbers)} ports")
    return list(zip(names, numbers, strict=True))


def _port(text: str | None) -> int | None:
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= 65535:
        raise ValueError(
            "has a port that is not a number from 1 to 65535 (a / or # in the password is written %2F, %23)"
        )
    return number


def _check(url: DatabaseUrl) -> None:
    query = url.query
    if any(host.name.startswith("@") for host in url.hosts):
        raise ValueError("has an abstract socket (@...), which asyncpg does not support: use the folder of the socket")
    if any("," in host.name for host in url.hosts):
        raise ValueError("has a comma inside a host name")
    for key, words in _WORDS.items():
        if key in query and query[key] not in words:
            raise ValueError(f"has an invalid value for {key} (use one of: {', '.join(words)})")
    if "connect_timeout" in query and not re.fullmatch(r"-?[0-9]{1,9}", query["connect_timeout"]):
        raise ValueError("has a connect_timeout that is not a whole number of seconds")
    mode = query.get("sslmode")
    if query.get("sslrootcert") == "system" and mode != "verify-full":
        raise ValueError("has sslrootcert=system with a weaker sslmode than verify-full: use sslmode=verify-full")
    if query.get("sslnegotiation") == "direct" and mode not in {"require", "verify-ca", "verify-full"}:
        raise ValueError("has sslnegotiation=direct, which requires sslmode=require or stronger")
    _check_channel_binding(url)
    if any(len(os.fsencode(str(host))) > _SOCKET_PATH_BYTES for host in url.hosts if host.is_socket):
        raise ValueError(f"has a socket folder whose path is too long (with the socket {_SOCKET_PATH_BYTES} bytes)")


def _check_channel_binding(url: DatabaseUrl) -> None:
    if url.query.get("channel_binding") != "require":
        return
    if any(host.is_socket for host in url.hosts):
        raise ValueError("has channel_binding=require with a Unix socket, which has no TLS channel")
    if url.query.get("sslmode") in {"disable", "allow"}:
        raise ValueError(
            "has channel_binding=require with an sslmode that allows connections without TLS: use sslmode=verify-full"
        )
