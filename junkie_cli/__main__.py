"""`python -m junkie_cli` is `junkie`."""

from junkie_cli.app import main

main()
