"""When two texts say the same: one rule for people's text, in Python and in SQL.

Two texts are near-exact duplicates when their keys are equal. The key ignores case, Unicode compatibility forms
(full-width letters, ligatures, composed and decomposed accents), white space, invisible characters, and the marks that
end and quote sentences. It keeps what changes the meaning: accents, digits, a minus before a number, and signs such as
`+`, `#`, `%`, `@` and `/` ("C", "C++" and "C#" are three languages).

The SQL twin gives the same key on every PostgreSQL whose encoding is UTF8, whatever its locale: it names each character
that it changes, because `lower()` and character classes follow the database's locale. Both normalize by the Unicode
tables that they come with: a character that only the newer of the two knows may differ. Pure functions.
"""

import re
import unicodedata

# Capitals that compatibility decomposition leaves in one piece, and their small letters. Accented capitals come apart
# into a letter of A to Z and its accents.
_CAPITALS = (
    "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"
    "АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЂЄЅІЈЉЊЋЏҐҒҖҚҜҢҤҪҮҰҲҶҸҺӘӨ"
    "ԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖ"
    "ÆØÞÐĐĦŁŊŒŦƏẞ"
)
_SMALL = _CAPITALS.lower()
_FINAL_SIGMA = ("ς", "σ")
_HYPHENS = "‐‑‒–—―−⁃"
# Apostrophes, soft hyphen, joiners, directional marks, byte order mark, variation selectors: nothing stands for them.
_DROPPED = (
    "'`´‘’‛ʹʻʼʽˈ′\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061"
    "\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff\ufe0e\ufe0f"
)
# White space and the marks of sentences; one space stands for any number of them.
_SEPARATORS = (
    "\t\n\x0b\x0c\r \x1c\x1d\x1e\x1f\x85\u1680\u2028\u2029"
    '.,;:!?"()[]{}_¡¿«»‹›“”„‟‚…·•‧∙、。「」『』〈〉《》【】〔〕〖〗・〜،؛؟۔।॥՝՜՛՞։׃״׳၊။።፣፤፥፦፧'
)
_ASCII_SEPARATORS = "".join(mark for mark in _SEPARATORS if mark.isascii())


def _character_class(characters: str) -> str:
    """`characters` for use inside brackets of a regular expression, of Python's and of PostgreSQL's."""
    return "".join(f"\\{one}" if one in r"\[]^-." else one for one in characters)


def _separator(characters: str) -> str:
    """A run of separators. A hyphen is one, too, unless it is the minus of a number."""
    known = _character_class(characters)
    return f"(?:[{known}]|-(?![0-9])|(?<=[^{known}])-)+"


_CHANGES = str.maketrans(
    _CAPITALS + _FINAL_SIGMA[0] + _HYPHENS, _SMALL + _FINAL_SIGMA[1] + "-" * len(_HYPHENS), _DROPPED
)
_SEPARATOR = re.compile(_separator(_SEPARATORS))
_ASCII_CAPITALS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def normalized(text: str) -> str:
    """The key of `text`: equal keys mean the same text. A text of separators alone is its own key."""
    plain = unicodedata.normalize("NFKD", text).translate(_ASCII_CAPITALS)
    key = _SEPARATOR.sub(" ", plain.translate(_CHANGES).replace("ß", "ss")).strip(" ")
    return key or text


def normalized_sql(expression: str, *, encoding: str = "UTF8") -> str:
    """SQL for the key of `expression`, a text; `encoding` is the server's.

    Where that is not UTF8, PostgreSQL can neither decompose nor be sent most of these characters: there only ASCII
    letters and marks are ignored.
    """
    lower = f'lower({expression} COLLATE "C")'
    if encoding != "UTF8":
        return _key_sql(expression, lower, "'`", "translate(t.plain, '''`', '')", _ASCII_SEPARATORS)
    # Most texts are plain ASCII, for which a tenth of the work is enough.
    decomposed = f'lower(normalize({expression}, NFKD) COLLATE "C")'
    plain = f"CASE WHEN octet_length({expression}) = length({expression}) THEN {lower} ELSE {decomposed} END"
    changed = _CAPITALS + _FINAL_SIGMA[0] + _HYPHENS + _DROPPED
    small = _SMALL + _FINAL_SIGMA[1] + "-" * len(_HYPHENS)
    folded = f"replace(translate(t.plain, {_literal(changed)}, {_literal(small)}), 'ß', 'ss')"
    return _key_sql(expression, plain, changed + "ß", folded, _SEPARATORS)


def _key_sql(expression: str, plain: str, changed: str, folded: str, separators: str) -> str:
    """The key of `expression` from `plain`, by way of `folded` where a letter of `changed` is in it.

    A subquery, so that the planner does not repeat `plain`; `translate()` reads its table once for each letter.
    """
    text = f"CASE WHEN t.plain ~ {_literal(f'[{_character_class(changed)}]')} THEN {folded} ELSE t.plain END"
    key = f"btrim(regexp_replace({text}, {_literal(_separator(separators))}, ' ', 'g'), ' ')"
    return (
        f"(SELECT coalesce(nullif({key}, ''), t.text) FROM (SELECT {expression} AS text, {plain} AS plain OFFSET 0) t)"
    )


def _literal(text: str) -> str:
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'"
