"""Junkie: talk to an Agno team that remembers, and administer what it remembers."""

__version__ = "0.1.0"
