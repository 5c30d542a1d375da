"""What the Makefile runs for the supply chain and for releases."""
