"""Programs that see other files than everybody else, in a mount namespace of their own; for Junkie.run's `prefix`.

And copies of device files, so that the machine's own are left alone.
"""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import need_root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 MB."""
    need_root("a disk to mount")
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m,mode=755", "none", str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def hiding(*folders: Path) -> list[str]:
    """A program that finds nothing in these folders."""
    return _after(*(f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in folders))


def seeing(file: Path, *, at: str) -> list[str]:
    """A program that sees `file` at the path `at`, which is there."""
    return _after(f"mount --bind {shlex.quote(str(file))} {shlex.quote(at)}")


def read_only_but(folder: Path) -> list[str]:
    """A program that can write into `folder` and nowhere else."""
    place = shlex.quote(str(folder))
    each = f"awk '{{print $2}}' /proc/mounts | grep -v -e '^/proc' -e '^/sys' -e ^{place}"
    return _after(
        f"mount --bind {place} {place}",
        f'for there in $({each}); do mount -o remount,bind,ro "$there" 2>/dev/null || true; done',
        "for there in /tmp /var/tmp /dev/shm; do if touch $there/x 2>/dev/null; then exit 99; fi; done",
    )


def full(folder: Path) -> list[str]:
    """A program that finds 64 kB in `folder`, all of it taken."""
    place = shlex.quote(str(folder))
    return _after(f"mount -t tmpfs -o size=64k none {place}", f"cat /dev/zero 2>/dev/null >{place}/taken || true")


def _after(*mounts: str) -> list[str]:
    need_root("a mount namespace")
    script = "\n".join((*mounts, 'exec "$@"'))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]


def device(path: Path, minor: int) -> Path:
    """A copy of /dev/null (3), /dev/zero (5) or /dev/full (7)."""
    need_root("device files")
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    return path
