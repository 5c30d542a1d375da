"""What the answers of a model have shown so far, kept for the next conversation (see `extraction.methods`)."""

from collections.abc import Collection

from junkie_cli.core.agent.endpoints import Choice
from junkie_cli.core.extraction.calls_in_text import find_calls
from junkie_cli.core.extraction.methods import MethodStore

_FEW_WORDS = 400  # characters of a call and what a small model says before it


class AnswerHabits:
    """The habits of the model that answers; the rehearsal model has none."""

    def __init__(self, choice: Choice) -> None:
        self._server = (choice.endpoint.url, choice.model)
        self._is_rehearsal = choice.endpoint.is_rehearsal
        self._tells_apart = choice.endpoint.is_groq  # its servers have a field for thoughts, or leave both marks
        self._store = MethodStore()

    @property
    def are_known(self) -> bool:
        """Whether it is known how answers begin: with text, or with thoughts that nothing marks."""
        return self._is_rehearsal or self._tells_apart or self._store.has_known_answers(*self._server)

    def note(self, *, retracted: bool) -> None:
        """An answer came to its end; `retracted` when text in it turned out to be thoughts."""
        if not self._is_rehearsal and not retracted:
            self._store.note_plain_answers(*self._server)

    def writes_calls(self, answer: str, tools: Collection[str]) -> bool:
        """Whether `answer` is a call of one of `tools`, written as text; that is kept for doctor, too."""
        if self._is_rehearsal or not tools:
            return False
        if not _is_call(answer, tools):
            self._store.note_answer_without_calls(*self._server)
            return False
        self._store.note_calls_in_answers(*self._server)
        return True


def _is_call(answer: str, tools: Collection[str]) -> bool:
    """Whether `answer` is a call, with few words around it: a longer text with an example in it is an answer."""
    begins = answer.lstrip()[:1] in {"<", "[", "{", "`"}
    return (begins or len(answer) < _FEW_WORDS) and bool(find_calls(answer, tools).calls)
