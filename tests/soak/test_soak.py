"""Several people talk at once, for as long as it is told, while processes are killed and operators look on.

`JUNKIE_SOAK_SECONDS` says how long; the short form of `make test` ends after a few turns of each.
"""

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter

from junkie_cli.core.url import DatabaseUrl
from tests.support.junkie import Junkie

SECONDS = float(os.environ.get("JUNKIE_SOAK_SECONDS", "15"))
PEOPLE = ("ada", "grace", "linus")


class Talker(threading.Thread):
    """Somebody who tells one new thing after the other; every third process is killed at some moment."""

    def __init__(self, junkie: Junkie, name: str, env: dict[str, str], end: float) -> None:
        super().__init__(name=name)
        self.junkie, self.env, self.end = junkie, env, end
        self.told: list[str] = []  # answered to the end
        self.broken_off: list[str] = []
        self.problems: list[str] = []
        self._dice = random.Random(name)

    def run(self) -> None:
        number = 0
        while time.monotonic() < self.end or number < 3:
            number += 1
            thing = f"{self.name}fruit{number}"
            talk = self.junkie.start("chat", "--offline", "-u", self.name, f"I like {thing}.", env=self.env)
            if number % 3 == 2:
                try:
                    talk.process.wait(self._dice.uniform(0.2, 4))
                except subprocess.TimeoutExpired:
                    talk.send(signal.SIGKILL)
            done = talk.wait(120)
            if done.exit_code == 0:
                self.told.append(thing)
            elif done.exit_code == -signal.SIGKILL:
                self.broken_off.append(thing)
            else:
                self.problems.append(f"{done.exit_code}: {done.stderr}")


def test_nothing_is_lost_doubled_or_mixed_up(junkie: Junkie, database: DatabaseUrl) -> None:
    env = {"POSTGRES_URL": database.libpq()}
    junkie.run("chat", "--offline", "-u", "first", "hello", env=env).ok()
    talkers = [Talker(junkie, name, env, time.monotonic() + SECONDS) for name in PEOPLE]
    for talker in talkers:
        talker.start()
    while any(talker.is_alive() for talker in talkers):
        junkie.run("memories", "list", "--json", env=env).ok()
        junkie.run("backup", "--keep-last", "1", "--allow-shrink", env=env).ok()
        junkie.run("memories", "retry", "--offline", env=env).ok()
    assert [problem for talker in talkers for problem in talker.problems] == []
    junkie.run("memories", "retry", "--all", "--offline", env=env).ok()
    assert junkie.run("memories", "pending", "--json", env=env).ok().json()["pending"] == []
    for talker in talkers:
        listed = junkie.run("memories", "list", "-u", talker.name, "-n", "100000", "--json", env=env).ok().json()
        counts = Counter(thing for entry in listed["memories"] for thing in re.findall(r"\w+fruit\d+", entry["memory"]))
        assert {thing: counts[thing] for thing in talker.told} == dict.fromkeys(talker.told, 1)
        assert all(counts[thing] <= 1 for thing in talker.broken_off)
        assert all(thing.startswith(talker.name) for thing in counts)
