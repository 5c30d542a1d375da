"""What the commands print with `--json`, as types: one for each document, by its name in `DOCUMENTS`.

The JSON Schemas in `schemas/` are generated from here (`make docs`), from the names, types and docstrings of the
fields. A field of a value class counts as one of the object that the class is printed as. Numbers are never negative
unless an annotation says more. The commands import this for type checks only: nothing of it is loaded at run time.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from junkie_cli.core.backup.catalogue import Status
from junkie_cli.core.chat.events import Usage
from junkie_cli.core.chat.learn import BadLine
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.memories.history import Change, Conflict
from junkie_cli.core.memories.import_file import Imported
from junkie_cli.core.memories.model import Memory
from junkie_cli.core.ranking.reason import Reason
from junkie_cli.core.schema.runs import RunKey
from junkie_cli.core.sessions import Run, Session
from junkie_cli.core.stats import Stats
from junkie_cli.core.turns.recall_check import Checked
from junkie_cli.core.turns.types import Pending
from junkie_cli.core.users.listing import User

Warnings = Annotated[tuple[ResultWarning, ...], ("minItems", 1)]
Positive = Annotated[int, ("minimum", 1)]
CountsByTable = Mapping[str, Positive]
Sha256 = Annotated[str, ("pattern", "^[0-9a-f]{64}$")]
VariableName = Annotated[str, ("pattern", "^[A-Z][A-Z0-9_]*$")]
CheckId = Annotated[str, ("pattern", r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]


class Error(TypedDict):
    """Why a command failed."""

    code: str
    """stable, for scripts"""
    message: str
    hint: str
    """the next step; may be empty"""


class Failure(TypedDict):
    """What any command prints when it failed."""

    error: Error


# --- chat -------------------------------------------------------------------------------------------------------------


class DeltaEvent(TypedDict):
    """A piece of the answer."""

    event: Literal["delta"]
    text: str


class ReasoningEvent(TypedDict):
    """A piece of the reasoning."""

    event: Literal["reasoning"]
    text: str


class ToolEvent(TypedDict):
    """The model used a tool."""

    event: Literal["tool"]
    name: str
    status: Literal["started", "completed", "failed"]


class MemoryEvent(TypedDict):
    """A memory changed, or is pending."""

    event: Literal["memory"]
    action: Literal["added", "updated", "deleted", "pending"]
    memory_id: str | None
    memory: str | None


class WarningEvent(TypedDict):
    """What a person should know."""

    event: Literal["warning"]
    message: str


class PromptMemory(TypedDict):
    """A memory that went into the prompt of the answer, and why it was chosen."""

    memory_id: str
    memory: str
    """as the prompt has it: a long one is cut"""
    reason: Reason


class DoneEvent(TypedDict):
    """The end of a turn: always the last line."""

    event: Literal["done"]
    session_id: str | None
    run_id: str | None
    user_id: str | None
    answer: str
    complete: bool
    usage: Usage | None
    memories: list[PromptMemory]
    """what went into the prompt, newest first"""
    error: NotRequired[Error]


# --- memories ---------------------------------------------------------------------------------------------------------


class MemoriesPage(TypedDict):
    """A page of memories."""

    memories: tuple[Memory, ...]
    next: str | None
    """cursor for --after; null on the last page; what was written since the first page comes last, as it is then"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class MemoriesFound(TypedDict):
    """What a search found."""

    memories: tuple[Memory, ...]
    next: str | None
    """cursor for --after; null on the last page"""
    reasons: NotRequired[tuple[Reason, ...]]
    """only with --explain: why each of the memories was found, in their order"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class MemoryShown(TypedDict):
    """One memory; the fields of a memory come first."""

    origin: RunKey | None
    """the run that it was taken from, when that is still there"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class MemoryChanged(TypedDict):
    """A memory that was added or edited."""

    memory: Memory
    undo: str | None
    """batch for memories undo; null when no history is kept"""


class Deleted(TypedDict):
    """Memories that were deleted."""

    deleted: int
    memory_ids: list[str]
    undo: str | None
    """batch for memories undo; null when no history is kept"""
    cascaded: NotRequired[CountsByTable]
    """rows of other tables, by table, that foreign keys delete with the memories; only when there are any, and no undo
    restores them"""


