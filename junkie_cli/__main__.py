"""`python -m junkie_cli` is `junkie`."""

from junkie_cli.cli.main import main

main()
