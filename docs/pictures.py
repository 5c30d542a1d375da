"""Generates the pictures of the README from real runs: `make docs`.

Each picture is a captured terminal: `junkie` runs in tmux, in a temporary home, with the rehearsal model; the screen is
captured with its colors and drawn as SVG by rich.
"""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from junkie_cli.core.rehearsal.demo import Stage

FOLDER = Path(__file__).parent
PATIENCE = 60.0  # seconds for an expected text to appear
JUNKIE = Path(sys.executable).parent / "junkie"


@dataclass(frozen=True, slots=True)
class Say:
    """Type `text` and Enter, then wait until `expect` is on the screen."""

    text: str
    expect: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its file name, title, size of the terminal, and what is typed into a shell in it."""

    name: str
    title: str
    columns: int
    lines: int
    script: Sequence[Say]
    memories: bool = False  # a small community's memories are there beforehand


# What the people of the pictures are known for: user, memory, topics, days ago.
KNOWN = (
    ("ada", "Lives in Lviv", ("home",), 41),
    ("ada", "Prefers coffee", ("drinks",), 0),
    ("ada", "Reads 김영하 in Korean", ("books", "languages"), 3),
    ("ada", "Is allergic to nuts", ("health",), 12),
    ("grace", "Works on compilers", ("work",), 1),
    ("grace", "Keeps a parrot called Cobol", ("animals",), 5),
    ("grace", "Wants answers short", ("style",), 8),
    ("linus", "Dives in cold water", ("sports",), 2),
    ("linus", "Uses a standing desk with a treadmill", ("work", "health"), 2),
    ("margaret", "Checks everything twice, and is usually right", ("work",), 16),
)

PICTURES = (
    Picture(
        "conversation",
        "junkie chat",
        84,
        39,
        (
            Say("PS1='$ '; junkie chat --offline hello; clear", "$"),  # makes the database, which no later start has to
            Say("junkie chat --offline", "embedded"),
            Say("My name is Ada, I live in Lviv and I prefer tea.", "prefers tea"),
            Say("I prefer coffee now.", "changed"),
            Say("/exit", "$"),
            Say("junkie chat --offline    # later", "embedded"),
            Say("What do you remember about me?", "coffee"),
        ),
    ),
    Picture(
        "memories",
        "junkie memories list",
        100,
        16,
        (Say("PS1='$ '; clear", "$"), Say("junkie memories list", "Checks")),
        memories=True,
    ),
    Picture("stats", "junkie stats", 84, 44, (Say("PS1='$ '; clear", "$"), Say("junkie stats", "$")), memories=True),
    Picture(
        "backup",
        "junkie backup",
        100,
        31,
        (
            Say("PS1='$ '; clear", "$"),
            Say("junkie backup --keep-daily 7", "user_memories"),
            Say("junkie backup list", "verified"),
        ),
        memories=True,
    ),
)


class Screen:
    """A tmux of our own with one window."""

    def __init__(self, picture: Picture, stage: Stage) -> None:
        self._socket = f"junkie-docs-{os.getpid()}"
        environment = {
            **stage.environment,
            "JUNKIE_USER": "ada",
            "PATH": f"{JUNKIE.parent}:{os.environ['PATH']}",
            "ENV": "",
        }
        environment.pop("COLUMNS", None)
        size = ["-x", str(picture.columns), "-y", str(picture.lines)]
        command = ["new-session", "-d", *size, "-c", str(stage.folder), "sh"]
        subprocess.run(["tmux", "-L", self._socket, "-f", "/dev/null", *command], check=True, env=environment)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def type(self, text: str) -> None:
        """Type a line and Enter."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def wait_for(self, expected: str, after: str) -> None:
        """Wait until `expected` stands below the last line that holds `after`, and the screen rests."""
        deadline = time.monotonic() + PATIENCE
        before = None
        while time.monotonic() < deadline:
            shown = self._tmux("capture-pane", "-p")
            if expected in shown.rpartition(after)[2] and shown == before:
                return
            before = shown
            time.sleep(0.3)
        raise TimeoutError(f"{expected!r} did not appear:\n{shown}")

    def capture(self) -> str:
        """The screen with its colours."""
        return self._tmux("capture-pane", "-e", "-p")

    def close(self) -> None:
        """End it."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False)


def draw(picture: Picture, screen: str) -> str:
    """The captured screen as SVG, without addresses of fonts on other people's servers."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True, width=picture.columns, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(Text.from_ansi(screen.rstrip()))
        svg = console.export_svg(title=picture.title, unique_id=f"junkie-{picture.name}")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def remember(stage: Stage) -> None:
    """Fill the database of `stage` with what is known of everybody."""

    def junkie(*arguments: str) -> None:
        environment = {**stage.environment, "JUNKIE_USER": "ada"}
        subprocess.run([JUNKIE, *arguments], check=True, env=environment, cwd=stage.folder, capture_output=True)

    now = int(time.time())
    lines = [
        {
            "memory_id": str(uuid.uuid5(uuid.NAMESPACE_OID, text)),
            "user_id": user,
            "memory": text,
            "topics": topics,
            "created_at": now - ago * 86_400 - 7 * number,
            "updated_at": now - ago * 86_400 - 7 * number,
        }
        for number, (user, text, topics, ago) in enumerate(KNOWN)
    ]
    file = stage.folder / "known.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    junkie("chat", "--offline", "-u", "ada", "hello")  # makes the tables
    junkie("memories", "import", str(file))


def main() -> None:
    """Make every picture, or those that are named."""
    wanted = set(sys.argv[1:])
    for picture in PICTURES:
        if wanted and picture.name not in wanted:
            continue
        with Stage() as stage:
            if picture.memories:
                remember(stage)
            screen = Screen(picture, stage)
            try:
                for line in picture.script:
                    screen.type(line.text)
                    screen.wait_for(line.expect, line.text)
                shown = screen.capture()
            finally:
                screen.close()
        (FOLDER / f"{picture.name}.svg").write_text(draw(picture, shown))


if __name__ == "__main__":
    main()
