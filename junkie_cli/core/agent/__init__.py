"""The team that remembers: the only home of agno, SQLAlchemy and openai.

Whoever imports a module from here passes the guard first, so that agno cannot be loaded unguarded.
"""

from junkie_cli.core.agent.agno_environment import protect

protect()
