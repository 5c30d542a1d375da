"""Converts errors of asyncpg and of the system to DatabaseError.

A message names the server, the database and the role, never a password or contents of rows: PostgreSQL quotes values in
its details and in many messages, so these are dropped. The codes are:

database_dns, database_refused, database_timeout, database_tls, database_password, database_role, database_missing,
database_connections, database_starting, database_lost, database_rights, database_readonly, database_full,
database_locked, database_conflict, database_constraint, database_trigger, database_table, database_text,
database_pooler; database_none (no database yet); database_error for the rest.
"""

import asyncio
import errno
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.errors import DatabaseError, DatabaseLockedError

UNFIT = "database_unfit"
_ATTRS = {
    "read-write": "a server that takes writes",
    "read-only": "a read-only server",
    "primary": "a primary",
    "standby": "a standby",
}
"""The values of `target_session_attrs`, for messages."""
_UNFIT_HINT = "promote a standby, or change target_session_attrs in the database URL"


@contextmanager
def translate_errors(url: DatabaseUrl | None = None) -> Iterator[None]:
    """Convert asyncpg's errors to DatabaseError; other exceptions pass unchanged.

    Of system errors, only those of a lost or silent connection are converted: a full disk or a closed pipe inside the
    block is not an error of the database.
    """
    import asyncpg

    outer = sys.exc_info()[1]
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, *_CONNECTION_ERRORS) as error:
        if _is_interrupted(error, outer):
            # Errors during the cleanup of a cancelled statement are less important than the cancellation.
            raise asyncio.CancelledError from None
        before = error.__context__
        if (
            isinstance(before, TimeoutError) and before is not outer
        ):  # the timeout is the cause, a failed rollback its consequence
            raise _translated(before, url) from None
        raise _translated(error, url) from None


_CONNECTION_ERRORS = (ConnectionResetError, ConnectionAbortedError, TimeoutError)