class Cleared(TypedDict):
    """Memories of a user, or of all, that were deleted."""

    user_id: str | None
    """null with --all-users"""
    before: int
    deleted: int
    remaining: int
    undo: str | None
    """batch for memories undo; null when no history is kept"""
    cascaded: NotRequired[CountsByTable]
    """rows of other tables, by table, that foreign keys delete with the memories; only when there are any, and no undo
    restores them"""


class WouldDelete(TypedDict):
    """What --dry-run shows of a deletion."""

    would_delete: int
    memories: tuple[Memory, ...]
    cascaded: NotRequired[CountsByTable]
    """rows of other tables, by table, that foreign keys delete with the memories; only when there are any, and no undo
    restores them"""


class Undone(TypedDict):
    """What an undo changed back."""

    undone: int
    """memories that were changed back: the sum of the next three"""
    restored: int
    """memories that were deleted and are there again"""
    removed: int
    """memories that were added and are gone again"""
    reverted: int
    """memories that say again what they said"""
    conflicts: tuple[Conflict, ...]
    batch: str | None
    """the batch that undoes this undo; null: nothing was changed"""
    undone_batch: str
    """the batch that was undone"""
    users: Positive
    """how many users' memories it changed"""
    user_ids: tuple[str | None, ...]
    """the first five of them; null: nobody"""
    rows: CountsByTable
    """rows of other tables than memories that were changed back, by table"""
    row_conflicts: CountsByTable
    """rows of other tables that were changed again since and left alone, by table"""
    cascaded: NotRequired[CountsByTable]
    """rows of other tables, by table, that foreign keys delete with the memories; only when there are any, and no undo
    restores them"""
    lost: NotRequired[CountsByTable]
    """rows of other tables, by table, that foreign keys deleted with the memories of the batch: they cannot be
    restored; only when there are any"""


class HistoryPage(TypedDict):
    """A page of changes."""

    changes: tuple[Change, ...]
    next: str | None
    """cursor for --after; null on the last page; what was written since the first page comes last, as it is then"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class HistorySwitch(TypedDict):
    """Whether the history records other programs' changes."""

    others: bool
    """whether changes by other programs are recorded now"""
    before: bool


class Exported(TypedDict):
    """Memories that were written to a file."""

    path: str
    memories: int
    warnings: NotRequired[Warnings]
    """only when there are any: what was replaced in the file"""


class ExportedLine(TypedDict):
    """A line of an export: every column of the table."""

    memory_id: str
    memory: Any
    user_id: NotRequired[str | None]


class PendingList(TypedDict):
    """Extractions that have not succeeded yet."""

    pending: tuple[Pending, ...]
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class MemoryCounts(TypedDict):
    """What extractions changed."""

    added: int
    updated: int
    deleted: int


class LeftOut(TypedDict):
    """What extractions left out."""

    changes: int
    """extractions that wanted too many changes; only the first of them were made"""
    secrets: int
    """memories with what looks like a password or a key"""
    questions: int
    """new memories that were made of messages which are only a question or a greeting"""
    characters: int
    """characters of long messages that were not searched for memories"""


class Retried(TypedDict):
    """What a pass over pending extractions did."""

    tried: int
    succeeded: int
    failed: int
    set_aside: int
    remaining: int
    memories: MemoryCounts
    """what the extractions changed"""
    left_out: LeftOut
    """what the extractions left out"""
    error: NotRequired[Error]
    """only when an extraction failed: why the last of them did"""


class Learned(TypedDict):
    """What was learned from a file."""

    total: int
    """lines of the file that are not blank"""
    read: int
    """lines that are done with: learned, skipped, failed and pending; fewer than total when the run ended early"""
    learned: int
    skipped: int
    """learned by an earlier run of the same file"""
    failed: int
    """bad lines, and lines of erased people"""
    pending: int
    """failed extractions that memories retry tries again"""
    memories: MemoryCounts
    left_out: LeftOut
    """what the extractions left out"""
    seconds: float
    bad: list[BadLine]
    """the first 1,000 bad lines, counted from 1"""
    set_aside: str | None
    """the file with the bad lines, as they were"""
    error: NotRequired[Error]
    """only when the run ended before the end of the file: why"""


