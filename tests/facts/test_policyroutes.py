"""Routing rules as iproute2 6.1 and busybox print them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts.hosts import Answer
from kdiag.facts.policyroutes import Policy, PolicyRoutes

USUAL = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
MAIN = "default via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0 scope link\n10.244.2.0/24 via 10.0.0.12 dev eth0\n"
NODE, OTHER = IPv4Address("10.0.0.11"), IPv4Address("10.0.0.12")


def policy(rules: str, tables: str = MAIN) -> Policy:
    return PolicyRoutes.parse("w1", (Answer("route-rules", "", rules + USUAL), Answer("route-tables", "", tables)))


def test_asks_for_the_tables_only_where_somebody_made_rules() -> None:
    assert not list(PolicyRoutes.follow("w1", (Answer("route-rules", "", USUAL),)))
    (command,) = PolicyRoutes.follow(
        "w1", (Answer("route-rules", "", "90:\tfrom all to 10.0.0.12 prohibit\n" + USUAL),)
    )
    assert command.argv == ("ip", "-4", "route", "show", "table", "all")


@pytest.mark.parametrize(
    ("rules", "tables", "rejected", "preference"),
    [
        ("90:\tfrom all to 10.0.0.12 prohibit\n", "", "prohibit", 90),
        ("90:\tfrom all to 10.0.0.13 prohibit\n", "", "", 32766),
        ("90:\tfrom all lookup 77\n", "unreachable default table 77\n", "unreachable", 90),
        ("90:\tfrom all lookup 77\n", "throw default table 77\n", "", 32766),
        ("90:\tfrom all lookup 77\n", "", "", 32766),  # an empty table: the next rule decides
        ("90:\tfrom 10.244.1.0/24 unreachable\n", "", "", 32766),
        ("90:\tfrom all fwmark 0x1 blackhole\n", "", "", 32766),
        ("90:\tfrom all iif cni0 blackhole\n", "", "", 32766),
        ("90:\tnot from all fwmark 0xca6c lookup 51820\n", "blackhole default table 51820\n", "", 32766),
        ("90:\tfrom all lookup main suppress_prefixlength 0\n100:\tfrom all blackhole\n", "", "", 90),
    ],
)
def test_follows_a_packet_through_the_rules(rules: str, tables: str, rejected: str, preference: int) -> None:
    way = policy(rules, MAIN + tables).way(NODE, OTHER)
    assert way is not None
    assert (way.rejected, way.rule.preference) == (rejected, preference)


def test_knows_nothing_where_a_rule_leads_on_or_the_tables_were_not_read() -> None:
    assert policy("90:\tfrom all goto 200\n").way(NODE, OTHER) is None
    assert policy("90:\tfrom all lookup 77\n", "").way(NODE, OTHER) is None


@given(st.text(alphabet="0123456789:. \tfromaltkupih/xyz-\n", max_size=200))
def test_survives_whatever_is_printed(text: str) -> None:
    policy(text + "\n", text).way(NODE, OTHER)
