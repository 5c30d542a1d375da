"""Loads agno and SQLAlchemy once, and only when a check of the team runs."""

import asyncio
import threading
from importlib import import_module

# Two threads that import the same modules at once can see each other's partially initialized modules.
_loading = threading.Lock()


async def load_team() -> None:
    """Import `core.agent.doctor_probes` and its dependencies."""
    await asyncio.to_thread(_load, "junkie_cli.core.agent.doctor_probes")


async def load_chat() -> None:
    """Import what a conversation needs, so that opening one imports nothing."""
    await asyncio.to_thread(_load, "junkie_cli.core.chat.turn_runner")
    await asyncio.to_thread(_load, "junkie_cli.core.agent.engine")


def _load(name: str) -> None:
    with _loading:
        import_module(name)
