"""Normalizes text to compare its meaning: the same rule in Python and in SQL.

Two texts are near-exact duplicates if their keys are equal. The key ignores case, Unicode compatibility forms
(full-width letters, ligatures, composed and decomposed accents), white space, invisible characters, and punctuation of
sentences. It keeps what changes the meaning: accents, digits, a minus before a number, and symbols such as
`+`, `#`, `%`, `@` and `/` ("C", "C++" and "C#" are three languages).

The SQL version returns the same key on every PostgreSQL with encoding UTF8, in any locale: it lists each character that
it changes, because `lower()` and character classes depend on the locale. Python and PostgreSQL have their own Unicode
tables: a character that only the newer one contains can differ. Pure functions.
"""

import re
import unicodedata

# Capitals that compatibility decomposition does not split, and their small letters. Accented capitals are split into a
# letter from A to Z and accents.
_CAPITALS = (
    "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"
    "АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЂЄЅІЈЉЊЋЏҐҒҖҚҜҢҤҪҮҰҲҶҸҺӘӨ"
    "ԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖ"
    "ÆØÞÐĐĦŁŊŒŦƏẞ"
)
_SMALL = _CAPITALS.lower()
_FINAL_SIGMA = ("ς", "σ")
_HYPHENS = "‐‑‒–—―−⁃"
# Removed: apostrophes, soft hyphen, joiners, directional marks, byte order mark, variation selectors.
_DROPPED = (
    "'`´‘’‛ʹʻʼʽˈ′\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061"
    "\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff\ufe0e\ufe0f"
)
# White space and punctuation; any number of them becomes one space.
_SEPARATORS = (
    "\t\n\x0b\x0c\r \x1c\x1d\x1e\x1f\x85\u1680\u2028\u2029"
    '.,;:!?"()[]{}_¡¿«»‹›“”„‟‚…·•‧∙、。「」『』〈〉《》【】〔〕〖〗・〜،؛؟۔।॥՝՜՛՞։׃״׳၊။።፣፤፥፦፧'
)
_ASCII_SEPARATORS = "".join(mark for mark in _SEPARATORS if mark.isascii())


def _character_class(characters: str) -> str:
    """Escape `characters` for a bracket expression of Python and PostgreSQL."""
    return "".join(f"\\{one}" if one in r"\[]^-." else one for one in characters)


def _separator(characters: str) -> str:
    """Return a pattern for separators. A hyphen is one, too, unless it is the minus of a number."""
    known = _character_class(characters)
    return f"(?:[{known}]|-(?![0-9])|(?<=[^{known}])-)+"


_CHANGES = str.maketrans(
    _CAPITALS + _FINAL_SIGMA[0] + _HYPHENS, _SMALL + _FINAL_SIGMA[1] + "-" * len(_HYPHENS), _DROPPED
)
_SEPARATOR = re.compile(_separator(_SEPARATORS))
_ASCII_CAPITALS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def normalized(text: str) -> str:
    """Return the key of `text`. A text of separators only is its own key."""
    plain = unicodedata.normalize("NFKD", text).translate(_ASCII_CAPITALS)
    key = _SEPARATOR.sub(" ", plain.translate(_CHANGES).replace("ß", "ss")).strip(" ")
    return key or text


def normalized_sql(expression: str, *, encoding: str = "UTF8") -> str:
    """Return SQL for the key of `expression`, a text; `encoding` is the server's.

    With other encodings than UTF8, PostgreSQL cannot decompose, and most of these characters do not exist: then only
    case and punctuation of ASCII are normalized.
    """
    lower = f'lower({expression} COLLATE "C")'
    if encoding != "UTF8":
        return _key_sql(expression, lower, "'`", "translate(t.plain, '''`', '')", _ASCII_SEPARATORS)
    # Most texts are ASCII, which needs a tenth of the work.
    decomposed = f'lower(normalize({expression}, NFKD) COLLATE "C")'
    plain = f"CASE WHEN octet_length({expression}) = length({expression}) THEN {lower} ELSE {decomposed} END"
    changed = _CAPITALS + _FINAL_SIGMA[0] + _HYPHENS + _DROPPED
    small = _SMALL + _FINAL_SIGMA[1] + "-" * len(_HYPHENS)
    folded = f"replace(translate(t.plain, {_literal(changed)}, {_literal(small)}), 'ß', 'ss')"
    return _key_sql(expression, plain, changed + "ß", folded, _SEPARATORS)


def _key_sql(expression: str, plain: str, changed: str, folded: str, separators: str) -> str:
    """Return SQL for the key of `expression` from `plain`, or from `folded` if it contains a letter of `changed`.

    A subquery keeps the planner from repeating `plain`; `translate()` scans its table for each letter.
    """
    text = f"CASE WHEN t.plain ~ {_literal(f'[{_character_class(changed)}]')} THEN {folded} ELSE t.plain END"
    key = f"btrim(regexp_replace({text}, {_literal(_separator(separators))}, ' ', 'g'), ' ')"
    return (
        f"(SELECT coalesce(nullif({key}, ''), t.text) FROM (SELECT {expression} AS text, {plain} AS plain OFFSET 0) t)"
    )


def _literal(text: str) -> str:
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'"
