"""Backups: a dump file, and next to it a manifest that describes its contents.

What the data is: a folder holds pairs `NAME.dump` (pg_dump's custom format) and `NAME.dump.json` (the manifest). Only
a pair is a backup; a file alone is "unknown". The manifest contains the SHA-256 of the file, because a flipped bit in a
zstd dump restores silently, and the row count and content hash of each table in the snapshot of the dump.

Who owns it: only the run that holds the folder's lock (`lock`) creates, names and deletes files there (`files`).

Which way it flows: source (one snapshot: `source`, `content_hash`) -> pg_dump (`tools`, `process`) -> partial file ->
proof in a scratch server (`script`, `proof`) -> manifest and final name (`files`) -> retention. `dump` controls that
run; `catalogue` lists a folder; `verify` verifies a file again; `core/restore` restores it.
"""
