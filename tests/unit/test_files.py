"""What is written to a path: a regular file is replaced at once, anything else is written to and stays what it is."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from junkie_cli.core.files import FileError, append_line, check_writable, complete_file, is_standard_output
from tests.support.mounts import device
from tests.support.needs import need_root

NOBODY = 65534


def write(path: Path, content: bytes = b"new\n") -> None:
    with complete_file(path) as file:
        file.write(content)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


# --- regular files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        write(tmp_path / "new")
        append_line(tmp_path / "lines", b"a")
        append_line(tmp_path / "lines", b"b")
    assert (mode(tmp_path / "new"), mode(tmp_path / "lines")) == (0o600, 0o600)
    assert (tmp_path / "lines").read_bytes() == b"a\nb\n"


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644, 0o664])
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old\n")
    path.chmod(kept)
    write(path)
    assert (path.read_bytes(), mode(path)) == (b"new\n", kept)


def test_a_file_that_is_there_keeps_its_owner(tmp_path: Path) -> None:
    need_root("another owner")
    path = tmp_path / "old"
    path.write_bytes(b"old\n")
    os.chown(path, NOBODY, NOBODY)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, path.read_bytes()) == (NOBODY, NOBODY, b"new\n")


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old\n")
    with pytest.raises(ZeroDivisionError), complete_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), complete_file(tmp_path / "new") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("old", b"old\n")]


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write(path)
    assert path.read_bytes() == b"new\n"


def test_what_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    need_root("to become another user")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    read_only, others = tmp_path / "read-only", tmp_path / "others"
    for path in (read_only, others):
        path.write_bytes(b"old\n")
    os.chown(read_only, NOBODY, NOBODY)
    read_only.chmod(0o444)
    others.chmod(0o666)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(FileError, match="permission denied"):
            write(read_only)
        with pytest.raises(FileError, match="its owner or group would change"):
            write(others)
    finally:
        os.seteuid(0)
    assert (read_only.read_bytes(), others.read_bytes()) == (b"old\n", b"old\n")
    assert len(list(tmp_path.iterdir())) == 2


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(b"old\n")
    link.symlink_to("elsewhere/target")
    write(link)
    assert (str(link.readlink()), target.read_bytes()) == ("elsewhere/target", b"new\n")
    target.unlink()
    write(link, b"newer\n")
    assert (str(link.readlink()), target.read_bytes()) == ("elsewhere/target", b"newer\n")
    assert mode(target) == 0o600


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    loop, nowhere = tmp_path / "loop", tmp_path / "nowhere"
    loop.symlink_to(loop)
    nowhere.symlink_to("no folder/file")
    for path in (loop, nowhere, tmp_path, tmp_path / "no folder" / "file"):
        with pytest.raises(FileError):
            write(path)
        with pytest.raises(FileError):
            check_writable(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["loop", "nowhere"]


# --- devices, FIFOs, descriptors --------------------------------------------------------------------------------------


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null, full = device(tmp_path / "null", 3), device(tmp_path / "full", 7)
    link = tmp_path / "link"
    link.symlink_to(null)
    for path in (null, link):
        check_writable(path)
        write(path)
        append_line(path, b"x")
    with pytest.raises(FileError, match="no space left"):
        write(full)
    assert all(stat.S_ISCHR(each.stat().st_mode) for each in (null, full))
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_reader_of_a_fifo_gets_everything(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    check_writable(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write(path, b"x" * 1_000_000)
    reader.join(60)
    assert got == [b"x" * 1_000_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_reader_that_leaves_early_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def leave() -> None:
        with path.open("rb") as file:
            file.read(10)

    reader = threading.Thread(target=leave)
    reader.start()
    with pytest.raises(FileError, match="the reader closed it too early"):
        write(path, b"x" * 10_000_000)
    reader.join(60)


def test_a_descriptor_of_this_process_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"before\n")
        file.flush()
        check_writable(Path(f"/dev/fd/{file.fileno()}"))
        write(Path(f"/dev/fd/{file.fileno()}"))
        write(Path(f"/proc/self/fd/{file.fileno()}"))
        file.write(b"after\n")
    assert path.read_bytes() == b"before\nnew\nnew\nafter\n"
    reading, writing = os.pipe()
    write(Path(f"/dev/fd/{writing}"))
    assert os.read(reading, 100) == b"new\n"
    os.close(reading)
    os.close(writing)


def test_names_of_stdout(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    for path in (Path("-"), Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"), link):
        assert is_standard_output(path)
    for path in (Path("/dev/stderr"), tmp_path, Path("/dev/null"), tmp_path / "-", Path("1")):
        assert not is_standard_output(path)


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    append_line(path, b"three")
    assert path.read_bytes() == b"one\ntw\nthree\n"
