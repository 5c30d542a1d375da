"""Memories out and in again: whole or not at all, and twice is once."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.files import FileError
from junkie_cli.core.foreign_values import objects, seconds_of
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from junkie_cli.core.progress import Progress
from junkie_cli.core.settings import Settings
from tests.support import odd_rows
from tests.support.generations import ALL, Administration, Make, as_role, named, reader
from tests.support.postgres import execute
from tests.support.proxy import Proxy

WHOLE = "SELECT string_agg(m::text, '|' ORDER BY memory_id) FROM ai.user_memories m"
ODD = [
    "",
    " ",
    "tab\tnewline\n\r",
    "\x1b[31m\x07",
    "\\ \\n \\. \\\\",
    "\"quoted\" and 'single'",
    "🏰 \u202e\u200b\ufeff",
    "\x01\x02",
]


def written(path: Path, *rows: dict[str, Any] | str) -> Path:
    """A file with a line for each row."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("generation", ALL)
async def test_there_and_back_changes_nothing(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation)
    settings, path = admin.settings(url), admin.folder / "all.jsonl"
    whole = named(generation, WHOLE)
    before = await admin.value(url, whole)
    count = (await export_memories(settings, path=path)).memories
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().splitlines()) == count
    for _ in range(2):
        again = await import_memories(settings, path)
        assert (again.read, again.added, again.updated, again.unchanged, again.undo) == (count, 0, 0, count, None)
    await admin.do(url, named(generation, "TRUNCATE ai.user_memories"))
    assert (await import_memories(settings, path)).added == count
    if generation != "2.2":  # there the JSON text is written anew: the same words, other escapes
        assert await admin.value(url, whole) == before
    assert (await import_memories(settings, path)).unchanged == count


async def test_from_each_generation_to_the_newest(
    written_by: Make, database: DatabaseUrl, admin: Administration
) -> None:
    path = admin.folder / "old.jsonl"
    await export_memories(admin.settings(written_by("2.2")), path=path)
    new = admin.settings(database)
    assert (await import_memories(new, path)).added == 4
    assert (await import_memories(new, path)).unchanged == 4
    page = await list_memories(new, MemoryFilter("bob"))
    assert page.memories[0].memory == "Bob lives in Kraków 🏰"
    assert page.memories[0].created_at == page.memories[0].updated_at is not None


async def test_the_newest_into_an_old_one_loses_no_field_in_silence(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("2.2"))
    row = {"memory_id": "x", "memory": "y", "user_id": "ada", "updated_at": 1}
    assert (await import_memories(settings, written(admin.folder / "a", row | {"feedback": None}))).added == 1
    with pytest.raises(UsageError, match=r"line 1 has feedback, which this database \(agno 2.2\) cannot hold"):
        await import_memories(settings, written(admin.folder / "b", row | {"feedback": "good"}))


