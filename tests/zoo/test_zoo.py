"""The short form of the zoo: all properties are dealt out to some databases, several to each. `make zoo` draws more.

Every other database is backed up, too: a proof takes as long as twenty commands.
"""

import random
from collections.abc import Iterator

import pytest

from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.junkie import Junkie
from tests.zoo.exercise import NAMES, Exercise
from tests.zoo.properties import PROPERTIES
from tests.zoo.specimen import deal, specimen, title, zoo_server

DRAWS = deal(random.Random(0))


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    with zoo_server() as server:
        yield server


@pytest.mark.parametrize("number", range(len(DRAWS)), ids=[title(*draw) for draw in DRAWS])
def test_every_command(server: ScratchServer, junkie: Junkie, number: int) -> None:
    with specimen(server, *DRAWS[number]) as (found, env):
        Exercise(junkie, found, env).everything(backups=number % 2 == 0)


def test_only_reasons_of_commands_are_known() -> None:
    """A reason that no command can give would allow nothing."""
    known = {*NAMES.values(), "read"}
    assert {action for entry in PROPERTIES for action, _ in entry.reasons} <= known
