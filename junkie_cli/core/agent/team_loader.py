"""Opens a team: loads agno in a thread while it connects to the database.

Loads nothing heavy itself.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.settings import Settings

if TYPE_CHECKING:
    from junkie_cli.core.agent.endpoints import Offline
    from junkie_cli.core.agent.engine import TeamEngine
    from junkie_cli.core.turns.connections import Connections


async def open_team(
    settings: Settings,
    progress: Progress = SILENT,
    *,
    also: str = "",
    offline: "Offline" = False,
    memory: bool = True,
    database: bool = True,
    may_add_tables: bool = False,
) -> "TeamEngine":
    """Load agno (and the module `also`) in a thread and connect meanwhile; the user may already be typing.

    Raises SettingsError (no provider), TablesNeededError, DatabaseError.
    """
    from junkie_cli.core.agent import agno_environment
    from junkie_cli.core.agent.endpoints import choose
    from junkie_cli.core.turns.connections import connect_first

    agno_environment.protect()
    choose(settings, offline=offline)  # a missing provider is reported before a database is created
    connecting = asyncio.create_task(connect_first(settings, progress)) if database else None
    try:
        await _in_thread(partial(_load, also))
        from junkie_cli.core.agent.engine import open_engine

        connections = await connecting if connecting else None
        return await open_engine(settings, connections, offline=offline, memory=memory, may_add_tables=may_add_tables)
    except BaseException:
        if connecting is not None:
            await _give_up(connecting)
        raise


async def _give_up(connecting: "asyncio.Task[Connections]") -> None:
    connecting.cancel()
    await asyncio.wait({connecting})
    if not connecting.cancelled() and connecting.exception() is None:
        await connecting.result().close()


async def _in_thread(work: Callable[[], None]) -> None:
    """As `asyncio.to_thread`, but a cancelled caller does not wait for the imports to end."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if over.done():
            return
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, name="load-team", daemon=True).start()
    await over


def _load(also: str) -> None:
    """Import the modules of a turn; a seventh faster without garbage collection."""
    import gc

    gc.disable()
    try:
        if also:
            import_module(also)
        from junkie_cli.core.agent import engine

        engine.load()
    finally:
        gc.enable()
