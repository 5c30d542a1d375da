"""Documents of the spool: what was frozen comes back, and nothing else is taken for a turn."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.turns.spooling_store import from_document, to_document
from junkie_cli.core.turns.types import TurnRecord

OLD = json.loads((Path(__file__).parents[2] / "data" / "spool-0.1.0.json").read_text())
ODD = (
    None,
    "",
    "x",
    0,
    -1,
    2**70,
    1.5,
    True,
    [],
    ["x"],
    {},
    {"x": 1},
    "2026-01-01T00:00:00",
    float("inf"),
    "\x00\ud800",
    "'; --",
)


def test_a_turn_comes_back_as_it_was_frozen() -> None:
    record = from_document(OLD)
    assert from_document(json.loads(to_document(record))) == record
    frozen = json.loads(to_document(record))
    assert (frozen["run"], frozen["pending"], frozen["message"]) == (OLD["run"], OLD["pending"], OLD["message"])


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Every place in a document that can hold another value, as far as a turn is made of it."""
    for name in value:
        yield (name,)
    for outer in ("run", "pending", "session_row"):
        for name in value[outer]:
            yield outer, name


@pytest.mark.parametrize("place", list(_places(OLD)), ids="/".join)
def test_a_document_of_another_shape_is_refused_or_is_a_turn_that_can_be_stored(place: tuple[str, ...]) -> None:
    for odd in ODD:
        document = deepcopy(OLD)
        holder = document[place[0]] if len(place) > 1 else document
        holder[place[-1]] = odd
        with suppress(ValueError, KeyError, TypeError):
            _check(from_document(document))
        del holder[place[-1]]
        with suppress(ValueError, KeyError, TypeError):
            _check(from_document(document))


def _check(record: TurnRecord) -> None:
    """What SQL and the comparison with an erasure rest on."""
    assert isinstance(record.user_id, str)
    assert record.began is None or record.began.tzinfo is not None
    assert record.run.status.isidentifier()
    assert isinstance(json.loads(record.run.data), dict)
    assert record.pending is None or len(record.pending.pending_id) == 36
    assert len(record.run_id) == 36
