"""Where agno's tables are: the schema, and the name that an application gave to each of them.

Data flows one way: settings -> `Layout` -> `schema.inspect`, which finds the names that are in force. Agno lets every
application choose its names; SQL here asks for a `Role`, and `SchemaState` knows the name.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeAlias

from junkie_cli.core.value_class import frozen


class Role(Enum):
    """What a table of agno is for; the value names the role in manifests."""

    MEMORIES = "memories"
    SESSIONS = "sessions"
    RUNS = "runs"


TableRef: TypeAlias = str | Role
"""A table: one of agno's by its role, any other by its name."""

VARIABLES: Mapping[Role, str] = {
    Role.MEMORIES: "JUNKIE_MEMORY_TABLE",
    Role.SESSIONS: "JUNKIE_SESSION_TABLE",
    Role.RUNS: "JUNKIE_RUNS_TABLE",
}

# What agno itself takes where an application names nothing (agno/db/base.py); AgentOS keeps these.
_AGNO = {Role.MEMORIES: "agno_memories", Role.SESSIONS: "agno_sessions", Role.RUNS: "agno_runs"}


@frozen
class Layout:
    """The schema and the name of the table of each role."""

    schema: str
    memories: str = "user_memories"
    sessions: str = "agent_sessions"
    runs: str = "agent_sessions_runs"

    @property
    def names(self) -> Mapping[Role, str]:
        """The name of the table of each role."""
        return {Role.MEMORIES: self.memories, Role.SESSIONS: self.sessions, Role.RUNS: self.runs}

    def name(self, table: TableRef) -> str:
        """The name of a table."""
        return self.names[table] if isinstance(table, Role) else table

    @property
    def document(self) -> dict[str, str]:
        """The names by role, as a manifest keeps them."""
        return {role.value: name for role, name in self.names.items()}

    @classmethod
    def of_document(cls, schema: str, names: Mapping[str, str]) -> "Layout":
        """The layout that a manifest keeps as `document`."""
        return cls(schema, **{role.value: names[role.value] for role in Role})

    def within(self, schema: str) -> "Layout":
        """The same names in another schema."""
        return Layout(schema, self.memories, self.sessions, self.runs)

    @property
    def chosen(self) -> tuple[Role, ...]:
        """The roles whose table has another name than junkie expects by default."""
        usual = Layout(self.schema).names
        return tuple(role for role, name in self.names.items() if name != usual[role])

    def agno_names_among(self, present: Collection[str]) -> tuple[str, ...]:
        """Those of agno's own names that are in `present` and that nobody chose for a role here."""
        return tuple(
            name
            for role, name in _AGNO.items()
            if role not in self.chosen and name in present and name not in self.names.values()
        )

    def known_names(self, role: Role, present: Collection[str]) -> tuple[str, ...]:
        """The names that a table of this role often has, of those in `present`."""
        return tuple(name for name in (Layout(self.schema).names[role], _AGNO[role]) if name in present)

    def found_in(self, present: Collection[str]) -> "Layout":
        """The names in force among the tables that are `present`.

        Where nobody chose a name, and no table has the names that junkie expects by default, agno's own names are
        taken if a table has one. All or none of them: tables of two applications are never mixed.
        """
        open_roles = [role for role in Role if role not in self.chosen]
        taken = any(self.names[role] in present for role in open_roles)
        names = {**self.names, **{role: _AGNO[role] for role in open_roles}}
        if taken or not self.agno_names_among(present) or len(set(names.values())) < len(names):
            return self
        return Layout(self.schema, names[Role.MEMORIES], names[Role.SESSIONS], names[Role.RUNS])


def default_runs(sessions: str) -> str:
    """The name that agno gives to the table of the runs when only that of the sessions is chosen."""
    return _AGNO[Role.RUNS] if sessions == _AGNO[Role.SESSIONS] else f"{sessions}_runs"