def _is_interrupted(error: BaseException, outer: BaseException | None) -> bool:
    """Return whether this task was cancelled inside the block; not if it was cancelled before (`outer`)."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    if task is None or not task.cancelling():
        return False
    context = error.__context__
    while context is not None and context is not outer:
        if isinstance(context, asyncio.CancelledError):
            return True
        context = context.__context__
    return False


def _translated(error: Exception, url: DatabaseUrl | None) -> DatabaseError:
    import asyncpg

    if isinstance(error, asyncpg.PostgresError):
        return _refused(error, url)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return _client_error(error, url)
    if isinstance(error, TimeoutError):
        return _filled_in(_SENTENCES["57014"], url, None)
    return _filled_in(_LOST, url, None)


def _place(url: DatabaseUrl | None) -> str:
    return f"the database {_target(url)}" if url else "the database"


def _target(url: DatabaseUrl) -> str:
    return f"{url.database_name} at {', '.join(str(host) for host in url.hosts)}"


_LOST = (
    "database_lost",
    "the connection to {place} was lost",
    "it is unknown whether the last change was stored: check the server (junkie doctor), then check the change",
)


def _client_error(error: Exception, url: DatabaseUrl | None) -> DatabaseError:
    """Convert errors that asyncpg raises itself. Their texts can quote values, so they are dropped."""
    import asyncpg

    if isinstance(error, asyncpg.DataError):
        return DatabaseError("a value does not fit the type of its column", hint="nothing was changed")
    # asyncpg reports "cannot switch" for a connection that the server closed while it was idle.
    if "closed" in str(error) or "cannot switch" in str(error):
        return _filled_in(_LOST, url, None)
    return DatabaseError(
        f"protocol error with {_place(url)} ({type(error).__name__})",
        hint="check poolers and proxies between junkie and the server (junkie doctor)",
        code="database_error",
    )


# Errors of PostgreSQL by SQLSTATE: (code, message, hint). {place} is the database, {role} the role, {host} the server.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SENTENCES: Mapping[str, tuple[str, str, str]] = {
    "28P01": (
        "database_password",
        "{host} rejects the password of role {role}",
        "correct the password in the database URL (percent-encoded), in PGPASSWORD or in ~/.pgpass",
    ),
    "28000": (
        "database_password",
        "{host} does not accept connections of role {role}",
        "allow this role, database, address and kind of connection in the server's pg_hba.conf",
    ),
    "3D000": (
        "database_missing",
        "database {database} does not exist at {host}",
        "correct the name in the database URL, or create it: CREATE DATABASE",
    ),
    "53300": (
        "database_connections",
        "{host} accepts no more connections for role {role}",
        "wait, or close connections of other programs; raise max_connections, or use a pooler",
    ),
    "57P01": ("database_lost", "the server ended the connection to {place}: it is shutting down", "try again soon"),
    "57P02": ("database_lost", "the server ended the connection to {place}: it crashed", "check the server's log"),
    "57P05": ("database_lost", "the server ended the connection to {place}: it was idle for too long", "try again"),
    "25P03": ("database_lost", "the server ended the connection to {place}: a transaction was idle", "try again"),
    "57P04": ("database_missing", "database {database} at {host} was dropped", "restore it from a backup"),
    "57014": (
        "database_timeout",
        "{place} did not finish a statement in time",
        "check for other load on the server (junkie doctor), and try again",
    ),
    "40P01": ("database_conflict", "another program changed the same rows in {place} at once", "try again"),
    "40001": ("database_conflict", "another program changed the same rows in {place} at once", "try again"),
    "25006": (
        "database_readonly",
        "{place} is read-only: a standby, or configured as read-only",
        "use the primary in the database URL, or both hosts with target_session_attrs=read-write",
    ),
    "53100": ("database_full", "the disk of {place} is full", "free space on the server; nothing of this was stored"),
    "53200": ("database_error", "the server of {place} is out of memory", "check the server's log"),
    "P0001": (
        "database_trigger",
        "a trigger or function of {place} refused the change; nothing was changed",
        "to list triggers: SELECT tgrelid::regclass, tgname, tgfoid::regproc FROM pg_trigger WHERE NOT tgisinternal",
    ),
    "42P01": (
        "database_table",
        "a required table does not exist in {place}",
        "check JUNKIE_SCHEMA and the name of the database; for details: junkie doctor",
    ),
    "3F000": (
        "database_table",
        "the schema does not exist in {place}",
        "check JUNKIE_SCHEMA and the name of the database; for details: junkie doctor",
    ),
    "42703": (
        "database_table",
        "a table in {place} lacks a required column",
        "it was created by another version of agno: junkie doctor --only schema.version",
    ),
    "22021": (
        "database_text",
        "the text contains a character that PostgreSQL cannot store",
        "remove it (for example a zero byte)",
    ),
    "22P05": (
        "database_text",
        "the text contains a character that PostgreSQL cannot store",
        "remove it (for example a zero byte)",
    ),
    "0A000": ("database_error", "{place} lacks a required feature", "use PostgreSQL 13 or newer"),
    "XX001": ("database_error", "data of {place} is damaged", "restore a backup into a new database"),
    "XX002": ("database_error", "an index of {place} is damaged", "REINDEX it, and check the server's disk"),
}

# PgBouncer uses one SQLSTATE (08P01) for almost all errors, with English messages.
_POOLER_SENTENCES: tuple[tuple[str, tuple[str, str, str]], ...] = (
    (
        r"unsupported startup parameter",
        (
            "database_pooler",
            "the pooler at {host} refuses a parameter of the database URL",
            "remove options from the URL, or add them to the pooler's ignore_startup_parameters",
        ),
    ),
    (
        r"no such database|database .* does not exist",
        ("database_missing", "the pooler at {host} has no database {database}", "correct its name"),
    ),
    (
        r"no such user|auth(entication)? failed",
        (
            "database_password",
            "the pooler at {host}, or its server, rejects role {role} or its password",
            "correct them in the database URL, or the pooler's list of users",
        ),
    ),
    (
        r"no more connections allowed",
        ("database_connections", "the pooler at {host} accepts no more connections", "raise its max_client_conn"),
    ),
    (
        r"query_wait_timeout",
        (
            "database_connections",
            "the pooler at {host} had no free connection to the server in time",
            "raise its pool size, or check for long transactions",
        ),
    ),
    (
        r"server_login_retry|server login|cannot connect to server|server conn crashed|login rejected",
        ("database_refused", "the pooler at {host} cannot reach its server", "check whether the server is running"),
    ),
    (
        r"shut ?ting down|pgbouncer is (paused|suspended)",
        ("database_starting", "the pooler at {host} is shutting down", "try again soon"),
    ),
)


def _refused(error: Any, url: DatabaseUrl | None, host: Host | None = None) -> DatabaseError:
    """Convert an ErrorResponse of a server."""
    blockers = getattr(error, "blocked_by", "")
    if error.sqlstate == "55P03" or (blockers and error.sqlstate == "57014"):
        return _locked(blockers, url)
    sentence = _sentence(error)
    if sentence is None:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
        return DatabaseError(
            f"{_place(url)} refused a statement ({error.sqlstate}, {name})",
            hint="to find the cause: junkie doctor",
            code="database_error",
        )
    return _filled_in(sentence, url, host)


def _locked(blockers: str, url: DatabaseUrl | None) -> DatabaseError:
    """Return the error for a lock timeout; `blockers` are the sessions that held the lock, empty if unknown."""
    return DatabaseLockedError(
        f"{blockers or 'another program'} held a required lock in {_place(url)} for too long",
        hint="wait for it to finish, or have its owner end it: SELECT pg_terminate_backend(PROCESS)"
        if blockers
        else "wait for it to finish (to find long transactions: junkie doctor), and try again",
    )


def _filled_in(sentence: tuple[str, str, str], url: DatabaseUrl | None, host: Host | None) -> DatabaseError:
    code, text, hint = sentence
    message = text.format(
        place=_place(url),
        host=str(host) if host else ", ".join(map(str, url.hosts)) if url else "the server",
        role=url.role if url else "of this connection",
        database=url.database_name if url else "of this connection",
    )
    return DatabaseError(message, hint=hint, code=code)


def _sentence(error: Any) -> tuple[str, str, str] | None:
    message = str(error.args[0]) if error.args else ""
    if error.sqlstate == "42501":
        return _rights(message)
    if error.sqlstate == "57P03":
        return _not_now(message)
    if error.sqlstate in _CONSTRAINTS:
        return _constraint(error)
    if error.sqlstate == "0A000" and error.server_source_function == "RewriteQuery":
        return _RULE
    if error.sqlstate == "28000" and error.server_source_function == "InitializeSessionUserId":
        return (
            "database_role",
            "role {role} does not exist at {host}, or cannot log in",
            "correct the user in the database URL, or create it: CREATE ROLE ... LOGIN",
        )
    if error.sqlstate.startswith("08"):
        said = next((sentence for pattern, sentence in _POOLER_SENTENCES if re.search(pattern, message)), None)
        return said or (None if error.sqlstate == "08P01" else _LOST)
    if error.sqlstate == "53100" and '"/PostgreSQL.' in message:  # the name of a segment, independent of the language
        return (
            "database_full",
            "the shared memory of the server of {place} is full",
            "enlarge its /dev/shm (docker run --shm-size=256m, or shm_size in a compose file); the disk is not full",
        )
    return _name_in_function(error, message) or _SENTENCES.get(error.sqlstate)


def _name_in_function(error: Any, message: str) -> tuple[str, str, str] | None:
    """Return the error for a name that a function of the database uses, outside the schemas that are searched."""
    if error.sqlstate not in {"42P01", "42883", "42704"} or not error.context:
        return None
    missing = message.replace("{", "{{").replace("}", "}}")
    return (
        "database_trigger",
        f"a trigger or function of {{place}} failed ({missing}); nothing was changed",
        "name the schema in that function. Schemas in which other roles may create functions are not searched, unless:"
        " REVOKE CREATE ON SCHEMA ... FROM ...",
    )


def _rights(message: str) -> tuple[str, str, str]:
    """Return the error for a missing privilege; the message names an object ("permission denied for table x")."""
    policy = re.search(r'row-level security policy.* for table "(.+)"', message)
    if policy:
        table = policy[1].replace("{", "{{").replace("}", "}}")
        if message.startswith("query would be affected"):  # the setting row_security is off
            return (
                "row_security",
                f"row security hides rows of table {table} in {{place}} from role {{role}}",
                "connect as a role that row security does not apply to: one with BYPASSRLS, or the table's owner where"
                " it is not forced",
            )
        return (
            "row_security",
            f"row security does not let role {{role}} write this row of table {table} in {{place}}",
            "connect as a role that row security does not apply to: one with BYPASSRLS, or the table's owner where it"
            " is not forced; or have its owner add a policy that allows it",
        )
    match = re.match(r"permission denied for (table|schema|sequence|database|view|relation|function) (.+)$", message)
    what = f"{match[1]} {match[2]}".replace("{", "{{").replace("}", "}}") if match else "a required object"
    return (
        "database_rights",
        f"role {{role}} has no privilege on {what} in {{place}}",
        "have its owner grant it (to see what is missing: junkie doctor --only database.rights)",
    )


_CONSTRAINTS: Mapping[str, tuple[str, str]] = {
    "23502": ("a value in column {column} of {table}", "give the column a default (ALTER TABLE ... SET DEFAULT)"),
    "23503": ("the foreign key {constraint} of {table}", "change or delete the referenced rows"),
    "23505": ("the unique key {constraint} of {table}", "change or delete the row with the same key"),
    "23514": ("the check {constraint} of {table}", "use a value that it allows, or have its owner change it"),
    "23P01": ("the exclusion constraint {constraint} of {table}", "change or delete the conflicting row"),
}
"""Requirements of constraints and hints, by SQLSTATE."""


_RULE = (
    "database_trigger",
    "a rule (CREATE RULE) of a table in {place} prevents the change; nothing was changed",
    "to list rules: SELECT * FROM pg_rules; use a trigger instead",
)


def _constraint(error: Any) -> tuple[str, str, str]:
    """Return the error for a violated constraint, from PostgreSQL's fields for table, column and constraint."""
    if error.server_source_function == "exec_stmt_raise":  # a function can put anything into these fields
        return _SENTENCES["P0001"]
    names = {
        "column": error.column_name or "unknown",
        "constraint": error.constraint_name or "unknown",
        "table": f"table {error.table_name}" if error.table_name else f"type {error.data_type_name or 'unknown'}",
    }
    what, hint = _CONSTRAINTS[error.sqlstate]
    required = what.format(**names).replace("{", "{{").replace("}", "}}")
    return "database_constraint", f"{{place}} requires {required}; nothing was changed", hint


