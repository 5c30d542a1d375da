"""Asks pip-audit for known vulnerabilities of the locked packages: `make audit`.

Findings that were looked at and do not matter here are in requirements/accepted.txt, each with the day until which that
holds and the reason. After that day the finding fails again.
"""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
ACCEPTED = ROOT / "requirements/accepted.txt"


def accepted(text: str, today: date) -> tuple[list[str], list[str]]:
    """The identifiers that are accepted today, and the lines that are not: ended ones, and those without a reason."""
    valid, rest = [], []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"([\w-]+) until (\d{4}-\d\d-\d\d): \S.*", line)
        if found and date.fromisoformat(found[2]) >= today:
            valid.append(found[1])
        else:
            rest.append(line)
    return valid, rest


def main() -> int:
    """Run pip-audit in an environment of its own (uv keeps it); its exit code, or 1 for a line that no longer holds."""
    valid, rest = accepted(ACCEPTED.read_text(), datetime.now(UTC).date())
    for line in rest:
        sys.stderr.write(f"{ACCEPTED.name}: no longer accepted, or without a day or a reason: {line}\n")
    ignored = [word for each in valid for word in ("--ignore-vuln", each)]
    # Strict: what could not be looked up is a failure, not "nothing found".
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command = ["uv", "tool", "run", "--quiet", "pip-audit", *options]
    code = 0
    for name in ("run", "dev"):
        sys.stderr.write(f"auditing requirements/{name}.txt\n")
        code = max(code, subprocess.run([*command, *ignored, "-r", ROOT / f"requirements/{name}.txt"]).returncode)
    return max(code, int(bool(rest)))


if __name__ == "__main__":
    sys.exit(main())