async def test_odd_texts_survive(database: DatabaseUrl, admin: Administration) -> None:
    settings, path = admin.settings(database), admin.folder / "odd.jsonl"
    rows = [
        {"memory_id": f"m{n}", "memory": text, "user_id": f"u\t{text}", "topics": [text]} for n, text in enumerate(ODD)
    ]
    rows.append({"memory_id": "long", "memory": "é" * 1_000_000, "user_id": "u"})
    assert (await import_memories(settings, written(path, *rows))).added == len(rows)
    await export_memories(settings, path=path)
    back = {row["memory_id"]: row for row in map(json.loads, path.read_text().splitlines())}
    for row in rows:
        assert all(back[row["memory_id"]][name] == value for name, value in row.items())
    pieces: list[bytes] = []
    await export_memories(settings, "u\t\x01\x02", write=pieces.append)
    assert json.loads(b"".join(pieces))["memory"] == "\x01\x02"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not an object"),
        ('"x"', "is not an object"),
        ("{}", "has no memory_id"),
        ('{"memory_id": "", "memory": "x"}', "has no memory_id"),
        ('{"memory_id": "x"}', "has no memory"),
        ('{"memory_id": "x", "memory": NaN}', "is not JSON"),
        ('{"memory_id": null, "memory": "x"}', "has no memory_id"),
        ('{"memory_id": "x", "memory": "y", "user_id": 7}', "has a user_id that is not a text"),
        ('{"memory_id": "x", "memory": "y", "created_at": "now"}', "has a created_at that is no time"),
        ('{"memory_id": "x", "memory": "y", "updated_at": true}', "has a updated_at that is no time"),
        ('{"memory_id": "x", "memory": "y", "updated_at": [1]}', "has a updated_at that is no time"),
        ('{"memory_id": "x", "memory": "y", "created_at": 1000000000000000000000}', "has a created_at that is no time"),
        ('{"memory_id": "x", "memory": 1e200000}', "has a number that is too large"),
        ('{"memory_id": "x", "memory": 1e999, "updated_at": "1"}', "has a number that is too large"),
        ('{"memories": [{"memory_id": "x"}]}', "has no memory"),
        ('{"memory_id": "x", "memory": "y", "surprise": 1}', "has a field that no memory has: surprise"),
        ('{"memory_id": "x", "memory": "y", "surprise": null}', "has a field that no memory has: surprise"),
        ("\\.", "is not JSON"),
        ('{"memory_id": "x", "memory": "\\ud800"}', "is not UTF-8, or has half a character"),
        ("[" * 100_000, "is nested too deep"),
    ],
)
async def test_a_bad_line_is_named_and_nothing_imported(
    database: DatabaseUrl, admin: Administration, line: str, problem: str
) -> None:
    settings = admin.settings(database)
    good = {"memory_id": "good", "memory": "x"}
    with pytest.raises(UsageError) as caught:
        await import_memories(settings, written(admin.folder / "bad.jsonl", good, "", line, "nonsense"))
    named = "memory 1 of line 3" if "memories" in line else "line 3"
    assert f"{named} {problem}" in caught.value.message
    assert "line 4 is not JSON" in caught.value.message
    assert (await list_memories(settings, MemoryFilter())).memories == ()


async def test_times_in_every_form(database: DatabaseUrl, admin: Administration) -> None:
    second = 1_764_547_200
    forms: list[Any] = [second, second * 1000, second * 10**6, float(second), str(second), "2025-12-01T00:00:00Z"]
    forms += ["2025-12-01 01:00+01:00", "2025-12-01"]
    settings = admin.settings(database)
    path = written(
        admin.folder / "times",
        *({"memory_id": f"m{n}", "memory": "x", "updated_at": form} for n, form in enumerate(forms)),
    )
    assert (await import_memories(settings, path)).added == len(forms)
    assert (await import_memories(settings, path)).unchanged == len(forms)
    stored = await admin.value(database, "SELECT array_agg(DISTINCT updated_at) FROM ai.user_memories")
    assert stored == [second]


@pytest.mark.parametrize("generation", ["2.2", "3.1"])
async def test_odd_rows_survive_export_and_import(
    database: DatabaseUrl, written_by: Make, admin: Administration, postgres_server: ScratchServer, generation: str
) -> None:
    """Rows of every shape: their own file changes nothing, and elsewhere it makes the same rows."""
    url = written_by(generation)
    kind = "json" if generation == "2.2" else "jsonb"
    refused = ("endless", "nul", "half", "exponent")  # what jsonb cannot hold, or writes in another way
    odd = [row for row in odd_rows.memories(kind, dated=kind == "jsonb") if not any(name in row for name in refused)]
    execute(postgres_server, ";".join(odd), url.database or "")
    first, second = admin.folder / "first.jsonl", admin.folder / "second.jsonl"
    count = (await export_memories(admin.settings(url), path=first)).memories
    done = await import_memories(admin.settings(url), first)
    assert (done.added, done.updated, done.unchanged) == (0, 0, count)
    elsewhere = admin.settings(database)
    assert (await import_memories(elsewhere, first)).added == count
    await export_memories(elsewhere, path=second)
    assert [_comparable(line) for line in sorted(second.read_bytes().splitlines())] == [
        _comparable(line) for line in sorted(first.read_bytes().splitlines())
    ]


