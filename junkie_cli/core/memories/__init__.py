"""Reads, changes, searches, exports and imports memories, and undoes changes. SQL through asyncpg."""
