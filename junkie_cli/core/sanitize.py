"""Sanitizes text: everything from a database, a model or a file passes here before it is shown.

Imports nothing heavy. Three forms:

- `shown`, and `Sanitizer` for text that arrives in pieces: for a terminal. Control characters become visible (`\\x1b`)
  instead of being removed silently; without the escape character no sequence can act, complete or split.
  - `one_line`: for a table cell, whose width must be equal on every terminal.
  - `field` and `json_safe`: for pipes and JSON, lossless.

Hostile are control, format, surrogate, separator and invisible characters. Emoji sequences stay together: a joiner only
between two pictographs, a variation selector only after one; non-joiners stay where a script needs them (Persian, Indic
scripts). Up to eight combining marks on one base stay; no language needs more.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

MARKS_ON_ONE_BASE = 8
REPLACEMENT = "\ufffd"
_DOTTED_CIRCLE = "\u25cc"  # Unicode's base for a mark without one
_ZWNJ, _ZWJ, _TEXT_STYLE, _EMOJI_STYLE, _KEYCAP = "\u200c", "\u200d", "\ufe0e", "\ufe0f", "\u20e3"

# Invisible characters that Unicode's categories do not mark: fillers, variation selectors, joiners.
_INVISIBLE = (
    *("\u034f\u034f", "\u115f\u1160", "\u17b4\u17b5", "\u180b\u180f", "\u2065\u2065", "\u3164\u3164", "\ufe00\ufe0f"),
    *("\uffa0\uffa0", "\ufff0\ufff8", "\ufffe\uffff", "\U000e0000\U000e0fff"),
)
# Scripts whose spelling needs joiners or non-joiners: Arabic to Myanmar, Khmer and Mongolian.
_JOINING_SCRIPTS = (*("\u0620\u06d5", "\u06fa\u07ff", "\u0840\u0dff", "\u0f00\u109f", "\u1780\u18aa", "\ufb50\ufdff"),)
_PICTOGRAPHS = (
    *("\xa9\xa9", "\xae\xae", "\u203c\u203c", "\u2049\u2049", "\u2122\u2122", "\u2139\u2139", "\u2190\u21ff"),
    *("\u2300\u2bff", "\u3030\u3030", "\u303d\u303d", "\u3297\u3297", "\u3299\u3299", "\U0001f000\U0001faff"),
)
_HOSTILE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARK_CATEGORIES = frozenset({"Mn", "Me"})
_ONLY_IN_SEQUENCES = re.compile("[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_PLAIN_ID = re.compile(r"[\w@%+=:./#-]+")
_NEEDS_ESCAPE = re.compile(r"[^\x20-\x5b\x5d-\x7e]")
_NOT_ASCII = re.compile("[^\n\x20-\x7e]")


@cache
def inert_run() -> "re.Pattern[str]":
    """Return a pattern for runs of harmless characters of common scripts. Compiled lazily: it takes 1.5 ms."""
    return re.compile(
        "[\\t\\n\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0373\u0384-\u0482\u048a-\u052f\u05d0-\u05ea\u0620-\u064a"
        "\u0671-\u06d5\u0904-\u0939\u0e01-\u0e30\u0e3f-\u0e46\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf"
        "\u2100-\u2bff\u3000-\u3029\u3030-\u3096\u309b-\u3163\u3190-\ua48c\uac00-\ud7a3\uf900-\ufad9\uff01-\uff9f"
        "\U0001f300-\U0001f3fa\U0001f400-\U0001faff\U00020000-\U0002fa1f]+"
    )


def _lies_in(character: str, ranges: tuple[str, ...]) -> bool:
    return any(pair[0] <= character <= pair[1] for pair in ranges)


class Sanitizer:
    """Sanitizes a stream of text for a terminal; the result does not depend on how the text is split.

    Newlines and tabs stay, `\\r\\n` becomes a newline, other control characters become visible. At most one character
    is held back for the next piece; `flush` returns it and resets the state.
    """

    def __init__(self) -> None:
        self._held = ""
        self._previous = ""
        self._marks = 0  # on the previous base
        self._joined = 0  # pictographs joined into the cluster that ends with the previous base
        self._out: list[str] = []

    def feed(self, chunk: str) -> str:
        """Sanitize `chunk`, except for a character that depends on the next one."""
        inert = inert_run()
        position, end = 0, len(chunk)
        while position < end:
            run = None if self._held else inert.match(chunk, position)
            if run:
                self._emit(run[0])
                position = run.end()
            else:
                self._take(chunk[position])
                position += 1
        return self._drain()

    def flush(self) -> str:
        """Return what is held back, and reset the state."""
        if self._held:
            self._give_up()
        rest = self._drain()
        self._previous, self._marks, self._joined = "", 0, 0
        return rest

    def _drain(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        return text

    def _take(self, character: str) -> None:
        if self._held and self._joins(self._held, character):
            return
        if self._held:
            self._give_up()
        if self._waits(character):
            self._held = character
        elif character in "\t\n" or not _is_hostile(character):
            self._take_harmless(character)
        elif character in (_TEXT_STYLE, _EMOJI_STYLE) and self._marks == 0 and _lies_in(self._previous, _PICTOGRAPHS):
            self._out.append(character)
            self._marks += 1
        else:
            self._emit(self._visible(character))

    def _take_harmless(self, character: str) -> None:
        if not _is_mark(character):
            self._emit(character)
        elif self._previous in ("", "\n", "\t"):
            self._take_mark_without_base(character)
        else:
            self._marks += 1
            self._out.append(character if self._marks <= MARKS_ON_ONE_BASE else self._surplus(character))

    def _waits(self, character: str) -> bool:
        """Return whether `character` depends on the next one."""
        if character == "\r" or "\ud800" <= character <= "\udbff":
            return True
        if character == _ZWJ and self._joined < MARKS_ON_ONE_BASE and _lies_in(self._previous, _PICTOGRAPHS):
            return True
        if character in (_ZWNJ, _ZWJ) and _lies_in(self._previous, _JOINING_SCRIPTS):
            return True
        return character == _EMOJI_STYLE and self._previous in tuple("0123456789#*") and self._marks == 0

    def _joins(self, held: str, character: str) -> bool:
        """Emit `held` and `character` together if they form a unit."""
        if held == "\r" and character == "\n":
            self._held = ""
            self._emit("\n")
        elif "\ud800" <= held <= "\udbff" and "\udc00" <= character <= "\udfff":
            # Surrogates of one character that arrived as two JSON escapes, or in two pieces.
            self._held = ""
            self._take((held + character).encode("utf-16", "surrogatepass").decode("utf-16"))
        elif self._belongs(held, character):
            joined = self._joined
            self._held = ""
            self._out.append(held)
            self._take(character)
            self._joined = joined + 1  # limits the length of a cluster
        else:
            return False
        return True

    def _belongs(self, held: str, character: str) -> bool:
        if held == _ZWJ and _lies_in(self._previous, _PICTOGRAPHS):
            return _lies_in(character, _PICTOGRAPHS)
        if held in (_ZWNJ, _ZWJ):
            return _lies_in(character, _JOINING_SCRIPTS) and not _is_hostile(character)
        return held == _EMOJI_STYLE and character == _KEYCAP

    def _give_up(self) -> None:
        held, self._held = self._held, ""
        self._emit(self._visible(held))

    def _emit(self, text: str) -> None:
        self._out.append(text)
        self._previous, self._marks, self._joined = text[-1], 0, 0

    def _visible(self, character: str) -> str:
        return _visible(character)

    def _surplus(self, character: str) -> str:
        return REPLACEMENT if self._marks == MARKS_ON_ONE_BASE + 1 else ""

    def _take_mark_without_base(self, character: str) -> None:
        # Without a base it would change the preceding text on the screen.
        self._emit(_DOTTED_CIRCLE)
        self._take_harmless(character)


class _FieldSanitizer(Sanitizer):
    """As `Sanitizer`, but lossless: control characters become COPY's escapes."""

    def _visible(self, character: str) -> str:
        return _copy_escape(character)

    def _surplus(self, character: str) -> str:
        return _copy_escape(character)

    def _take_mark_without_base(self, character: str) -> None:
        self._emit(_copy_escape(character))

    def _waits(self, character: str) -> bool:
        return character in (_ZWNJ, _ZWJ, _EMOJI_STYLE) and super()._waits(character)


