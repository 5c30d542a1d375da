"""`junkie demo`: the whole story on a database that is gone afterwards, also when somebody leaves in the middle."""

from pathlib import Path

import pytest

from junkie_cli.core.rehearsal.demo import STEPS
from tests.support.embedded import processes, until
from tests.support.junkie import Junkie
from tests.support.person import person


@pytest.fixture
def place(junkie: Junkie) -> Path:
    """The temporary folder of the tour."""
    place = junkie.root / "tmp"
    place.mkdir()
    place.chmod(0o1777)  # as root, the server's own user must get in
    return place


def test_it_tells_the_whole_story_and_leaves_nothing(junkie: Junkie, place: Path) -> None:
    told = junkie.run("demo", env={"TMPDIR": str(place)}).ok()
    assert [line.removeprefix("# ") for line in told.stdout.splitlines() if line.startswith("# ")] == [
        step.says for step in STEPS
    ]
    by_command = dict(part.split("\n", 1) for part in told.stdout.split("\n$ junkie ")[1:])
    assert len(by_command) == len({step.arguments for step in STEPS})
    assert "\x1b" not in told.stdout
    last = told.stdout.split("$ junkie ")[-1]
    assert "User prefers coffee" in last
    assert "User's name is Ada" in last
    assert list(place.iterdir()) == []
    assert processes(str(place)) == []
    assert not junkie.data_dir.exists()
    assert not junkie.backup_dir.exists()


async def test_who_leaves_in_the_middle_leaves_nothing_either(junkie: Junkie, place: Path) -> None:
    """The database that is just being made notices that its folder has gone, and goes, too."""
    newcomer = person(junkie, "demo", env={"TMPDIR": str(place)})
    newcomer.sees("creating the embedded database")
    newcomer.presses("ctrl-c")
    assert newcomer.ended() == 130
    await until(lambda: not processes(str(place)), "nothing of the tour runs")
    assert list(place.iterdir()) == []
