"""Product texts avoid the words that readers stumbled over (docs/writing.md): strings, docstrings and comments."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "junkie_cli"

AVOIDED = re.compile(
    r"\b(mend(?:s|ed|ing)?|unasked|go(?:es|ing)? on with|takes? (?:it |that )?back|taken back|struck off|owed|told"
    r"|doubles|for your eyes only|whom\?|that is none|what helps|nobody can be asked|merely told)\b",
    re.IGNORECASE,
)

# What people write is matched there, and not said by the program.
EXEMPT = {"core/rehearsal/rehearsal_text.py"}


def _files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if str(path.relative_to(PACKAGE)) not in EXEMPT)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Comments, and strings with the code of f-strings taken out."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            yield token.start[0], re.sub(r"\{[^{}]*\}", "", token.string)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_texts_avoid_the_words_that_readers_stumbled_over(path: Path) -> None:
    assert [(line, word) for line, text in _texts(path) for word in AVOIDED.findall(text)] == []