def _comparable(line: bytes) -> Any:
    row = objects(line.decode())
    row |= {name: seconds_of(row.get(name)) for name in ("created_at", "updated_at")}
    return {name: value for name, value in row.items() if name not in ("feedback", "created_at")}


async def test_bytes_that_are_no_text(database: DatabaseUrl, admin: Administration) -> None:
    path = admin.folder / "latin.jsonl"
    path.write_bytes('{"memory_id": "x", "memory": "é"}\n'.encode("latin-1"))
    with pytest.raises(UsageError, match="line 1 is not UTF-8"):
        await import_memories(admin.settings(database), path)
    path.write_bytes(b"\xef\xbb\xbf" + b'{"memory_id": "x", "memory": "y"}\r\n' * 2)
    assert (await import_memories(admin.settings(database), path)).added == 1
    with pytest.raises(FileError):
        await import_memories(admin.settings(database), admin.folder / "nowhere")


async def test_two_lines_with_one_id(database: DatabaseUrl, admin: Administration) -> None:
    path = written(admin.folder / "d", {"memory_id": "x", "memory": "a"}, {"memory_id": "x", "memory": "b"})
    with pytest.raises(UsageError, match="line 2 has the memory_id of line 1"):
        await import_memories(admin.settings(database), path)


async def first_of_ada(settings: Settings) -> dict[str, Any]:
    pieces: list[bytes] = []
    await export_memories(settings, "ada", write=pieces.append)
    row: dict[str, Any] = json.loads(b"".join(pieces).splitlines()[0])
    return row


