"""The API server's clock and the clock of the machine that kdiag runs on differ."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, duration
from kdiag.facts import Cluster

_LIMIT = 300


@check(title="Clocks differ", severity=Severity.WARNING, layer=Layer.HOST, tags=("clock", "certificates"))
def clock_skewed(cluster: Cluster) -> Iterator[Finding]:
    """One of the two is wrong; which one, only a third clock tells."""
    if abs(cluster.skew) < _LIMIT:
        return
    side = "behind" if cluster.skew > 0 else "ahead of"
    apart = duration(timedelta(seconds=round(abs(cluster.skew))))
    yield Finding(
        CLUSTER,
        f"the API server's clock is {apart} {side} this machine's: certificates and tokens may be refused",
        evidence=(Evidence("kubectl get --raw=/healthz -v=8", f"header Date: {cluster.taken:%Y-%m-%d %H:%M:%S} UTC"),),
        next=("timedatectl    # here, and on each control-plane node: ssh NODE timedatectl",),
    )
