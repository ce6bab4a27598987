"""Checks of the control plane."""
