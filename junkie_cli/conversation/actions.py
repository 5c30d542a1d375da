"""Runs the `/commands`: each calls the conversation and returns the lines to show."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from junkie_cli.conversation.messages import folded, memory_lines, warning_lines
from junkie_cli.conversation.slash import COMMANDS
from junkie_cli.conversation.symbols import symbol
from junkie_cli.core.chat import Conversation, Exchange, MemoryEntry, MemoryEvent, SessionEntry, memory_event
from junkie_cli.core.chat.pending_retry import LEFT_OUT
from junkie_cli.core.formatting import ago, plural
from junkie_cli.core.sanitize import cut, one_line, pad, quoted_id, shown, width
from junkie_cli.terminal.style import Look

_SHOWN = 20  # entries of a list; the number of others is shown
_MOST = 1000  # memories that a command reads
_EXCHANGES = 200  # of a session, shown by /history
_SHORT_ID = 8  # characters; accepted by the commands, and practically unique
_UUID = 36


_ENDS = {"CANCELLED": "(stopped)", "RUNNING": "(not answered yet)"}


class Actions:
    """The commands of one conversation, for a look and a number of columns."""

    def __init__(self, conversation: Conversation, look: Look, columns: int) -> None:
        self._conversation = conversation
        self._look = look
        self._columns = columns

    async def run(self, name: str, argument: str) -> list[str]:
        """Run the command called `name` and return its lines. Raises JunkieError."""
        return await _ACTIONS[name](self, argument)

    async def memories(self, text: str) -> list[str]:
        """List memories, newest first."""
        found = await self._conversation.memories(text or None)
        if not found:
            return self._dim("no matches" if text else "no memories yet")
        lines = [line for memory in found[:_SHOWN] for line in self._memory(memory)]
        if len(found) > _SHOWN:
            least = "at least " if len(found) >= _MOST else ""
            lines += self._dim(f"and {least}{len(found) - _SHOWN:,} older memories; to search: /memories TEXT")
        return lines

    async def remember(self, text: str) -> list[str]:
        """Add a memory with the given text."""
        made = await self._conversation.remember(text)
        return memory_lines(MemoryEvent("added", made.memory_id, made.memory), self._look, self._columns)

    async def forget(self, identifier: str) -> list[str]:
        """Delete one memory."""
        gone = await self._conversation.forget(identifier)
        lines = memory_lines(MemoryEvent("deleted", gone.memory_id, gone.memory), self._look, self._columns)
        return lines + self._dim("  to undo: junkie memories undo")

    async def why(self, argument: str) -> list[str]:
        """List the memories that were in the prompt of the last answer, and why each was chosen."""
        used = self._conversation.why()
        if not used:
            return self._dim("the last answer used no memories")
        return [line for memory in used for line in (*self._memory(memory), *self._reason(memory))]

    async def history(self, argument: str) -> list[str]:
        """Show the session so far."""
        exchanges = await self._conversation.history(_EXCHANGES)
        if not exchanges:
            return self._dim("this session has no messages yet")
        lines: list[str] = []
        if len(exchanges) >= _EXCHANGES:
            lines += self._dim(
                f"last {len(exchanges)} exchanges; for all: junkie sessions show {self._conversation.session_id}"
            )
        for exchange in exchanges:
            lines += [*([""] if lines else []), *self._exchange(exchange)]
        return lines

    async def sessions(self, argument: str) -> list[str]:
        """List the user's sessions."""
        found = await self._conversation.sessions(_SHOWN)
        if not found:
            return self._dim("no sessions yet")
        more = self._dim(f"latest {_SHOWN} sessions; for all: junkie sessions list") if len(found) >= _SHOWN else []
        return self._sessions(found) + more

    async def resume(self, identifier: str) -> list[str]:
        """Continue a session, and show its last exchange."""
        await self._conversation.resume(identifier)
        lines = self._dim(f"session {short(self._conversation.session_id)}")
        return lines + await self.last_exchange()

    async def last_exchange(self) -> list[str]:
        """Return an empty line and the last exchange of the session; nothing for a new session."""
        exchanges = await self._conversation.history(1)
        return ["", *self._exchange(exchanges[-1])] if exchanges else []

    async def new(self, argument: str) -> list[str]:
        """Start a new session."""
        return self._dim(f"new session {short(self._conversation.new())}")

    async def user(self, user_id: str) -> list[str]:
        """Switch to another user."""
        await self._conversation.switch_user(user_id)
        known = await self._conversation.memories()
        return self._dim(
            f"user is now {quoted_id(user_id)}, in a new session: {plural(len(known), 'memory', 'memories')}"
        )

    async def retry(self, argument: str) -> list[str]:
        """Retry pending extractions now."""
        done = await self._conversation.retry()
        lines = [
            line for change in done.changes for line in memory_lines(memory_event(change), self._look, self._columns)
        ]
        if done.refused:
            refused = f"refused {done.refused} changes by the memory model to memories of other users"
            lines += warning_lines(refused, self._look, self._columns)
        for kind, count in done.left_out.items():
            if count:
                lines += warning_lines(f"{count} {LEFT_OUT[kind]}", self._look, self._columns)
        if done.error is not None:
            lines += warning_lines(done.error.message, self._look, self._columns)
        if done.remaining:
            return lines + self._dim(f"{plural(done.remaining, 'memory', 'memories')} still pending")
        if not done.tried:
            return self._dim("nothing is pending")
        return lines or self._dim("there was nothing to remember")

    async def status(self, argument: str) -> list[str]:
        """Show user, session, models and database."""
        status = await self._conversation.status()
        remembered = plural(status.memories, "memory", "memories")
        if status.memories_in_context < status.memories:
            remembered += (
                f", {status.memories_in_context:,} of them fit into the prompt ({status.memory_budget:,} tokens)"
            )
        if status.pending:
            remembered += f", {status.pending:,} pending"
        if not status.memory:
            remembered = "off (--no-memory)"
        model = f"{status.model} at {status.provider}"
        return table(
            self._look,
            self._columns,
            [
                ("user", status.user_id),
                ("session", status.session_id),
                ("model", "rehearsal: built-in text rules, no real model" if status.offline else model),
                ("memory model", status.memory_model),
                ("memory", remembered),
                ("history", f"the last {plural(status.history_runs, 'exchange')} of the session"),
                ("database", status.database or "none: nothing is stored (--no-database)"),
            ],
        )

    def _memory(self, memory: MemoryEntry) -> list[str]:
        identifier = short(memory.memory_id)
        indent = " " * (width(identifier) + 2)
        text, *more = folded(memory.memory, self._columns - len(indent))
        return [f"{self._look.styled(identifier, 'cyan')}  {text}", *(indent + line for line in more)]

    def _reason(self, memory: MemoryEntry) -> list[str]:
        """Why a memory was chosen, below its text."""
        if memory.reason is None:
            return []
        indent = " " * (width(short(memory.memory_id)) + 2)
        rank = f" (rank {memory.reason.rank:,})" if memory.reason.rank is not None else ""
        lines = folded(memory.reason.described() + rank, self._columns - len(indent))
        return [indent + self._look.styled(line, "dim") for line in lines]

    def _exchange(self, exchange: Exchange) -> list[str]:
        prompt = self._look.styled(symbol(self._look, "prompt"), "bold")
        asked = [line for text in exchange.message.splitlines() for line in folded(text, self._columns - 2)] or [""]
        lines = [f"{prompt} {asked[0]}", *(f"  {line}" for line in asked[1:]), ""]
        lines += self._drawn(exchange.answer)
        if exchange.status != "COMPLETED":
            lines += self._dim(_ENDS.get(exchange.status, "(failed)"))
        return lines

    def _drawn(self, answer: str) -> list[str]:
        from junkie_cli.conversation.markdown import MarkdownStream

        if not self._look.motion:
            return shown(answer).splitlines()
        stream = MarkdownStream(self._columns, self._look)
        stream.feed(shown(answer))
        stream.finish()
        return stream.take()

    def _sessions(self, sessions: Sequence[SessionEntry]) -> list[str]:
        rows = [
            (
                symbol(self._look, "prompt") if session.session_id == self._conversation.session_id else " ",
                short(session.session_id),
                ago(session.updated_at) if session.updated_at else "",
                plural(session.runs, "exchange"),
            )
            for session in sessions
        ]
        sizes = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = []
        for session, (here, identifier, when, runs) in zip(sessions, rows, strict=True):
            facts = f"{pad(when, sizes[2])}  {pad(runs, sizes[3])}"
            title = one_line(session.name or session.first_words)
            room = self._columns - sizes[1] - width(facts) - 6
            lines.append(
                f"{here} {self._look.styled(pad(identifier, sizes[1]), 'cyan')}  "
                f"{self._look.styled(facts, 'dim')}  {cut(title, max(room, 8))}"
            )
        return lines

    def _dim(self, message: str) -> list[str]:
        return [self._look.styled(line, "dim") for line in folded(message, self._columns)]


