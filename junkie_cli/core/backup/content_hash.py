"""Computes row count and content hash of a table: equal for the same rows on every server.

The text of each row is hashed (the first 64 bits of md5) and the hashes are summed, so that the order of rows does not
matter; a lost, added or altered row changes the sum. Settings that affect the text form of values are fixed for the
transaction, and text in other encodings is hashed as UTF-8.
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
    "search_path": "pg_catalog, pg_temp",  # so that no type of another session of a pooler takes precedence
    "row_security": "off",
}
# As pg_dump does: a table that was replaced by a view in the meantime is refused. Older servers lack this setting.
_TABLES_ONLY = """
SELECT set_config(name, 'view, foreign-table', true) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind';
"""
_AS_IT_IS = frozenset({"UTF8", "SQL_ASCII"})


def settings_sql() -> str:
    """Return statements that fix the text form of values, and allow only tables, for the rest of the transaction."""
    return "".join(f"SET LOCAL {name} = {value};\n" for name, value in SETTINGS.items()) + _TABLES_ONLY


def table_sql(schema: str, table: str, *, encoding: str) -> str:
    """Return a query for one row (rows bigint, total numeric) of a table in a database of `encoding`.

    It calls only PostgreSQL's own functions: a row becomes text by its output function, because `::text` would call a
    cast created by the owner of the table, with the privileges of the role that makes the backup.
    """
    row = "record_out(junkie_row)::text"
    text = row if encoding in _AS_IT_IS else f"convert_to({row}, 'UTF8')"
    return (
        f"SELECT count(*) AS rows, coalesce(sum(('x' || left(md5({text}), 16))::bit(64)::bigint::numeric), 0) AS total"
        f" FROM ONLY {quoted(schema)}.{quoted(table)} AS junkie_row"
    )


def shown(total: int) -> str:
    """Format the sum as 16 hexadecimal digits."""
    return f"{total % 2**64:016x}"


async def read(connection: "asyncpg.Connection[Any]", schema: str, table: str, *, encoding: str) -> tuple[int, str]:
    """Return (rows, hash) of a table, in a transaction with the settings of `settings_sql`."""
    row = await connection.fetchrow(table_sql(schema, table, encoding=encoding))
    assert row is not None
    return row[0], shown(int(row[1]))


def check_sql(expected: Sequence[tuple[str, str, int, str]], *, encoding: str) -> str:
    """Return lines for psql that fail unless each (schema, table, rows, hash) matches; settings as for `read`."""
    return "".join(_one_check(*table, encoding=encoding) for table in expected)


def _one_check(schema: str, table: str, rows: int, digits: str, *, encoding: str) -> str:
    # A name can come from an untrusted manifest: it is used in literals and quoted names only, never between dollar
    # quotes, which it could close.
    name = "'" + f"{schema}.{table}".replace("'", "''") + "'"
    # mod() of numeric keeps the sign, so 2^64 is added before the digits are compared.
    value = "mod(mod(total, 18446744073709551616) + 18446744073709551616, 18446744073709551616)"
    # A separate query, because queries inside DO do not run in parallel.
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
