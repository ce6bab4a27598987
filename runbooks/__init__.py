"""Runbook pages: one for each check, at the same path."""
