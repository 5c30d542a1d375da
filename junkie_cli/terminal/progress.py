"""Shows progress on stderr: one line that appears when something takes long, and disappears when it is done.

Drawn only on a terminal that can move its cursor; not in a pipe, in a log or with `--quiet`.

rich's progress is not used, though it is cheap to import (10 modules, 4 ms). On 60 columns, with a title of 34, it
shortens every column at once ("29%  345…  -:--:…"), where this line leaves out the least important part and keeps the
others in full. It also hides the cursor, which a killed process leaves hidden, and has no delay, no part for a wait,
and no way to write the innermost of several activities only. All of that would be columns and classes of our own.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from junkie_cli.core import formatting
from junkie_cli.core.progress import Progress
from junkie_cli.core.sanitize import cut, one_line, width
from junkie_cli.terminal import charts
from junkie_cli.terminal.invocation import invocation
from junkie_cli.terminal.style import Look, columns_of, encodable

_ERASE = "\r\x1b[2K"
_INTERVAL = 0.1  # seconds between two frames
_BAR_COLUMNS = 24
_PATIENCE_SECONDS = 5  # after which a wait is shown in seconds


class Activity:
    """Something that takes a while; a context manager. `progress` is what the core reports to.

    `advance` and `reach` may be called as often as one likes: drawing is a thread's business. The line appears after
    `delay` seconds. Afterwards nothing of it is left on the screen.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        *,
        unit: str = "",
        counted: bool = True,
        headline: bool = False,
        delay: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self._headline = f"{title}: " if headline else ""
        self.total = total
        self.done = 0
        self._earlier = 0
        self._unit = unit
        self._delay = delay
        self._clock = clock
        self._began = clock()
        self._counted_since = self._began if counted else None
        self._over = threading.Event()
        self._frame = 0
        self._wait: tuple[str, float] | None = None
        self.progress = Progress(step=self.say, reach=self.reach, wait=self.waits_for)

    def advance(self, amount: int = 1) -> None:
        """`amount` more are done."""
        self.done += amount

    def reach(self, done: int, total: int | None = None, earlier: int = 0) -> None:
        """`done` are done now, of `total` when that is known by now; `earlier` of them took no time in this run."""
        if self._counted_since is None:
            self._counted_since, self._earlier = self._clock(), done
        if self._wait is not None and done > self.done:
            self._wait = (self._wait[0], self._clock())  # it waits since then
        self.done = done
        self._earlier = earlier or self._earlier
        self.total = total or self.total

    def say(self, title: str) -> None:
        """Something else is going on now, of which nothing is counted yet."""
        self.title = self._headline + title
        self.done, self._earlier, self.total, self._counted_since = 0, 0, None, None

    def waits_for(self, what: str | None) -> None:
        """It waits for `what` from now on, unless it did before; None: for nothing any more."""
        if what is None:
            self._wait = None
        elif self._wait is None or self._wait[0] != what:
            self._wait = (what, self._clock())

    def __enter__(self) -> "Activity":
        if Look.of(sys.stderr).motion and not invocation().quiet:
            _SCREEN.begin(self)
            threading.Thread(target=self._draw_until_over, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        _SCREEN.end(self)

    def _draw_until_over(self) -> None:
        pause = self._delay
        while not self._over.wait(pause):
            pause = _INTERVAL
            _SCREEN.draw(self)

    def line(self, look: Look, columns: int) -> str:
        """The line as it stands now, in at most `columns`."""
        self._frame += 1
        now, done, total = self._clock(), self.done, self.total  # the work goes on meanwhile, in another thread
        frames = look.symbol("frames")
        title = one_line(self.title)
        pieces = [f"{frames[self._frame % len(frames)]} {title}{self._waiting(now)}", *self._counts(now, done, total)]
        if not total:
            pieces.append(formatting.clock(now - self._began))
        while width("  ".join(pieces)) > columns and len(pieces) > 1:
            pieces.pop()
        room = columns - width("  ".join(pieces)) - 2
        if total and room >= 8:
            pieces.insert(1, _bar(look, done, total, min(room, _BAR_COLUMNS)))
        return cut("  ".join(pieces), columns) if len(pieces) == 1 else "  ".join(pieces)

    def _waiting(self, now: float) -> str:
        what, since = self._wait or ("", now)
        waited = int(now - since)
        return f", waiting {waited} s for {one_line(what)}" if waited >= _PATIENCE_SECONDS else ""

    def _counts(self, now: float, done: int, total: int | None) -> list[str]:
        since = self._counted_since
        if since is None:
            return []
        written = formatting.size if self._unit == "bytes" else formatting.number
        unit = "" if self._unit in ("", "bytes") else f" {self._unit}"
        rate = (done - self._earlier) / (now - since) if now > since else 0
        if not total:
            return [f"{written(done)}{unit}", self._speed(rate)]
        pieces = [f"{min(done / total, 1):.0%}", f"{written(done)} of {written(total)}{unit}"]
        if rate:
            pieces += [self._speed(rate), f"ETA {formatting.clock(max(total - done, 0) / rate)}"]
        return pieces

    def _speed(self, rate: float) -> str:
        """Format `rate` for each second, or for each minute if it is slow."""
        if self._unit == "bytes":
            return f"{formatting.size(round(rate))}/s"
        return f"{formatting.number(round(rate))}/s" if rate >= 2 else f"{formatting.number(round(rate * 60))}/min"


def _bar(look: Look, done: int, total: int, columns: int) -> str:
    drawn = charts.bar(done, total, columns, unicode=look.unicode)
    track = look.symbol("track") * (columns - width(drawn))
    return look.styled(drawn, "cyan") + look.styled(track, "dim")


class _Screen:
    """The bottom line of stderr: whoever writes there goes through here, so that lines never mix."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running: list[Activity] = []
        self._drawn = False

    def begin(self, activity: Activity) -> None:
        with self._lock:
            self._running.append(activity)

    def end(self, activity: Activity) -> None:
        with self._lock:
            if activity in self._running:
                self._running.remove(activity)
                self._erase()

    def draw(self, activity: Activity) -> None:
        """Draw `activity`, when it is the innermost that runs."""
        with self._lock:
            if self._running and self._running[-1] is activity:
                text = activity.line(Look.of(sys.stderr), columns_of(sys.stderr) - 1)
                _write(_ERASE + text)
                self._drawn = True

    def say(self, text: str) -> None:
        with self._lock:
            self._erase()
            _write(text)

    def _erase(self) -> None:
        if self._drawn:
            _write(_ERASE)
            self._drawn = False


def _write(text: str) -> None:
    try:
        sys.stderr.write(encodable(text, sys.stderr))
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody reads our remarks any more: that must not end the work itself


_SCREEN = _Screen()


def say(text: str) -> None:
    """Write safe text to stderr, above a line of progress if one is drawn."""
    _SCREEN.say(text)


def clear() -> None:
    """Take a line of progress away until it is next drawn, for an answer on the same terminal."""
    _SCREEN.say("")


def progress(title: str, total: int | None = None, *, unit: str = "") -> Activity:
    """`with progress("exporting", total, unit="memories") as p: p.advance()`: counts, rate and time left.

    It shows only on a terminal and only what takes more than a second. `unit="bytes"` counts bytes.
    """
    return Activity(title, total, unit=unit)


def working(title: str, *, headline: bool = False) -> Activity:
    """`with working("starting PostgreSQL") as w: w.say("...")`: for steps; what can be counted of one are bytes.

    With `headline` the title stays in front of each step.
    """
    return Activity(title, unit="bytes", counted=False, headline=headline)
