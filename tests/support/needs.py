"""What a machine must have for some tests: where it is missing they are skipped and say so, and in CI they fail."""

import os

import pytest


def need(there: object, what: str) -> None:
    """Skip this test unless `there`; with CI set nothing may be missing, and it fails instead."""
    if there:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have what this test needs: {what}")
    pytest.skip(f"needs {what}")


def need_root(why: str = "another user or a mount") -> None:
    """Root alone can change users and mount disks."""
    need(os.geteuid() == 0, f"root: {why}")
