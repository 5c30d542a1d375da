"""Backups that are proven to restore: a dump file and, beside it, a manifest that says what is in it.

What the data is: a folder holds pairs `NAME.dump` (pg_dump's custom format) and `NAME.dump.json` (the manifest). Only
a pair is a backup; a file alone is "unknown". The manifest carries the file's SHA-256, because a flipped bit in a zstd
dump restores in silence, and the row count and content hash of each table as the dump's own snapshot saw them.

Who owns it: the run that holds the folder's lock (`lock`) alone makes, names and removes files there (`files`).

Which way it flows: source (one snapshot: `source`, `content_hash`) -> pg_dump (`tools`, `process`) -> partial file ->
proof in a scratch server (`script`, `proof`) -> manifest and final name (`files`) -> retention. `dump` leads that run;
`catalogue` reads what is in a folder; `verify` proves a file again; `core/restore` brings it back.
"""
