"""Connects to PostgreSQL with asyncpg: connections, errors, SQL helpers, paging."""
