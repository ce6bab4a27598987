"""The hosts file of a node, as grep shows it beside the resolver's files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import HostName, HostResolvers
from kdiag.facts.hosts import Answer

# grep -sH -m 1000 "" /etc/resolv.conf /etc/hosts, Debian 12
SEEN = """/etc/resolv.conf:nameserver 192.0.2.1
/etc/hosts:127.0.0.1\tlocalhost
/etc/hosts:
/etc/hosts:# the control plane
/etc/hosts:10.89.0.11 cp1 K8S-api.lab   # an address
/etc/hosts:10.89.0.13 cp1
/etc/hosts:::1 ip6-localhost
"""


def test_reads_the_names_with_their_lines_and_lets_the_first_count() -> None:
    resolver = HostResolvers.parse("w1", (Answer("resolv", "", SEEN),))
    assert resolver.names["cp1"] == HostName("10.89.0.11", 4)
    assert resolver.names["k8s-api.lab"] == HostName("10.89.0.11", 4)
    assert resolver.names["ip6-localhost"] == HostName("::1", 6)
    assert resolver.files == {"/etc/resolv.conf": ("192.0.2.1",)}


def test_an_older_recording_has_none() -> None:
    assert HostResolvers.parse("w1", (Answer("resolv", "", SEEN.partition("/etc/hosts")[0]),)).names == {}


@given(st.text(max_size=200))
def test_survives_any_text(text: str) -> None:
    HostResolvers.parse("w1", (Answer("resolv", "", "".join(f"/etc/hosts:{line}\n" for line in text.splitlines())),))
