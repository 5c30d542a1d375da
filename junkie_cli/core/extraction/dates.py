"""Words such as "tomorrow" in a fact, followed by the date that they meant when it was said. Pure functions.

    User flies to Rome tomorrow.        User flies to Rome tomorrow (2026-12-02).
    Nächste Woche hat User Prüfung.     Nächste Woche (2026-12-07 – 2026-12-13) hat User Prüfung.

Models are asked to write the date, and small ones do not. The word stays, since no grammar can break then. Only what
is certain gets a date: English, German, French, Spanish, Italian, Dutch and Portuguese, and of these no names of days
("on Friday" may be past or to come) and no word that means something else, too ("mañana" behind "la", "Morgen" as a
noun, French "hier", which is "here" in German). A fact that names a year is left alone.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta

_DAYS = {
    -2: "the day before yesterday|vorgestern|avant-hier|anteayer|antes de ayer|l'altro ieri|eergisteren|anteontem",
    -1: "yesterday|last night|gestern|ayer|ieri|gisteren|ontem",
    0: "today|tonight|this (?:morning|afternoon|evening)|heute|aujourd[’']hui|hoy|oggi|vandaag|hoje",
    1: "tomorrow|demain|mañana|domani|amanhã|morgen",
    2: "the day after tomorrow|übermorgen|après-demain|pasado mañana|dopodomani|overmorgen|depois de amanhã",
}
_NEXT = {
    "week": "next week|nächste woche|kommende woche|la semaine prochaine|la semana que viene|la próxima semana"
    "|la settimana prossima|la prossima settimana|volgende week|na próxima semana|a próxima semana|semana que vem",
    "month": "next month|nächsten monat|kommenden monat|le mois prochain|el mes que viene|el próximo mes"
    "|il mese prossimo|il prossimo mese|volgende maand|no próximo mês|mês que vem",
    "year": "next year|nächstes jahr|kommendes jahr|l[’']année prochaine|l[’']an prochain|el año que viene"
    "|el próximo año|l[’']anno prossimo|il prossimo anno|volgend jaar|no próximo ano|ano que vem",
}
_LAST = {
    "week": "last week|letzte woche|vorige woche|la semaine dernière|la semana pasada|la settimana scorsa"
    "|la scorsa settimana|vorige week|afgelopen week|na semana passada|semana passada",
    "month": "last month|letzten monat|vorigen monat|le mois dernier|el mes pasado|il mese scorso|lo scorso mese"
    "|vorige maand|afgelopen maand|no mês passado|mês passado",
    "year": "last year|letztes jahr|voriges jahr|l[’']année dernière|l[’']an dernier|el año pasado|l[’']anno scorso"
    "|lo scorso anno|vorig jaar|no ano passado|ano passado",
}
_THIS = {
    "week": "this week|diese woche|cette semaine|esta semana|questa settimana|deze week",
    "month": "this month|diesen monat|ce mois-ci|este mes|questo mese|deze maand|este mês",
    "year": "this year|dieses jahr|cette année|este año|quest[’']anno|dit jaar|este ano",
}
_NUMBERS = (
    ("one", "a", "an", "einem", "einer", "un", "une", "uno", "una", "een", "um", "uma"),
    ("two", "zwei", "deux", "dos", "due", "twee", "dois", "duas"),
    ("three", "drei", "trois", "tres", "tre", "drie", "três"),
    ("four", "vier", "quatre", "cuatro", "quattro", "quatro"),
    ("five", "fünf", "cinq", "cinco", "cinque", "vijf"),
    ("six", "sechs", "seis", "sei", "zes"),
)
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(word for words in _NUMBERS for word in words)})"
_UNIT = (
    r"(?:(?P<days>days?|tage?n?|jours?|días?|giorn[oi]|dag(?:en)?|dias?)"
    r"|(?P<weeks>weeks?|wochen?|semaines?|semanas?|settiman[ae]|weken|week))"
)
_AHEAD = rf"(?:in|dans|dentro de|en|tra|fra|over|daqui a) {_COUNT} {_UNIT}"
_AGO = rf"(?:vor|il y a|hace|há) {_COUNT} {_UNIT}"
_COUNT_AGO = rf"{_COUNT} {_UNIT} (?:ago|fa|geleden|atrás)"
# Behind these the word is another one: "la mañana" and "jeden Morgen" are the morning.
_BEFORE_MORNING = ("la", "esta", "cada", "por", "guten", "am", "jeden", "der", "den", "heute", "gestern")
_NOT_BEHIND = "".join(rf"(?<!\b{word} )" for word in _BEFORE_MORNING)

Resolve = Callable[[re.Match[str], date], str]


def with_dates(text: str, today: date) -> str:
    """`text` with the date behind each word that means one, counted from `today`; as it is where it names a year."""
    if re.search(r"\b(?:19|20)\d\d\b", text):
        return text
    found: dict[int, tuple[int, str]] = {}  # by the place where they begin
    for pattern, resolve in _RULES:
        for match in pattern.finditer(text):
            if not any(start < match.end() and match.start() < end for start, (end, _) in found.items()):
                found[match.start()] = (match.end(), resolve(match, today))
    for end, meant in sorted(found.values(), reverse=True):
        text = f"{text[:end]} ({meant}){text[end:]}"
    return text


def _rules() -> Iterator[tuple[re.Pattern[str], Resolve]]:
    """Longer words first: "the day after tomorrow" holds "tomorrow"."""
    for days in (-2, 2, -1, 1, 0):
        yield _words(_DAYS[days]), lambda _, today, days=days: _day(today + timedelta(days))  # type: ignore[misc]
    for step, units in ((1, _NEXT), (-1, _LAST), (0, _THIS)):
        for unit, words in units.items():
            span = _SPANS[unit]
            yield _words(words), lambda _, today, span=span, step=step: span(today, step)  # type: ignore[misc]
    yield _words(_AHEAD), lambda match, today: _day(today + _distance(match))
    for ago in (_AGO, _COUNT_AGO):
        yield _words(ago), lambda match, today: _day(today - _distance(match))


def _words(words: str) -> re.Pattern[str]:
    # "Morgen" is a noun in German but at the beginning of a sentence; "morgen" is tomorrow.
    words = words.replace("|morgen", r"|(?-i:morgen)|(?-i:(?<![^.!?] )(?<![^\s])Morgen)")
    return re.compile(rf"(?<![\w-]){_NOT_BEHIND}(?:{words})(?![\w-])(?! \()", re.IGNORECASE)


def _day(day: date) -> str:
    return day.isoformat()


def _week(today: date, step: int) -> str:
    monday = today - timedelta(today.weekday()) + timedelta(weeks=step)
    return f"{monday.isoformat()} – {(monday + timedelta(6)).isoformat()}"


def _month(today: date, step: int) -> str:
    months = today.year * 12 + today.month - 1 + step
    return f"{months // 12}-{months % 12 + 1:02}"


def _year(today: date, step: int) -> str:
    return str(today.year + step)


_SPANS = {"week": _week, "month": _month, "year": _year}


def _distance(match: re.Match[str]) -> timedelta:
    written = match["count"].lower()
    count = int(written) if written.isdecimal() else next(n for n, words in enumerate(_NUMBERS, 1) if written in words)
    return timedelta(weeks=count) if match["weeks"] else timedelta(count)


_RULES = tuple(_rules())
