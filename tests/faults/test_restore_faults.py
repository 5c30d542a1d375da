"""A restore either completes or changes nothing, whenever it is killed, cut or ended."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.backups import dumps, environment, fill, sql
from tests.support.junkie import Junkie
from tests.support.postgres import clone, scratch_server
from tests.support.proxy import Proxy

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "6"))
STATE = "SELECT count(*) || ' ' || sum(created_at) FROM ai.user_memories"
SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^ai_{}_'"


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    settings = {"listen_addresses": "127.0.0.1"}
    with scratch_server(settings=settings, hba=["host all all 127.0.0.1/32 trust"]) as server:
        yield server


@pytest.fixture
def bot(server: ScratchServer) -> Iterator[DatabaseUrl]:
    with clone(server) as url:
        fill(url, 20_000)
        yield url


def test_killed_at_any_moment_the_old_or_the_new_is_there_whole(junkie: Junkie, bot: DatabaseUrl) -> None:
    variables = environment(bot, junkie.backup_dir)
    junkie.run("backup", "--no-verify", env=variables).ok()
    [path] = dumps(junkie.backup_dir)
    new = sql(bot, STATE)
    words = ("restore", str(path), "--replace", "--yes")
    began = time.monotonic()
    junkie.run(*words, env=variables).ok()
    whole = time.monotonic() - began
    sql(bot, "DELETE FROM ai.user_memories WHERE created_at % 3 = 0")
    old = sql(bot, STATE)
    dice = random.Random()
    seed = dice.randrange(2**32)
    dice.seed(seed)
    for round_ in range(ROUNDS):
        running = junkie.start(*words, env=variables)
        try:
            running.process.wait(dice.uniform(0.1, 1.0) * whole)
        except subprocess.TimeoutExpired:
            running.send(signal.SIGKILL)
        running.wait()
        assert sql(bot, STATE) in {old, new}, f"round {round_} of seed {seed}"
    junkie.run(*words, env=variables).ok()
    assert sql(bot, STATE) == new
    assert sql(bot, SCHEMAS.format("restoring")) == "0", "what killed restores left is gone"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_changes_nothing(
    junkie: Junkie, server: ScratchServer, bot: DatabaseUrl, number: signal.Signals, code: int
) -> None:
    junkie.run("backup", "--no-verify", env=environment(bot, junkie.backup_dir)).ok()
    [path] = dumps(junkie.backup_dir)
    target = replace(bot, hosts=(Host("127.0.0.1", server.port),), parameters=(("sslmode", "disable"),))
    with clone(server) as empty, Proxy(target) as proxy:
        proxy.stall_when(b"m15000\t")
        running = junkie.start(
            "restore", str(path), "--into", proxy.url(replace(target, database=empty.database)).libpq()
        )
        proxy.wait(lambda seen: seen.sent + seen.received > 500_000)
        running.send(number)
        assert running.wait().exit_code == code
        proxy.resume()
        assert sql(empty, "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^ai'") == "0"


def test_a_connection_cut_in_the_middle_changes_nothing(
    junkie: Junkie, server: ScratchServer, bot: DatabaseUrl
) -> None:
    junkie.run("backup", "--no-verify", env=environment(bot, junkie.backup_dir)).ok()
    target = replace(bot, hosts=(Host("127.0.0.1", server.port),), parameters=(("sslmode", "disable"),))
    with clone(server) as empty, Proxy(target) as proxy:
        proxy.cut_when(b"m15000\t")
        into = proxy.url(replace(target, database=empty.database)).libpq()
        result = junkie.run("restore", "latest", "--into", into, env=environment(bot, junkie.backup_dir))
        assert proxy.cuts == 1
        assert result.exit_code in {4, 5}
        assert sql(empty, "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^ai'") == "0"
