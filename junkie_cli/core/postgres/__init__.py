"""Talking to PostgreSQL through asyncpg: connecting, errors, SQL helpers, paging."""
