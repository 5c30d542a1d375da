"""The long form of the zoo: `python -m tests.zoo --minutes 10` draws combinations, each by a seed that it prints.

`--seed N` repeats one draw; `--only TEXT` runs each property that has TEXT in its name alone; `--jobs N` takes that
many databases at once; `--refused` lists what was refused, too. Exits 1 after a fault.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait

from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.junkie import new_junkie
from tests.zoo.exercise import Exercise, Fault
from tests.zoo.properties import PROPERTIES
from tests.zoo.specimen import Draw, choose, specimen, title, zoo_server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only")
    parser.add_argument("--refused", action="store_true")
    options = parser.parse_args()
    faults = 0
    with zoo_server() as server, ThreadPoolExecutor(options.jobs) as pool:
        for lines in _outcomes(server, pool, options):
            faults += lines[0].endswith("FAULT")
            print("\n".join(lines), flush=True)
    print(f"{faults} faults")
    return int(faults > 0)


def _outcomes(server: ScratchServer, pool: ThreadPoolExecutor, options: argparse.Namespace) -> Iterator[list[str]]:
    """How it went with each draw, as it ends; no more is drawn than runs at once."""
    running: set[Future[list[str]]] = set()
    for name, draw in _draws(options):
        running.add(pool.submit(_lines, server, options, name, draw))
        if len(running) == options.jobs:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    yield from (each.result() for each in as_completed(running))


def _draws(options: argparse.Namespace) -> Iterator[tuple[str, Draw]]:
    if options.only is not None:
        yield from (("alone", ("3.1", (entry,))) for entry in PROPERTIES if options.only in entry.name)
        return
    if options.seed is not None:
        yield f"--seed {options.seed}", choose(random.Random(options.seed))
        return
    end = time.monotonic() + options.minutes * 60
    while time.monotonic() < end:
        seed = random.SystemRandom().randrange(10**6)
        yield f"--seed {seed}", choose(random.Random(seed))


def _lines(server: ScratchServer, options: argparse.Namespace, name: str, draw: Draw) -> list[str]:
    """How it went with one database: a line that ends with ok or FAULT, then what does not hold."""
    began, junkie = time.monotonic(), new_junkie()
    refused: list[str] = []
    try:
        with specimen(server, *draw) as (found, env):
            exercise = Exercise(junkie, found, env)
            refused = exercise.refused
            exercise.everything()
        outcome, fault = "ok", []
    except Exception as error:
        outcome, fault = "FAULT", [str(error) if isinstance(error, Fault) else traceback.format_exc()]
    finally:
        junkie.close()
    shown = [f"  refused: {line}" for line in refused] if options.refused else []
    return [f"{name} ({time.monotonic() - began:.0f} s) {title(*draw)}: {outcome}", *shown, *fault]


if __name__ == "__main__":
    sys.exit(main())
