"""Units as ``systemctl cat`` of systemd 252 shows them, and the line for which one fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts import RuntimeUnits, Unit, unit_fault
from kdiag.facts.hosts import Answer
from kdiag.facts.unitfaults import UnitText
from kdiag.facts.units import Before

CONTAINERD = """# /lib/systemd/system/containerd.service
[Unit]
After=network.target

[Service]
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/bin/containerd
Type=notify
LimitNOFILE=infinity

# /etc/systemd/system/containerd.service.d/10-a.conf
No files found for crio.service.
[Service]
ExecStart=
ExecStart=/usr/local/bin/containerd \\
  --config /etc/containerd/config.toml
# /lib/systemd/system/docker.service
[Service]
ExecStart=/usr/bin/dockerd
"""


def fault(lines: str, unit: Unit, said: str = "") -> str:
    found = unit_fault(UnitText.read(f"# /etc/x.conf\n[Service]\n{lines}\n"), unit, said)
    return f"{found.line.line} {found.line.text}: {found.what}" if found else ""


def test_units_are_told_apart_and_an_empty_value_takes_back() -> None:
    units = RuntimeUnits.parse("w1", (Answer("runtime-unit", "", CONTAINERD),))
    assert sorted(units) == ["containerd", "docker"]
    start = units["containerd"].last("ExecStart")
    assert start is not None
    assert (start.path, start.line) == ("/etc/systemd/system/containerd.service.d/10-a.conf", 3)
    assert start.value == "/usr/local/bin/containerd  --config /etc/containerd/config.toml"
    assert [line.value for line in units["containerd"].of("Type", "LimitNOFILE")] == ["notify", "infinity"]


@pytest.mark.parametrize(
    ("lines", "unit", "said", "expected"),
    [
        (
            "ExecStartPre=-/bin/false\nExecStartPre=/bin/test  -f /a",
            Unit(name="kubelet", result="exit-code", before=(Before("/bin/false"), Before("/bin/test -f /a", 1))),
            "",
            "3 ExecStartPre=/bin/test  -f /a: it ends with status 1",
        ),
        (
            "EnvironmentFile=-/a\nEnvironmentFile=/b",
            Unit(name="containerd", result="resources"),
            "",
            "3 EnvironmentFile=/b: it cannot be read",
        ),
        (
            "User=kube",
            Unit(name="kubelet", result="exit-code", exit_status=217),
            "Failed to determine user credentials: No such process",
            "2 User=kube: systemd cannot do that (status 217): no such process",
        ),
        (
            "User=kube",
            Unit(name="containerd", result="exit-code", exit_status=1),
            "permission denied",
            "2 User=kube: it must run as root",
        ),
        (
            "WatchdogSec=5\nMemoryMax=1G",
            Unit(name="kubelet", result="watchdog", exit_status=6),
            "",
            "2 WatchdogSec=5: systemd kills it, for it does not report in that time",
        ),
        (
            "ExecStart=\nExecStart=/bin/false",
            Unit(name="kubelet", result="exit-code", exit_status=1, drop_ins=("/etc/x.conf",)),
            "",
            "3 ExecStart=/bin/false: it starts another program than kubelet",
        ),
        (
            "ExecStart=\nExecStart=/bin/false",
            Unit(name="kubelet", result="exit-code", exit_status=1, drop_ins=("/etc/x.conf",)),
            "failed to load config",
            "",
        ),
        (
            "ExecStart=/bin/sh -c 'exec /usr/bin/kubelet'",
            Unit(name="kubelet", result="exit-code", exit_status=1, drop_ins=("/etc/x.conf",)),
            "",
            "",
        ),
        (
            "MemoryMax=20M",
            Unit(name="kubelet", result="oom-kill", exit_status=9),
            "",
            "2 MemoryMax=20M: it is killed for want of memory",
        ),
        (
            "Type=forking",
            Unit(name="kubelet", result="timeout"),
            "",
            "2 Type=forking: systemd waits in vain for it to be ready",
        ),
        (
            "LimitNOFILE=20",
            Unit(name="containerd", result="exit-code", exit_status=1),
            "open /run/x: too many open files",
            "2 LimitNOFILE=20: it may not open its files",
        ),
    ],
)
def test_the_line_for_which_a_unit_fails(lines: str, unit: Unit, said: str, expected: str) -> None:
    assert fault(lines, unit, said) == expected


@pytest.mark.parametrize(
    ("lines", "unit", "said"),
    [
        ("Type=notify", Unit(name="containerd", result="timeout"), ""),
        ("MemoryMax=2G\nUser=root", Unit(name="kubelet", result="exit-code", exit_status=1), "unknown flag: --x"),
        ("ProtectHome=yes", Unit(name="kubelet", result="exit-code", exit_status=1), "no route to host"),
        ("ExecStartPre=-/bin/false", Unit(name="kubelet", result="exit-code", before=(Before("/bin/false"),)), ""),
        ("WorkingDirectory=/a", Unit(name="kubelet", result="exit-code", exit_status=217), ""),
        ("", Unit(name="kubelet", result="exit-code", exit_status=200), ""),
    ],
)
def test_what_is_not_to_blame(lines: str, unit: Unit, said: str) -> None:
    assert fault(lines, unit, said) == ""


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    UnitText.read(text)
    RuntimeUnits.parse("w1", (Answer("runtime-unit", "", f"# /a/containerd.service\n{text}"),))
