"""How a long run tells what it does: the core calls these, the command line decides what a person gets to see."""

from collections.abc import Callable

from junkie_cli.values import frozen


def _unheard(_: str) -> None:
    return


@frozen
class Voice:
    """`progress` is what is being done now, `note` what is good to know, `warn` what must not be missed."""

    progress: Callable[[str], None] = _unheard
    note: Callable[[str], None] = _unheard
    warn: Callable[[str], None] = _unheard


SILENT = Voice()


def sized(count: int) -> str:
    """A size in bytes as people read it: 820 B, 3.4 kB, 119 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
