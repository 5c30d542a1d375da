"""Lists every table that junkie knows, agno's by their role and our own, with what each command does with its rows.

Data flows: this list -> erase, export, backup, `restore --user`, undo, the doctor and the checks of rights. A table
that is not here (the bot's own, or one that a later agno adds) is handled by its columns: it belongs to whom its
`user_id` names. A new table of ours is added here and in a migration, and nowhere else.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from functools import cache

from junkie_cli.core.table_layout import Layout, Role, TableRef
from junkie_cli.core.value_class import frozen

MEMORIES = Role.MEMORIES
SESSIONS = Role.SESSIONS
RUNS = Role.RUNS
VERSIONS = "agno_schema_versions"

OWN_VERSIONS = "junkie_versions"
PENDING = "junkie_pending"
HISTORY = "junkie_history"
TOMBSTONES = "junkie_tombstones"
ERASURES = "junkie_erasures"
LEARNED = "junkie_learned"
CASCADES = "junkie_cascades"
BATCHES = "junkie_batches"
ROWS = "junkie_rows"
SEARCH_WORDS = "junkie_search_words"


class Feature(Enum):
    """What a table of ours is for; the value names it for people. A missing table switches off its feature alone."""

    HISTORY = "history and undo"
    CASCADES = "the report of rows that an undo cannot restore"
    BATCHES = "the record of who made a change, and undo of other rows than memories"
    PENDING = "retrying extractions that failed"
    ERASURES = "remembering who was erased"
    LEARNED = "memories learn"
    SEARCH = "searching many memories by their stored words"


class Erase(Enum):
    """What erasing a person does with a table."""

    ROWS = "delete the rows of this owner"
    SESSIONS = "delete own runs and own sessions; strip and pass on shared sessions"
    KEEP = "keep: the rows name nobody"


class Restore(Enum):
    """What `restore --user` does with a table."""

    ROWS = "add and, with --replace, change the rows of this owner"
    LEAVE = "leave as it is"


class Merge(Enum):
    """What giving one user's rows to another does with a table."""

    OWNER = "change the owner"
    KEEP = "leave as it is"


@frozen
class TableEntry:
    """One table and what is done with its rows.

    `key` are the columns that name a row. `owner` is the column that holds whose row it is, None where rows name
    nobody; `owned_by_index` are columns of the index by which one owner's rows are found, made with the table or by the
    doctor (`schema.indexes`). `feature` is what a table of ours is for, and `rights` are what that needs. `exported`:
    `users export` writes the rows. `data_in_backups` is False where a backup holds the structure alone (rows that can
    be made again). `undo`: a batch can hold the rows. `of_session`: deleting a session deletes the rows that name it.
    """

    table: TableRef
    key: tuple[str, ...]
    owner: str | None = None
    owned_by_index: tuple[str, ...] = ()
    feature: Feature | None = None
    rights: frozenset[str] = frozenset()
    erase: Erase = Erase.KEEP
    exported: bool = False
    data_in_backups: bool = True
    restore_user: Restore = Restore.LEAVE
    merge: Merge = Merge.KEEP
    undo: bool = False
    of_session: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is one of ours, not agno's."""
        return isinstance(self.table, str) and self.table != VERSIONS

    @property
    def personal(self) -> bool:
        """Whether its rows belong to people."""
        return self.owner is not None


_READ_AND_WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


@cache
def entries() -> tuple[TableEntry, ...]:
    """All tables, agno's first, in the order in which agno makes them."""
    return (*_agno(), *_own())


def _agno() -> tuple[TableEntry, ...]:
    return (
        *(
            TableEntry(
                table,
                (key,),
                "user_id",
                ("user_id",),
                erase=Erase.SESSIONS,
                exported=True,
                restore_user=Restore.ROWS,
                merge=Merge.OWNER,
                undo=True,
                of_session=True,
            )
            for table, key in ((SESSIONS, "session_id"), (RUNS, "run_id"))
        ),
        # Memories stay when their session is deleted, whatever columns a later agno adds.
        TableEntry(
            MEMORIES,
            ("memory_id",),
            "user_id",
            ("user_id",),
            erase=Erase.ROWS,
            exported=True,
            restore_user=Restore.ROWS,
            merge=Merge.OWNER,
            undo=True,
        ),
        TableEntry(VERSIONS, ("table_name",)),
    )


