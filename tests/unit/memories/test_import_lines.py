"""Lines of a file of memories: the quick look lets nothing pass that the thorough one would find fault with."""

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from junkie_cli.core.memories.import_lines import Lines
from junkie_cli.core.schema.tables import SchemaState, Table
from junkie_cli.core.table_layout import Layout
from tests.support.texts import texts

COLUMNS = ("memory_id", "memory", "topics", "user_id", "input", "agent_id", "team_id", "created_at", "updated_at")
TABLE = Table(dict.fromkeys(COLUMNS, "text"), frozenset(), 0)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts(), st.lists(texts() | st.integers(), max_size=2)
)
PLAIN = {"memory_id": "m", "memory": "x"}


def lines() -> Lines:
    """Of a database without the column `feedback`."""
    layout = Layout("ai")
    state = SchemaState(layout, True, True, {layout.memories: TABLE}, ())
    file: Any = io.BytesIO()
    return Lines(Path("x.jsonl"), file, state, None)


def as_line(row: dict[str, Any], *, ascii_only: bool) -> bytes:
    return json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") + b"\n"


@given(
    st.dictionaries(st.sampled_from((*COLUMNS, "feedback", "other")), VALUES),
    st.booleans(),
    st.none() | st.tuples(st.integers(0, 200), st.binary(max_size=3)),
)
@example(PLAIN | {"created_at": 2**63}, True, None)
@example({"memory_id": "\ud011"}, True, None)
@example(PLAIN | {"input": "\U0001f3f0"}, True, None)
@example(PLAIN | {"input": "\x00"}, True, None)
@example(PLAIN | {"input": "\ud800"}, False, None)
def test_what_is_plain_is_right(row: dict[str, Any], ascii_only: bool, fault: tuple[int, bytes] | None) -> None:
    line = as_line(PLAIN | row, ascii_only=ascii_only)
    if fault is not None:
        place, put = fault
        line = line[:place] + put.replace(b"\n", b"") + line[place + 1 :]
    quick = lines()
    if quick._is_plain(line):
        thorough = lines()
        assert thorough._made_fit(2, line) == [(2, line[:-1].strip())]
        thorough.check()


def test_the_usual_is_plain() -> None:
    whole = PLAIN | {
        "topics": ["a", "é\U0001f3f0"],
        "created_at": -1,
        "updated_at": None,
        "user_id": "u",
        "input": "",
    }
    assert all(lines()._is_plain(as_line(whole, ascii_only=ascii_only)) for ascii_only in (True, False))
    assert not lines()._is_plain(b"\n")
    assert not lines()._is_plain(as_line(whole, ascii_only=True).rstrip())
    assert not lines()._is_plain(as_line(PLAIN | {"feedback": None}, ascii_only=True))
    assert not lines()._is_plain(as_line(PLAIN | {"created_at": 10**11}, ascii_only=True))
