"""Examinations by the doctor in this process."""

from tests.support.doctor import doctor

__all__ = ["doctor"]
