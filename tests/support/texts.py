"""Strategies for text that cost nothing to make.

`st.text()` and `st.characters()` build a table of all of Unicode first: 3 to 4 s where no `.hypothesis` folder holds
it, as in every fresh clone. These draw from one string: all of ASCII and Latin-1, and a sample of every plane.
"""

from hypothesis import strategies as st

_STEP = 61  # prime, so that the sample meets every block at another offset
_SURROGATES = range(0xD800, 0xE000)
ALPHABET = "".join(map(chr, range(0x100))) + "".join(
    chr(point) for point in range(0x100, 0x110000, _STEP) if point not in _SURROGATES
)
PRINTABLE = "".join(character for character in ALPHABET if character.isprintable())
PRINTABLE_ASCII = "".join(character for character in PRINTABLE if character.isascii())


def texts(alphabet: str = ALPHABET, *, min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Text of characters of `alphabet`: by default any that can be encoded as UTF-8."""
    return st.text(alphabet, min_size=min_size, max_size=max_size)
