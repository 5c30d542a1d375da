"""Which PostgreSQL is too old, as known when this version was released."""

import pytest

from junkie_cli.core.postgres.releases import LAST_RELEASES, NEWEST, newer_than, outdated


@pytest.mark.parametrize(
    ("version", "newest"),
    [
        ("18.7", ""),
        ("18.6", "18.7"),
        ("17.12", ""),
        ("17.11 (Debian 17.11-1.pgdg12+1)", "17.12"),
        ("16.15", "16.16"),
        ("15.18 (Debian 15.18-0+deb12u1)", "15.20"),
        ("14.25", ""),
        ("14.9", "14.25"),
        ("19.0", ""),
        ("19.1", ""),
        ("19beta2", "19.0"),
        ("19rc1", "19.0"),
        ("20devel", ""),
        ("20.1", ""),
        ("13.22", ""),  # no longer supported, which is another warning
        ("9.6.24", ""),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_minors_that_are_behind(version: str, newest: str) -> None:
    assert newer_than(version) == newest


def test_every_major_with_minors_has_a_last_day() -> None:
    assert set(NEWEST) <= set(LAST_RELEASES)


def test_programs_of_our_own_are_judged_by_faults_that_can_be_reached() -> None:
    (old,) = outdated(server="", tools=(), ours=("17.10",))
    assert "CVE-2026-15741" in old.detail
    assert "CVE-2026-6460" in old.detail
    assert "install PostgreSQL 17.12" in old.hint
    (newer,) = outdated(server="", tools=(), ours=("17.11",))
    assert "CVE-2026-15741" not in newer.detail
    assert "CVE-2026-6460" in newer.detail
    assert outdated(server="", tools=(), ours=("17.12", "19.0")) == []


def test_servers_and_tools_are_judged_by_their_age() -> None:
    server, tools = outdated(server="16.14", tools=("18.6",), ours=())
    assert "the server is PostgreSQL 16.14, and 16.16 fixes" in server.detail
    assert "postgresql-client-18" in tools.hint
