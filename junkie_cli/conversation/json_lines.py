"""Prints a turn as JSON Lines: one object for each event; the last one is always `done`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from junkie_cli.conversation.messages import Messages
from junkie_cli.core.chat import (
    AnswerComplete,
    ChatEvent,
    Delta,
    Done,
    Failed,
    MemoryEvent,
    Provisional,
    Reasoning,
    Tool,
    Waiting,
    Warning,
)
from junkie_cli.core.errors import JunkieError
from junkie_cli.terminal.output import print_json


class JsonView:
    """Prints the events of one turn. `failure` builds the last line of a turn that failed."""

    def __init__(self, messages: Messages, user_id: str | None = None) -> None:
        self.session_id: str | None = None
        """The session id, once known."""
        self.user_id = user_id
        self._messages = messages
        self._answer = ""
        self._done = False

    def busy(self, what: str, hint: str = "") -> None:
        """Do nothing: programs need no progress."""

    def show(self, event: ChatEvent) -> None:
        """Print the next event of the turn."""
        match event:
            case Delta(text):
                self._answer += text
                print_json({"event": "delta", "text": text})
            case Reasoning(text):
                print_json({"event": "reasoning", "text": text})
            case Tool(name, status):
                print_json({"event": "tool", "name": name, "status": status})
            case MemoryEvent(action, memory_id, memory):
                print_json({"event": "memory", "action": action, "memory_id": memory_id, "memory": memory})
            case Warning(message):
                self.warn(message)
            case Done():
                self._finish(event)
            case Failed() | AnswerComplete() | Waiting() | Provisional():
                pass  # `done` reports it; the others are for people

    def announce(self, message: str) -> None:
        """Print a line for the program, and a message on stderr."""
        print_json({"event": "warning", "message": message})
        self._messages.announce(message)

    def note(self, message: str) -> None:
        """Print a message on stderr."""
        self._messages.note(message)

    def warn(self, message: str) -> None:
        """Print a line for the program, and a message on stderr."""
        print_json({"event": "warning", "message": message})
        self._messages.warn(message)

    def settle(self) -> None:
        """Do nothing: nothing is being drawn."""

    def broken(self, why: str) -> None:
        """Do nothing: `done` reports it."""

    def failure(self, error: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the last line for `error`; None if the last line was printed already."""
        if self._done:
            return None
        self._done = True
        return _done(self.session_id, None, self.user_id, self._answer, None, error)

    def _finish(self, event: Done) -> None:
        self._done = True
        usage = asdict(event.usage) if event.usage else None
        last = _done(event.session_id, event.run_id, event.user_id, event.answer, usage, _error_document(event.error))
        memories = [
            {"memory_id": memory.memory_id, "memory": memory.memory, "reason": memory.reason}
            for memory in event.memories
        ]
        print_json({**last, "complete": event.complete, "memories": memories})


def _done(
    session_id: str | None,
    run_id: str | None,
    user_id: str | None,
    answer: str,
    usage: Mapping[str, int] | None,
    error: Mapping[str, Any] | None,
) -> dict[str, Any]:
    last: dict[str, Any] = {
        "event": "done",
        "session_id": session_id,
        "run_id": run_id,
        "user_id": user_id,
        "answer": answer,
        "complete": False,
        "usage": usage,
        "memories": [],
    }
    return last if error is None else {**last, "error": error}


def _error_document(error: JunkieError | None) -> Mapping[str, Any] | None:
    return None if error is None else error.document
