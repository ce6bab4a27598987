"""Checks of workloads, scheduling, storage, rollouts and access."""
