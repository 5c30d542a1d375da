"""The schema and the names of agno's tables.

Data flows one way: settings -> `Layout` -> `schema.inspect`, which finds the names in use. Every application of agno
can choose names; SQL in junkie uses a `Role`, and `SchemaState` resolves the name.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeAlias

from junkie_cli.core.value_class import frozen


class Role(Enum):
    """The purpose of a table of agno; the value is the name of the role in manifests."""

    MEMORIES = "memories"
    SESSIONS = "sessions"
    RUNS = "runs"


TableRef: TypeAlias = str | Role
"""A table: agno's by role, others by name."""

VARIABLES: Mapping[Role, str] = {
    Role.MEMORIES: "JUNKIE_MEMORY_TABLE",
    Role.SESSIONS: "JUNKIE_SESSION_TABLE",
    Role.RUNS: "JUNKIE_RUNS_TABLE",
}

# agno's default names (agno/db/base.py), which AgentOS uses.
_AGNO = {Role.MEMORIES: "agno_memories", Role.SESSIONS: "agno_sessions", Role.RUNS: "agno_runs"}


@frozen
class Layout:
    """The schema and the table name of each role."""

    schema: str
    memories: str = "user_memories"
    sessions: str = "agent_sessions"
    runs: str = "agent_sessions_runs"

    @property
    def names(self) -> Mapping[Role, str]:
        """Return the table name of each role."""
        return {Role.MEMORIES: self.memories, Role.SESSIONS: self.sessions, Role.RUNS: self.runs}

    def name(self, table: TableRef) -> str:
        """Return the name of a table."""
        return self.names[table] if isinstance(table, Role) else table

    @property
    def document(self) -> dict[str, str]:
        """Return the names by role, for a manifest."""
        return {role.value: name for role, name in self.names.items()}

    @classmethod
    def of_document(cls, schema: str, names: Mapping[str, str]) -> "Layout":
        """Return the layout stored as `document` in a manifest."""
        return cls(schema, **{role.value: names[role.value] for role in Role})

    def within(self, schema: str) -> "Layout":
        """Return the same names in another schema."""
        return Layout(schema, self.memories, self.sessions, self.runs)

    @property
    def chosen(self) -> tuple[Role, ...]:
        """Return the roles whose table does not have junkie's default name."""
        usual = Layout(self.schema).names
        return tuple(role for role, name in self.names.items() if name != usual[role])

    def agno_names_among(self, present: Collection[str]) -> tuple[str, ...]:
        """Return agno's own names that are in `present` and not configured for a role."""
        return tuple(
            name
            for role, name in _AGNO.items()
            if role not in self.chosen and name in present and name not in self.names.values()
        )

    def known_names(self, role: Role, present: Collection[str]) -> tuple[str, ...]:
        """Return common names for a table of this role that are in `present`."""
        return tuple(name for name in (Layout(self.schema).names[role], _AGNO[role]) if name in present)

    def found_in(self, present: Collection[str]) -> "Layout":
        """Return the names in use among the tables that are `present`.

        If no name is configured, and no table has junkie's default names, agno's own names are used if a table has one.
        All or none: tables of two applications are never mixed.
        """
        open_roles = [role for role in Role if role not in self.chosen]
        taken = any(self.names[role] in present for role in open_roles)
        names = {**self.names, **{role: _AGNO[role] for role in open_roles}}
        if taken or not self.agno_names_among(present) or len(set(names.values())) < len(names):
            return self
        return Layout(self.schema, names[Role.MEMORIES], names[Role.SESSIONS], names[Role.RUNS])


def default_runs(sessions: str) -> str:
    """Return agno's name for the table of runs if only the name of the session table is configured."""
    return _AGNO[Role.RUNS] if sessions == _AGNO[Role.SESSIONS] else f"{sessions}_runs"
