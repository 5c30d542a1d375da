"""A clock that a test sets, for real processes: libfaketime (Debian's `faketime`) reads the time from a file."""

from datetime import UTC, datetime
from pathlib import Path

from tests.support.needs import need


class Clock:
    """The clock of every process that was started with `environment`; it runs on, from where it is set.

    What only measures how long something takes (the monotonic clock) is left alone. A process looks at the clock when
    it starts; one for whom it is `live` (a server) each time, which costs.
    """

    def __init__(self, folder: Path, *, live: bool = False) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        need(found, "libfaketime: apt-get install faketime")
        self._file = folder / "clock"
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **({"FAKETIME_NO_CACHE": "1"} if live else {"FAKETIME_CACHE_DURATION": "1000"}),
        }
        self.be_ahead(0)

    def be_ahead(self, seconds: float) -> None:
        """Go so many seconds before this machine's clock; behind it when they are negative."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.chmod(0o644)  # a server reads it as another user
        new.replace(self._file)

    def show(self, day: str) -> None:
        """Show the first second of `day` (YYYY-MM-DD)."""
        self.be_ahead((datetime.fromisoformat(day).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
