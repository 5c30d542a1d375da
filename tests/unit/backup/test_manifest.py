"""Manifests: read only when they are what junkie wrote, and nothing in a backup folder stops a run or holds it up."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.backup import catalogue, content_hash, files, lock, names, prune
from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup.access import Access
from junkie_cli.core.backup.manifest import Extension, ManifestError
from junkie_cli.core.backup.retention import Policy
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.errors import BackupError
from tests.support.backup_folder import MAGIC, make, manifest_of
from tests.support.texts import texts


def document_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(manifests.path_for(path).read_text())
    return found


def as_older(document: dict[str, Any]) -> dict[str, Any]:
    """As versions before the checksum wrote it."""
    return {name: value for name, value in document.items() if name != "checksum"}


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    path.write_bytes(MAGIC)
    manifest = manifest_of(
        path,
        extensions=(Extension("vector", "public", "0.8", True),),
        collations=("en_US",),
        roles=("bot",),
        access=(("owner", "SCHEMA", "", "bot"),),
        left_out=("public.messages",),
        verified_at=None,
        unverified_because="x",
    )
    manifests.path_for(path).write_text(manifests.to_text(manifest))
    assert manifests.load(manifests.path_for(path)) == manifest


@given(st.binary(max_size=300) | texts(max_size=100).map(str.encode))
def test_a_manifest_of_garbage_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.json"
    path.write_bytes(content)
    with pytest.raises(BackupError):
        manifests.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"junkie_backup": 2},
        {"bytes": -1},
        {"file": "../x"},
        {"sha256": "0"},
        {"tables": [{"name": "x"}]},
        {"started_at": "2026-01-01T00:00:00"},
        {"origin": None},
    ],
)
def test_a_manifest_with_impossible_values_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = make(tmp_path, "a.dump")
    document = as_older(document_of(path))
    manifests.path_for(path).write_text(json.dumps(document | change))
    with pytest.raises(BackupError):
        manifests.load(manifests.path_for(path))


_NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.just(10**4000)
_LETTERS = st.text(st.sampled_from(list('aZ09:-+ /."\\\0\n\ud800é')), max_size=8)
_TEXTS = _LETTERS | st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "-1", "1e5"])
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_LETTERS, inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, each in inner for place in _places(each, (*way, key)))]


def _with(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[way[0]] = _with(copy[way[0]], way[1:], value)
    return copy


@given(data=st.data())
async def test_whatever_stands_in_a_manifest_the_folder_can_be_listed_and_pruned(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any value in any place: it is read as a backup that every step takes, or listed as unknown."""
    folder = tmp_path_factory.mktemp("any")
    path = make(folder, "a.dump", access=(("grant", "TABLE", "t", "", "bot", "SELECT", "False"),))
    document = as_older(document_of(path))
    way = data.draw(st.sampled_from(_places(document)))
    manifests.path_for(path).write_text(json.dumps(_with(document, way, data.draw(_VALUES))))
    (entry,) = await catalogue.scan(folder)
    assert entry.status in {"verified", "unverified", "damaged", "unknown"}
    await prune.expiries(folder)
    await prune.plan(folder, Policy(daily=1))
    if entry.manifest is not None:
        manifests.to_text(entry.manifest)
        Access.from_entries(entry.manifest.access)


