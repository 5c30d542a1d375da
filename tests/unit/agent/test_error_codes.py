"""docs/model-errors.md lists every code that a request to a model can end with, and what becomes of it."""

import ast
import re

from junkie_cli.core.agent.bounds import Bounds
from junkie_cli.core.agent.model_errors import TRANSIENT
from junkie_cli.core.chat.pending_retry import ABOUT_THIS_MESSAGE, is_outage
from junkie_cli.core.errors import JunkieError
from tests.support.documents import ROOT

ROWS = {
    code: (retried, pending)
    for code, retried, pending in re.findall(
        r"^\| `(\w+)` \|.*\| (yes|no) \| (outage|counted|message) \|$",
        (ROOT / "docs/model-errors.md").read_text(),
        re.MULTILINE,
    )
}
FAMILY = re.compile(r"(?:provider|bound|extraction)(?:_[a-z]+)+|provider|team")


def raised() -> set[str]:
    """Every code of the family in the program: values of `code=` and texts that can be nothing else."""
    found = {f"bound_{name}" for name in Bounds.__annotations__}
    for path in (ROOT / "junkie_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.keyword) and node.arg == "code"
            named |= isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "default_code"
            value = node.value if isinstance(node, ast.keyword | ast.Assign) and named else node
            text = value.value if isinstance(value, ast.Constant) else None
            if isinstance(text, str) and FAMILY.fullmatch(text) and (named or "_" in text):
                found.add(text)
    return found


def test_every_code_is_listed_once_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/model-errors.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(raised())
    assert set(ROWS) == set(listed)


def test_what_becomes_of_a_pending_message_is_as_listed() -> None:
    for code, (_, pending) in ROWS.items():
        error = JunkieError("x", code=code)
        found = "outage" if is_outage(error) else "message" if code in ABOUT_THIS_MESSAGE else "counted"
        assert (code, found) == (code, pending)


def test_what_is_retried_is_as_listed() -> None:
    for code, (retried, _) in ROWS.items():
        assert (code, code in TRANSIENT) == (code, retried == "yes")
