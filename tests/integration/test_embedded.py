import asyncpg

from junkie_cli.core.url import DatabaseUrl


async def test_each_test_has_a_database_of_its_own(database: DatabaseUrl) -> None:
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
        await connection.execute("create table public.mine ()")
    finally:
        await connection.close()


async def test_and_again_a_fresh_one(database: DatabaseUrl) -> None:
    await test_each_test_has_a_database_of_its_own(database)
