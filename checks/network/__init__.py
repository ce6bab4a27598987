"""Checks of services, DNS, kube-proxy and the network plugin."""
