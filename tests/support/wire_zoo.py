"""Answers of real families of model servers, as they come over the network, with what is expected of each.

A file of `tests/data/wire` is such an answer: fields, a blank line, and the body. The fields are

    About, Status, Content-Type   where it comes from, and its status line
    Model                         `memory` where the memory model answers so; else the one that talks
    Expect                        `complete`, or the code of the failure
    Text, Thought, Tokens         what is shown, and the total that is counted
    Calls, Memories               arguments of the tool calls; the memories that come of it
    Says, Hint                    parts of the failure's sentence, and of its hint
    Transient                     whether the same request is made again
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.model_server import Raw

FOLDER = Path(__file__).parents[1] / "data" / "wire"
_JSON = ("Text", "Thought", "Tokens", "Calls", "Memories", "Says", "Hint", "Transient")


@dataclass(frozen=True)
class Specimen:
    """One recorded answer."""

    name: str
    body: bytes
    fields: dict[str, Any]

    @property
    def code(self) -> str | None:
        """The code of the expected failure, None when the answer is complete."""
        return None if self.fields["Expect"] == "complete" else str(self.fields["Expect"])

    @property
    def of_memory(self) -> bool:
        return self.fields.get("Model") == "memory"

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of plain events, each a line of JSON."""
        *events, rest = self.body.split(b"\n\n")
        return not rest and all(event.startswith((b"data: {", b"data: [DONE]")) for event in events)

    def reply(self) -> Raw:
        """The answer as it was recorded."""
        return self.reply_of(self.body)

    def reply_of(self, *chunks: bytes, broken: bool = False) -> Raw:
        """An answer of the same kind with another body."""
        return Raw(
            chunks=chunks,
            status=int(self.fields["Status"]),
            content_type=self.fields["Content-Type"],
            broken=broken,
        )


def specimens() -> dict[str, Specimen]:
    """All of them, by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.txt"))}


def _read(path: Path) -> Specimen:
    head, _, body = path.read_bytes().partition(b"\n\n")
    fields: dict[str, Any] = dict(line.split(": ", 1) for line in head.decode().splitlines())
    fields |= {name: json.loads(fields[name]) for name in _JSON if name in fields}
    return Specimen(path.stem, body, fields)
