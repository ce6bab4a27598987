"""Runbook pages for the control plane."""