def shown(text: str) -> str:
    """Sanitize `text` for a terminal; newlines and tabs stay, other control characters become visible."""
    if text.isascii() and text.isprintable():
        return text
    gate = Sanitizer()
    return gate.feed(text) + gate.flush()


def one_line(text: str) -> str:
    """Sanitize `text` for a table cell: as `shown`, with all white space replaced by single spaces.

    Joined emoji and skin tones are split into their parts, because terminals differ in the width of sequences.
    """
    return _ONLY_IN_SEQUENCES.sub("", shown(" ".join(text.split())))


def field(text: str) -> str:
    """Escape `text` as a field of a tab-separated line as COPY does: `\\t`, `\\n`, `\\\\`, `\\x1b`.

    Beyond ASCII the escapes are those of the UTF-8 bytes, as COPY reads them. `unescape_field` is the inverse.
    """
    if not _NEEDS_ESCAPE.search(text):
        return text
    gate = _FieldSanitizer()
    return gate.feed(re.sub(r"[\t\n\\]", lambda match: _NAMED_ESCAPES[match[0]], text)) + gate.flush()


def unescape_field(text: str) -> str:
    """Reverse `field`."""
    raw = re.sub(rb"\\(x[0-9a-f]{2}|.)", _unescape, text.encode("utf-8", "surrogatepass"))
    pieces = re.split(rb"(\xed[\xa0-\xbf][\x80-\xbf])", raw)  # half characters, which only this handler reads
    return "".join(
        piece.decode("utf-8", "surrogatepass" if place % 2 else "surrogateescape") for place, piece in enumerate(pieces)
    )


