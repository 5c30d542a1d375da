"""The files of a backup folder: names come last, nothing is overwritten, and what the dead left is recognised."""

import os
import stat
from pathlib import Path

import pytest

from junkie_cli.core.backup import catalogue, files, lock, prune
from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup.retention import Policy
from junkie_cli.core.errors import BackupError, LockedError, NotFoundError
from tests.support.backup_folder import AT, MAGIC, ORIGIN, make, manifest_of


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {lock.NAME}


async def test_a_backup_gets_its_name_with_its_manifest_for_its_owner_alone(tmp_path: Path) -> None:
    os.umask(0)
    try:
        path = make(tmp_path, "a.dump")
    finally:
        os.umask(0o022)
    assert listing(tmp_path) == {"a.dump", "a.dump.json"}
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in listing(tmp_path)] == [0o600, 0o600]
    assert (await catalogue.inspect(path)).status == "verified"


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    files.prepare_folder(tmp_path / "x" / "y")
    assert stat.S_IMODE((tmp_path / "x" / "y").stat().st_mode) == 0o700


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make(tmp_path, "a.dump")
    with pytest.raises(BackupError, match="exists already"):
        files.create_partial(tmp_path / "a.dump")


def test_a_file_that_appears_at_the_last_moment_is_not_overwritten(tmp_path: Path) -> None:
    final = tmp_path / "a.dump"
    partial = files.create_partial(final)
    partial.write_bytes(MAGIC)
    manifest = manifest_of(partial, file="a.dump")
    final.write_text("somebody else's")
    with pytest.raises(BackupError):
        files.commit(final, manifest)
    assert final.read_text() == "somebody else's"


def test_two_backups_in_one_second_get_two_names(tmp_path: Path) -> None:
    first = files.free_name(tmp_path, "my db/ü", AT)
    assert first.name == "junkie-my_db__-20260315T120000Z.dump"
    first.touch()
    assert files.free_name(tmp_path, "my db/ü", AT).name == "junkie-my_db__-20260315T120000Z-2.dump"


@pytest.mark.parametrize(
    ("target", "folder", "name"),
    [(None, "/d", None), ("/x/b", "/x/b", None), ("/x/b.dump", "/x", "b.dump")],
)
def test_a_target_with_a_suffix_is_a_file(target: str | None, folder: str, name: str | None) -> None:
    assert files.resolve_target(Path(target) if target else None, Path("/d")) == (Path(folder), name)


async def test_what_a_dead_run_left_is_not_listed_and_the_next_run_clears_it(tmp_path: Path) -> None:
    whole = make(tmp_path, "whole.dump")
    files.create_partial(tmp_path / "early.dump").write_bytes(MAGIC)  # killed while dumping
    late = tmp_path / "late.dump"  # killed between the two names
    files.create_partial(late).write_bytes(MAGIC)
    manifests.path_for(late).write_text(manifests.to_text(manifest_of(files.partial_of(late), file="late.dump")))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".hidden").write_text("mine too")
    assert [entry.path for entry in await catalogue.scan(tmp_path)] == [whole]
    files.sweep(tmp_path)
    assert listing(tmp_path) == {"whole.dump", "whole.dump.json", "notes.txt", ".hidden"}


