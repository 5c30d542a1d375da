"""Chat beside a bare openai client on the same scripted model server: tokens, turns, processes, growth."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect

from junkie_cli.core.database_url import DatabaseUrl
from tests.benchmarks.goals import Goal
from tests.benchmarks.measuring import Case, CaseFailed, Command, Figures, Samples, Starter, measure
from tests.benchmarks.place import COLUMNS, FLOORS, Place
from tests.support.model_server import ModelServer, Reply, Request, Text, calls, nothing
from tests.support.proxy import Proxy

ANSWER = "Zebras are striped. " + "Nobody knows quite why, and many have asked. " * 6
ROOT = Path(__file__).parents[2]
TYPING = 5.0  # seconds that somebody takes to type a first question
ANSWER_DELAY = 0.2  # seconds, for learning
LEARNERS = (1, 8, 32)
MESSAGES_EACH = 4


def goals() -> Iterator[Goal]:
    """The goals of chat."""
    yield Goal("chat, prompt visible", ("FP",), 1.1)
    yield Goal("chat one-shot", ("openai one-shot",), 2.1)
    yield Goal("chat, first token", ("bare, first token",), 1.0, plus=0.005)
    yield Goal("chat, turn stored", ("bare, end",), 1.0, plus=0.015)
    yield Goal("first token, 10000 memories", ("first token, 50 memories",), 1.5)
    yield Goal("kB a turn, late", ("kB a turn, early",), 1.2, what="size")
    yield Goal("first token after Enter, 30 ms away", (), 0, plus=0.3)
    for users in LEARNERS:
        yield Goal(f"learn, {users} at once", (f"model's time, {users} at once",), 1.3, plus=1.0)


def run(place: Place, starter: Starter, rounds: int, turns: int, skipped: dict[str, str]) -> Figures:
    """Measure all of it in a database of its own."""
    url = place.new_database("bench_chat")
    with ModelServer(script=_answer) as server:
        env = {"POSTGRES_URL": url.libpq(), "AGENT_RETRIES": "0", **server.environment()}
        figures = _processes(place, starter, rounds, env)
        place.give_memories(url, {"m50": 50, "m10000": 10_000})
        for task, count in (("turns", 4 * rounds), ("memories", 4 * rounds), ("growth", turns)):
            figures |= _probe(place, env, task, count)
        figures["first token after Enter, 30 ms away"] = _from_afar(place, env, url, min(rounds, 3))
    return figures | _learning(place, starter, skipped)


def _answer(request: Request) -> Reply:
    return nothing() if request.is_memory else Text(ANSWER)


def _processes(place: Place, starter: Starter, rounds: int, env: dict[str, str]) -> Figures:
    prompt = (sys.executable, str(FLOORS / "prompt.py"))
    one_shot = (place.script, "chat", "-u", "once", "--yes", "hello")
    loop = (place.script, "chat", "-u", "sits")
    cases = [
        place.floor(),
        Case("FP", lambda _: Command(prompt, env, tty=COLUMNS, until="›")),
        place.python("openai one-shot", str(FLOORS / "bare_openai.py"), env=env),
        Case("chat one-shot", lambda _: Command(one_shot, env)),
        Case("chat, prompt visible", lambda _: Command(loop, env, tty=COLUMNS, until="›")),
    ]
    return measure(starter, cases, rounds)


def _probe(place: Place, env: dict[str, str], task: str, count: int) -> Figures:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.probe", task, str(count)],
        env=place.environment() | env | {"PYTHONPATH": str(ROOT)},
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CaseFailed(f"{task}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    field = "size" if task == "growth" else "seconds"
    return {name: Samples(**{field: values}) for name, values in found.items()}


def _from_afar(place: Place, env: dict[str, str], url: DatabaseUrl, rounds: int) -> Samples:
    """A database 30 ms away, a fresh process, a question typed in five seconds: how long until the first word."""
    samples = Samples()
    with Proxy(url, delay=0.015) as proxy:
        far = place.environment() | env | {"POSTGRES_URL": proxy.url(url).libpq()}
        for _ in range(rounds):
            child = pexpect.spawn(
                place.script,
                ["chat", "-u", "far"],
                env=far,
                cwd=str(place.folder),
                dimensions=(40, COLUMNS),
                timeout=60,
                encoding="utf-8",
            )
            try:
                child.expect("›")
                for letter in "hello":
                    child.send(letter)
                    time.sleep(TYPING / 5)
                began = time.perf_counter()
                child.send("\r")
                child.expect("Zebras")
                samples.seconds.append(time.perf_counter() - began)
            finally:
                child.close(force=True)
    return samples


def _learning(place: Place, starter: Starter, skipped: dict[str, str]) -> Figures:
    """`memories learn` against a model that takes 200 ms, beside the time that the model took for each user."""
    try:
        starter.run(Command((place.script, "memories", "learn", "--help")))
    except CaseFailed:
        skipped["learn"] = "this junkie has no command `memories learn`"
        return {}
    figures: Figures = {}
    for users in LEARNERS:
        url = place.new_database("bench_chat")
        lines = place.folder / "learn.jsonl"
        messages = [
            {"user_id": f"user-{user}", "session_id": f"session-{user}", "message": f"I own {number} cats."}
            for number in range(MESSAGES_EACH)
            for user in range(users)
        ]
        lines.write_text("".join(json.dumps(message) + "\n" for message in messages), "utf-8")
        with ModelServer(script=_slowly) as server:
            env = {"POSTGRES_URL": url.libpq(), "AGENT_RETRIES": "0", **server.environment()}
            done = starter.run(Command((place.script, "memories", "learn", str(lines)), env))
            figures[f"model's time, {users} at once"] = Samples([len(server.requests) / users * ANSWER_DELAY])
        figures[f"learn, {users} at once"] = Samples([done["seconds"]], [done["cpu"]], [done["peak"] / 1024])
    return figures


def _slowly(request: Request) -> Reply:
    if any(message["role"] == "tool" for message in request.messages):
        return Text("Done.", delay=ANSWER_DELAY)
    reply = calls(("add_memory", {"memory": f"User said: {request.user[-40:]}"}))
    reply.delay = ANSWER_DELAY / len(reply.deltas())
    return reply