def _not_now(message: str) -> tuple[str, str, str]:
    states = (("starting up", "is starting up"), ("shutting down", "is shutting down"), ("recovery", "is recovering"))
    state = next((said for word, said in states if word in message), "does not accept connections at the moment")
    return "database_starting", f"the server at {{host}} {state}", "try again in a few seconds"


# --- errors while connecting ------------------------------------------------------------------------------------------


def while_connecting(error: Exception, url: DatabaseUrl, host: Host, budget: float) -> Exception:
    """Convert the error of a failed connection to one host; return other errors unchanged."""
    import asyncpg

    if isinstance(error, DatabaseError):
        return error
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return _refused(error, url, host)
    for kinds, kind_of in _CONNECT_FAILURES:
        if isinstance(error, kinds):
            kind = kind_of(error, url, host) if callable(kind_of) else kind_of
            break
    else:
        kind = _kind_of_asyncpg(error)
    return _connect_error(kind, host, reason=_reason(error), budget=budget) if kind else error


def _kind_of_asyncpg(error: Exception) -> str:
    import asyncpg

    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return "closed"
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        # asyncpg refuses its arguments: a TLS file that it looks for by default is missing, or a PG... variable is off.
        return "no_authority" if "root certificate" in str(error) else "configuration"
    return "protocol" if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | ValueError) else ""


