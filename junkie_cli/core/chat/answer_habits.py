"""What is known about the answers of a model, stored for later conversations (see `extraction.methods`)."""

from collections.abc import Collection

from junkie_cli.core.agent.endpoints import Choice
from junkie_cli.core.extraction.calls_in_text import find_calls
from junkie_cli.core.extraction.methods import MethodStore

_FEW_WORDS = 400  # characters of a call and the text before it


class AnswerHabits:
    """What is known about the answering model; nothing is stored about the rehearsal model."""

    def __init__(self, choice: Choice) -> None:
        self._server = (choice.endpoint.url, choice.model)
        self._is_rehearsal = choice.endpoint.is_rehearsal
        self._tells_apart = choice.endpoint.is_groq  # Groq has a field for reasoning, or keeps both marks
        self._store = MethodStore()

    @property
    def are_known(self) -> bool:
        """Whether it is known if answers begin with text or with unmarked reasoning."""
        return self._is_rehearsal or self._tells_apart or self._store.has_known_answers(*self._server)

    def note(self, *, retracted: bool) -> None:
        """Record that an answer is complete; `retracted` if text in it turned out to be reasoning."""
        if not self._is_rehearsal and not retracted:
            self._store.note_plain_answers(*self._server)

    def writes_calls(self, answer: str, tools: Collection[str]) -> bool:
        """Whether `answer` is a call of one of `tools`, written as text; this is stored for doctor."""
        if self._is_rehearsal or not tools:
            return False
        if not _is_call(answer, tools):
            self._store.note_answer_without_calls(*self._server)
            return False
        self._store.note_calls_in_answers(*self._server)
        return True


def _is_call(answer: str, tools: Collection[str]) -> bool:
    """Whether `answer` is a call with little text around it: a long text with an example is an answer."""
    begins = answer.lstrip()[:1] in {"<", "[", "{", "`"}
    return (begins or len(answer) < _FEW_WORDS) and bool(find_calls(answer, tools).calls)
