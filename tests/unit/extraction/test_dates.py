"""Words that mean a date get it, in the languages where that is certain; everything else stays as it is."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.extraction.dates import with_dates

TODAY = date(2026, 12, 1)  # a Tuesday

DATED = {
    "User flies to Rome tomorrow.": "User flies to Rome tomorrow (2026-12-02).",
    "Tomorrow I fly to Rome.": "Tomorrow (2026-12-02) I fly to Rome.",
    "User leaves the day after tomorrow": "User leaves the day after tomorrow (2026-12-03)",
    "User was in Rome yesterday and is back today": "User was in Rome yesterday (2026-11-30) and is back today "
    "(2026-12-01)",
    "User went to the gym this morning": "User went to the gym this morning (2026-12-01)",
    "User has an exam next week": "User has an exam next week (2026-12-07 – 2026-12-13)",
    "User moved last month": "User moved last month (2026-11)",
    "User moves next month": "User moves next month (2027-01)",
    "User retires next year": "User retires next year (2027)",
    "User retired last year": "User retired last year (2025)",
    "User has an exam in 3 days": "User has an exam in 3 days (2026-12-04)",
    "User has an exam in two weeks": "User has an exam in two weeks (2026-12-15)",
    "User came back a week ago": "User came back a week ago (2026-11-24)",
    "User came back 10 days ago": "User came back 10 days ago (2026-11-21)",
    "Morgen fliege ich nach Rom.": "Morgen (2026-12-02) fliege ich nach Rom.",
    "User fliegt morgen früh nach Rom.": "User fliegt morgen (2026-12-02) früh nach Rom.",
    "Übermorgen hat User frei": "Übermorgen (2026-12-03) hat User frei",
    "Nächste Woche hat User Prüfung": "Nächste Woche (2026-12-07 – 2026-12-13) hat User Prüfung",
    "User war vor drei Tagen in Köln": "User war vor drei Tagen (2026-11-28) in Köln",
    "User a un examen demain": "User a un examen demain (2026-12-02)",
    "User part après-demain": "User part après-demain (2026-12-03)",
    "User part la semaine prochaine": "User part la semaine prochaine (2026-12-07 – 2026-12-13)",
    "User est arrivé il y a deux jours": "User est arrivé il y a deux jours (2026-11-29)",
    "User viaja mañana a Roma": "User viaja mañana (2026-12-02) a Roma",
    "User viaja pasado mañana": "User viaja pasado mañana (2026-12-03)",
    "User parte domani": "User parte domani (2026-12-02)",
    "User vertrekt overmorgen": "User vertrekt overmorgen (2026-12-03)",
    "User viaja amanhã": "User viaja amanhã (2026-12-02)",
}

LEFT_ALONE = [
    "User likes tea",
    "User flies to Rome tomorrow, 2 December 2026",
    "User flies to Rome on 2026-12-02",
    "User trabaja por la mañana",
    "User corre cada mañana",
    "User trinkt jeden Morgen Tee",
    "User grüßt mit „Guten Morgen“ am Morgen",
    "User wohnt hier",
    "User reads USA Today-ish papers",
    "User has a dentist appointment on Friday",
    "User reads Tomorrowland",
    "Domani-street is where User lives",
]


@pytest.mark.parametrize("text", DATED)
def test_a_word_that_means_a_date_gets_it(text: str) -> None:
    assert with_dates(text, TODAY) == DATED[text]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_not_certain_stays(text: str) -> None:
    assert with_dates(text, TODAY) == text


def test_weeks_and_months_at_the_turn_of_a_year() -> None:
    assert with_dates("next week", date(2026, 12, 31)) == "next week (2027-01-04 – 2027-01-10)"
    assert with_dates("last month", date(2027, 1, 31)) == "last month (2026-12)"
    assert with_dates("tomorrow", date(2028, 2, 28)) == "tomorrow (2028-02-29)"


@given(st.text() | st.lists(st.sampled_from([*DATED, *LEFT_ALONE, "(", " ", "\n"])).map(" ".join), st.dates())
def test_nothing_is_lost_and_it_is_done_once(text: str, day: date) -> None:
    day = min(max(day, date(1, 3, 1)), date(9990, 1, 1))
    dated = with_dates(text, day)
    if dated != text and day.year > 1900 and day.year < 2099:
        assert with_dates(dated, day) == dated
    kept = iter(dated)
    assert all(character in kept for character in text)