def _refused_tls(error: Exception, url: DatabaseUrl, host: Host) -> str:
    if "rejected SSL upgrade" not in str(error):
        return "closed"
    return "no_tls" if url.demands_tls else "protocol"  # a PostgreSQL without TLS is connected to without


def _unreachable(error: Any, url: DatabaseUrl, host: Host) -> str:
    if host.is_socket:
        return "socket_rights" if isinstance(error, PermissionError) else "no_socket"
    # For a name with several addresses, asyncio combines the errors into one without errno.
    refused = error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)
    return "refused" if refused else "unreachable"


def _certificate(error: Any, url: DatabaseUrl, host: Host) -> str:
    return _CERTIFICATES.get(error.verify_code, "certificate")


_CERTIFICATES = {
    9: "certificate_not_yet",
    10: "certificate_expired",
    23: "certificate_revoked",
    62: "certificate_name",
    64: "certificate_name",
}
"""By OpenSSL's X509_V_ERR numbers."""

_CONNECT_FAILURES: tuple[tuple[Any, str | Callable[..., str]], ...] = (
    ((socket.gaierror, UnicodeError), "dns"),
    (TimeoutError, "silent"),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, "handshake"),
    (ConnectionRefusedError, _unreachable),
    (ConnectionError, _refused_tls),
    (OSError, _unreachable),
)

