"""Everything that is printed: output, progress, styles, and the check that foreign text passes."""