class LearnLine(TypedDict):
    """A line that memories learn reads."""

    user_id: Annotated[str, ("minLength", 1)]
    session_id: str | None
    message: str
    created_at: NotRequired[str | float | None]
    """when the message was written: ISO-8601 or epoch seconds; gives words such as "tomorrow" their date"""


class CheckLine(TypedDict):
    """A line that memories check reads. At least one of the lists has a text."""

    user: Annotated[str, ("minLength", 1)]
    question: Annotated[str, ("minLength", 1)]
    recalled: NotRequired[list[str]]
    """ids of memories, or parts of their texts, that must be in the prompt of the question"""
    not_recalled: NotRequired[list[str]]
    """those that must not be there"""


# --- users, sessions --------------------------------------------------------------------------------------------------


class UsersPage(TypedDict):
    """A page of users."""

    users: tuple[User, ...]
    next: str | None
    """cursor for --after; null on the last page; who came since the first page is listed last"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class UserExported(TypedDict):
    """Everything of a person, written to a file."""

    user_id: str
    path: str
    lines: int
    warnings: NotRequired[Warnings]
    """only when there are any: what was replaced in the file, or was read through a view"""


class BackupHolding(TypedDict):
    """A backup that still holds an erased person."""

    path: str
    made_at: datetime | None
    expires: datetime | None


class UserErased(TypedDict):
    """What was erased, or would be."""

    user_id: str
    erased: Mapping[str, int]
    """rows by table"""
    remaining: int
    elsewhere: Mapping[str, int]
    """rows outside the schema"""
    unsearchable: tuple[str, ...]
    backups: list[BackupHolding]
    """backups that still hold the person; expires is when the latest run's retention removes one if backups go on
    daily, null when nothing removes it by itself"""
    receipt: str | None
    """path of the receipt"""
    dry_run: NotRequired[Literal[True]]
    """only with --dry-run: nothing was changed"""
    references_cleared: NotRequired[CountsByTable]
    """rows of others, by table, that stay and no longer reference what went (ON DELETE SET NULL); only when there are
    any"""


class SessionsPage(TypedDict):
    """A page of sessions."""

    sessions: tuple[Session, ...]
    next: str | None
    """cursor for --after; null on the last page; what was written since the first page comes last, as it is then"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class SessionShown(TypedDict):
    """What was said in a session."""

    session_id: str
    runs: tuple[Run, ...]
    next: NotRequired[str | None]
    """cursor for --after; null on the last page"""
    warnings: NotRequired[Warnings]
    """only when there are any: why this answer may be incomplete"""


class SessionDeleted(TypedDict):
    """A session that was deleted, or would be."""

    session_id: str
    deleted: Mapping[str, int]
    """rows by table"""
    remaining: int
    dry_run: NotRequired[Literal[True]]
    """only with --dry-run: nothing was changed"""


# --- backup, restore --------------------------------------------------------------------------------------------------


class Table(TypedDict):
    """A table of a backup."""

    name: str
    rows: int
    hash: str
    """hash of the content, the same on every server version"""


class BackupMade(TypedDict):
    """A backup that was made."""

    path: str
    bytes: int
    sha256: Sha256
    started_at: datetime
    seconds: float
    server_version: str
    pg_dump_version: str
    verified: bool
    """restored into a scratch server and compared"""
    tables: list[Table]
    pruned: list[str]
    database: str
    compression: str
    unverified_because: str | None
    left_out: list[str]
    """tables outside the schema that were not taken along"""


class BackupEntry(TypedDict):
    """A file of a backup folder."""

    path: str
    made_at: datetime | None
    bytes: int
    status: Status
    tables: list[Table]
    problem: str | None
    database: str | None
    verified_at: datetime | None


class BackupList(TypedDict):
    """A backup folder."""

    backups: list[BackupEntry]


class BackupVerified(TypedDict):
    """A backup that was proven again."""

    path: str
    status: Status
    bytes: int
    sha256: Sha256
    verified_at: datetime | None
    recorded: bool
    """whether the proof was written into the manifest"""
    tables: list[Table]


