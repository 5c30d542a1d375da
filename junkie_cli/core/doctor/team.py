"""The door to the checks that judge the team: agno and SQLAlchemy are loaded once, and only when one of them runs."""

import asyncio
import threading
from importlib import import_module

# Two threads that import the same web of modules at once may each see the other's half-made ones.
_loading = threading.Lock()


async def load_team() -> None:
    """Load `core.team.checkup`, with all that it stands on."""
    await asyncio.to_thread(_load, "junkie_cli.core.agent.doctor_probes")


async def load_chat() -> None:
    """Load what a conversation needs, so that opening one loads nothing."""
    await asyncio.to_thread(_load, "junkie_cli.core.chat.turn_runner")
    await asyncio.to_thread(_load, "junkie_cli.core.agent.engine")


def _load(name: str) -> None:
    with _loading:
        import_module(name)