def _own() -> tuple[TableEntry, ...]:
    return (
        # The salt of the hashes in the two next tables is here, too.
        TableEntry(OWN_VERSIONS, ("name",), feature=Feature.ERASURES, rights=frozenset({"SELECT"})),
        TableEntry(TOMBSTONES, ("user_hash",), feature=Feature.ERASURES, rights=frozenset({"SELECT", "INSERT"})),
        TableEntry(ERASURES, ("erasure_id",), feature=Feature.ERASURES, rights=frozenset({"SELECT", "INSERT"})),
        TableEntry(
            PENDING,
            ("pending_id",),
            "user_id",
            ("user_id",),
            Feature.PENDING,
            _READ_AND_WRITE,
            Erase.ROWS,
            exported=True,
            merge=Merge.OWNER,
            undo=True,
            of_session=True,
        ),
        TableEntry(
            HISTORY,
            ("change_id",),
            "user_id",
            ("user_id", "change_id DESC"),
            Feature.HISTORY,
            frozenset({"SELECT", "INSERT", "DELETE"}),
            Erase.ROWS,
            exported=True,
            merge=Merge.OWNER,
        ),
        TableEntry(CASCADES, ("batch", "table_name"), None, (), Feature.CASCADES, frozenset({"SELECT", "INSERT"})),
        # The login in it is that of whoever works with junkie; an erasure blanks one that is the person's id.
        TableEntry(BATCHES, ("batch",), feature=Feature.BATCHES, rights=frozenset({"SELECT", "INSERT"})),
        TableEntry(
            ROWS,
            ("change_id",),
            "user_id",
            ("user_id",),
            Feature.BATCHES,
            frozenset({"SELECT", "INSERT"}),
            Erase.ROWS,
            exported=True,
            merge=Merge.OWNER,
        ),
        TableEntry(
            LEARNED,
            ("line_id",),
            "user_id",
            ("user_id",),
            Feature.LEARNED,
            frozenset({"SELECT", "INSERT"}),
            Erase.ROWS,
            exported=True,
            merge=Merge.OWNER,
            undo=True,
        ),
        # Derived from memories: never exported, and not worth the room in a backup.
        TableEntry(
            SEARCH_WORDS,
            ("user_id", "memory_id"),
            "user_id",
            ("user_id", "memory_id"),
            Feature.SEARCH,
            _READ_AND_WRITE,
            Erase.ROWS,
            data_in_backups=False,
            merge=Merge.OWNER,
        ),
    )


def stored_name(table: TableRef) -> str:
    """The name by which a table is kept in a batch: its role for one of agno's, whose names are configurable."""
    return table.value if isinstance(table, Role) else table


@cache
def undoable() -> tuple[TableRef, ...]:
    """The tables whose rows a batch can hold, those that others reference first."""
    return tuple(entry.table for entry in entries() if entry.undo)


@cache
def own_tables() -> tuple[str, ...]:
    """The names of our own tables."""
    return tuple(str(entry.table) for entry in entries() if entry.is_own)


@cache
def agno_tables() -> tuple[TableRef, ...]:
    """Agno's tables that junkie reads or writes, in the order in which agno makes them."""
    return tuple(entry.table for entry in entries() if not entry.is_own)


OWNER_COLUMNS = ("user_id", "author_id")
"""Columns that hold whose row it is, in tables that are not registered: the bot's, and those of a later agno."""


def owner_column(entry: TableEntry | None, columns: Collection[str]) -> str | None:
    """The column by which erase and export find a person's rows in a table of the schema; None where there is none.

    Sessions and runs have rules of their own. A table without an `entry` is judged by its `columns`.
    """
    if entry is None:
        return "user_id" if "user_id" in columns else None
    return entry.owner if entry.erase is Erase.ROWS else None


def names_a_session(entry: TableEntry | None, columns: Collection[str]) -> bool:
    """Whether deleting a session deletes the rows of a table that name it."""
    return "session_id" in columns and (entry is None or entry.of_session)


@cache
def restored_for_a_user() -> tuple[Role, ...]:
    """The tables whose rows `restore --user` writes."""
    found = (entry.table for entry in entries() if entry.restore_user is Restore.ROWS)
    return tuple(table for table in found if isinstance(table, Role))


def structure_only(layout: Layout) -> tuple[str, ...]:
    """The names of the tables of which a backup holds the structure and no rows."""
    return tuple(layout.name(entry.table) for entry in entries() if not entry.data_in_backups)


@cache
def key_of(table: TableRef) -> str:
    """The one column that names a row of `table`."""
    (column,) = entry_of(table).key
    return column


def of_feature(feature: Feature) -> tuple[TableEntry, ...]:
    """The tables that a feature needs."""
    return tuple(entry for entry in entries() if entry.feature is feature)


def by_name(layout: Layout) -> Mapping[str, TableEntry]:
    """All tables by the names that are in force in `layout`."""
    return {layout.name(entry.table): entry for entry in entries()}


def entry_of(table: TableRef) -> TableEntry:
    """The entry of a table by its role or name. Raises KeyError for a table that is not registered."""
    found = [entry for entry in entries() if entry.table == table]
    if not found:
        raise KeyError(table)
    return found[0]