class PruneDecision(TypedDict):
    """Whether a backup is kept, and why."""

    path: str
    keep: bool
    reasons: list[str]


class BackupsPruned(TypedDict):
    """What was pruned, or would be."""

    dry_run: bool
    backups: list[PruneDecision]


class RestoredTable(TypedDict):
    """A table that is restored."""

    name: str
    rows: int


class RestoredCode(TypedDict):
    """Code in a backup."""

    kind: str
    schema: str
    name: str
    security_definer: bool


class Restored(TypedDict):
    """What was restored, or would be. Fields differ by what is restored."""

    path: str
    database: str
    dry_run: bool
    tables: list[RestoredTable]
    code: NotRequired[list[RestoredCode]]


# --- doctor, config ---------------------------------------------------------------------------------------------------


class CheckResult(TypedDict):
    """What a check found."""

    id: CheckId
    title: str
    status: Literal["ok", "warning", "failed", "skipped", "unknown"]
    detail: str
    hint: str


class DoctorReport(TypedDict):
    """What doctor found."""

    status: Literal["ok", "warning", "failed"]
    checks: list[CheckResult]


class Setting(TypedDict):
    """A setting, and where it comes from."""

    name: VariableName
    value: str | None
    """secrets redacted; null: not set"""
    source: Literal["option", "environment", "file", "default"]
    file: Path | None
    line: Positive | None


class ConfigShown(TypedDict):
    """The settings."""

    settings: list[Setting]
    env_file: Path | None
    ignored_env_files: list[str]
    """found, but somebody else's: root does not read them"""
    bot_variables: list[VariableName]
    """variables of the Discord bot that are set too, and left alone"""


class ConfigPath(TypedDict):
    """The file that settings are read from."""

    env_file: Path | None
    ignored_env_files: list[str]


DOCUMENTS: Mapping[str, tuple[str, Any]] = {
    "backup": ("backup", BackupMade),
    "backup.list": ("backup list", BackupList),
    "backup.prune": ("backup prune", BackupsPruned),
    "backup.verify": ("backup verify", BackupVerified),
    "chat.event": (
        "one line of junkie chat --json; the last one is done",
        DeltaEvent | ReasoningEvent | ToolEvent | MemoryEvent | WarningEvent | DoneEvent,
    ),
    "config.path": ("config path", ConfigPath),
    "config.show": ("config show", ConfigShown),
    "doctor": ("doctor", DoctorReport),
    "error": ("what any command prints with --json when it failed", Failure),
    "memories.add": ("memories add", MemoryChanged),
    "memories.check": ("memories check", Checked),
    "memories.check.line": ("one line of the file that memories check reads", CheckLine),
    "memories.clear": ("memories clear, or what it would delete with --dry-run", Cleared | WouldDelete),
    "memories.delete": ("memories delete, or what it would delete with --dry-run", Deleted | WouldDelete),
    "memories.edit": ("memories edit", MemoryChanged),
    "memories.export": ("memories export --output FILE", Exported),
    "memories.export.line": ("one line of memories export: every column of the table", ExportedLine),
    "memories.history": ("memories history", HistoryPage),
    "memories.history.switch": ("memories history on and off", HistorySwitch),
    "memories.import": ("memories import, or what it would do with --dry-run", Imported),
    "memories.learn": ("memories learn", Learned),
    "memories.learn.line": ("one line of the file that memories learn reads", LearnLine),
    "memories.list": ("memories list", MemoriesPage),
    "memories.pending": ("memories pending", PendingList),
    "memories.retry": ("memories retry", Retried),
    "memories.search": ("memories search", MemoriesFound),
    "memories.show": ("memories show", Annotated[MemoryShown, Memory]),
    "memories.undo": ("memories undo", Undone),
    "restore": ("restore, or what it would do with --dry-run", Restored),
    "sessions.delete": ("sessions delete", SessionDeleted),
    "sessions.list": ("sessions list", SessionsPage),
    "sessions.show": ("sessions show", SessionShown),
    "stats": ("stats", Stats),
    "users.erase": ("users erase, and its receipt in short", UserErased),
    "users.export": ("users export", UserExported),
    "users.list": ("users list", UsersPage),
}
"""The title and the type of each document, by the name of its schema."""
