"""Write the JSON Schemas of `--json` from the types in core/documents.py: `make docs`."""

import ast
import inspect
import json
import textwrap
import types
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from junkie_cli.core import documents
from junkie_cli.core.chat.learn import BadLine
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.memories.model import Memory
from junkie_cli.core.stats import Day

FOLDER = Path(__file__).parents[1] / "junkie_cli" / "schemas"
TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$",
    "description": "UTC, ISO-8601",
}
PLAIN: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number", "minimum": 0},
}
OPEN = frozenset({documents.ExportedLine, documents.Restored, documents.RestoredTable})
"""Documents and parts that may have more fields than are named."""

NAMED: Mapping[Any, str] = {
    Memory: "memory",
    ResultWarning: "warning",
    documents.Error: "error",
    documents.Table: "table",
}
"""Parts that a schema defines once and refers to, by their names there."""

REFINED: Mapping[tuple[Any, str], tuple[str, Any]] = {
    (Day, "day"): ("pattern", r"^\d{4}-\d{2}-\d{2}$"),
    (BadLine, "line"): ("minimum", 1),
}
"""What the type of a value's field does not say of it."""


def schema(name: str) -> dict[str, Any]:
    """The schema of the document called `name`."""
    title, kind = documents.DOCUMENTS[name]
    definitions: dict[str, Any] = {}
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:junkie:{name}",
        "title": title,
        **_of(kind, definitions),
    }
    return found | ({"$defs": dict(sorted(definitions.items()))} if definitions else {})


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; parts that are named go into `definitions`."""
    if kind is Any:
        return {}
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if kind is datetime:
        definitions["time"] = TIME
        return {"$ref": "#/$defs/time"}
    if isinstance(kind, type) and kind in NAMED:
        name = NAMED[kind]
        if name not in definitions:
            definitions[name] = {}  # it may refer to itself
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if is_typeddict(kind) or hasattr(kind, "__value_fields__") or hasattr(kind, "__dataclass_fields__"):
        return _object(kind, definitions)
    return _composed(get_origin(kind), get_args(kind), definitions)


def _composed(origin: Any, arguments: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if origin is Annotated:
        kind, more = arguments
        if isinstance(more, tuple):
            return _of(kind, definitions) | {more[0]: more[1]}
        return _merged(_object(more, definitions), _of(kind, definitions))
    if origin is NotRequired:
        return _of(arguments[0], definitions)
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in {Union, types.UnionType}:
        return _union(arguments, definitions)
    if origin in {tuple, list}:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = arguments[1]
        return {"type": "object"} | ({} if values is Any else {"additionalProperties": _of(values, definitions)})
    raise TypeError(f"no JSON Schema for {origin}[{arguments}]")


def _union(kinds: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    options = [_of(kind, definitions) for kind in kinds if kind is not type(None)]
    if len(options) == len(kinds):
        return {"oneOf": options}
    if len(options) > 1:
        return {"anyOf": [*options, {"type": "null"}]}
    (option,) = options
    if isinstance(option.get("type"), str) and "properties" not in option:
        return option | {"type": [option["type"], "null"]}
    return {"anyOf": [option, {"type": "null"}]}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    texts = _texts(kind)
    properties = {}
    for field, annotation in get_type_hints(kind, include_extras=True).items():
        properties[field] = _of(annotation, definitions)
        if field == "warnings":
            properties[field] |= {"minItems": 1}
        if (kind, field) in REFINED:
            properties[field] |= [REFINED[kind, field]]
        if field in texts:
            properties[field] |= {"description": texts[field]}
    # A value prints its warnings only when there are any.
    optional = getattr(kind, "__optional_keys__", frozenset({"warnings"}))
    found = {
        "type": "object",
        "properties": properties,
        "required": [field for field in properties if field not in optional],
    }
    return found | {"additionalProperties": kind in OPEN}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """An object with the fields of both."""
    return second | {
        "properties": first["properties"] | second["properties"],
        "required": first["required"] + second["required"],
    }


def _texts(kind: type) -> dict[str, str]:
    """What the docstrings of the fields say."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
            texts[field.target.id] = " ".join(text.value.value.split())  # type: ignore[attr-defined]
    return texts


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def rendered(name: str) -> str:
    """The file of a schema."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema, and remove those of which there is no document any more."""
    for path in FOLDER.glob("*.json"):
        if path.stem not in documents.DOCUMENTS:
            path.unlink()
    for name in documents.DOCUMENTS:
        (FOLDER / f"{name}.json").write_text(rendered(name), encoding="utf-8")


if __name__ == "__main__":
    main()
