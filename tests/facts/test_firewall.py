"""Packets through the rules of iptables 1.8: only what is certain is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import Fate, Filters, Packet, ServiceTables
from kdiag.facts.firewall import Filter
from kdiag.facts.hosts import Answer

KUBELET = Packet(source="10.0.0.1", destination="10.0.0.2", port=10250, into="eth0", local=True)
POD = Packet(source="10.244.0.2", destination="10.244.2.2", into="eth0", out="cni0", among="10.244.2.0/24")


def table(*rules: str, policy: str = "ACCEPT", chains: tuple[str, ...] = ()) -> Filter:
    heads = [f":INPUT {policy} [0:0]", f":FORWARD {policy} [0:0]", *(f":{c} - [0:0]" for c in chains)]
    return Filters.parse("w1", (Answer("iptables-filter", "", "\n".join(["*filter", *heads, *rules, "COMMIT", ""])),))


@pytest.mark.parametrize(
    ("rule", "fate"),
    [
        ("-A INPUT -p tcp -m tcp --dport 10250 -j DROP", Fate.DROPPED),
        ("-A INPUT -p tcp -m tcp --dport 10000:11000 -j REJECT --reject-with tcp-reset", Fate.DROPPED),
        ("-A INPUT -p tcp -m multiport --dports 22,10250,10256 -j DROP", Fate.DROPPED),
        ("-A INPUT -s 10.0.0.0/24 -j DROP", Fate.DROPPED),
        ("-A INPUT ! -s 192.168.0.0/16 -i eth+ -j DROP", Fate.DROPPED),
        ("-A INPUT ! -i lo -m conntrack --ctstate NEW -j DROP", Fate.DROPPED),
        ('-A INPUT -m comment --comment "a -j ACCEPT in a comment" -j DROP', Fate.DROPPED),
        ("-A INPUT -p udp -m udp --dport 10250 -j DROP", Fate.ACCEPTED),
        ("-A INPUT -p tcp -m tcp --dport 10251 -j DROP", Fate.ACCEPTED),
        ("-A INPUT ! -s 10.0.0.0/24 -j DROP", Fate.ACCEPTED),
        ("-A INPUT -m conntrack --ctstate INVALID -j DROP", Fate.ACCEPTED),
        ("-A INPUT -m set --match-set bad src -j DROP", Fate.ACCEPTED),  # it may; it is not certain
        ("-A INPUT -p tcp -m limit --limit 5/min -j LOG", Fate.ACCEPTED),
        ("-A INPUT -j NFQUEUE --queue-num 1", Fate.UNKNOWN),
        ("-A INPUT -m set --match-set good src -j ACCEPT", Fate.UNKNOWN),
    ],
)
def test_one_rule_before_a_policy_that_accepts(rule: str, fate: Fate) -> None:
    assert table(rule).judge("INPUT", KUBELET).fate is fate


def test_the_policy_decides_what_no_rule_does() -> None:
    assert table(policy="DROP").judge("INPUT", KUBELET).rule == "-P INPUT DROP"
    assert table("-A INPUT -j UFW", "-A UFW -p tcp --dport 10250 -j ACCEPT", policy="DROP", chains=("UFW",)).judge(
        "INPUT", KUBELET
    ).fate is (Fate.ACCEPTED)
    back = table("-A INPUT -j A", "-A A -m addrtype --dst-type LOCAL -j RETURN", "-A A -j DROP", chains=("A",))
    assert back.judge("INPUT", KUBELET).fate is Fate.ACCEPTED
    gone = table("-A INPUT -g A", "-A INPUT -j ACCEPT", policy="DROP", chains=("A",))
    assert gone.judge("INPUT", KUBELET).fate is Fate.DROPPED


def test_a_chain_that_may_be_entered_leaves_a_doubt() -> None:
    maybe = table("-A INPUT -m set --match-set x src -j A", "-A A -j ACCEPT", policy="DROP", chains=("A",))
    assert maybe.judge("INPUT", KUBELET).fate is Fate.UNKNOWN
    dropped = table("-A INPUT -m set --match-set x src -j A", "-A A -j DROP", chains=("A",))
    assert dropped.judge("INPUT", KUBELET).fate is Fate.ACCEPTED


def test_rules_for_single_pods_leave_a_doubt_about_pods() -> None:
    assert table("-A FORWARD -d 10.244.2.77/32 -j ACCEPT", policy="DROP").judge("FORWARD", POD).fate is Fate.UNKNOWN
    docker = table(
        "-A FORWARD -j KUBE-FORWARD",
        "-A FORWARD -o docker0 -j ACCEPT",
        "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
        "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        policy="DROP",
        chains=("KUBE-FORWARD",),
    )
    assert docker.judge("FORWARD", POD).fate is Fate.DROPPED


def test_chains_in_a_circle_end() -> None:
    loop = table("-A INPUT -j A", "-A A -j A", "-A A -j A", chains=("A",))
    assert loop.judge("INPUT", KUBELET).fate is Fate.UNKNOWN


# kube-proxy 1.36, iptables 1.8.9.
NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SEP-A -s 10.244.0.11/32 -m comment --comment "kube-system/kube-dns:dns" -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination 10.244.0.11:53
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 \
-j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SVC-TCOU7JCQXEZGVUNU ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "x" -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
COMMIT
"""


def test_a_service_leads_to_its_endpoints() -> None:
    rules = ServiceTables.parse("w1", (Answer("iptables-nat", "", NAT),))
    assert rules.endpoints("10.96.0.10", "UDP", 53) == ("10.244.0.11:53",)
    assert rules.endpoints("10.96.0.10", "TCP", 53) is None
    assert rules.hooks == {"PREROUTING", "OUTPUT"}
    assert rules.written
    assert not rules.legacy


def test_another_backend_is_noticed() -> None:
    said = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n*nat\nCOMMIT\n"
    assert ServiceTables.parse("w1", (Answer("iptables-nat", "", said),)).legacy


@given(
    st.lists(
        st.sampled_from(["-A", "INPUT", "-j", "DROP", "!", "-p", "tcp", "-m", '"', "--dport", "x:", ":", "-s", "/"])
    )
)
def test_no_rule_breaks_the_reader(words: list[str]) -> None:
    table("-A INPUT " + " ".join(words)).judge("INPUT", KUBELET)