_ACTIONS: Mapping[str, Callable[[Actions, str], Awaitable[list[str]]]] = {
    "memories": Actions.memories,
    "remember": Actions.remember,
    "forget": Actions.forget,
    "why": Actions.why,
    "history": Actions.history,
    "sessions": Actions.sessions,
    "resume": Actions.resume,
    "new": Actions.new,
    "user": Actions.user,
    "status": Actions.status,
    "retry": Actions.retry,
}


def help_lines(look: Look, columns: int) -> list[str]:
    """List commands and keys."""
    rows = [(command.usage, command.help) for command in COMMANDS]
    keys = [
        ("Alt-Enter, Ctrl-J", "insert a line break; Enter sends"),
        ("Ctrl-C", "stop the answer, or clear the line"),
        ("Ctrl-X Ctrl-E", "edit the message in $EDITOR"),
        ("//...", "send a message that begins with /"),
    ]
    return table(look, columns, [*rows, *keys])


def table(look: Look, columns: int, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Draw two columns: terms and their descriptions."""
    first = max(width(key) for key, _ in rows)
    lines: list[str] = []
    for key, meaning in rows:
        text, *more = folded(meaning, columns - first - 2)
        lines.append(f"{look.styled(pad(key, first), 'bold')}  {text}")
        lines += [" " * (first + 2) + line for line in more]
    return lines


def short(identifier: str) -> str:
    """Return the short form of a UUID, which the commands accept; other ids in full."""
    safe = one_line(identifier)
    return safe[:_SHORT_ID] if len(safe) == _UUID and safe.count("-") == 4 else safe
