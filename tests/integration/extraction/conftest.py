"""Conversations: their databases have all tables already."""

from tests.support.conversations import template_database

__all__ = ["template_database"]
