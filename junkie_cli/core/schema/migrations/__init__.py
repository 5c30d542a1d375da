"""Numbered migrations of our own tables, each a SQL file in this folder; `own_tables` applies them.

What: `junkie_versions` holds two numbers: `version`, the last migration that was applied, and `schema`, the oldest
version that may still write (named so because a junkie from before the numbers compares that row with its version 1,
which it then does rightly). Who: the first command that changes something, or `doctor --fix schema.junkie`, in one
transaction under an advisory lock. Which way: 1 -> 2 -> ... -> LATEST; never back.

Rules for a new migration: add a file and a line in MIGRATIONS, add its tables to `registry`, and never change a file
that was released. It can be run again on its own result (IF NOT EXISTS), for a table that somebody dropped is made
again that way. Additive changes (new tables, new columns with a default) keep `oldest_writer`, and an older junkie
goes on writing. Any other change sets `oldest_writer` to its own number: an older junkie then refuses to write.
Prefer a new table to a new column: it needs neither the ownership of a table nor a lock that waits for a backup.
"""

from pathlib import Path

from junkie_cli.core.value_class import frozen


@frozen
class Migration:
    """One migration; `oldest_writer` is the oldest version that may write after it."""

    number: int
    name: str
    oldest_writer: int = 1

    @property
    def sql(self) -> str:
        """Its statements; `@schema` stands for the quoted name of the schema."""
        return Path(__file__).with_name(f"{self.number:04}_{self.name}.sql").read_text("utf-8")


MIGRATIONS = (
    Migration(1, "first_tables"),
    Migration(2, "learned_lines_and_cascades"),
    Migration(3, "batches"),
    Migration(4, "search_words"),
)
LATEST = MIGRATIONS[-1].number
"""The version of our tables that this junkie makes and knows."""
