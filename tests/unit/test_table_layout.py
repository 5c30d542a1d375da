"""Which names of agno's tables are in force, among the tables that are there."""

import pytest

from junkie_cli.core.table_layout import Layout, Role, default_runs

AGNO = ("agno_memories", "agno_sessions", "agno_runs")
USUAL = ("user_memories", "agent_sessions", "agent_sessions_runs")


@pytest.mark.parametrize(
    ("layout", "present", "names"),
    [
        (Layout("ai"), (), USUAL),
        (Layout("ai"), USUAL, USUAL),
        (Layout("ai"), AGNO, AGNO),
        (Layout("ai"), ("agno_sessions",), AGNO),
        (Layout("ai"), (*AGNO, "agent_sessions"), USUAL),
        (Layout("ai", memories="mine"), AGNO, ("mine", "agno_sessions", "agno_runs")),
        (Layout("ai", "m", "s", "r"), AGNO, ("m", "s", "r")),
        (Layout("ai", memories="agno_sessions"), AGNO, ("agno_sessions", *USUAL[1:])),
    ],
)
def test_names_in_force(layout: Layout, present: tuple[str, ...], names: tuple[str, ...]) -> None:
    found = layout.found_in(present)
    assert tuple(found.names.values()) == names
    assert found.found_in(present) == found  # what was found is found again, in every later look


def test_a_manifest_keeps_the_names() -> None:
    layout = Layout("ai", "m", "s", "r")
    assert Layout.of_document("other", layout.document) == layout.within("other")


def test_runs_are_named_as_agno_does_it() -> None:
    assert default_runs("agent_sessions") == Layout("ai").name(Role.RUNS)
    assert default_runs("agno_sessions") == "agno_runs"
