"""Renders Markdown that arrives in pieces: finished blocks are returned once, the unfinished one can be previewed.

Data flow: sanitized text -> `MarkdownStream.feed` -> complete lines -> markdown-it blocks -> terminal lines with escape
sequences. Final output depends on complete lines only, so that it does not depend on how the text was split. Loads rich
and markdown-it: import it after the prompt is shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from junkie_cli.conversation.blocks import BlockRenderer, list_start
from junkie_cli.terminal.style import Look

_HALF_MARK = re.compile(r"(?<![*_`~])[*_`~]{1,3}$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")


@dataclass(slots=True)
class _OpenFence:
    """An unfinished code block: its marker, and how many of its lines were returned already."""

    marker: str
    info: str
    indent: int
    given: int = 0

    def closes(self, line: str) -> bool:
        stripped = line.strip()
        return (
            len(line) - len(line.lstrip(" ")) < 4
            and stripped.startswith(self.marker)
            and not stripped.strip(self.marker[0])
        )


class MarkdownStream:
    """Converts a stream of Markdown to terminal lines.

    `feed` takes text, `take` returns the lines that became final since the last call, `open_lines` previews the
    unfinished rest, `finish` ends the text (`take` then returns the rest). `width` can change at any time, for later
    lines.
    """

    def __init__(self, width: int, look: Look) -> None:
        self.width = width
        self._look = look
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
        # A later link definition must not change blocks that were returned already.
        self._parser.disable(["reference", "html_block", "html_inline"])
        self._tail = ""
        self._lines: list[str] = []
        self._final: list[str] = []
        self._started = False
        self._list_number: int | None = None  # the next number, if the pending lines continue a list
        self._in_list = False
        self._gap_before = True
        self._fence: _OpenFence | None = None

    @classmethod
    def warm_up(cls) -> None:
        """Do one-time initialization in advance."""
        stream = cls(80, Look(colour=True, styles=True))
        stream.feed("`a`\n\n| a |\n|---|\n| a |\n\n```python\n1\n```\n")
        stream.finish()

    def feed(self, text: str) -> None:
        """Add the next piece of text."""
        *complete, self._tail = (self._tail + text).split("\n")
        for line in complete:
            self._add_line(line)

    def finish(self) -> None:
        """End the text."""
        if self._tail:
            self._add_line(self._tail)
            self._tail = ""
        if self._fence:
            self._close_fence()
        elif any(line.strip() for line in self._lines):
            self._give_out(self._nodes(self._lines), self._lines)
        self._lines.clear()

    def take(self) -> list[str]:
        """Return the lines that became final since the last call."""
        if self._fence:
            self._give_out_code()
        final, self._final = self._final, []
        return final

    def open_lines(self) -> list[str]:
        """Return a preview of the part that is not final yet."""
        if self._fence:
            closing = not self._tail.strip(self._fence.marker[0] + " ")
            return [] if closing else self._renderer().code([self._tail], self._fence.info)
        lines = [*self._lines, self._tail]
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            return []
        lines[-1] = _tied_up(lines)
        return self._render(self._nodes(lines), lines)

    # What is final

    def _add_line(self, line: str) -> None:
        if self._fence:
            if self._fence.closes(line):
                self._close_fence()
            else:
                self._lines.append(_without_indent(line, self._fence.indent))
            return
        if not self._lines and not line.strip():
            return
        self._lines.append(line)
        self._settle()
        opens = _FENCE.match(line) if len(self._lines) == 1 else None
        if opens:
            indent = len(line) - len(line.lstrip(" "))
            self._fence = _OpenFence(opens[1], opens[2].strip(), indent)
            self._lines.clear()
            self._final += [*([""] if self._started else []), *self._renderer().code_head(self._fence.info)]
            self._started, self._in_list, self._list_number = True, False, None

    def _settle(self) -> None:
        """Finish every block except the last, and every list item except the last: later lines cannot change them."""
        nodes = self._nodes(self._lines)
        cut = _first_line(nodes[-1]) if nodes else 0
        if nodes and nodes[-1].type in {"bullet_list", "ordered_list"}:
            cut = _first_line(nodes[-1].children[-1])
        if cut > 0:
            settled = self._lines[:cut]
            more_items = len(nodes[-1].children) > 1 and nodes[-1].type in {"bullet_list", "ordered_list"}
            self._give_out(self._nodes(settled), settled, goes_on=more_items)
            self._gap_before = not settled[-1].strip()
            self._lines = self._lines[cut:]

    def _give_out(self, nodes: Sequence[SyntaxTreeNode], lines: Sequence[str], *, goes_on: bool = False) -> None:
        self._final += self._render(nodes, lines)
        self._started = True
        last = nodes[-1]
        self._in_list = goes_on
        if goes_on and last.type == "ordered_list":
            start = self._list_number if len(nodes) == 1 and self._list_number is not None else list_start(last)
            self._list_number = start + len(last.children)
        else:
            self._list_number = None

    def _render(self, nodes: Sequence[SyntaxTreeNode], lines: Sequence[str]) -> list[str]:
        renderer = self._renderer()
        found: list[str] = []
        for index, node in enumerate(nodes):
            continued = index == 0 and self._in_list
            spaced = self._gap_before if continued else (index > 0 or self._started)
            if spaced:
                found.append("")
            found += renderer.block(node, lines, number=self._list_number if continued else None)
        return found

    # Code blocks: returned line by line, because they can be longer than the screen

    def _give_out_code(self) -> None:
        fence = self._fence
        if fence and len(self._lines) > fence.given:
            self._final += self._renderer().code(self._lines, fence.info, skip=fence.given)
            fence.given = len(self._lines)

    def _close_fence(self) -> None:
        self._give_out_code()
        self._final += self._renderer().code_foot()
        self._fence = None
        self._lines.clear()

    def _nodes(self, lines: Sequence[str]) -> list[SyntaxTreeNode]:
        return SyntaxTreeNode(self._parser.parse("\n".join(lines))).children

    def _renderer(self) -> BlockRenderer:
        return BlockRenderer(self.width, self._look)


def _first_line(node: SyntaxTreeNode) -> int:
    return node.map[0] if node.map else 0


def _without_indent(line: str, indent: int) -> str:
    return line[min(indent, len(line) - len(line.lstrip(" "))) :]


def _tied_up(lines: Sequence[str]) -> str:
    """Return the last line as it will probably look: incomplete marks hidden, open emphasis closed."""
    last = _HALF_MARK.sub("", lines[-1])
    paragraph = last
    for line in reversed(lines[:-1]):
        if not line.strip():
            break
        paragraph += "\n" + line
    for mark in ("`", "**"):
        if paragraph.count(mark) % 2 and not last.endswith(" "):
            last += mark
    return last
