"""The node's side of the network: real output of iproute2 6.1, busybox 1.36 and CNI files, and output that is none."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import HostResolvers, Interfaces, Listeners, NetworkSetups, Routes, route_to
from kdiag.facts.hostnet import _config
from kdiag.facts.hosts import Answer

SS = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess
LISTEN 0      4096    127.0.0.1:10248 0.0.0.0:* users:(("kubelet",pid=680,fd=15))
LISTEN 0      128          [::]:22       [::]:* users:(("sshd",pid=57,fd=4),("sshd",pid=58,fd=4))
LISTEN 0      4096            *:6443        *:* users:(("kube-apiserver",pid=543,fd=5))
LISTEN 0      4096  127.0.0.53%lo:53 0.0.0.0:*
"""
IP = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet6 ::1/128 scope host
2: eth0@if12: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    inet 10.89.0.11/24 brd 10.89.0.255 scope global eth0
    inet 10.89.0.99/32 scope global eth0:1
3: docker0: <NO-CARRIER,BROADCAST,MULTICAST> mtu 1500 qdisc noqueue
    inet 172.17.0.1/16 scope global docker0
"""
ROUTES = """\
default via 10.89.0.1 dev eth0 proto dhcp src 10.89.0.11 metric 100
10.244.0.0/24 dev cni0 proto kernel scope link src 10.244.0.1
10.244.1.0/24 via 10.89.0.12 dev eth0
blackhole 10.244.2.0/24 proto bird
unreachable default dev lo metric 4294967295
"""


def answers(*pairs: tuple[str, str]) -> tuple[Answer, ...]:
    return tuple(Answer(key.partition("/")[0], key.partition("/")[2], text) for key, text in pairs)


def test_listeners_have_an_address_a_port_and_a_process() -> None:
    odd = "LISTEN 0 1 0.0.0.0:² 0.0.0.0:*\n"
    found = Listeners.parse("cp1", answers(("listeners", SS + odd)))
    assert [(one.address, one.port, one.process) for one in found] == [
        ("127.0.0.1", 10248, "kubelet"),
        ("::", 22, "sshd"),
        ("*", 6443, "kube-apiserver"),
        ("127.0.0.53", 53, ""),
    ]


def test_interfaces_have_their_addresses() -> None:
    fact = Interfaces.of({"cp1": Interfaces.parse("cp1", answers(("interfaces", IP)))})
    assert [(i.name, i.mtu, i.up) for i in fact.by_node["cp1"]] == [
        ("lo", 65536, True),
        ("eth0", 1500, True),
        ("docker0", 1500, False),
    ]
    assert fact.has("cp1", "10.89.0.99")
    assert fact.has("cp1", "::1")
    assert not fact.has("cp1", "10.89.0.12")


def test_the_most_specific_route_is_taken() -> None:
    routes = Routes.parse("cp1", answers(("routes", ROUTES)))
    way = {a: route_to(routes, IPv4Address(a)) for a in ("10.244.1.9", "10.244.2.9", "8.8.8.8")}
    assert [(r.via, r.kind) if r else None for r in way.values()] == [
        ("10.89.0.12", ""),
        ("", "blackhole"),
        ("10.89.0.1", ""),
    ]


def test_flags_go_before_the_kubelets_file() -> None:
    told = HostResolvers.parse(
        "w1",
        answers(
            (
                "resolv",
                "/etc/resolv.conf:# a stub\n/etc/resolv.conf:nameserver 127.0.0.53\n/etc/resolv.conf:search .\n",
            ),
            (
                "kubelet-hints/config",
                "/var/lib/kubelet/config.yaml:21:resolvConf: /run/systemd/resolve/resolv.conf\n"
                "/var/lib/kubelet/config.yaml:22:failSwapOn: false # swap is meant\n",
            ),
            ("kubelet-hints/arguments", "/etc/default/kubelet:1:--resolv-conf=/etc/resolv.conf\n"),
        ),
    )
    assert (told.path, told.said_in, told.line) == ("/etc/resolv.conf", "/etc/default/kubelet", 1)
    assert told.servers == ("127.0.0.53",)
    assert told.fail_swap_on is False


def test_a_resolver_file_that_is_elsewhere_is_asked_for() -> None:
    hint = ("kubelet-hints/config", "/var/lib/kubelet/config.yaml:21:resolvConf: /etc/kubernetes/resolv.conf\n")
    assert [c.argv[-1] for c in HostResolvers.follow("w1", answers(hint))] == ["/etc/kubernetes/resolv.conf"]
    evil = ("kubelet-hints/config", "/var/lib/kubelet/config.yaml:21:resolvConf: /etc/../root/.ssh/id_rsa\n")
    assert list(HostResolvers.follow("w1", answers(evil))) == []


def test_the_files_of_a_network_plugin_count_by_name() -> None:
    names = ("20-b.conflist", "10-a.conf", "calico-kubeconfig", "x.bak")
    listed = "".join(f"/etc/cni/net.d/{name}\n" for name in names)
    asked = [c.name for c in NetworkSetups.follow("w1", answers(("cni-files", listed)))]
    assert asked == ["/etc/cni/net.d/10-a.conf", "/etc/cni/net.d/20-b.conflist"]
    setup = NetworkSetups.parse(
        "w1",
        answers(
            ("cni-files", listed),
            ("cni-config//etc/cni/net.d/10-a.conf", '{"name":"a","type":"ptp","ipam":{"type":"host-local"}}'),
            ("cni-programs", "/opt/cni/bin/ptp\nfind: '/usr/lib/cni/': No such file or directory\n"),
            ("cni-programs-all", "/opt/cni/bin/ptp\n/opt/cni/bin/host-local\n"),
            ("cni-folders", '    bin_dir = "/opt/cni/bin"\n    conf_dir = "/etc/cni/net.d"\n'),
        ),
    )
    assert setup.first is not None
    assert setup.first.plugins == ("ptp", "host-local")
    assert setup.others == ("calico-kubeconfig", "x.bak")
    assert setup.programs == {"ptp": "/opt/cni/bin/ptp"}
    assert setup.silent == ("/opt/cni/bin/host-local",)


def test_a_folder_that_the_runtime_was_told_of_is_looked_into() -> None:
    told = (
        "cni-folders",
        'conf_dir = "/var/lib/rancher/k3s/agent/etc/cni/net.d"\nbin_dirs = ["/a/b", "/opt/cni/bin"]\n',
    )
    followed = {c.key: c.argv for c in NetworkSetups.follow("w1", answers(told))}
    assert "/var/lib/rancher/k3s/agent/etc/cni/net.d/" in followed["cni-other-files"]
    assert "/a/b/" in followed["cni-other-programs"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.conflist", "", "it is empty"),
        ("a.conflist", "[]", "it is no JSON object"),
        ("a.conflist", '{"name":"x","plugins":[]}', "it lists no plugins"),
        ("a.conflist", '{"plugins":[{"type":"bridge"}]}', "it has no name"),
        ("a.conflist", '{"name":"x","plugins":[{"ipam":{}}]}', "one of its plugins has no type"),
        ("a.conf", '{"name":"x","plugins":[{"type":"bridge"}]}', "it has no type; a file with a list of plugins must"),
        ("a.conflist", '{"name":"x",\n"plugins":[{"type":"bridge"},]}', "it is no JSON"),
        ("a.conflist", "[" * 100_000, "it is nested too deeply"),
        ("a.conflist", '{"name":"cbr0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}}]}', ""),
    ],
)
def test_what_a_runtime_cannot_use_has_a_reason(name: str, text: str, fault: str) -> None:
    assert _config(f"/etc/cni/net.d/{name}", text).fault.startswith(fault)
    assert bool(_config(f"/etc/cni/net.d/{name}", text).fault) is bool(fault)


@given(st.text(max_size=300))
def test_no_text_breaks_a_parser(text: str) -> None:
    for fact, keys in (
        (Listeners, ("listeners",)),
        (Interfaces, ("interfaces",)),
        (Routes, ("routes",)),
        (HostResolvers, ("resolv", "kubelet-hints/config", "kubelet-hints/arguments")),
        (NetworkSetups, ("cni-files", "cni-config//etc/cni/net.d/a.conf", "cni-programs", "cni-folders")),
    ):
        given_ = answers(*((key, text) for key in keys))
        list(fact.follow("w1", given_))
        try:
            fact.parse("w1", given_)
        except ValueError:
            continue
