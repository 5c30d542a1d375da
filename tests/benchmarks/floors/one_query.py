"""The floor of administration: typer, one row by asyncpg, a table by rich. The address is in POSTGRES_URL."""

import typer

app = typer.Typer()


@app.command()
def show() -> None:
    import asyncio
    import os

    import asyncpg
    from rich.console import Console
    from rich.table import Table

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(os.environ["POSTGRES_URL"])
        try:
            return await connection.fetch("SELECT 'a' AS id, 'b' AS name, 'c' AS text, 'd' AS topics, 'e' AS at")
        finally:
            await connection.close()

    rows = asyncio.run(fetch())
    table = Table("ID", "USER", "MEMORY", "TOPICS", "UPDATED")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    app()
