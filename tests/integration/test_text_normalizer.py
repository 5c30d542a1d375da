"""The normalizer's two implementations, in Python and in SQL, give the same keys."""

import random
import unicodedata

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.text_normalizer import normalized, normalized_sql
from tests.support.conversations import rows
from tests.support.postgres import execute
from tests.unit.test_text_normalizer import DIFFERENT, SAME


def texts() -> list[str]:
    """The table of the unit tests, each character of Unicode 3.2 in four places, and a thousand mixtures of marks."""
    draw = random.Random(7)
    listed = [text for pair in [*SAME, *DIFFERENT] for text in pair]
    # Every server and every Python knows these; of newer characters one of the two may know nothing.
    known = [
        chr(code)
        for code in range(1, 0x30000)
        if unicodedata.ucd_3_2_0.category(chr(code)) not in {"Cn", "Cs"} and not 0xAC10 < code < 0xD7A0
    ]
    marks = "aB1 \t.,-–−'’(«ß_#é\u0301"
    mixed = ["".join(draw.choices(marks, k=draw.randrange(1, 9))) for _ in range(1000)]
    return [*listed, *(f"{one}A-{one}5b{one}" for one in known), *mixed]


async def keys(database: DatabaseUrl, texts: list[str], encoding: str = "UTF8") -> list[str]:
    found = await rows(
        database,
        f"SELECT {normalized_sql('t.text', encoding=encoding)} AS key FROM unnest($1::text[])"
        " WITH ORDINALITY t (text, place) ORDER BY place",
        texts,
    )
    return [row["key"] for row in found]


async def test_sql_gives_the_same_keys(database: DatabaseUrl) -> None:
    asked = texts()
    got = await keys(database, asked)
    wrong = [(text, key, normalized(text)) for text, key in zip(asked, got, strict=True) if key != normalized(text)]
    assert wrong == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_where_the_server_knows_no_unicode_ascii_is_compared(postgres_server: object, encoding: str) -> None:
    server = postgres_server
    name = f"normalizer_{encoding.lower()}"
    execute(server, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")  # type: ignore[arg-type]
    url = server.url.with_database(name)  # type: ignore[attr-defined]
    assert await keys(url, ["Likes Tea.", "likes  tea", "É"], encoding) == ["likes tea", "likes tea", "É"]
