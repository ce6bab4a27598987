"""Tables of nftables 1.0 that somebody wrote by hand, or firewalld: only what is certain is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import NftTable, NftTables, Packet
from kdiag.facts.hosts import Answer

KUBELET = Packet(source="10.0.0.1", destination="10.0.0.2", port=10250, into="eth0", local=True)
POD = Packet(
    source="10.244.0.2",
    destination="10.244.2.2",
    port=53,
    protocol="udp",
    into="eth0",
    out="cni0",
    among="10.244.2.0/24",
)


def tables(text: str) -> tuple[NftTable, ...]:
    return NftTables.parse(
        "w1", (Answer("nft-tables", "", "table inet guard"), Answer("nft-table", "inet guard", text))
    )


def table(*rules: str, hook: str = "input", policy: str = "accept", more: str = "") -> NftTable:
    lines = "\n".join(f"\t\t{rule} # handle {number}" for number, rule in enumerate(rules, 3))
    (found,) = tables(
        "table inet guard { # handle 7\n\tchain in { # handle 1\n"
        f"\t\ttype filter hook {hook} priority filter; policy {policy};\n{lines}\n\t}}\n{more}}}\n"
    )
    return found


@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 10250 drop",
        "tcp dport { 22, 10250-10259 } counter packets 12 bytes 720 drop",
        "ip saddr 10.0.0.0/24 tcp dport 10250 reject",
        'iifname "eth0" ct state new log prefix "guard: " level info drop',
        'iifname != "lo" meta l4proto tcp th dport 10250 reject with tcp reset comment "why not"',
        'iifname { "eth0", "eth1" } meta l4proto { tcp, udp } drop',
        "ct state vmap { established : accept, related : accept, new : drop }",
        "meta nfproto ipv4 drop",
        "fib daddr type local tcp dport != { 22, 6443 } drop",
    ],
)
def test_a_rule_that_certainly_drops(rule: str) -> None:
    judged = table(rule).judge("INPUT", KUBELET)
    assert judged is not None
    assert judged.rule.split()[0] == rule.split()[0]


@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 10251 drop",
        "udp dport 10250 drop",
        "tcp dport 10250 accept",
        "ct state invalid drop",
        "ct state established,related accept",
        "ct state vmap { invalid : drop, established : accept }",
        "ip saddr != 10.0.0.0/8 drop",
        "ip saddr @bad drop",
        "tcp dport @closed drop",
        "limit rate over 10/second drop",
        "tcp flags & (fin | syn | rst | ack) != syn drop",
        "meta nfproto ipv6 drop",
        "ip6 saddr fe80::/10 drop",
        "meta l4proto { icmp, ipv6-icmp } drop",
        "ct status dnat drop",
        "fib saddr . iif oif missing drop",
        "queue to 1",
        "tcp sport 22 drop",
        "icmp type echo-request drop",
    ],
)
def test_a_rule_that_does_not_or_may_not(rule: str) -> None:
    assert table(rule).judge("INPUT", KUBELET) is None


def test_the_policy_and_a_jump() -> None:
    assert table("tcp dport 22 accept", policy="drop").judge("INPUT", KUBELET) is not None
    assert table("tcp dport { 22, 10250 } accept", policy="drop").judge("INPUT", KUBELET) is None
    chain = "\tchain other { # handle 2\n\t\ttcp dport 10250 accept # handle 9\n\t}\n"
    assert table("jump other", policy="drop", more=chain).judge("INPUT", KUBELET) is None
    assert table("jump other", "drop", more="\tchain other {\n\t\treturn\n\t}\n").judge("INPUT", KUBELET) is not None


@pytest.mark.parametrize(
    "rule", ["icmp type echo-request accept", "udp sport 67 udp dport 68 accept", "ip6 nexthdr ipv6-icmp accept"]
)
def test_what_is_about_other_packets_leaves_no_doubt(rule: str) -> None:
    assert table(rule, policy="drop").judge("INPUT", KUBELET) is not None


def test_a_rule_can_be_deleted_by_its_handle() -> None:
    found = table("ct state established accept", "counter packets 4 bytes 9 drop")
    judged = found.judge("INPUT", KUBELET)
    assert judged is not None
    assert (judged.rule, found.handles[judged.rule]) == ("counter drop", "in handle 4")


def test_the_hooks_that_a_packet_passes() -> None:
    assert table("udp dport 53 drop", hook="forward").judge("FORWARD", POD) is not None
    assert table("udp dport 53 drop", hook="prerouting").judge("FORWARD", POD) is not None
    assert table("udp dport 53 drop", hook="input").judge("FORWARD", POD) is None
    assert table('oifname "cni0" drop', hook="prerouting").judge("FORWARD", POD) is None
    assert table("tcp dport 10250 drop", hook="output").judge("INPUT", KUBELET) is None


#: firewalld 1.2, cut.
FIREWALLD = """table inet firewalld { # handle 2
	flags owner
	set zone_trusted { # handle 3
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.3 }
	}

	chain filter_INPUT { # handle 147
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept # handle 148
		ct status dnat accept # handle 149
		iifname "lo" accept # handle 150
		ct state invalid drop # handle 151
		jump filter_INPUT_ZONES # handle 154
		reject with icmpx admin-prohibited # handle 155
	}

	chain filter_INPUT_ZONES { # handle 17
		iifname "eth0" goto filter_IN_public # handle 175
		goto filter_IN_public # handle 176
	}

	chain filter_IN_public { # handle 158
		jump filter_IN_public_allow # handle 166
		meta l4proto { icmp, ipv6-icmp } accept # handle 170
		reject with icmpx admin-prohibited # handle 171
	}

	chain filter_IN_public_allow { # handle 161
		tcp dport 22 accept # handle 179
		ip6 daddr fe80::/64 udp dport 546 accept # handle 180
		tcp dport 6443 accept # handle 181
	}
}
"""


def test_firewalld_lets_through_what_it_was_told() -> None:
    (found,) = tables(FIREWALLD)
    judged = found.judge("INPUT", KUBELET)
    assert judged is not None
    assert judged.rule == "reject with icmpx admin-prohibited"
    assert found.judge("INPUT", Packet(source="10.0.0.1", port=6443, into="eth0", local=True)) is None


def test_only_tables_of_others_are_asked_for() -> None:
    text = (
        "table ip filter\ntable ip6 filter\ntable ip nat\ntable inet firewalld\ntable ip kube-proxy\n"
        "table inet $(reboot)\ntable netdev early\ntable ip calico\n"
    )
    asked = list(NftTables.follow("w1", (Answer("nft-tables", "", text),)))
    assert [str(c) for c in asked] == ["sudo nft -a list table inet firewalld"]
    assert NftTables.parse("w1", (Answer("nft-tables", "", text),)) == ()


def test_the_earlier_tables_of_iptables_are_asked_for_where_they_are_there() -> None:
    listed = Answer("nft-tables", "", "table ip raw\ntable ip6 mangle\ntable ip filter\n")
    assert [str(c) for c in NftTables.follow("w1", (listed,))] == ["sudo iptables-save -t raw"]
    rule = "-A PREROUTING -p tcp -m tcp --dport 10250 -j DROP"
    text = f"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    (table,) = NftTables.parse("w1", (listed, Answer("iptables-beside", "raw", text)))
    judged = table.judge("INPUT", KUBELET)
    assert judged is not None
    assert (table.name, table.iptables, judged.rule) == ("raw", True, rule)
    assert table.judge("OUTPUT", KUBELET) is None


@given(st.text(alphabet="{}; \n\tabcdefhijklnoprtuy0123456789=!@,\"'#-", max_size=400))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for found in tables("table inet x {\n\tchain c {\n\t\ttype filter hook input priority 0;\n" + text):
        found.judge("INPUT", KUBELET)
    tables(text)


def test_what_is_beyond_the_first_tables_is_known_as_not_read() -> None:
    listed = "\n".join(f"table inet other{number}" for number in range(8))
    answers = (Answer("nft-tables", "", listed),)
    asked = [command.name for command in NftTables.follow("w1", answers)]
    left = [t.name for t in NftTables.parse("w1", answers) if not t.read]
    assert (len(asked), left) == (6, ["other6", "other7"])
