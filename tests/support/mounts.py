"""Programs that see other files than everybody else, in a mount namespace of their own; for Junkie.run's `prefix`.

And copies of device files, so that the machine's own are left alone.
"""

import os
import shlex
import stat
from pathlib import Path

from tests.support.needs import need_root


def hiding(*folders: Path) -> list[str]:
    """A program that finds nothing in these folders."""
    return _after(*(f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in folders))


def seeing(file: Path, *, at: str) -> list[str]:
    """A program that sees `file` at the path `at`, which is there."""
    return _after(f"mount --bind {shlex.quote(str(file))} {shlex.quote(at)}")


def _after(*mounts: str) -> list[str]:
    need_root("a mount namespace")
    script = "\n".join((*mounts, 'exec "$@"'))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]


def device(path: Path, minor: int) -> Path:
    """A copy of /dev/null (3), /dev/zero (5) or /dev/full (7)."""
    need_root("device files")
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    return path
