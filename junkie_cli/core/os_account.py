"""The account of the operating system that this program runs as. A leaf."""

import os
import pwd
from pathlib import Path


def login_name(uid: int | None = None) -> str:
    """The name of this account, or of the one with `uid`; empty where it has none, as a container's may not."""
    try:
        return pwd.getpwuid(os.geteuid() if uid is None else uid).pw_name
    except KeyError:
        return ""


def home_folder() -> str:
    """The home folder of this account; `/` where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def home_file(name: str) -> Path | None:
    """The file `name` below the home folder that `HOME` names; None where there is none."""
    try:
        path = Path.home() / name
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None
