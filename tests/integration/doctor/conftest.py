"""Examinations by the doctor in this process."""

from tests.support.doctor import doctor
from tests.support.embedded import public

__all__ = ["doctor", "public"]
