"""The words that a text is found by: folded and stemmed, in every script.

- Case, accents and compatibility forms (full-width letters, ligatures) make no difference: "Café" is found by "cafe".
  German umlauts also match their spelling with e: "Müller" is found by "Mueller" and by "Muller".
- A word is reduced to its stem by the Snowball algorithm of its script: "babies" is found by "baby". Latin script
  serves many languages: each configured language gives a stem of its own, and an umlaut one of German.
- Longer words also match by their beginning: "allergies" finds "allergic".
- Marks of Indic scripts are letters. Scripts without spaces between words (Chinese, Japanese, Thai and others) give
  single characters and pairs of neighbours.

Texts and queries get their words from the same functions, so that they meet. Change `VERSION` whenever the words of a
text change, so that stored words are derived anew.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

import Stemmer

from junkie_cli.core.ranking.languages import DEFAULT_LANGUAGES, SCRIPTS

VERSION = 1
"""Number of these rules, stored with the words that they gave."""

MOST_QUERY_WORDS = 32
"""Words of a query that are searched, the longest ones: they are the rarest."""

LONGEST_QUERY = 20_000
"""Characters of a query that are read; what comes later adds no words that are rarer."""

_LONGEST = 40  # characters; what is longer is a key or a paste rather than a word
_BEGINNING = 6  # characters by which words of at least seven match, too

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\U00020000-\U0003ffff]+"
)
_KEPT_MARKS = re.compile("[\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff\u3099\u309a]")  # vowels and voicing, not accents
# Letters and digits with the marks that belong to them: `\w` has no marks.
_WORD = re.compile(
    r"[^\W_](?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u200d])*"
)
_APOSTROPHES = str.maketrans("’‘ʼ＇`´", "''''''")
_CONTRACTION = re.compile(r"(?<=[^\W\d_])'(?:s|t|d|ll|m|re|ve)\b")
_ACRONYM = re.compile(r"\b[A-Z]{2,3}\b")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ς": "σ"})

_FREQUENT = frozenset(
    re.findall(
        r"\w+",
        """a about after again all also always am an and any are as at be because been before being but by
        can could did do does doing don for from get give had has have having he her here him his how i if
        in into is it its just know let like made make many may me might more most much must my need no not
        now of off on one only or other our out over please remember s said say see she should so some tell
        than that the their them then there these they thing this those to too up us user very want was way
        we well were what when where which while who whom whose why will with would you your aber alle als
        am an auch auf aus bei bin bist da das dass dein dem den der des die dir doch du ein eine einen
        einer er es fur hab habe habt hast hat ich ihr im in ist ja kann man mein mich mir mit nach nicht
        noch oder sein sich sie sind so um und uns von war was wenn wer wie wir wo zu zum zur""",
    )
)


def without_accents(word: str) -> str:
    """`word` without accents. Marks that are letters of their own stay."""
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", word.translate(_LETTERS))
    kept = "".join(mark for mark in apart if not unicodedata.combining(mark) or _KEPT_MARKS.match(mark))
    return unicodedata.normalize("NFC", kept)


FOLDED_LETTERS = {
    letter: plain
    for letter in map(chr, range(0xE0, 0x180))
    if letter.islower() and len(plain := without_accents(letter)) == 1 and plain != letter
}
"""Small accented letters of Latin script and what they are folded to, where that is one letter."""


def search_words(text: str, languages: Sequence[str] = DEFAULT_LANGUAGES) -> tuple[str, ...]:
    """Every word that `text` is found by, sorted."""
    return tuple(sorted({form for word in _words(text) for form in _forms(word, tuple(languages))}))


def word_forms(word: str, languages: Sequence[str] = DEFAULT_LANGUAGES) -> frozenset[str]:
    """The forms that a word of `telling_words` can have in a text; any one of them is a match."""
    return frozenset(_forms(word, tuple(languages)))


def telling_words(text: str) -> list[str]:
    """The words of a query that are searched, in lower case.

    Words that occur in nearly every text ("the", "when") are left out, unless the query has no others.
    """
    text = text[:LONGEST_QUERY]
    words = dict.fromkeys(_words(text))
    acronyms = set() if text.isupper() else {found.lower() for found in _ACRONYM.findall(text)}
    rare = [word for word in words if word in acronyms or without_accents(word) not in _FREQUENT]
    return sorted(rare or words, key=len, reverse=True)[:MOST_QUERY_WORDS]


def _words(text: str) -> list[str]:
    """The words of `text` in lower case; of a run without spaces its characters and pairs."""
    plain = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    found: list[str] = []
    for run in _UNSPACED.findall(plain):
        found += run
        found += (run[place : place + 2] for place in range(len(run) - 1))
    spaced = _CONTRACTION.sub(" ", _UNSPACED.sub(" ", plain))
    return found + [word[:_LONGEST] for word in _WORD.findall(spaced)]


@functools.lru_cache(maxsize=20_000)
def _forms(word: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """The forms that stand for one word: its stems and its beginning, folded."""
    if _UNSPACED.match(word):
        return (word,)
    plain = without_accents(word)
    spellings = {word, plain, word.translate(_UMLAUTS)}
    stems = {
        without_accents(_stemmer(name).stemWord(spelling))
        for name in _stemmers(word, languages)
        for spelling in spellings
    }
    beginning = {f"{plain[:_BEGINNING]}~"} if len(plain) > _BEGINNING and plain.isalpha() else set()
    return tuple((stems or {without_accents(spelling) for spelling in spellings}) | beginning)


def _stemmers(word: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """The languages whose stemmer fits the script of `word`. An umlaut is reason enough for German."""
    script = "LATIN" if word[0].isascii() else unicodedata.name(word[0], "").partition(" ")[0]
    if script != "LATIN":
        return (SCRIPTS[script],) if script in SCRIPTS else ()
    return languages if word == word.translate(_UMLAUTS) else (*languages, "german")


@functools.cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language, 0)  # no cache of its own: _forms has one
