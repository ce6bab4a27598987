"""Which line of a configuration a program's last words are about."""

from __future__ import annotations

import pytest

from kdiag.facts import line_meant

# config.conf of kube-proxy 1.36, cut down
CONFIG = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
clusterCIDR: 10.244.0.0
conntrack:
  min: 0
iptables:
  minSyncPeriod: 0s
ipvs:
  minSyncPeriod: 10s
mode: iptable
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ('failed validate: KubeProxyConfiguration.Mode.ProxyMode: Invalid value: "iptable": must be iptables', 10),
        ('failed validate: KubeProxyConfiguration.ClusterCIDR[0]: Invalid value: "10.244.0.0": must be a CIDR', 3),
        ('KubeProxyConfiguration.IPVS.MinSyncPeriod: Invalid value: "10s": must be less', 9),
        ('KubeProxyConfiguration.MinSyncPeriod: Invalid value: "5s": one of two, and none has it', 0),
        ('failed validate: X.DetectLocalConfiguration.ClusterCIDRs[0]: Invalid value: "10.244.0.0": must be', 3),
        ("failed complete: yaml: line 4: could not find expected ':'", 4),
        ("failed complete: yaml: line 400: mapping values are not allowed", 0),
        ("connection refused", 0),
        ("", 0),
    ],
)
def test_finds_the_line_that_a_program_complains_of(words: str, line: int) -> None:
    assert line_meant(CONFIG, words) == line
