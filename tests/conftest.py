"""Fixtures for all tests; each comes from the support module that makes it."""

from tests.support.junkie import junkie
from tests.support.postgres import database, postgres_server, template_database

__all__ = ["database", "junkie", "postgres_server", "template_database"]
