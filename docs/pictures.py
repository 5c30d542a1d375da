"""Make the README's pictures from real runs: `make docs`.

Each picture is what a terminal showed: `junkie` runs in tmux, in a home that is thrown away, with the rehearsal model;
the screen is captured with its colours and drawn by rich as SVG. Nothing is typed in by hand, so they cannot lie.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from junkie_cli.core.demo import Stage

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


def main() -> None:
    """Make every picture, or those that are named."""
    wanted = set(sys.argv[1:])
    for picture in PICTURES:
        if wanted and picture.name not in wanted:
            continue
        with Stage() as stage:
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
