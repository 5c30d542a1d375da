"""Row count and content hash of a table: the same number for the same rows on every server.

Each row's text is hashed by itself (md5, its first 64 bits) and the hashes are summed, so that the order of rows does
not matter; a lost, added or altered row changes the sum, and the count goes with it. What decides how a value is
written as text is fixed for the transaction, and text of other encodings is hashed as UTF-8.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.schema.tables import quoted

if TYPE_CHECKING:
    import asyncpg

SETTINGS = {
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO, MDY'",
    "IntervalStyle": "'postgres'",
    "bytea_output": "'hex'",
    "extra_float_digits": "3",
    "lc_monetary": "'C'",
    "xmlbinary": "'base64'",
    "search_path": "pg_catalog, pg_temp",  # so that no type of another session of a pooler comes first
    "row_security": "off",
}
# As pg_dump has it: a table that was replaced by a view meanwhile is refused, not read. Older servers do not know it.
_TABLES_ONLY = """
SELECT set_config(name, 'view, foreign-table', true) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind';
"""
_AS_IT_IS = frozenset({"UTF8", "SQL_ASCII"})


def settings_sql() -> str:
    """Statements that fix how values are written, for the rest of the transaction, and that only tables are read."""
    return "".join(f"SET LOCAL {name} = {value};\n" for name, value in SETTINGS.items()) + _TABLES_ONLY


def table_sql(schema: str, table: str, *, encoding: str) -> str:
    """A query for one row, (rows bigint, total numeric), of a table in a database of `encoding`.

    It calls functions of PostgreSQL alone: a row becomes text by its output function, for `::text` would call a cast
    that the table's owner made, with the rights of whoever makes the backup.
    """
    row = "record_out(junkie_row)::text"
    text = row if encoding in _AS_IT_IS else f"convert_to({row}, 'UTF8')"
    return (
        f"SELECT count(*) AS rows, coalesce(sum(('x' || left(md5({text}), 16))::bit(64)::bigint::numeric), 0) AS total"
        f" FROM ONLY {quoted(schema)}.{quoted(table)} AS junkie_row"
    )


def shown(total: int) -> str:
    """The sum as it is stored and compared: 16 hexadecimal digits."""
    return f"{total % 2**64:016x}"


async def read(connection: "asyncpg.Connection[Any]", schema: str, table: str, *, encoding: str) -> tuple[int, str]:
    """(rows, hash) of a table; the settings of `settings_sql` must be in force in this transaction."""
    row = await connection.fetchrow(table_sql(schema, table, encoding=encoding))
    assert row is not None
    return row[0], shown(int(row[1]))


def check_sql(expected: Sequence[tuple[str, str, int, str]], *, encoding: str) -> str:
    """Lines for psql that fail unless each (schema, table, rows, hash) is exactly so; settings as for `read`."""
    return "".join(_one_check(*table, encoding=encoding) for table in expected)


def _one_check(schema: str, table: str, rows: int, digits: str, *, encoding: str) -> str:
    # A name may come from a stranger's manifest: it stands in literals and quoted names alone, never in a body between
    # dollar quotes, which it could close.
    name = "'" + f"{schema}.{table}".replace("'", "''") + "'"
    # mod() of numeric keeps the sign, so 2^64 is added before the digits are compared.
    value = "mod(mod(total, 18446744073709551616) + 18446744073709551616, 18446744073709551616)"
    # Asked by itself, for inside a DO no query is shared among several processes.
    return (
        f"{table_sql(schema, table, encoding=encoding)} \\gset junkie_\n"
        "SELECT set_config('junkie.rows', :'junkie_rows', true), set_config('junkie.total', :'junkie_total', true),"
        f" set_config('junkie.name', {name}, true);\n"
        "DO $junkie$ DECLARE rows bigint := current_setting('junkie.rows');"
        " total numeric := current_setting('junkie.total'); name text := current_setting('junkie.name'); BEGIN\n"
        f"IF rows <> {rows} THEN RAISE EXCEPTION 'junkie: % has % rows, not {rows}', name, rows; END IF;\n"
        f"IF {value} <> {int(digits, 16)} THEN RAISE EXCEPTION 'junkie: % has other content', name; END IF;\n"
        "END $junkie$;\n"
    )
