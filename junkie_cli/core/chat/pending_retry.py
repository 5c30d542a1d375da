"""Retries pending extractions: in a conversation, by `memories retry`, from cron.

An extraction is claimed in one short transaction (a lease defers its next try, so concurrent processes take different
ones), made outside of any transaction, and committed together with its deletion: a process that comes second writes
nothing. Loads nothing heavy itself.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from junkie_cli.core.agent.team_loader import open_team
from junkie_cli.core.chat.waits import Waits
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.memories.change_log import AppliedChange, ErasedError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema.runs import LEASE
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns.pending_list import count_due
from junkie_cli.core.turns.types import Pending

if TYPE_CHECKING:
    from junkie_cli.core.agent.engine import TeamEngine
    from junkie_cli.core.turns.store import TurnStore

MOST_IN_CHAT = 3
"""Extractions retried after one turn: the provider's tokens per minute are for the person who chats."""

MOST_FAILURES = 3
"""Consecutive failures that end a pass."""

ABOUT_THIS_MESSAGE = frozenset(
    {
        *(
            "provider_too_large",
            "provider_length",
            "provider_empty",
            "provider_tool_use_failed",
            "provider_cut",
            "provider_filtered",
        ),
        *("extraction_unusable", "bound_calls", "bound_tool_calls", "bound_tokens"),
    }
)
"""Failures that say nothing about the next request to the same provider."""

# The provider is unavailable, for every message.
_OUTAGES = frozenset(
    {
        *("provider_address", "provider_dns", "provider_forbidden", "provider_key", "provider_missing"),
        *(
            "provider_model",
            "provider_quota",
            "provider_rate_limited",
            "provider_refused",
            "provider_tls",
            "provider_proxy",
        ),
        *(
            "provider_loading",
            "provider_unreachable",
            "provider_timeout",
            "bound_seconds",
        ),  # a slow model is slow with every message
    }
)


LEFT_OUT = {
    "changes": "extractions requested too many changes of memories: only the first of them were made",
    "secrets": "memories contained what looks like a password or a key: not stored",
    "questions": "memories came from messages that are only a question or a greeting: not stored",
    "characters": "characters at the end of long messages were not searched for memories",
}
"""What extractions left out, by kind: the words after the count."""


@dataclass(slots=True)
class Retried:
    """One pass over pending extractions: `failed` counts those set aside too, `remaining` those pending after it.

    `refused` counts calls of the memory model for data of other users; `error` is why the last extraction failed,
    None when none did. `left_out` counts what extractions left out, by the kinds of LEFT_OUT.
    """

    tried: int = 0
    succeeded: int = 0
    failed: int = 0
    set_aside: int = 0
    remaining: int = 0
    refused: int = 0
    changes: list[AppliedChange] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    error: JunkieError | None = None

    @property
    def memories(self) -> dict[str, int]:
        """How many memories were added, updated and deleted."""
        return counted(self.changes)


def counted(changes: Sequence[AppliedChange]) -> dict[str, int]:
    """How many of `changes` added, updated and deleted a memory."""
    found = Counter(change.action for change in changes)
    return {action: found[action] for action in ("added", "updated", "deleted")}


def is_outage(error: JunkieError) -> bool:
    """Whether the provider is unavailable, so that the failure says nothing about the message."""
    return error.code in _OUTAGES


async def retry_memories(
    settings: Settings,
    user_id: str | None = None,
    *,
    everything: bool = False,
    offline: bool = False,
    progress: Progress = SILENT,
) -> Retried:
    """Retry due extractions, of one user or of all; with `everything` also those that wait or were set aside.

    Turns whose process was killed before their answer was complete are marked. If nothing is due, neither agno nor a
    provider is needed. `progress` gets how many were tried, of how many, and what the retry waits for.
    Raises SettingsError (no provider), DatabaseError.
    """
    due, pending = await count_due(settings, user_id, everything=everything)
    if not due:
        return Retried(remaining=pending)
    engine = await open_team(settings, offline=offline)
    try:
        with Waits(progress.wait).of_one():
            return await retry_pending(engine, user_id, everything=everything, most=due, progress=progress)
    finally:
        await engine.close()


async def retry_pending(
    engine: "TeamEngine",
    user_id: str | None,
    *,
    everything: bool = False,
    most: int = MOST_IN_CHAT,
    progress: Progress = SILENT,
) -> Retried:
    """One pass with an open team over at most `most` extractions, oldest first. Raises DatabaseError.

    Turns whose process was killed before their answer was complete are marked. The pass ends early if the provider is
    unavailable. If it is cancelled, it releases what it claimed.
    """
    done = Retried()
    turns = engine.turns
    await turns.flush()
    await turns.settle(user_id)
    if not engine.memory or not turns.keeps_pending:
        return done
    if everything:
        await turns.make_due(user_id)
    claimed: list[str] = []
    failures = 0
    while len(claimed) < most and failures < MOST_FAILURES:
        entry = await turns.claim_pending(user_id, claimed)
        if entry is None:
            break
        claimed.append(entry.pending_id)
        error = await _retry(engine, entry, done)
        failures = failures + 1 if error else 0
        progress.reach(done.tried, most)
        if error is not None and is_outage(error):
            break
    done.remaining = await turns.count_pending(user_id)
    return done


async def _retry(engine: "TeamEngine", entry: Pending, done: Retried) -> JunkieError | None:
    """Make one extraction and count its result in `done`; return why it failed, None if it succeeded."""
    done.tried += 1
    try:
        await _extract(engine, entry, done)
    except DatabaseError:
        raise
    except ErasedError:
        await engine.turns.drop_pending(entry.pending_id)
    except JunkieError as error:
        done.failed += 1
        done.error = error
        done.set_aside += await note_failure(engine.turns, entry.pending_id, error)
        return error
    except BaseException:
        with suppress(DatabaseError):
            await engine.turns.release_pending(entry.pending_id)
        raise
    done.succeeded += 1
    return None


async def _extract(engine: "TeamEngine", entry: Pending, done: Retried) -> None:
    """Make one extraction. If its reply was only partly usable, commit that part and raise the reason."""
    async with engine.teams.lease(entry.user_id) as hero, hero.extracting:
        assert hero.memory is not None
        known = await engine.turns.candidates(entry.user_id, entry.message)
        said_at = entry.created_at if entry.run_id else None  # of a line that was learned it is when it failed
        async with leased(engine.turns, entry.pending_id):
            extraction = await hero.memory.extract(entry.user_id, entry.message, entry.context, known, said_at)
        done.refused += extraction.refused_calls
        completed = entry.pending_id if extraction.error is None else None
        made = await engine.turns.commit_memories(extraction.changes, completed, by="team", began=entry.created_at)
        await engine.turns.refresh_search(entry.user_id)
    done.changes += made or ()
    done.left_out.update(extraction.left_out)
    if extraction.error is not None:
        raise extraction.error


@asynccontextmanager
async def leased(turns: "TurnStore", pending_id: str | None) -> AsyncIterator[None]:
    """Renew the lease of a pending extraction (None: nothing to renew) while a slow model works on it."""
    if pending_id is None:
        yield
        return

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            with suppress(DatabaseError):
                await turns.renew_pending(pending_id, LEASE)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})


async def note_failure(turns: "TurnStore", pending_id: str, error: JunkieError) -> bool:
    """Store why an extraction failed; True if it is now set aside. Raises DatabaseError."""
    from junkie_cli.core.agent.model_errors import ModelError

    seconds = (isinstance(error, ModelError) and error.retry_after) or 0
    return await turns.record_failure(pending_id, error.message, retry_after=seconds, outage=is_outage(error))
