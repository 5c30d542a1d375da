"""A message or a question as what is searched in texts: words, and patterns for SQL that find at least the same."""

import re
from collections.abc import Sequence

from junkie_cli.core.ranking.languages import DEFAULT_LANGUAGES
from junkie_cli.core.ranking.words import telling_words, without_accents, word_forms
from junkie_cli.core.value_class import frozen

_WITHOUT_E = re.compile("([aou])e")
_SHORTEST_CUT = 4
_VOWELS = frozenset("aeiouy")
_ESCAPED = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


@frozen
class Query:
    """The words of a query.

    `words` has the forms of each (see `words.word_forms`), in `languages`, and `typed` each as it was typed, in lower
    case. `inside` has these folded, where they are also searched inside of longer words; otherwise it is empty.
    """

    words: tuple[frozenset[str], ...]
    typed: tuple[str, ...]
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    inside: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, languages: Sequence[str] = DEFAULT_LANGUAGES, *, inside: bool = False) -> "Query":
        """The query of a text; without words when the text has none."""
        words = {word_forms(word, languages): word for word in reversed(telling_words(text))}
        typed = tuple(words.values())[::-1]
        folded = tuple(map(without_accents, typed)) if inside else ()
        return cls(tuple(words)[::-1], typed, tuple(languages), folded)

    def terms(self) -> list[str]:
        """For each word a tsquery that finds its forms."""
        return [" | ".join(f"'{form}'" for form in sorted(forms)) for forms in self.words]

    def patterns(self) -> list[list[str]]:
        """For each word the patterns of LIKE that find it in folded text, and other texts, too.

        A stem can end otherwise than the words it stands for ("babi" for "baby", "lik" in "liking"): a final vowel is
        left out. "ue" may stand for "ü", which is folded to "u".
        """
        typed = [{word} for word in self.inside] or [set[str]()] * len(self.words)
        return [
            _shortest({_without_ending(form) for form in _spellings(forms)} | more)
            for forms, more in zip(self.words, typed, strict=True)
        ]


def _spellings(forms: frozenset[str]) -> set[str]:
    return set(forms) | {_WITHOUT_E.sub(r"\1", form) for form in forms}


def _without_ending(form: str) -> str:
    plain = form.rstrip("~")
    return plain[:-1] if len(plain) >= _SHORTEST_CUT and plain[-1] in _VOWELS else plain


def _shortest(parts: set[str]) -> list[str]:
    """Patterns of those parts that contain no other one."""
    kept = [part for part in parts if not any(other in part for other in parts if other != part)]
    return [f"%{part.translate(_ESCAPED)}%" for part in sorted(kept)]
