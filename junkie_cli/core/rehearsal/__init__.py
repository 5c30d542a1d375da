"""The built-in rehearsal model and the tour of `junkie demo`."""
