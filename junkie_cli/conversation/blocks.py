"""Renders a Markdown block for a terminal: markdown-it's tree -> lines with escape sequences.

No text is dropped: long lines are wrapped, and a table that does not fit becomes records. All text is sanitized again,
because entities and percent-escapes are decoded after the first pass. Loads rich: import it after the prompt is shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING, ClassVar

from markdown_it.tree import SyntaxTreeNode
from rich import box  # noqa: TID253 - this module is loaded after the prompt is shown
from rich.cells import chop_cells  # noqa: TID253
from rich.color import ColorSystem  # noqa: TID253
from rich.console import Console  # noqa: TID253
from rich.segment import Segment  # noqa: TID253
from rich.style import Style  # noqa: TID253
from rich.syntax import ANSISyntaxTheme, Syntax  # noqa: TID253
from rich.table import Table  # noqa: TID253
from rich.text import Text  # noqa: TID253

from junkie_cli.conversation.symbols import symbol
from junkie_cli.core.sanitize import shown
from junkie_cli.terminal.style import Look

if TYPE_CHECKING:
    from rich.console import JustifyMethod

PROSE_COLUMNS = 100  # longer lines are hard to read; code and tables use the full width
_RULE_COLUMNS = 60
_NARROWEST_CELL = 9  # columns; narrower tables become records
_TAB = 4

# Few of the terminal's sixteen colors: users choose them to be legible on their background.
_CODE_THEME = ANSISyntaxTheme(
    {
        ("Comment",): Style(dim=True, italic=True),
        ("Keyword",): Style(color="magenta"),
        ("Literal", "String"): Style(color="green"),
        ("Literal", "Number"): Style(color="cyan"),
        ("Name", "Function"): Style(bold=True),
        ("Name", "Class"): Style(bold=True),
    }
)
_INLINE: Mapping[str, Style] = {
    "strong": Style(bold=True),
    "em": Style(italic=True),
    "s": Style(strike=True),
    "code_inline": Style(color="cyan"),
    "link": Style(underline=True),
}
_HEADINGS: Mapping[str, Style] = {"h1": Style(bold=True, underline=True), "h2": Style(bold=True)}
_DIM = Style(dim=True)


class BlockRenderer:
    """Renders blocks for one width (columns of the terminal) and one look."""

    def __init__(self, width: int, look: Look) -> None:
        self._width = width
        self._look = look
        self._console = _console()

    def block(self, node: SyntaxTreeNode, source: Sequence[str], *, number: int | None = None) -> list[str]:
        """Render a top-level block; `source` is its Markdown, `number` the first number of a list."""
        if number is not None and node.type == "ordered_list":
            return self._drawn(self._list(node, self._width, source, start=number))
        return self._drawn(self._block(node, self._width, source))

    def code_head(self, info: str) -> list[str]:
        """Return the line above a code block."""
        return self._drawn([self._code_rule(info)])

    def code_foot(self) -> list[str]:
        """Return the line below a code block."""
        return self._drawn([self._code_rule("")])

    def code(self, lines: Sequence[str], info: str, *, skip: int = 0) -> list[str]:
        """Render the lines of a code block; the first `skip` lines only provide context for highlighting."""
        return self._drawn(self._code_lines(lines, info, self._width, skip=skip))

    def _drawn(self, lines: Iterable[Text]) -> list[str]:
        return [self._ansi(line) for line in lines]

    def _ansi(self, line: Text) -> str:
        line.rstrip()
        line.end = ""
        if not self._look.styles:
            return line.plain
        return "".join(self._styled(segment) for segment in line.render(self._console))  # already wrapped

    def _styled(self, segment: Segment) -> str:
        if segment.style is None:
            return segment.text
        style = segment.style if self._look.colour else segment.style.without_color
        return style.render(segment.text, color_system=ColorSystem.STANDARD)

    # Blocks: each returns lines that fit into `width`

    def _block(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        draw = self._DRAWN_BY.get(node.type)
        if draw is None:  # an unknown kind of block: show its source
            first, end = node.map or (0, 0)
            return [line for text in source[first:end] for line in self._fold(Text(shown(text)), width)]
        return draw(self, node, width, source)

    def _paragraph(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        return self._wrap(self._inline(node), width)

    def _heading(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        text = self._inline(node)
        text.stylize(_HEADINGS.get(node.tag, Style(bold=True)))
        return self._wrap(text, width)

    def _fence(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        lines = node.content.removesuffix("\n").split("\n")
        code = self._code_lines(lines, node.info.strip(), width)
        return [self._code_rule(node.info.strip(), width), *code, self._code_rule("", width)]

    def _rule(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        return [Text(symbol(self._look, "rule") * min(width, _RULE_COLUMNS), _DIM)]

    def _quote(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        bar = Text(symbol(self._look, "bar") + " ", _DIM)
        lines = self._children(node, max(width - 2, 1), source, spaced=True)
        return [Text.assemble(bar, line) for line in lines]

    def _list(self, node: SyntaxTreeNode, width: int, source: Sequence[str], *, start: int | None = None) -> list[Text]:
        number = start if start is not None else list_start(node)
        found: list[Text] = []
        for index, item in enumerate(node.children):
            if index and _blank_line_before(item, source):
                found.append(Text())
            mark = f"{number + index}. " if node.type == "ordered_list" else symbol(self._look, "bullet") + " "
            lines = self._children(item, max(width - len(mark), 1), source, spaced=False) or [Text()]
            found.append(Text.assemble((mark, _DIM), lines[0]))
            found += [Text.assemble(" " * len(mark), line) for line in lines[1:]]
        return found

    def _children(self, node: SyntaxTreeNode, width: int, source: Sequence[str], *, spaced: bool) -> list[Text]:
        found: list[Text] = []
        for index, child in enumerate(node.children):
            if index and (spaced or _blank_line_before(child, source)):
                found.append(Text())
            found += self._block(child, width, source)
        return found

    def _table(self, node: SyntaxTreeNode, width: int, source: Sequence[str]) -> list[Text]:
        rows = [[self._inline(cell) for cell in row.children] for part in node.children for row in part.children]
        if not rows or not rows[0]:
            return []
        header, *body = rows
        columns = len(header)
        natural = sum(max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)) + 2 * (columns - 1)
        if natural > width and width < columns * _NARROWEST_CELL:
            return self._records(header, body, width)
        return self._grid(node, header, body, width)

    def _grid(self, node: SyntaxTreeNode, header: list[Text], body: list[list[Text]], width: int) -> list[Text]:
        table = Table(
            box=box.SIMPLE_HEAD if self._look.unicode else box.MARKDOWN,
            show_edge=False,
            pad_edge=False,
            border_style=_DIM,
            header_style=Style(bold=True),
        )
        for cell, title in zip(node.children[0].children[0].children, header, strict=True):
            table.add_column(title, justify=_justify(cell), overflow="fold")
        for row in body:
            table.add_row(*row)
        lines = self._console.render_lines(table, self._console.options.update(width=width), pad=False)
        return [Text.assemble(*((s.text, s.style or "") for s in line)) for line in lines]

    def _records(self, header: list[Text], body: list[list[Text]], width: int) -> list[Text]:
        found: list[Text] = []
        for index, row in enumerate(body):
            if index:
                found.append(Text())
            for title, cell in zip(header, row, strict=True):
                found += self._wrap(Text.assemble((title.plain, "bold"), ": ", cell), width)
        return found or self._wrap(Text(", ").join(header), width)

    _DRAWN_BY: ClassVar[Mapping[str, Callable[["BlockRenderer", SyntaxTreeNode, int, Sequence[str]], list[Text]]]] = {
        "paragraph": _paragraph,
        "heading": _heading,
        "fence": _fence,
        "code_block": _fence,
        "hr": _rule,
        "blockquote": _quote,
        "bullet_list": _list,
        "ordered_list": _list,
        "table": _table,
    }

    # Code

    def _code_rule(self, info: str, width: int | None = None) -> Text:
        room = min(width or self._width, _RULE_COLUMNS)
        rule = symbol(self._look, "rule")
        language = shown(info.split()[0]) if info.split() else ""
        line = Text(f"{rule * 2} {language} " if language else "", _DIM)
        line.append(rule * max(room - line.cell_len, 0))
        line.truncate(room)
        return line

    def _code_lines(self, lines: Sequence[str], info: str, width: int, *, skip: int = 0) -> list[Text]:
        code = shown("\n".join(lines).expandtabs(_TAB))
        language = info.split()[0] if info.split() else ""
        coloured = bool(language) and self._look.colour
        text = Syntax("", language, theme=_CODE_THEME).highlight(code) if coloured else Text(code)
        text.plain = text.plain[: len(code)]  # the highlighter adds a newline
        found = text.split("\n", allow_blank=True)
        return [line for source in found[skip:] for line in self._fold(source, width)]

    def _fold(self, line: Text, width: int) -> list[Text]:
        """Wrap `line` at the width, ignoring words: code keeps every space."""
        pieces = chop_cells(line.plain, width) if line.cell_len > width else []
        ends: list[int] = []
        for piece in pieces[:-1]:
            ends.append((ends[-1] if ends else 0) + len(piece))
        return list(line.divide(ends)) if ends else [line]

    # Text inside a block

    def _wrap(self, text: Text, width: int) -> list[Text]:
        text.expand_tabs(_TAB)
        return list(text.wrap(self._console, min(width, PROSE_COLUMNS), overflow="fold")) or [Text()]

    def _inline(self, node: SyntaxTreeNode) -> Text:
        text = Text()
        for child in node.children:
            self._append(text, child, Style())
        return text

    def _append(self, text: Text, node: SyntaxTreeNode, style: Style) -> None:
        style += _INLINE.get(node.type, Style())
        if node.type in {"softbreak", "hardbreak"}:
            text.append("\n")
        elif node.type == "image":
            text.append(shown(node.content or "image"), style)
            text.append(f" ({shown(str(node.attrs.get('src', '')))})", _DIM)
        elif node.children:
            start = len(text)
            for child in node.children:
                self._append(text, child, style)
            self._append_target(text, node, text.plain[start:])
        else:
            text.append(shown(node.content), style)

    def _append_target(self, text: Text, node: SyntaxTreeNode, label: str) -> None:
        """Append the target of a link, because its label can be misleading."""
        target = shown(str(node.attrs.get("href", ""))) if node.type == "link" else ""
        if target and target.removeprefix("mailto:") != label:
            text.append(f" ({target})", _DIM)


def list_start(node: SyntaxTreeNode) -> int:
    """Return the number of the first item of an ordered list."""
    return int(node.attrs.get("start", 1))


def _blank_line_before(node: SyntaxTreeNode, source: Sequence[str]) -> bool:
    first = node.map[0] if node.map else 0
    return first > 0 and not source[first - 1].strip(" \t>")


def _justify(cell: SyntaxTreeNode) -> "JustifyMethod":
    style = str(cell.attrs.get("style", ""))
    if style.endswith("right"):
        return "right"
    return "center" if style.endswith("center") else "left"


@lru_cache
def _console() -> Console:
    """Return a console that rich needs for measuring; it never prints."""
    return Console(file=StringIO(), markup=False, emoji=False, highlight=False, width=PROSE_COLUMNS)
