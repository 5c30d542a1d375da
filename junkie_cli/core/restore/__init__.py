"""Restores a backup: the complete schema, or one person's memories and sessions.

Restored data is prepared next to existing data and takes its place in one short transaction: a complete restore goes
into a staging schema (`staging`), is compared with its manifest there, has later erasures applied, and is renamed into
place (`whole`); one person's rows are read from a copy in a scratch server and added (`person`). Until that transaction
commits nothing has changed; a killed run leaves at most a staging schema, which the next run drops.
"""
