"""Everything that is printed: output, progress, styles, completion."""
