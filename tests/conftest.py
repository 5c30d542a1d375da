"""Fixtures for all tests; each comes from the support module that makes it."""

from tests.support.postgres import database, postgres_server, template_database

__all__ = ["database", "postgres_server", "template_database"]
