"""Checks of the nodes."""