ODD: dict[str, Callable[[Path], object]] = {
    "a named pipe": lambda path: os.mkfifo(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": lambda path: path.mkdir(),
    "a file of a terabyte": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "deep nesting": lambda path: path.write_text("[" * 200_000),
    "deep nesting in a manifest": lambda path: path.write_text(
        '{"junkie_backup": 1, "access": ' + "[" * 200_000 + "]" * 200_000 + "}"
    ),
    "half a character": lambda path: path.write_text('{"junkie_backup": 1, "file": "\\ud800"}'),
    "not a number": lambda path: path.write_text('{"junkie_backup": 1, "seconds": NaN}'),
    "a number without an end": lambda path: path.write_text('{"junkie_backup": 1, "bytes": ' + "9" * 100_000 + "}"),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("of", ["manifest", "manifest without a dump", "dump"])
async def test_an_odd_file_is_listed_as_unknown_and_stops_nothing(tmp_path: Path, what: str, of: str) -> None:
    good = make(tmp_path, "good.dump")
    odd = tmp_path / "odd.dump"
    if of == "manifest":
        odd.write_bytes(MAGIC)
    ODD[what](odd if of == "dump" else manifests.path_for(odd))
    found = {entry.path.name: entry for entry in await catalogue.scan(tmp_path)}
    assert found["good.dump"].status == "verified"
    if "odd.dump" in found:  # a link to nothing is no manifest
        assert found["odd.dump"].status == "unknown"
        assert found["odd.dump"].problem
        with pytest.raises(BackupError):
            await catalogue.require_good(odd)
    assert await catalogue.find("latest", tmp_path) == good
    verdicts = await prune.prune(tmp_path, Policy(last=1))
    assert [verdict.entry.path.name for verdict in verdicts if not verdict.decision.keep] == []


async def test_a_pipe_in_a_dumps_place_is_not_read_even_when_its_manifest_is_right(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    document = as_older(document_of(path)) | {"bytes": 0}
    manifests.path_for(path).write_text(json.dumps(document))
    path.unlink()
    os.mkfifo(path)
    entry = await catalogue.inspect(path, thorough=True)
    assert (entry.status, "a named pipe" in entry.problem) == ("damaged", True)


async def test_what_a_dead_run_cannot_have_left_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".a.dump.junkie-partial").mkdir()
    os.mkfifo(tmp_path / ".b.dump.junkie-partial")
    assert files.sweep(tmp_path) == []


async def test_a_lock_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / lock.NAME)
    with pytest.raises(BackupError, match="not a regular file"):
        async with lock.hold(tmp_path, purpose="test"):
            pass


@given(data=st.data())
def test_one_changed_letter_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Except in the name of the checksum itself: without one it is read as an older manifest, with the same values."""
    folder = tmp_path_factory.mktemp("letter")
    path = make(folder, "a.dump", access=(("grant", "TABLE", "user_memories", "", "bot", "SELECT", "False"),))
    manifest_path = manifests.path_for(path)
    before, intact = manifest_path.read_text(), manifests.load(manifest_path)
    at = data.draw(st.sampled_from([found.start() for found in re.finditer(r"\w", before)]))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789").filter(lambda c: c != before[at]))
    manifest_path.write_text(before[:at] + letter + before[at + 1 :])
    try:
        assert manifests.load(manifest_path) == intact
    except ManifestError:
        return
    assert '"checksum"' not in manifest_path.read_text()


def test_a_manifest_that_another_program_has_laid_out_anew_is_the_same(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    manifest_path = manifests.path_for(path)
    intact, document = manifests.load(manifest_path), document_of(path)
    manifest_path.write_text(json.dumps(dict(reversed(document.items())), ensure_ascii=True))
    assert manifests.load(manifest_path) == intact


def test_a_manifest_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    manifest_path = manifests.path_for(path)
    intact = manifests.load(manifest_path)
    manifest_path.write_text(json.dumps(as_older(document_of(path)), indent=1))
    assert manifests.load(manifest_path) == intact


HOSTILE = (
    ("grant", "TABLE", "t", "", "bot", "SELECT ON TABLE t TO bot; DROP TABLE t; GRANT SELECT", "False"),
    ("grant", "TABLE t TO bot; DROP TABLE", "t", "", "bot", "SELECT", "False"),
    ("owner", "TABLE t OWNER TO bot; DROP TABLE", "t", "bot"),
    ("default", "bot", "TABLES TO bot; DROP TABLE t; --", "bot", "SELECT", "False"),
    ("default", "bot", "TABLES", "bot", "ALL", "False"),
    ("owner", "TABLE", "t"),
    ("drop", "TABLE", "t", "bot"),
    (),
)


@pytest.mark.parametrize("entry", HOSTILE)
def test_a_manifest_cannot_carry_statements(tmp_path: Path, entry: tuple[str, ...]) -> None:
    path = make(tmp_path, "a.dump")
    document = as_older(document_of(path)) | {"access": [list(entry)]}
    manifests.path_for(path).write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="an invalid owner or grant"):
        manifests.load(manifests.path_for(path))


@given(name=texts(max_size=20) | st.sampled_from(["$junkie$", "a $junkie$;\n\\! id\n", "'", "%", '"']))
def test_a_tables_name_never_leaves_its_quotes(name: str) -> None:
    """Between the dollar quotes there is nothing of a manifest but numbers: a name could end them."""
    script = content_hash.check_sql([("ai", name, 1, "00ff00ff00ff00ff")], encoding="UTF8")
    _, body = script.rsplit("DO $junkie$", 1)
    assert body.count("$junkie$") == 1
    fixed = content_hash.check_sql([("ai", "t", 1, "00ff00ff00ff00ff")], encoding="UTF8")
    assert body == fixed.rsplit("DO $junkie$", 1)[1]


def entry_of(kind: str, name: str) -> str:
    return f"215; 1259 16389 {kind} ai {name} the owner"


def test_names_of_every_kind_are_found_in_the_dumps_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    path.write_bytes(MAGIC)
    access = [("owner", "SCHEMA", "", "bot")]
    access += [("owner", "TABLE", name, "bot") for name in ("user_memories", "a view", "m", "f")]
    access += [("grant", "SEQUENCE", "s", "", "", "USAGE", "False"), ("owner", "TYPE", "mood", "bot")]
    access += [("owner", "ROUTINE", "f(a integer, VARIADIC b ai.mood[])", "bot")]
    access += [("owner", "ROUTINE", '"odd ""name (x"(text)', "bot"), ("owner", "TYPE", "d\nd", "bot")]
    manifest = manifest_of(path, access=tuple(access))
    lines = [entry_of("TABLE DATA", "user_memories"), entry_of("TABLE", "user_memories"), entry_of("VIEW", "a view")]
    lines += [entry_of("MATERIALIZED VIEW", "m"), entry_of("FOREIGN TABLE", "f"), entry_of("SEQUENCE", "s")]
    lines += [entry_of("TYPE", "mood"), entry_of("FUNCTION", "f(integer, ai.mood[])"), entry_of("DOMAIN", "d d")]
    lines += [entry_of("PROCEDURE", 'odd "name (x(text)')]
    names.check(Contents(tuple(lines)), manifest)
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        without = Contents(tuple(lines[:number] + lines[number + 1 :]))
        with pytest.raises(BackupError, match="does not contain everything in its manifest"):
            names.check(without, manifest)
