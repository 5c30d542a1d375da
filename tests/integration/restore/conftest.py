"""Backups go into a folder of the test's own."""

from tests.support.backups import folder

__all__ = ["folder"]
