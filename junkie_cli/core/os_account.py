"""The account of the operating system that this program runs as. A leaf."""

import os
import pwd


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
