"""Runbook pages for workloads, scheduling, storage, rollouts and access."""