def json_safe(text: str) -> str:
    """Escape control characters and surrogates in JSON text as `\\uXXXX`, lossless."""
    return _NOT_ASCII.sub(lambda match: _json_escape(match[0]) if _is_hostile(match[0]) else match[0], text)


def quoted_id(value: str | None) -> str:
    """Format an id for a sentence: unchanged if it is a plain word, else in double quotes; `nobody` for None and "".

    Invisible characters, and letters in a Unicode form that looks like another id, are escaped.
    """
    if not value:
        return "nobody"
    usual = unicodedata.is_normalized("NFC", value)
    if usual and _PLAIN_ID.fullmatch(value):
        return value
    import json

    return json_safe(json.dumps(value, ensure_ascii=not usual))


def width(text: str) -> int:
    """Return the columns of one line of sanitized text."""
    if text.isascii():
        return len(text)
    return sum(_advances(text))


def cut(text: str, columns: int) -> str:
    """Shorten `text`, a result of `one_line`, to `columns` with an ellipsis."""
    if text.isascii() and len(text) <= columns:
        return text
    total, fits = 0, 0
    for index, size in enumerate(_advances(text)):
        total += size
        if total > columns:
            return text[:fits].rstrip(" ") + "…" if columns > 0 else ""
        if total < columns:
            fits = index + 1
    return text


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Pad `text` with spaces to `columns`, on the left with `right`."""
    space = " " * (columns - width(text))
    return space + text if right else text + space


def wrap(text: str, columns: int) -> list[str]:
    """Wrap sanitized text to at most `columns`, at spaces if possible; newlines stay."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += _wrap_paragraph(paragraph.expandtabs(4), max(columns, 2))
    return lines


def _wrap_paragraph(paragraph: str, columns: int) -> list[str]:
    if width(paragraph) <= columns:
        return [paragraph]
    lines, start, space, used = [], 0, -1, 0
    for index, size in enumerate(_advances(paragraph)):
        if used + size > columns:
            end = space if space > start else index
            lines.append(paragraph[start:end].rstrip(" "))
            start = end + 1 if end == space else end
            used = width(paragraph[start:index])
        if paragraph[index] == " ":
            space = index
        used += size
    lines.append(paragraph[start:])
    return lines


def _advances(text: str) -> Iterator[int]:
    """Yield the columns of each character; sequences count as on terminals that support them."""
    before, size_before = "", 0
    for character in text:
        size = character_width(character)
        if before == _ZWJ or ("\U0001f3fb" <= character <= "\U0001f3ff" and _lies_in(before, _PICTOGRAPHS)):
            size = 0
        elif character == _EMOJI_STYLE and size_before == 1 and _lies_in(before, _PICTOGRAPHS):
            size = 1
        yield size
        before, size_before = character, size


def character_width(character: str) -> int:
    """Return the columns of a character: 0 for marks and invisible ones, 2 for wide ones and emoji, else 1."""
    if character.isascii():
        return 1
    if _is_mark(character) or _is_hostile(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    # Emoji that this Python's tables do not contain: their blocks are reserved for wide characters.
    young = "\U0001f300" <= character <= "\U0001faff" and unicodedata.category(character) == "Cn"
    return 2 if young else 1


def _is_hostile(character: str) -> bool:
    return unicodedata.category(character) in _HOSTILE_CATEGORIES or _lies_in(character, _INVISIBLE)


def _is_mark(character: str) -> bool:
    """Return whether `character` combines with the previous one: marks, and vowels and finals of split Hangul."""
    if unicodedata.category(character) in _MARK_CATEGORIES:
        return True
    return "\u1161" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb"


_NAMED_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_UNESCAPED = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


def _visible(character: str) -> str:
    if character == "\r":
        return "\\r"
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _copy_escape(character: str) -> str:
    if character == "\r":
        return "\\r"
    # The second half of a pair alone stands for a byte that is not UTF-8, as Python reads one.
    kept = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", kept))


def _unescape(match: "re.Match[bytes]") -> bytes:
    word = match[1]
    return bytes([int(word[1:], 16)]) if len(word) == 3 else _UNESCAPED.get(word, word)


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
