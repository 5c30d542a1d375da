"""Terminal-safe text: the one gate that everything from a database, a model or a file passes before it is shown.

A leaf: imports nothing of ours.
"""

import re

# C0 except newline and tab, DEL, C1, zero-width and bidi controls, byte-order mark, line and paragraph separators.
_HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_FIELD = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}


def shown(text: str) -> str:
    """`text` made safe for a terminal, newlines and tabs kept; each other control character becomes visible."""
    return _HOSTILE.sub(lambda match: _visible(match[0]), text)


def one_line(text: str) -> str:
    """`text` safe for a table cell: as `shown`, with all white space folded to single spaces."""
    return shown(" ".join(text.split()))


def field(text: str) -> str:
    """`text` as a field of a tab-separated line, escaped as COPY does: `\\t`, `\\n`, `\\\\`, `\\x1b`."""
    escaped = re.sub(r"[\t\n\r\\]", lambda match: _FIELD[match[0]], text)
    return _HOSTILE.sub(lambda match: _visible(match[0]), escaped)


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
