"""Agno's tables of every generation and junkie's own: names, columns, indexes, and how ours are made.

`registry` lists every table once, with what each command does with its rows. `tables` reads the catalogue into a
`SchemaState`, which every statement is built from. `own_tables` applies the numbered files of `migrations` before the
first change of a command, and refuses where only a newer junkie may write.
"""
