"""Bringing a backup back: the whole schema, or one person's memories and sessions.

What comes back is built beside what is there and takes its place in one short transaction: a whole restore goes into
a staging schema (`staging`), is compared with its manifest there, has the erasures since then applied, and is then
renamed into place (`whole`); one person's rows are read from a copy in a scratch server and added (`person`). Until
that transaction commits nothing has changed; a killed run leaves at most a staging schema, which the next one drops.
"""
