"""What the `/commands` do: each asks the conversation and gives the lines to show. No terminal, no drawing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from junkie_cli.conversation.messages import folded, memory_lines, warning_lines
from junkie_cli.conversation.signals import sign
from junkie_cli.conversation.slash import COMMANDS
from junkie_cli.core.chat import Conversation, Exchange, Memory, MemoryEntry, SessionEntry, memory_event
from junkie_cli.core.chat.pending_retry import LEFT_OUT
from junkie_cli.core.formatting import ago, plural
from junkie_cli.core.sanitize import cut, one_line, pad, quoted_id, shown, width
from junkie_cli.terminal.style import Look

_SHOWN = 20  # of a list; how many more there are is said
_MOST = 1000  # memories that a conversation lists
_EXCHANGES = 200  # of a session, in /history
_SHORT_ID = 8  # characters: what the commands take, and unique but for one in thousands of millions
_UUID = 36


_ENDS = {"CANCELLED": "(stopped)", "RUNNING": "(not answered yet)"}


class Actions:
    """The commands of one conversation, drawn for one look and so many columns."""

    def __init__(self, conversation: Conversation, look: Look, columns: int) -> None:
        self._conversation = conversation
        self._look = look
        self._columns = columns

    async def run(self, name: str, argument: str) -> list[str]:
        """The lines that the command called `name` answers with. Raises JunkieError."""
        return await _ACTIONS[name](self, argument)

    async def memories(self, text: str) -> list[str]:
        """What is remembered, newest first."""
        found = await self._conversation.memories(text or None)
        if not found:
            return self._dim("no memory contains that" if text else "nothing is remembered of you yet")
        lines = [line for memory in found[:_SHOWN] for line in self._memory(memory)]
        if len(found) > _SHOWN:
            least = "at least " if len(found) >= _MOST else ""
            lines += self._dim(f"and {least}{len(found) - _SHOWN:,} older ones: /memories TEXT finds them")
        return lines

    async def remember(self, text: str) -> list[str]:
        """Remember words as they are."""
        made = await self._conversation.remember(text)
        return memory_lines(Memory("added", made.memory_id, made.memory), self._look, self._columns)

    async def forget(self, identifier: str) -> list[str]:
        """Forget one memory."""
        gone = await self._conversation.forget(identifier)
        lines = memory_lines(Memory("deleted", gone.memory_id, gone.memory), self._look, self._columns)
        return lines + self._dim("  junkie memories undo brings it back")

    async def why(self, argument: str) -> list[str]:
        """What the last answer knew."""
        used = self._conversation.why()
        if not used:
            return self._dim("no memory went into the last answer")
        return [line for memory in used for line in self._memory(memory)]

    async def history(self, argument: str) -> list[str]:
        """The session so far."""
        exchanges = await self._conversation.history(_EXCHANGES)
        if not exchanges:
            return self._dim("nothing was said in this session yet")
        lines: list[str] = []
        if len(exchanges) >= _EXCHANGES:
            lines += self._dim(
                f"the last {len(exchanges)}: junkie sessions show {self._conversation.session_id} has all"
            )
        for exchange in exchanges:
            lines += [*([""] if lines else []), *self._exchange(exchange)]
        return lines

    async def sessions(self, argument: str) -> list[str]:
        """The user's sessions."""
        found = await self._conversation.sessions(_SHOWN)
        if not found:
            return self._dim("no session is stored yet")
        more = self._dim(f"the latest {_SHOWN}: junkie sessions list has all") if len(found) >= _SHOWN else []
        return self._sessions(found) + more

    async def resume(self, identifier: str) -> list[str]:
        """Go on with a session, beginning with its last exchange."""
        await self._conversation.resume(identifier)
        lines = self._dim(f"session {short(self._conversation.session_id)}")
        return lines + await self.last_exchange()

    async def last_exchange(self) -> list[str]:
        """The last exchange of the session, after an empty line; nothing when there is none."""
        exchanges = await self._conversation.history(1)
        return ["", *self._exchange(exchanges[-1])] if exchanges else []

    async def new(self, argument: str) -> list[str]:
        """Begin a new session."""
        return self._dim(f"new session {short(self._conversation.new())}")

    async def user(self, user_id: str) -> list[str]:
        """Go on as somebody else."""
        await self._conversation.switch_user(user_id)
        known = await self._conversation.memories()
        return self._dim(
            f"you are {quoted_id(user_id)} now, in a new session: {plural(len(known), 'memory', 'memories')}"
        )

    async def retry(self, argument: str) -> list[str]:
        """Make pending memories now."""
        done = await self._conversation.retry()
        lines = [
            line for change in done.changes for line in memory_lines(memory_event(change), self._look, self._columns)
        ]
        if done.refused:
            refused = f"the memory model reached for memories that are not yours ({done.refused} times): refused"
            lines += warning_lines(refused, self._look, self._columns)
        for kind, count in done.left_out.items():
            if count:
                lines += warning_lines(f"{count} {LEFT_OUT[kind]}", self._look, self._columns)
        if done.error is not None:
            lines += warning_lines(done.error.message, self._look, self._columns)
        if done.remaining:
            return lines + self._dim(f"{plural(done.remaining, 'memory', 'memories')} still pending")
        if not done.tried:
            return self._dim("no memory is pending")
        return lines or self._dim("there was nothing in it to remember")

    async def status(self, argument: str) -> list[str]:
        """What this stands on."""
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
                ("model", "rehearsal: a few rules of text, no real model is asked" if status.offline else model),
                ("memory model", status.memory_model),
                ("memory", remembered),
                ("history", f"the last {plural(status.history_runs, 'exchange')} of the session"),
                ("database", status.database or "none: nothing is kept (--no-database)"),
            ],
        )

    def _memory(self, memory: MemoryEntry) -> list[str]:
        identifier = short(memory.memory_id)
        indent = " " * (width(identifier) + 2)
        text, *more = folded(memory.memory, self._columns - len(indent))
        return [f"{self._look.styled(identifier, 'cyan')}  {text}", *(indent + line for line in more)]

    def _exchange(self, exchange: Exchange) -> list[str]:
        prompt = self._look.styled(sign(self._look, "prompt"), "bold")
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
                sign(self._look, "prompt") if session.session_id == self._conversation.session_id else " ",
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
    """What can be typed."""
    rows = [(command.usage, command.help) for command in COMMANDS]
    keys = [
        ("Alt-Enter, Ctrl-J", "a new line; Enter sends"),
        ("Ctrl-C", "stops the answer, clears the line"),
        ("Ctrl-X Ctrl-E", "writes the message in $EDITOR"),
        ("//...", "sends a line that begins with a slash"),
    ]
    return table(look, columns, [*rows, *keys])


def table(look: Look, columns: int, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Words and what they stand for, in two columns."""
    first = max(width(key) for key, _ in rows)
    lines: list[str] = []
    for key, meaning in rows:
        text, *more = folded(meaning, columns - first - 2)
        lines.append(f"{look.styled(pad(key, first), 'bold')}  {text}")
        lines += [" " * (first + 2) + line for line in more]
    return lines


def short(identifier: str) -> str:
    """An id as shown to people: of a UUID the beginning, which the commands take; others whole."""
    safe = one_line(identifier)
    return safe[:_SHORT_ID] if len(safe) == _UUID and safe.count("-") == 4 else safe
