"""The JSON Schemas of the package, to hold `--json` output against: `validate(result.json(), "memories.list")`."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = files("junkie_cli") / "schemas"


def names() -> list[str]:
    """The names of all schemas."""
    return sorted(entry.name.removesuffix(".json") for entry in FOLDER.iterdir() if entry.name.endswith(".json"))


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema called `name`."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def validate(document: Any, name: str) -> None:
    """Check `document` against the schema called `name`; an AssertionError lists every difference."""
    errors = sorted(Draft202012Validator(schema(name)).iter_errors(document), key=lambda error: list(error.path))
    told = "\n".join(f"  {'/'.join(map(str, error.path)) or '(all)'}: {error.message[:500]}" for error in errors)
    assert not errors, f"this is not {name}:\n{told}"
