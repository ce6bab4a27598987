"""What the machine says of itself: real output of Debian 12, RHEL and busybox, and output that is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import Clocks, Disks, KernelLogs, Kernels, Mounts, UnitTasks, holding
from kdiag.facts.hosts import Answer
from kdiag.facts.machine import EitherBuilder
from kdiag.model.observation import Observation

# df of coreutils 9.1; the lab's overlay keeps blocks for root.
DF = """\
Filesystem     Type    1024-blocks     Used Available Capacity Mounted on
overlay        overlay   264212084 17906456  77594808      19% /
/dev/vda       ext4      264212084 17906456  77594808      19% /var/lib/kubelet
df: /var/lib/docker: No such file or directory
/dev/sdb1      xfs         1000000  1000000        -5     100% /var/log with spaces
"""
INODES = """\
Filesystem       Inodes  IUsed    IFree IUse% Mounted on
overlay        16777216 461409 16315807    3% /
/dev/sdc              0      0        0     - /var/lib/kubelet
"""


def answers(*pairs: tuple[str, str]) -> tuple[Answer, ...]:
    return tuple(Answer(key.partition("/")[0], key.partition("/")[2], text) for key, text in pairs)


def test_df_counts_what_is_left_to_users() -> None:
    found = Disks.parse("w1", answers(("disks", DF), ("inodes", INODES)))
    assert set(found) == {"/", "/var/lib/kubelet", "/var/log with spaces"}
    assert round(found["/"].free, 3) == 0.294
    assert found["/var/log with spaces"].available == 0
    assert found["/"].inodes_free == 16315807
    assert found["/var/lib/kubelet"].free_inodes == 1.0


def test_a_path_lies_on_the_longest_mount() -> None:
    found = Disks.parse("w1", answers(("disks", DF), ("inodes", "")))
    kubelet, etcd = holding(found, "/var/lib/kubelet/pods"), holding(found, "/var/lib/etcd")
    assert kubelet is not None
    assert etcd is not None
    assert (kubelet.mount, etcd.mount) == ("/var/lib/kubelet", "/")
    assert holding(found, "/var/lib/kubelet-other") is found["/"]


def test_a_later_mount_covers_an_earlier_one() -> None:
    text = "overlay / overlay rw 0 0\n/dev/sda1 /var/lib ext4 rw,relatime 0 0\n/dev/sdb1 /var/lib ext4 ro 0 0\nx\n"
    mounts = Mounts.of({"w1": Mounts.parse("w1", answers(("mounts", text)))})
    kubelet = mounts.at("w1", "/var/lib/kubelet")
    assert kubelet is not None
    assert kubelet.read_only
    assert mounts.at("w9", "/") is None


def test_the_kernel_says_only_what_it_has() -> None:
    text = (
        "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/kernel/pid_max:4194304\n/proc/sys/kernel/threads-max:192730\n"
        "/proc/sys/net/netfilter/nf_conntrack_count:532\n/proc/sys/net/nf_conntrack_max:262144\n"
        "/proc/loadavg:2.25 5.91 8.10 4/845 11676\n/proc/uptime:5880.89 6129.87\n"
        "/proc/swaps:Filename\t\t\t\tType\t\tSize\n/proc/swaps:/dev/dm-1   partition\t8388604\t0\t-2\n"
        "/proc/meminfo:MemTotal:       24684084 kB\n"
    )
    kernel = Kernels.parse("w1", answers(("kernel", text)))
    assert kernel.number("net.ipv4.ip_forward") == 1
    assert kernel.number("net.bridge.bridge-nf-call-iptables") is None
    assert (kernel.threads, kernel.most_threads) == (845, 192730)
    assert kernel.conntrack == (532, 262144)
    assert kernel.swaps == ("/dev/dm-1",)
    assert kernel.memory["MemTotal"] == 24684084 * 1024
    assert kernel.uptime == 5880.89


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("1795343482.520212693\n", datetime(2026, 11, 22, 10, 31, 22, 520213, UTC)),
        ("1795343482.%N\n", datetime(2026, 11, 22, 10, 31, 22, 0, UTC)),  # busybox
    ],
)
def test_a_clock_is_read_with_and_without_parts_of_a_second(text: str, when: datetime) -> None:
    assert Clocks.parse("w1", answers(("clock", text))) == when


@pytest.mark.parametrize("text", ["", "date: invalid option", "99999999999999999999"])
def test_no_time_is_a_reason_and_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|year"):
        Clocks.parse("w1", answers(("clock", text)))


def test_the_kernel_log_comes_from_the_journal_or_from_dmesg() -> None:
    journal = "1795342528.281307 cp1 kernel: Out of memory: Killed process 1 (x)\n-- Boot 12 --\ncp1 kernel: cut\n"
    dmesg = (
        "[Sun Nov 22 10:31:02 2026] EXT4-fs error (device vda)\n[   12.5] no time of day\n"
        "[Sun Foo 99 10:31:02 2026] x\n"
    )
    first = KernelLogs.parse("w1", answers(("kernel-log/journal", journal), ("kernel-log/dmesg", dmesg)))
    assert [line.text for line in first] == ["Out of memory: Killed process 1 (x)"]
    second = KernelLogs.parse("w1", answers(("kernel-log/journal", ""), ("kernel-log/dmesg", dmesg)))
    assert [(line.when.hour, line.text) for line in second] == [(10, "EXT4-fs error (device vda)")]


def test_one_way_to_the_kernel_log_is_enough_and_none_is_a_gap() -> None:
    def made(*errors: str) -> KernelLogs:
        builder = KernelLogs.builder()
        assert isinstance(builder, EitherBuilder)
        for name, error in zip(("journal", "dmesg"), errors, strict=True):
            builder.feed(Observation("node", "kernel-log", "w1", name=name, error=error))
        fact = builder.finish()
        assert isinstance(fact, KernelLogs)
        return fact

    assert made("journalctl: command not found", "").gaps == ()
    assert made("journalctl: command not found", "").get("w1") == ()
    assert len(made("journalctl: command not found", "sudo is refused").gaps) == 2
    assert made("journalctl: command not found", "sudo is refused").get("w1") is None


def test_a_unit_without_a_limit_or_without_tasks_is_none() -> None:
    text = (
        "TasksCurrent=13\nTasksMax=307\nId=kubelet.service\n\nTasksCurrent=96\nTasksMax=infinity\nId=containerd.service\n\n"
        "TasksCurrent=[not set]\nTasksMax=4915\nId=crio.service\n\n"
        "TasksCurrent=18446744073709551615\nTasksMax=18446744073709551615\nId=docker.service\n"
    )
    assert [(t.unit, t.current, t.most) for t in UnitTasks.parse("w1", answers(("tasks", text)))] == [
        ("kubelet", 13, 307),
        ("containerd", 96, None),
    ]


@given(st.text(max_size=300))
def test_no_text_breaks_a_parser(text: str) -> None:
    for fact, keys in (
        (Disks, ("disks", "inodes")),
        (Mounts, ("mounts",)),
        (Kernels, ("kernel",)),
        (KernelLogs, ("kernel-log/journal", "kernel-log/dmesg")),
        (UnitTasks, ("tasks",)),
        (Clocks, ("clock",)),
    ):
        try:
            fact.parse("w1", answers(*((key, text) for key in keys)))
        except ValueError:
            continue
