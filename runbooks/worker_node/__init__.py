"""Runbook pages for the nodes."""
