"""Generates docs/troubleshooting.md from the catalogue of doctor's checks: `make docs`."""

import sys
from itertools import groupby
from pathlib import Path

from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.doctor.model import Check

TARGET = Path(__file__).parent / "troubleshooting.md"
_BEGINNING = """\
# Troubleshooting

Run `junkie doctor` first. It checks settings, providers, database, tables, memories and backups, and prints a
suggested fix for everything that is not in order. It changes nothing unless you pass `--fix`.

```sh
junkie doctor                       # all checks
junkie doctor database              # one group
junkie doctor schema.tables         # one check, and those that it depends on
junkie doctor --json                # for scripts
```

| option | what it does |
|---|---|
| `--deep` | also sends a request to both models, and remembers, recalls and erases a fact |
| `--fix [ID]` | shows what can be repaired, asks, repairs it and checks again |
| `--strict` | also exits with 1 for a warning or an unknown result |
| `--nagios` | prints one line for a monitoring system |

A check is `ok`, `warning`, `failed`, `skipped` (a check that it depends on failed) or `unknown` (it timed out, so
nothing is known to be wrong). If a command fails and doctor finds nothing, run the command again with `-v`, which logs
details to stderr.

The table of checks is generated from the program by `make docs`. Checks marked *deep* run with `--deep` only.
"""
_GROUPS = {
    "settings": "Settings",
    "groq": "Groq",
    "provider": "Another provider",
    "model": "Models",
    "database": "Database",
    "embedded": "Embedded PostgreSQL",
    "schema": "Tables",
    "memory": "Memories",
    "backup": "Backups",
    "bot": "Discord bot",
    "privacy": "Privacy",
}


def page() -> str:
    """The whole document."""
    groups = groupby(CHECKS, key=lambda check: check.id.partition(".")[0])
    return _BEGINNING + "".join(_section(name, list(checks)) for name, checks in groups)


def _section(name: str, checks: list[Check]) -> str:
    rows = "".join(f"| {_id(check)} | {check.about} | {check.advice} |\n" for check in checks)
    return f"\n## {_GROUPS[name]}\n\n| check | ok means | if not |\n|---|---|---|\n{rows}"


def _id(check: Check) -> str:
    return f"`{check.id}` (deep)" if check.deep else f"`{check.id}`"


if __name__ == "__main__":
    sys.stdout.write(f"{TARGET}\n")
    TARGET.write_text(page())
