"""The check library: one file, one check."""
