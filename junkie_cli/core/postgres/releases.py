"""PostgreSQL's releases when this version of junkie was released, and faults of older ones.

A minor release only fixes bugs, so an older one causes a warning. For the server and programs that come with junkie,
only faults count that code in a restored dump, or a dumped server, can exploit: only their own user can reach that
server, by a private socket.

Source of the versions and faults: postgresql.org/support/versioning and /support/security.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date

from junkie_cli.core.value_class import frozen

KNOWN_SINCE = date(2026, 12, 1)
NEWEST: Mapping[int, int] = {14: 25, 15: 20, 16: 16, 17: 12, 18: 7, 19: 0}
"""The newest minor release of each major version on that day."""

LAST_RELEASES: Mapping[int, date] = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
    19: date(2031, 11, 13),
}
"""The day of the last minor release of each major version."""

_AUGUST: Mapping[int, int] = {14: 24, 15: 19, 16: 15, 17: 11, 18: 6}
_NOVEMBER: Mapping[int, int] = {14: 25, 15: 20, 16: 16, 17: 12, 18: 7}

# Exploitable faults of the bundled programs, and the minor releases that fix them: SQL injection through EXTRACT in the
# output of pg_dump; psql meta-commands in the output of pg_restore; type confusion that runs programs as the user of
# the server, by cursors, ALTER ... SET DATA TYPE and set-returning functions.
_REACHABLE: Mapping[str, Mapping[int, int]] = {
    "CVE-2026-15741": _AUGUST,
    "CVE-2026-18408": _AUGUST,
    "CVE-2026-16239": _AUGUST,
    "CVE-2026-6460": _NOVEMBER,
    "CVE-2026-120141": _NOVEMBER,
}


@frozen
class Outdated:
    """An outdated PostgreSQL: a sentence and a hint."""

    detail: str
    hint: str

    def __str__(self) -> str:
        return f"{self.detail}; {self.hint}"


def outdated(*, server: str, tools: Sequence[str], ours: Sequence[str]) -> list[Outdated]:
    """What is old of the versions in use: of a server (empty: an embedded one), of programs that the system installed,
    and of those from a wheel and of the embedded server, which count with what can be reached.
    """
    found = []
    if newest := newer_than(server):
        found.append(
            Outdated(
                f"the server is PostgreSQL {_short(server)}, and {newest} fixes bugs in it",
                "install the update and restart the server (hosted databases: on the provider's website)",
            )
        )
    for version in tools:
        if newest := newer_than(version):
            major = newest.partition(".")[0]
            found.append(
                Outdated(
                    f"pg_dump, pg_restore and psql are of PostgreSQL {_short(version)}, and {newest} repairs faults in"
                    " them",
                    f"install the update of postgresql-client-{major} (Debian, Ubuntu) or postgresql{major}"
                    " (Fedora, RHEL)",
                )
            )
    for version in ours:
        if faults := faults_of(version):
            major, safe = _short(version).partition(".")[0], newer_than(version)
            found.append(
                Outdated(
                    f"the PostgreSQL {_short(version)} of the embedded database or of the proof of backups has"
                    f" {', '.join(faults)}",
                    f"install PostgreSQL {safe} with the system's packages (postgresql-{major}), or name its programs"
                    " with JUNKIE_PG_BIN: junkie then uses it; until then restore and verify only backups of databases"
                    " whose owners you trust",
                )
            )
    return found


def _short(version: str) -> str:
    return version.partition(" ")[0]


def newer_than(version: str) -> str:
    """Return the newest minor release if `version` is older or a test version; otherwise an empty string."""
    found = _parsed(version)
    if found is None or found[0] not in NEWEST or found[1] >= NEWEST[found[0]]:
        return ""
    return f"{found[0]}.{NEWEST[found[0]]}"


def faults_of(version: str) -> tuple[str, ...]:
    """Return the exploitable faults of bundled programs of `version`."""
    found = _parsed(version)
    if found is None:
        return ()
    major, minor = found
    return tuple(cve for cve, fixed in _REACHABLE.items() if minor < fixed.get(major, 0))


def _parsed(version: str) -> tuple[int, int] | None:
    """Parse (major, minor) of `17.10` or `15.18 (Debian ...)`; minor -1 for `19beta1`; None for anything else."""
    found = re.match(r"(\d+)(?:\.(\d+)|(?=beta|rc|devel|alpha))", version)
    return (int(found[1]), int(found[2] or -1)) if found else None
