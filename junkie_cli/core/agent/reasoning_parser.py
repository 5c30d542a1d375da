"""Separates reasoning that a model writes into its answer from the answer while it streams.

Servers that know their model's format send thoughts in a field of their own; others leave the marks in the text:

    <think>...</think>answer            also <thinking>, <thought>, <reasoning>, <Think>, [THINK]...[/THINK]
    ...</think>answer                   the opening mark stands in the prompt (DeepSeek R1 at vLLM without a parser)
    <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>answer
                                        harmony (gpt-oss); also with its marks gone: analysis...assistantfinalanswer

Of the second form nothing is known until the mark comes: `Piece.retracts` then reports that all text so far was
thought. Of a model that does this once, `holds` has the text kept back from the beginning.
"""

import re
from collections.abc import Callable

from junkie_cli.core.value_class import frozen

_NAMES = "think|thinking|thought|reasoning"
_OPEN = re.compile(rf"<(?:{_NAMES})>|\[think\]", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_NAMES})>|\[/think\]", re.IGNORECASE)
_TOKEN = re.compile(r"<\|(?:start|channel|message|end|return|call|constrain)\|>")
_HEADER = re.compile(
    r"\s*(?:<\|start\|>[^<]*)?<\|channel\|>\s*(?P<channel>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z])")


@frozen
class Piece:
    """What one piece of a stream holds of the answer and of the thoughts.

    With `retracts` all text of earlier pieces was thought, too.
    """

    text: str = ""
    thought: str = ""
    retracts: bool = False


_OPENINGS = ("[think]", *(f"<{name}>" for name in _NAMES.split("|")), "<|start|>", "<|channel|>", "analysis")
_LONGEST_HEADER = 200


def _may_begin(text: str) -> bool:
    """Whether more text may make an opening mark of `text`."""
    lower = text.lower()
    if lower.startswith(("<|start|>", "<|channel|>")):
        return len(text) < _LONGEST_HEADER
    return any(opening.startswith(lower) for opening in _OPENINGS)


def without_thoughts(text: str) -> str:
    """The answer in a complete text."""
    splitter = ThoughtSplitter(holds=True)
    return splitter.feed(text).text + splitter.end().text


