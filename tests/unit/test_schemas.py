"""The shapes that scripts rely on: each a valid JSON Schema, strict, and part of the wheel."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs.schemas import rendered
from junkie_cli.core.documents import DOCUMENTS
from tests.support.schemas import names, schema, validate

ROOT = Path(__file__).parents[2]

# Every --json of the command line, as its documentation lists them.
COMMANDS = """error chat.event memories.list memories.show memories.search memories.add memories.edit memories.delete
memories.clear memories.undo memories.history memories.history.switch memories.export memories.export.line
memories.import memories.pending memories.retry memories.learn memories.learn.line memories.check
memories.check.line users.list users.export users.erase sessions.list sessions.show sessions.delete stats
backup backup.list backup.verify backup.prune restore doctor config.show config.path"""
OPEN = {"restore", "memories.export.line", "memories.history"}  # hold whole rows, or what is not fixed

MEMORY = {
    "memory_id": "m1",
    "user_id": None,
    "memory": "likes tea",
    "topics": ["drink"],
    "input": None,
    "agent_id": None,
    "team_id": "hero-team",
    "created_at": None,
    "updated_at": "2025-11-23T16:30:12.123456Z",
}

CHANGE = {
    "batch": "b1",
    "at": "2025-11-23T16:30:12Z",
    "by": "team",
    "action": "updated",
    "memory_id": "m1",
    "user_id": None,
    "before": {"memory": "likes tea"},
    "after": None,
    "actor": {"kind": "team", "name": "hero-team", "command": "chat"},
}


def test_every_shape_is_written_down() -> None:
    assert set(names()) == set(DOCUMENTS) == set(COMMANDS.split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_are_generated_from_the_types(name: str) -> None:
    assert (ROOT / f"junkie_cli/schemas/{name}.json").read_text() == rendered(name), "run: make docs"


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"changes": [CHANGE | {"by": "somebody"}], "next": None}, "memories.history"),
        ({"changes": [CHANGE | {"at": "yesterday"}], "next": None}, "memories.history"),
        ({"changes": [CHANGE], "next": None, "warnings": []}, "memories.history"),
        ({"memories": -1, "path": "m.jsonl"}, "memories.export"),
        ({"session_id": "s", "deleted": {"t": "1"}, "remaining": 0}, "sessions.delete"),
        ({"env_file": None, "ignored_env_files": None}, "config.path"),
        ({"others": True, "before": None}, "memories.history.switch"),
    ],
)
def test_what_a_type_forbids_the_schema_refuses(wrong: dict[str, Any], name: str) -> None:
    validate({"changes": [CHANGE], "next": None}, "memories.history")
    with pytest.raises(AssertionError, match=re.escape(f"this is not {name}")):
        validate(wrong, name)


@pytest.mark.parametrize("name", names())
def test_each_is_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema(name)["$id"] == f"urn:junkie:{name}"


@pytest.mark.parametrize("name", sorted(set(names()) - OPEN))
def test_objects_are_closed(name: str) -> None:
    for node in objects(schema(name)):
        assert "additionalProperties" in node, node
        assert node["additionalProperties"] is not True


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_documents_are_distinguished() -> None:
    validate({"memories": [MEMORY], "next": None}, "memories.list")
    validate({"error": {"code": "usage", "message": "no", "hint": ""}}, "error")
    for wrong in (
        {"memories": [MEMORY]},
        {"memories": [MEMORY | {"extra": 1}], "next": None},
        {"memories": [MEMORY | {"updated_at": "2025-11-23 16:30:12"}], "next": None},
        {"memories": [MEMORY | {"updated_at": "2025-11-23T16:30:12+00:00"}], "next": None},
    ):
        with pytest.raises(AssertionError, match=re.escape("this is not memories.list")):
            validate(wrong, "memories.list")


def test_chat_events() -> None:
    validate({"event": "delta", "text": "Hi"}, "chat.event")
    validate({"event": "memory", "action": "pending", "memory_id": None, "memory": None}, "chat.event")
    done = {"session_id": "s", "run_id": "r", "user_id": "u", "answer": "Hi", "complete": True, "usage": None}
    reason = {"kind": "newest", "rank": None, "score": None, "words": []}
    done |= {"memories": [{"memory_id": "m", "memory": "Likes tea", "reason": reason}]}
    validate({"event": "done", **done}, "chat.event")
    validate({"event": "done", **done, "error": {"code": "c", "message": "m", "hint": "h"}}, "chat.event")
    for wrong in ({"event": "other"}, {"event": "delta"}, {"event": "done", **done, "usage": {}}):
        with pytest.raises(AssertionError):
            validate(wrong, "chat.event")


def test_the_schemas_are_in_the_wheel(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    made = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("junkie_cli/schemas/")}
    assert packed == {f"junkie_cli/schemas/{name}.json" for name in names()}