async def test_a_removal_that_was_killed_half_way_is_finished_by_the_next_run(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    path.rename(files.partial_of(path))  # remove() was killed after its first step
    assert await catalogue.scan(tmp_path) == []
    files.sweep(tmp_path)
    assert listing(tmp_path) == set()


def test_discarding_touches_no_finished_backup(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    files.discard(path)
    assert listing(tmp_path) == {"a.dump", "a.dump.json"}


async def test_a_file_without_a_manifest_is_unknown_never_good(tmp_path: Path) -> None:
    (tmp_path / "a.dump").write_bytes(MAGIC)
    (tmp_path / "b.dump").write_bytes(b"something else")
    found = {entry.path.name: entry for entry in await catalogue.scan(tmp_path)}
    assert {entry.status for entry in found.values()} == {"unknown"}
    assert found["b.dump"].problem == "it is not a dump in pg_dump's custom format"
    for name in found:
        with pytest.raises(BackupError) as refused:
            await catalogue.require_good(tmp_path / name)
        assert refused.value.code == "backup_unknown"


async def test_changed_truncated_and_vanished_files_are_damaged(tmp_path: Path) -> None:
    for name in ("changed.dump", "short.dump", "gone.dump", "good.dump"):
        make(tmp_path, name)
    content = bytearray((tmp_path / "changed.dump").read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.dump").write_bytes(content)
    (tmp_path / "short.dump").write_bytes(MAGIC)
    (tmp_path / "gone.dump").unlink()
    found = {entry.path.name: entry.status for entry in await catalogue.scan(tmp_path)}
    assert found == dict.fromkeys(("changed.dump", "short.dump", "gone.dump"), "damaged") | {"good.dump": "verified"}
    assert await catalogue.find("latest", tmp_path) == tmp_path / "good.dump"


async def test_a_flip_that_kept_size_and_time_is_found_before_a_restore(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    info = path.stat()
    content = bytearray(path.read_bytes())
    content[3] ^= 0x10
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    with pytest.raises(BackupError, match="its content does not match its manifest"):
        await catalogue.require_good(path)


async def test_a_copy_on_another_machine_is_as_good_as_the_original(tmp_path: Path) -> None:
    path = make(tmp_path, "a.dump")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a.dump", "a.dump.json"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    assert (await catalogue.inspect(other / "a.dump")).status == "verified"
    assert (await catalogue.require_good(other / path.name)).good


async def test_no_backup_is_not_found(tmp_path: Path) -> None:
    assert await catalogue.scan(tmp_path / "nowhere") == []
    for name in ("latest", "nothing.dump"):
        with pytest.raises(NotFoundError):
            await catalogue.find(name, tmp_path)


async def test_pruning_removes_only_what_its_rules_say_of_each_database(tmp_path: Path) -> None:
    from dataclasses import replace
    from datetime import timedelta

    other = replace(ORIGIN, database="other")
    for day in range(4):
        make(tmp_path, f"bot{day}.dump", started_at=AT - timedelta(days=day))
        make(tmp_path, f"other{day}.dump", started_at=AT - timedelta(days=day), origin=other)
    (tmp_path / "unknown.dump").write_bytes(MAGIC)
    make(tmp_path, "damaged.dump").write_bytes(MAGIC)
    (tmp_path / "bot9.dump.bak").write_text("mine")
    verdicts = await prune.plan(tmp_path, Policy(last=2))
    assert len(listing(tmp_path)) == 20, "a plan touches nothing"
    await prune.prune(tmp_path, Policy(last=2))
    kept = {f"{name}{day}.dump" for name in ("bot", "other") for day in (0, 1)}
    assert listing(tmp_path) == {
        *kept,
        *(f"{name}.json" for name in kept),
        *("unknown.dump", "damaged.dump", "damaged.dump.json", "bot9.dump.bak"),
    }
    reasons = {verdict.entry.path.name: verdict.decision.reasons for verdict in verdicts}
    assert reasons["damaged.dump"] == ("damaged: never removed",)
    assert reasons["bot3.dump"] == ()


async def test_what_a_restore_put_away_is_neither_latest_nor_in_a_nightly_ones_place(tmp_path: Path) -> None:
    from datetime import timedelta

    nightly = make(tmp_path, "nightly.dump", started_at=AT - timedelta(hours=2))
    put_away = make(tmp_path, "put-away.dump", started_at=AT, reason="before a restore")
    assert await catalogue.find("latest", tmp_path) == nightly
    verdicts = await prune.plan(tmp_path, Policy(daily=1))
    assert all(verdict.decision.keep for verdict in verdicts)
    nightly.unlink()
    assert await catalogue.find("latest", tmp_path) == put_away


async def test_the_lock_is_held_by_one(tmp_path: Path) -> None:
    async with lock.hold(tmp_path, purpose="junkie backup"):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            async with lock.hold(tmp_path, purpose="another"):
                raise AssertionError("two hold it")
    async with lock.hold(tmp_path, purpose="again"):
        pass
