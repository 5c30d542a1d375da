"""How a turn is stored, with its pending extraction."""
