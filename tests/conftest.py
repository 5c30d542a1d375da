"""Fixtures for all tests; each comes from the support module that makes it."""

from tests.support.generations import admin, generation_templates, written_by
from tests.support.junkie import junkie
from tests.support.postgres import database, postgres_server, template_database

__all__ = ["admin", "database", "generation_templates", "junkie", "postgres_server", "template_database", "written_by"]
