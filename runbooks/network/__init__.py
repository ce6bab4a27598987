"""Runbook pages for services, DNS, kube-proxy and the network plugin."""
