"""Agno's tables of every generation and junkie's own: names, columns, indexes, and how ours are made."""