async def test_conflicts(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings, path = admin.settings(url), admin.folder / "c.jsonl"
    row, new = await first_of_ada(settings), {"memory_id": "new", "memory": "x", "user_id": "ada"}
    before = await admin.value(url, WHOLE)
    with pytest.raises(UsageError) as caught:
        await import_memories(settings, written(path, new, row | {"memory": "another"}))
    assert f"line 2: {row['memory_id']} says something else" in caught.value.message
    with pytest.raises(UsageError, match="has another owner") as caught:
        await import_memories(settings, written(path, new, row | {"user_id": "eve"}), overwrite=True)
    assert caught.value.hint == "an owner never changes"
    assert await admin.value(url, WHOLE) == before
    path = written(path, new, row | {"memory": "another"})
    dry = await import_memories(settings, path, overwrite=True, dry_run=True)
    assert (dry.added, dry.updated, dry.undo, await admin.value(url, WHOLE)) == (1, 1, None, before)
    done = await import_memories(settings, path, overwrite=True)
    assert (done.added, done.updated) == (1, 1)
    assert (await get_memory(settings, row["memory_id"])).memory.memory == "another"
    assert (await undo(settings)).undone == 2
    assert await admin.value(url, WHOLE) == before


async def test_without_undo_no_copy_is_kept(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    row = await first_of_ada(settings)
    path = written(admin.folder / "n", row | {"memory": "another"}, {"memory_id": "n", "memory": "x"})
    done = await import_memories(settings, path, overwrite=True, undo=False)
    assert (done.added, done.updated, done.undo) == (1, 1, None)
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_history") == 0


async def test_a_lost_connection_leaves_no_file(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, to_jsonb(repeat('x', 200)), 'u', n, n FROM generate_series(1, 20000) n",
    )
    path = admin.folder / "e.jsonl"
    path.write_text("the old export\n")
    with Proxy(url) as proxy:
        settings = admin.settings(proxy.url(url))

        def cut(done: int, *_: int) -> None:
            if done > 1000:
                proxy.cut()

        with pytest.raises(DatabaseError) as caught:
            await export_memories(settings, path=path, progress=Progress(reach=cut))
    assert caught.value.code == "database_lost"
    assert path.read_text() == "the old export\n"
    assert [entry.name for entry in admin.folder.iterdir() if entry.is_file()] == ["e.jsonl"]


async def test_a_lost_connection_imports_nothing(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    before = await admin.value(url, WHOLE)
    rows = [{"memory_id": f"m{n}", "memory": "x" * 100} for n in range(20_000)]
    path = written(admin.folder / "i.jsonl", *rows)
    for pattern in (b"ANALYZE pg_temp", b"INSERT INTO"):
        with Proxy(url) as proxy:
            proxy.cut_when(pattern)
            with pytest.raises(DatabaseError):
                await import_memories(admin.settings(proxy.url(url)), path)
            assert proxy.cuts == 1
        assert await admin.value(url, WHOLE) == before
    with Proxy(url) as proxy:
        done = asyncio.create_task(import_memories(admin.settings(proxy.url(url)), path))
        await asyncio.to_thread(proxy.wait, lambda proxy: proxy.sent > 10_000)
        proxy.cut()
        with pytest.raises(DatabaseError):
            await done
    assert await admin.value(url, WHOLE) == before


async def test_a_connection_lost_while_waiting_for_room_to_send(database: DatabaseUrl, admin: Administration) -> None:
    path = written(admin.folder / "i.jsonl", *({"memory_id": f"m{n}", "memory": "x" * 999} for n in range(20_000)))
    sent: list[int] = []
    with Proxy(database) as proxy:
        proxy.stall_when(b"m100")  # from here on nothing is taken, until all buffers are full
        settings = admin.settings(proxy.url(database))
        done = asyncio.create_task(
            import_memories(settings, path, progress=Progress(reach=lambda read, _: sent.append(read)))
        )
        async with asyncio.timeout(30):
            before = -1
            while not sent or len(sent) > before:
                before = len(sent)
                await asyncio.sleep(0.2)
        assert sent[-1] < 20_000
        proxy.cut()
        with pytest.raises(DatabaseError) as caught:
            async with asyncio.timeout(30):
                await done
    assert caught.value.code == "database_lost"
    assert await admin.value(database, "SELECT count(*) FROM ai.user_memories") == 0


async def test_a_full_disk_leaves_the_old_file(written_by: Make, admin: Administration) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full")
    settings = admin.settings(written_by("3.1"))

    def full(_: bytes) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(OSError, match="No space left"):
        await export_memories(settings, write=full)
    with pytest.raises(FileError):
        await export_memories(settings, path=admin.folder / "no folder" / "x")


async def test_a_reader_exports_and_may_not_import(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"))
    settings, path = admin.settings(as_role(url, "plain")), admin.folder / "r.jsonl"
    assert (await export_memories(settings, path=path)).memories == 4
    path = written(path, {"memory_id": "n", "memory": "x"})
    with pytest.raises(DatabaseError) as caught:
        await import_memories(settings, path)
    assert caught.value.code == "database_rights"


@pytest.mark.parametrize("source", ["a device", "a sparse file", "a pipe"])
async def test_a_line_without_an_end_is_refused(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("junkie_cli.core.files.LONGEST_LINE", 1 << 20)
    path = {"a device": Path("/dev/zero"), "a sparse file": admin.folder / "sparse", "a pipe": admin.folder / "pipe"}[
        source
    ]
    if source == "a sparse file":
        path.write_bytes(b"")
        os.truncate(path, 1 << 40)
    process = None
    if source == "a pipe":
        os.mkfifo(path)
        process = await asyncio.create_subprocess_exec("sh", "-c", 'exec cat /dev/zero > "$1"', "sh", path)
    with pytest.raises(FileError, match="a line is longer than 1 MB"):
        await import_memories(admin.settings(written_by("3.1")), path)
    if process:
        await process.wait()
