"""The project's Markdown files: their blocks, tables, headings and links."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GENERATED = ("docs/reference.md", "docs/troubleshooting.md")


def documents() -> list[Path]:
    """Every Markdown file of the project, README first."""
    folders = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")})
    return [README, *(path for path in folders if path != README)]


def name(path: Path) -> str:
    """The path from the project's folder, for the ids of tests."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, kind: str) -> list[str]:
    """The contents of the fenced blocks of `path` whose fence is followed by exactly `kind`."""
    found = re.findall(r"^ *```([^\n]*)\n(.*?)^ *```$", path.read_text(), re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language == kind]


def prose(path: Path) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^ *```[^\n]*\n.*?^ *```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them: a repeated one gets a number."""
    seen: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(path: Path) -> Iterator[str]:
    """The targets of links and pictures, without those to other sites."""
    for target in re.findall(r"\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)", re.sub(r"`[^`]*`", "``", prose(path))):
        if not re.match(r"[a-z]+:", target):
            yield target
