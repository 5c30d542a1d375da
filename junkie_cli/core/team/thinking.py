"""Thoughts that a model writes into its answer, `<think>...</think>`, told apart from the answer while it streams.

Servers that know their model's format send thoughts in a field of their own; others (llama.cpp, vLLM without a parser)
leave the tags in the text. Agno takes them out of a whole answer only.
"""

from junkie_cli.values import frozen

_OPEN, _CLOSE = "<think>", "</think>"


@frozen
class Piece:
    """What one piece of a stream holds of the answer and of the thoughts."""

    text: str = ""
    thought: str = ""


class ThoughtSplitter:
    """Feed it an answer piece by piece; only thoughts that begin the answer count, later tags are text."""

    def __init__(self) -> None:
        self._held = ""  # not told yet, because it may become a tag or is white space around the thoughts
        self._take = self._take_start
        self.has_text = False  # something else than thoughts and white space came

    def feed(self, piece: str) -> Piece:
        """The next piece, as far as it can be told what it is."""
        self._held += piece
        found = self._take()
        self.has_text |= bool(found.text.strip())
        return found

    def end(self) -> Piece:
        """What was still held when the stream ended."""
        if self._take == self._take_thought:
            return Piece(thought=self._held)
        self.has_text |= bool(self._held.strip())
        return Piece(text=self._held) if self._take == self._take_start else Piece()

    def _take_start(self) -> Piece:
        begin = self._held.lstrip()
        if _OPEN.startswith(begin):  # so far nothing, or a part of the tag
            return Piece()
        if not begin.startswith(_OPEN):
            self._take = self._take_text
            return self._take_text()
        self._take, self._held = self._take_thought, begin.removeprefix(_OPEN)
        return self._take_thought()

    def _take_thought(self) -> Piece:
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._take, self._held = self._take_gap, rest
            return Piece(text=self._take_gap().text, thought=thought)
        kept = next((size for size in range(len(_CLOSE) - 1, 0, -1) if self._held.endswith(_CLOSE[:size])), 0)
        cut = len(self._held) - kept
        thought, self._held = self._held[:cut], self._held[cut:]
        return Piece(thought=thought)

    def _take_gap(self) -> Piece:
        """The blank lines between the thoughts and the answer belong to neither."""
        self._held = self._held.lstrip()
        if not self._held:
            return Piece()
        self._take = self._take_text
        return self._take_text()

    def _take_text(self) -> Piece:
        text, self._held = self._held, ""
        return Piece(text=text)
