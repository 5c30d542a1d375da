"""Functions and operators that others may create in a schema of `search_path` are never called (CVE-2018-1058)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from junkie_cli.core import sessions, stats
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.memories.edits import add_memory, clear_memories
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.listing import list_users
from tests.support.generations import Administration, Make, as_role, new_role
from tests.support.planted import PLANT, PLANTED

Call = Callable[[Settings], Awaitable[Any]]
COMMANDS: dict[str, Call] = {
    "list": lambda s: list_memories(s, MemoryFilter("ada")),
    "search": lambda s: search_memories(s, "tea"),
    "users": lambda s: list_users(s),
    "sessions": lambda s: sessions.list_sessions(s),
    "stats": lambda s: stats.collect_stats(s),
    "add": lambda s: add_memory(s, "ada", "x"),
    "clear": lambda s: clear_memories(s, "ada"),
    "erase": lambda s: erase_user(s, "ada"),
}


@pytest.fixture
async def planted(written_by: Make, admin: Administration) -> DatabaseUrl:
    """A database in whose schema `public` a stranger who may create there, as in PostgreSQL 14, planted code."""
    url = written_by("3.1")
    await admin.do(url, *new_role("stranger"), "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC")
    await admin.do(as_role(url, "stranger"), PLANT)
    return url


@pytest.mark.parametrize("name", COMMANDS)
async def test_commands_call_no_planted_code(planted: DatabaseUrl, admin: Administration, name: str) -> None:
    with pytest.raises(asyncpg.RaiseError, match=PLANTED):
        await admin.value(planted, "SELECT lower(user_id) FROM ai.user_memories")
    await COMMANDS[name](admin.settings(planted))


async def test_a_trigger_that_relies_on_such_a_schema_is_reported(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE TABLE public.audit (operation text)",
        "CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO audit VALUES (TG_OP); RETURN new; END'",
        "CREATE TRIGGER noted BEFORE INSERT ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION public.noted()",
    )
    await add_memory(admin.settings(url), "ada", "noted")
    await admin.do(url, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(DatabaseError, match='relation "audit" does not exist') as caught:
        await add_memory(admin.settings(url), "ada", "refused")
    assert caught.value.code == "database_trigger"
    assert "REVOKE CREATE" in str(caught.value.hint)


async def path(url: DatabaseUrl) -> str:
    """The search_path inside a transaction."""
    connection = await open_connection(url)
    try:
        async with connection.transaction():
            return str(await connection.fetchval("SELECT pg_catalog.current_setting('search_path')"))
    finally:
        await close_connection(connection)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ((), "public"),
        (("GRANT CREATE ON SCHEMA public TO PUBLIC",), ""),
        (("GRANT CREATE ON SCHEMA public TO stranger",), ""),
        (("GRANT CREATE ON SCHEMA public TO stranger", "CREATE EXTENSION citext SCHEMA public"), "public"),
        (("GRANT USAGE ON SCHEMA public TO stranger",), "public"),
        (("GRANT CREATE ON SCHEMA public TO postgres_owner",), "public"),
        (
            ('CREATE SCHEMA "A b" AUTHORIZATION stranger', '{set} = "A b", public, pg_catalog'),
            '"A b", public, pg_catalog',
        ),
        (("CREATE SCHEMA {me} AUTHORIZATION stranger",), "public"),
        (("CREATE SCHEMA {me}",), "{me}, public"),
    ],
)
async def test_schemas_in_which_others_may_create_are_left_out(
    database: DatabaseUrl, admin: Administration, statements: tuple[str, ...], expected: str
) -> None:
    me = str(await admin.value(database, "SELECT quote_ident(current_user)"))
    names = {"me": me, "set": f'ALTER DATABASE "{database.database}" SET search_path'}
    await admin.do(database, *new_role("stranger"), *new_role("postgres_owner"), "ALTER ROLE postgres_owner SUPERUSER")
    await admin.do(database, *(statement.format(**names) for statement in statements))
    assert await path(database) == expected.format(**names)
