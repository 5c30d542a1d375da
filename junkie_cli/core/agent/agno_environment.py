"""Agno and openai made safe before they are imported: no telemetry, no foreign keys, no log on stdout.

The package calls `protect()` before anything in it can import agno; it loads nothing heavy. Three facts make it
necessary (agno 3.1): the environment variable AGNO_TELEMETRY wins over the argument `telemetry=False`; agno logs to
stdout and undoes a logger's level at every run, so only a handler that was there first, with the level on the handler,
holds; and the openai client adds a key, an organization and any header that it finds in OPENAI_* to whatever address
it is given.
"""

import asyncio
import logging
import os
import sys
from typing import Any

# Our own, agno's three, and those of what carries its requests; SQLAlchemy's hold every statement with its parameters.
_LOGGERS = (
    *("junkie", "agno", "agno-team", "agno-workflow"),
    *("openai", "httpx", "httpx2", "httpcore", "httpcore2", "sqlalchemy", "py.warnings"),
)


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment, or, while not `told_to_speak`, nothing."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told_to_speak = False
        self.setFormatter(logging.Formatter("%(name)s: %(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not self.told_to_speak:
            return
        from junkie_cli.core.sanitize import shown

        try:
            sys.stderr.write(shown(self.format(record)) + "\n")
        except Exception:
            self.handleError(record)


_handler = _Stderr()


def protect(*, verbose: bool | None = None) -> None:
    """Make this process safe for agno and openai; with `verbose` their logs go to stderr, else nowhere.

    Idempotent; None leaves it as it was (silent at first). Verbose logs may quote what the user wrote: they are for
    the person at the terminal, who asked for them.
    """
    os.environ["AGNO_TELEMETRY"] = "false"
    for name in [name for name in os.environ if _is_foreign(name)]:
        del os.environ[name]
    if verbose is not None:
        _handler.told_to_speak = verbose
        logging.captureWarnings(verbose)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_handler]
        logger.propagate = False
        if logger.level == logging.NOTSET:  # agno leaves a logger alone that has a handler and a level
            logger.setLevel(logging.INFO)


def _is_foreign(name: str) -> bool:
    """AGNO_*: debug logs of whole prompts, telemetry, development. OPENAI_*: another vendor's keys and headers."""
    return name.startswith(("AGNO_", "OPENAI_")) and name != "AGNO_TELEMETRY"


def quiet_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Keep asyncio's own reports ("Task exception was never retrieved") off the terminal; with -v they are logged.

    Agno leaves the extraction's task unread when the answer failed as well; both failures have been reported by then.
    """

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = f" ({type(error).__name__})" if error is not None else ""
        logging.getLogger("agno").info("%s%s", context.get("message", "event loop"), what)

    loop = loop or asyncio.get_running_loop()
    if loop.get_exception_handler() is None:  # one that is there belongs to the program that uses us as a library
        loop.set_exception_handler(report)