_RENEW = "renew the server's certificate, or add its authority: sslrootcert=FILE"
_ADDRESS = "correct host and port in the database URL"
_CONNECT_SENTENCES: Mapping[str, tuple[str, str, str]] = {
    "dns": (
        "database_dns",
        "the host name {name} cannot be resolved",
        "correct the host in the database URL, or fix the DNS of this machine",
    ),
    "silent": (
        "database_timeout",
        "{host} did not answer within {budget:g} seconds",
        "check for a firewall or a hanging server; to change the limit: connect_timeout in the database URL",
    ),
    "refused": (
        "database_refused",
        "{host} refuses the connection: no server is listening there",
        "start PostgreSQL, or " + _ADDRESS,
    ),
    "unreachable": ("database_refused", "{host} cannot be reached", "start PostgreSQL, or " + _ADDRESS),
    "no_socket": (
        "database_refused",
        "no server is listening at the socket {host}",
        "start PostgreSQL, or correct the folder and port in the database URL",
    ),
    "socket_rights": (
        "database_rights",
        "this user cannot access the socket {host}",
        "run as another user, or change the permissions of the folder",
    ),
    "closed": (
        "database_lost",
        "{host} accepted the connection and closed it",
        "check the server's log, and whether it is PostgreSQL and accepts connections from here",
    ),
    "protocol": ("database_error", "the server at {host} does not use the PostgreSQL protocol", _ADDRESS),
    "configuration": (
        "database_error",
        "the connection settings are invalid",
        "check the parameters of the database URL, and variables that begin with PG",
    ),
    "no_authority": (
        "database_tls",
        "no certificate authority to verify the server's certificate (~/.postgresql/root.crt)",
        "add sslrootcert=FILE to the database URL, or sslrootcert=system for a public certificate",
    ),
    "no_tls": (
        "database_tls",
        "{host} offers no TLS, which the database URL requires",
        "enable TLS on the server; in a trusted network only: sslmode=prefer",
    ),
    "handshake": (
        "database_tls",
        "the TLS connection to {host} failed{reason}",
        "check sslmode, sslcert and sslkey in the database URL, and the server's log",
    ),
    "certificate": (
        "database_tls",
        "the TLS certificate of {host} is not signed by a trusted authority",
        _RENEW,
    ),
    "certificate_not_yet": ("database_tls", "the TLS certificate of {host} is not valid yet", _RENEW),
    "certificate_expired": ("database_tls", "the TLS certificate of {host} has expired", _RENEW),
    "certificate_revoked": ("database_tls", "the TLS certificate of {host} was revoked", _RENEW),
    "certificate_name": (
        "database_tls",
        "the TLS certificate of {host} is not for {name}",
        "use the name in the certificate, or sslmode=verify-ca",
    ),
}


def _connect_error(kind: str, host: Host, **fields: Any) -> DatabaseError:
    code, sentence, hint = _CONNECT_SENTENCES[kind]
    return DatabaseError(sentence.format(host=host, name=host.name, **fields), hint=hint, code=code)


def _reason(error: Any) -> str:
    """OpenSSL's reason in parentheses, for an error of TLS that has one."""
    reason = (getattr(error, "reason", "") or "") if isinstance(error, ssl.SSLError) else ""
    return f" ({reason.replace('_', ' ').lower()})" if reason else ""


def unfit(host: Host, attrs: str) -> DatabaseError:
    """Return the error for a host that does not match target_session_attrs; the next host is tried."""
    return DatabaseError(f"{host} is not {_ATTRS[attrs]}", hint=_UNFIT_HINT, code=UNFIT)


def none_answered(url: DatabaseUrl, failures: Mapping[str, DatabaseError]) -> DatabaseError:
    """Return the error if no host of the URL can be used; `failures` by host, in order."""
    errors = list(failures.values())
    codes = {error.code for error in errors}
    code = codes.pop() if len(codes) == 1 else next(c for c in (e.code for e in reversed(errors)) if c != UNFIT)
    if code == UNFIT:
        return DatabaseError(
            f"no server of {_target(url)} is {_ATTRS.get(url.target_session_attrs, 'fit')}",
            hint=_UNFIT_HINT,
            code="database_readonly",
        )
    if len(errors) == 1:
        return errors[0]
    return DatabaseError(
        f"no server of {len(errors)} could be used: {'; '.join(error.message for error in errors)}",
        hint=errors[-1].hint,
        code=code,
    )


def check_files(url: DatabaseUrl) -> None:
    """Raise an error for a TLS file that cannot be read, because asyncpg's error does not name it."""
    for key, path in url.tls_files.items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise DatabaseError(
                f"the {key} of the database URL cannot be read: {path}: {error.strerror}",
                hint="correct the path or its permissions (or the variable that begins with PGSSL)",
                code="database_tls",
            ) from None