class ThoughtSplitter:
    """Feed it an answer piece by piece. Marks count where thoughts begin, and a closing mark without an opening one.

    Marks that an answer quotes, in backticks or in a pair, are text.
    """

    def __init__(self, *, holds: bool = False) -> None:
        self._held = ""  # not given out yet: it may become a mark, or is white space around thoughts
        self._take: Callable[[], Piece] = self._take_start
        self._holds = holds
        self._text = ""  # given out since the beginning, to see what a closing mark stands in
        self.has_text = False  # something else than thoughts and white space came
        self.retracted = False  # a closing mark came without an opening one

    def feed(self, piece: str) -> Piece:
        """The next piece, as far as it is known what it is."""
        self._held += piece
        return self._noted(self._take())

    def end(self, *, broken: bool = False) -> Piece:
        """What was still held when the stream ended; `broken` when it ended in the middle.

        Text of a model that marks the end of its thoughts alone was thought, where the mark had not come yet.
        """
        held, self._held = self._held, ""
        unmarked = broken and self._holds and self._take == self._take_text
        if unmarked or self._take in (self._take_thought, self._take_analysis):
            return self._noted(Piece(thought=held))
        if self._take == self._take_gap:
            return Piece()
        return self._noted(Piece(text=_TOKEN.sub("", held) if self._take == self._take_final else held))

    def _noted(self, piece: Piece) -> Piece:
        if piece.retracts:
            self.has_text, self._text = False, ""
        self.has_text |= bool(piece.text.strip())
        return piece

    def _go_on(self, take: Callable[[], Piece], rest: str, thought: str = "", *, retracts: bool = False) -> Piece:
        """Take `rest` by another rule from now on."""
        self._take, self._held = take, rest
        more = take()
        return Piece(more.text, thought + more.thought, retracts or more.retracts)

    # Where thoughts may begin

    def _take_start(self) -> Piece:
        begin = self._held.lstrip()
        opening = _OPEN.match(begin)
        if opening:
            return self._go_on(self._take_thought, begin[opening.end() :])
        header = _HEADER.match(begin)
        if header and "to=" in header[0]:  # a tool call, which is not for this to hide
            return self._go_on(self._take_answer, begin)
        if header:
            thinks = header["channel"] == "analysis"
            return self._go_on(self._take_analysis if thinks else self._take_final, begin[header.end() :])
        bare = _BARE_ANALYSIS.match(begin)
        if bare:
            return self._go_on(self._take_bare_analysis, begin[bare.end() :])
        if _may_begin(begin):
            return Piece()
        return self._go_on(self._take_text, self._held)

    def _take_thought(self) -> Piece:
        closing = _CLOSE.search(self._held)
        if closing:
            thought, rest = self._held[: closing.start()], self._held[closing.end() :]
            return self._go_on(self._take_gap, rest, thought)
        return Piece(thought=self._split_off())

    def _take_gap(self) -> Piece:
        """The blank lines between the thoughts and the answer belong to neither."""
        rest = self._held.lstrip()
        if not rest:
            self._held = ""
            return Piece()
        return self._go_on(self._take_answer, rest)

    # The answer

    def _take_text(self) -> Piece:
        """Text before which no thoughts stood: a closing mark would make thoughts of it."""
        closing = _CLOSE.search(self._held)
        while closing and self._is_quoted(closing):
            closing = _CLOSE.search(self._held, closing.end())
        if closing:
            self.retracted = True
            thought, rest = self._held[: closing.start()], self._held[closing.end() :]
            return self._go_on(self._take_gap, rest, thought, retracts=True)
        if self._holds:
            return Piece()
        text = self._split_off()
        self._text += text
        return Piece(text=text)

    def _is_quoted(self, mark: re.Match[str]) -> bool:
        before = self._text + self._held[: mark.start()]
        line = before.rpartition("\n")[2]
        in_code = line.count("`") % 2 == 1 or len(re.findall(r"^\s*```", before, re.MULTILINE)) % 2 == 1
        return in_code or before[-1:] in {'"', "'", "“", "«", "„"} or bool(_OPEN.search(before))

    def _take_answer(self) -> Piece:
        text, self._held = self._held, ""
        return Piece(text=text)

    # Harmony

    def _take_analysis(self) -> Piece:
        closing = re.search(r"<\|(?:end|start|channel|return)\|>", self._held)
        if not closing:
            return Piece(thought=self._split_off())
        rest = self._held[closing.start() if closing[0] in {"<|start|>", "<|channel|>"} else closing.end() :]
        return self._go_on(self._take_start, rest, self._held[: closing.start()])

    def _take_final(self) -> Piece:
        """The answer up to a mark that ends it; what follows is another message."""
        closing = _TOKEN.search(self._held)
        if not closing:
            return Piece(text=self._split_off())
        text, rest = self._held[: closing.start()], self._held[closing.start() :]
        ending = re.match(r"<\|(?:end|return|call)\|>", rest)
        more = self._go_on(self._take_start, rest[ending.end() :] if ending else rest)
        return Piece(text + more.text, more.thought, more.retracts)

    def _take_bare_analysis(self) -> Piece:
        """Harmony whose marks were taken out: held until it is known where the answer begins."""
        final = re.search(r"assistant(?:commentary.*?)?final", self._held, re.DOTALL)
        if not final:
            return Piece()
        return self._go_on(self._take_gap, self._held[final.end() :], self._held[: final.start()])

    def _split_off(self) -> str:
        """What is held but for an end that may be the beginning of a mark."""
        tail = re.search(r"(?:<|\[)[^<>\[\]]{0,12}$", self._held)
        cut = len(self._held) if tail is None else tail.start()
        found, self._held = self._held[:cut], self._held[cut:]
        return found
