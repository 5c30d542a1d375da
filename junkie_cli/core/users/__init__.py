"""Lists users, exports one person's data, and erases a person. SQL through asyncpg."""
