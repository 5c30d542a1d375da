"""A data folder that was copied or moved while its server ran: two folders, two servers, neither harms the other."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core import embedded
from tests.support.embedded import all_gone, ask, child, end, finish, prepare, public, server_pid, until

__all__ = ["public"]

LONG = "a-folder-whose-path-is-too-long-for-the-path-of-a-socket-in-it-" * 2


@pytest.fixture(params=["closed", "open", "long"])
def two(request: pytest.FixtureRequest, tmp_path: Path, public: Path) -> Iterator[tuple[Path, Path]]:
    """A data folder with a database, and the path of another: under closed and open parents, and with a long path."""
    parent = {"closed": tmp_path, "open": public, "long": tmp_path / LONG}[request.param]
    parent.mkdir(exist_ok=True)
    one, other = parent / "one", parent / "other"
    prepare(one)
    yield one, other
    end(other)
    end(one)


def word(folder: Path) -> str | None:
    return ask(folder, "select string_agg(word, ' ' order by word) from kept")


async def test_a_copy_of_a_running_folder_is_another_database(two: tuple[Path, Path]) -> None:
    one, other = two
    await embedded.ensure_running(one, create=False)
    original = server_pid(one)
    ask(one, "checkpoint")
    subprocess.run(["cp", "-a", one, other], check=True)
    assert embedded.running(other) is None
    await embedded.ensure_running(other, create=False)
    assert server_pid(other) != original == server_pid(one)
    ask(other, "insert into kept values ('copied')")
    assert (word(one), word(other)) == ("safe", "copied safe")
    await embedded.stop(other)
    assert (server_pid(one), word(one)) == (original, "safe")
    assert embedded.running(one) is not None
    assert finish(child(one, create=False))[0]["socket"]
    assert server_pid(one) == original


async def test_stopping_a_copy_that_never_ran_leaves_the_original(two: tuple[Path, Path]) -> None:
    one, other = two
    await embedded.ensure_running(one, create=False)
    subprocess.run(["cp", "-a", one, other], check=True)
    await embedded.stop(other)
    assert word(one) == "safe"
    assert embedded.running(one) is not None


async def test_the_keeper_of_a_copy_leaves_the_original(two: tuple[Path, Path]) -> None:
    one, other = two
    await embedded.ensure_running(one, create=False)
    ask(one, "checkpoint")
    subprocess.run(["cp", "-a", one, other], check=True)
    await embedded.ensure_running(other, create=False, linger=0.1)
    await until(lambda: all_gone(other), "the copy's server has stopped by itself")
    assert word(one) == "safe"


async def test_a_copy_in_the_place_of_a_moved_folder(tmp_path: Path) -> None:
    """The original's socket lies where the copy's would: both paths are made from the same name."""
    (tmp_path / LONG).mkdir()
    one, moved = tmp_path / LONG / "one", tmp_path / LONG / "moved"
    prepare(one)
    try:
        await embedded.ensure_running(one, create=False)
        ask(one, "checkpoint")
        original = server_pid(one)
        one.rename(moved)
        subprocess.run(["cp", "-a", moved, one], check=True)
        await embedded.ensure_running(one, create=False)
        ask(one, "insert into kept values ('copied')")
        assert (word(one), word(moved), server_pid(moved)) == ("copied safe", "safe", original)
        await embedded.stop(one)
        assert (word(moved), server_pid(moved)) == ("safe", original)
    finally:
        end(one)
        end(moved)
