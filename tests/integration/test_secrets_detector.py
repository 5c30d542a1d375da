"""PostgreSQL finds with the detector's pattern what Python finds."""

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.secrets_detector import SQL_PATTERN
from tests.support.conversations import rows
from tests.unit.test_secrets_detector import HARMLESS, KEYS


async def test_the_pattern_means_the_same_there(database: DatabaseUrl) -> None:
    found = await rows(
        database,
        "SELECT t.text FROM unnest($1::text[]) WITH ORDINALITY t (text, place) WHERE 'see ' || t.text ~ $2"
        " ORDER BY place",
        [*KEYS, *HARMLESS],
        SQL_PATTERN,
    )
    assert [row["text"] for row in found] == KEYS
