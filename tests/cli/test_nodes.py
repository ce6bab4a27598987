"""The nodes beside the API server and in its place: whole runs over a fake API, a real sshd and a real shell."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdiag.cli.node import named
from kdiag.errors import UsageError
from tests.cli.runner import environment, healthy_api, kdiag
from tests.fakeapi import Exchange, FakeAPI, Fault
from tests.fakenode import FakeNode, replayed, ssh_config
from tests.recording import FIXTURES, facts_of, load, observations
from tests.sshd import USER, Place, needs_sshd, wait_for

pytestmark = needs_sshd
BROKEN = load(FIXTURES / "control_plane" / "manifest_unparsable" / "broken.yaml")
CAUSE = "control_plane/manifest_unparsable"
UNITS = """Id=kubelet.service
LoadState=loaded
ActiveState=inactive
SubState=dead
"""


class Site:
    """A user's home, nodes behind sshds, and how to reach them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.home = place.home
        self.ports: dict[str, int] = {}

    def node(self, name: str = "cp1", **options: Any) -> FakeNode:
        """A node that answers as the broken one of the fixture."""
        node = replayed(self.home / name, BROKEN, "cp1", **options)
        self.ports[name] = node.serve(self.place)
        return node

    @property
    def env(self) -> dict[str, str]:
        return {"KDIAG_SSH_CONFIG": str(ssh_config(self.place, self.ports))}

    def run(self, *words: str | Path, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        return kdiag(*words, home=self.home, env={**self.env, **env}, timeout=timeout)

    def dead(self) -> Path:
        """A kubeconfig of a server that is no longer there."""
        with FakeAPI() as api:
            return api.kubeconfig(self.home / "dead")


@pytest.fixture
def site(place: Place) -> Site:
    return Site(place)


def causes(text: str) -> list[tuple[str, str]]:
    return [(c["check"], c["message"]) for c in json.loads(text)["causes"]]


def unknown(text: str) -> dict[str, str]:
    return {u["check"]: u["reason"] for u in json.loads(text)["coverage"]["unknown"]}


# In the place of the API server


def test_a_dead_api_server_is_answered_by_the_nodes(site: Site) -> None:
    site.node()
    config = site.home / "own.yaml"
    config.write_text("nodes: [cp1]\n")
    done = site.run("check", "--kubeconfig", site.dead(), KDIAG_CONFIG=str(config))
    assert (done.returncode, done.stderr) == (1, "")
    note = " ".join(done.stdout.partition("note: ")[2].partition("\n\n")[0].split())
    assert f"reading cp1 instead (names from {config})" in note
    assert "metadata;" in done.stdout
    assert "cp1$ " in done.stdout


def test_the_servers_own_host_is_the_last_resort(site: Site) -> None:
    site.node()
    done = site.run("check", "-o", "json", "--kubeconfig", site.dead())
    assert done.returncode == 1
    found = causes(done.stdout)
    assert CAUSE in [check for check, _ in found]
    assert "names from the server's own host" in json.loads(done.stdout)["notes"][0]
    assert "reading cp1 instead" in json.loads(done.stdout)["notes"][0]


def test_the_nodes_seen_last_are_asked_when_the_api_server_is_gone(site: Site) -> None:
    for name in ("cp1", "w1", "w2"):
        site.node(name)
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        assert site.run("check", "--no-nodes", "--kubeconfig", config).returncode == 0
        assert "remember" not in site.run("check", "-q", "--kubeconfig", config).stderr
    done = site.run("check", "-o", "json", "--kubeconfig", config)
    assert done.returncode == 1
    (note,) = json.loads(done.stdout)["notes"]
    assert note.endswith("reading cp1, w1, w2 instead (names from the nodes seen last)")
    # Kept where only this user reads it.
    kept = site.home / ".local" / "state" / "kdiag" / "inventory.json"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_without_a_way_to_any_node_a_dead_server_is_3(site: Site) -> None:
    done = kdiag("check", "--kubeconfig", site.dead(), home=site.home)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1


def test_no_nodes_leaves_them_alone(site: Site) -> None:
    node = site.node()
    assert site.run("check", "--no-nodes", "--kubeconfig", site.dead()).returncode == 3
    with healthy_api() as api:
        done = site.run("check", "--no-nodes", "--kubeconfig", api.kubeconfig(site.home / "c"))
    assert done.returncode == 0
    assert node.asked == []


def test_a_refused_login_is_no_dead_api_server(site: Site) -> None:
    site.node()
    with FakeAPI(users={"right": "alice"}, tls=True) as api:
        config = api.kubeconfig(site.home / "c", token="wrong")
        done = site.run("check", "-o", "json", "--kubeconfig", config)
    found = [check for check, _ in causes(done.stdout)]
    assert CAUSE in found
    assert "control_plane/api_server_unreachable" not in found
    assert "401" in json.loads(done.stdout)["notes"][0]


# Beside it


def test_the_api_and_the_nodes_are_one_verdict(site: Site) -> None:
    site.node()
    with healthy_api() as api:
        done = site.run("check", "-o", "json", "--kubeconfig", api.kubeconfig(site.home / "c"))
    found = dict(causes(done.stdout))
    assert "cp1" in found[CAUSE]
    assert done.returncode in (0, 1)
    # w1 and w2 have no entry: that is said of them, and of cp1 it is not.
    reasons = unknown(done.stdout)
    told = reasons["worker_node/kubelet_disabled"] if "worker_node/kubelet_disabled" in reasons else str(reasons)
    assert "w1: no way to it: no SSH entry by its name or address" in told
    assert "w2: no way to it" in told
    assert "cp1: no way" not in told


def test_where_nothing_is_configured_node_checks_do_not_apply(site: Site) -> None:
    with healthy_api() as api:
        done = kdiag("check", "-o", "json", "--kubeconfig", api.kubeconfig(site.home / "c"), home=site.home)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["complete"]
    assert report["notes"] == []
    assert "no node was asked" in {s["check"]: s["reason"] for s in report["coverage"]["skipped"]}[CAUSE]


def test_known_nodes_do_not_wait_for_the_api_server(site: Site) -> None:
    node = site.node()
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        site.run("check", "-q", "--kubeconfig", config)
        before = len(node.asked)
        begun: list[bool] = []

        def wait(exchange: Exchange) -> None:
            with contextlib.suppress(AssertionError):
                wait_for(lambda: len(node.asked) > before)
            begun.append(len(node.asked) > before)
            exchange.send(exchange.healthy())

        api.fault("/version", Fault(wait), first=1)
        done = site.run("check", "-o", "json", "--kubeconfig", config)
    assert begun == [True]
    assert CAUSE in dict(causes(done.stdout))
    # Each node was read once, although it was known from two sides.
    assert sum(line.startswith("ss ") for line in node.asked[before:]) == 1


def test_a_node_that_was_replaced_is_read_anew(site: Site) -> None:
    node = site.node()
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        site.run("check", "-q", "--kubeconfig", config)
        kept = site.home / ".local" / "state" / "kdiag" / "inventory.json"
        document = json.loads(kept.read_text())
        (server,) = document
        # One that is gone, and one whose address is another's now.
        document[server]["nodes"] = [
            {"name": "gone", "addresses": ["10.9.9.9"]},
            {"name": "cp1", "addresses": ["10.9.9.8"]},
        ]
        kept.write_text(json.dumps(document))
        before = len(node.asked)
        done = site.run("check", "-o", "json", "--kubeconfig", config)
    assert CAUSE in dict(causes(done.stdout))
    assert not any("gone" in reason for reason in unknown(done.stdout).values())
    assert sum(line.startswith("ss ") for line in node.asked[before:]) == 2


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield int(listener.getsockname()[1])


def test_a_node_that_hangs_costs_its_own_checks(site: Site, silent: int) -> None:
    site.node()
    site.ports["w1"] = silent
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        start = time.monotonic()
        done = site.run("check", "-o", "json", "--timeout", "8s", "--kubeconfig", config)
    assert time.monotonic() - start < 25
    assert CAUSE in dict(causes(done.stdout))
    assert any("w1: " in reason and "says nothing within" in reason for reason in unknown(done.stdout).values())


def test_a_user_without_sudo_is_told_so_once_and_no_verdict_is_wrong(site: Site) -> None:
    site.node(sudo="no", user="guest")
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        done = site.run("check", "--kubeconfig", config)
        wide = site.run("check", "-o", "json", "--kubeconfig", config)
    assert causes(wide.stdout) == []
    assert done.returncode == 0
    assert "nothing is wrong" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if "sudo is refused for user guest" in line]
    assert len(lines) == 1
    assert "a password is required" in lines[0]
    assert len(lines[0]) <= 120


def test_an_ssh_configuration_that_makes_no_sense_ends_the_run_only_when_it_was_named(site: Site) -> None:
    (site.home / ".ssh").mkdir()
    bad = site.home / ".ssh" / "config"
    bad.write_text("Host cp1\n  Port many\n  IdentitiesOnly perhaps\n")
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        done = kdiag("check", "--kubeconfig", config, home=site.home)
        named = kdiag("check", "--kubeconfig", config, "--ssh-config", bad, home=site.home)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"note: the nodes are not read: {bad}:2: " in " ".join(done.stdout.split())
    assert (named.returncode, named.stdout) == (2, "")
    assert named.stderr.startswith(f"kdiag: {bad}:2: ")


# Recordings


def test_a_recording_of_the_nodes_alone_gives_the_same_verdict(site: Site) -> None:
    site.node()
    config = site.dead()
    live = site.run("check", "-o", "json", "--kubeconfig", config)
    recorded = site.run("record", site.home / "night", "--kubeconfig", config)
    assert recorded.returncode == 0
    replay = kdiag("check", "-o", "json", "--snapshot", site.home / "night", home=site.home)
    assert causes(replay.stdout) == causes(live.stdout)
    assert replay.returncode == live.returncode == 1


SECRETS = {
    "key": "MIIEowIBAAKCAQEAcanaryPRIVATEkeyCanaryCanaryCanaryCanary",
    "token": "eyJhbGciOiJSUzI1NiJ9.eyJjYW5hcnkiOiJjYW5hcnkifQ.c2lnbmF0dXJlY2FuYXJ5Y2FuYXJ5",
    "password": "hunter2-canary-hunter2",
    "bootstrap": "abcdef.0123456789abcdef",
}


def test_no_credential_of_a_node_reaches_the_output_or_a_recording(site: Site) -> None:
    from kdiag.engine.intake import sources
    from kdiag.facts.base import NodeCommand
    from tests.recording import all_facts

    node = site.node()
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{SECRETS['key']}\n-----END RSA PRIVATE KEY-----\n"
    words = (
        f"{pem}Authorization: Bearer {SECRETS['token']}\ntoken: {SECRETS['token']}\n--token={SECRETS['bootstrap']}\n"
        f"password: {SECRETS['password']}\nDB_PASSWORD={SECRETS['password']}\n"
    )
    entry = json.dumps(
        {
            "MESSAGE": f"E1122 failed: token={SECRETS['token']} password={SECRETS['password']} {pem}",
            "PRIORITY": "3",
            "_PID": "7",
            "SYSLOG_IDENTIFIER": "kubelet",
            "__REALTIME_TIMESTAMP": "1795343638000000",
        }
    )
    for command in (s for s in sources(all_facts()) if isinstance(s, NodeCommand)):
        if command.key.startswith("journal-"):
            node.answer(command.argv, f"{entry}\n".encode())
        elif command.argv[0] in ("cat", "grep", "crictl", "openssl", "tail"):
            node.answer(command.argv, words.encode())
    config = site.dead()
    recorded = site.run("record", site.home / "night", "--kubeconfig", config)
    assert recorded.returncode == 0, recorded.stderr
    texts = [path.read_text(errors="replace") for path in (site.home / "night").rglob("*") if path.is_file()]
    shown = [site.run("check", "-o", form, "--kubeconfig", config).stdout for form in ("wide", "json")] + [
        site.run("node", "cp1", "-o", form, "--kubeconfig", config).stdout for form in ("wide", "json")
    ]
    for name, secret in SECRETS.items():
        assert not [t for t in texts if secret in t], f"{name} is in the recording"
        leaks = [line for t in shown for line in t.splitlines() if secret in line]
        assert not leaks, f"{name} is in the output"


# Without SSH


_LOCAL = """
import socket, sys
import kdiag.collect.shell as shell
shell.ENVIRONMENT = ("LC_ALL=C", "TZ=UTC", "PATH={path}", "HOME=/")
socket.gethostname = lambda: "cp1"
socket.getaddrinfo_of_ours, getaddrinfo = socket.getaddrinfo, socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: [] if host == "cp1" else getaddrinfo(host, *a, **k)
from kdiag.cli import main
main.run({words!r})
"""


def local(site: Site, node: FakeNode, *words: str) -> subprocess.CompletedProcess[str]:
    script = _LOCAL.format(path=node.path, words=[*words, "--local"])
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment(site.home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_this_very_machine_is_read_without_ssh(site: Site) -> None:
    node = replayed(site.home / "here", BROKEN, "cp1", uid=0)
    done = local(site, node, "check", "-o", "json", "--kubeconfig", str(site.dead()))
    assert CAUSE in dict(causes(done.stdout))
    with healthy_api() as api:
        done = local(site, node, "check", "-o", "json", "--kubeconfig", str(api.kubeconfig(site.home / "c")))
    assert CAUSE in dict(causes(done.stdout))


def test_a_worker_without_a_kubeconfig_is_read_all_the_same(site: Site) -> None:
    node = replayed(site.home / "here", BROKEN, "cp1", uid=0)
    done = local(site, node, "check", "-o", "json")
    assert done.returncode == 1, done.stderr
    found = [check for check, _ in causes(done.stdout)]
    assert CAUSE in found
    assert "control_plane/api_server_unreachable" not in found


def test_answers_of_the_fake_are_those_of_the_node(site: Site) -> None:
    """The fake itself: what it was not taught does not exist, and what it was taught is asked through sudo."""
    node = FakeNode(site.home / "n")
    node.answer(("uname", "-r"), b"6.1\n", 0)
    env = {"PATH": node.path}
    ran = subprocess.run(["sudo", "-n", "--", "uname", "-r"], env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "6.1\n")
    assert subprocess.run(["uname", "-a"], env=env, check=False).returncode == 127


# kdiag node


def test_one_node_on_one_screen(site: Site) -> None:
    node = site.node()
    node.answer(("df", "-PTk"), b"")
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        done = site.run("node", "node/cp1", "--kubeconfig", config)
        data = json.loads(site.run("node", "CP1", "-o", "json", "--kubeconfig", config).stdout)
        # Where the causes sit on another node, this one has none.
        other = site.run("node", "w1", "--kubeconfig", config)
        missing = site.run("node", "cp7", "--kubeconfig", config)
    assert done.stdout.startswith("cp1 · Ready · control plane · v1.36.3")
    assert "metadata;" in done.stdout
    assert data["schema"] == "kdiag/node/v1"
    assert data["read"]
    assert CAUSE in [c["check"] for c in data["causes"]]
    assert [r["state"] for r in data["rows"] if r["label"] == "conditions"] == ["ok"]
    assert {"what", "reason"} == set(data["unseen"][0])
    assert other.returncode == 3  # an SSH configuration is named, and w1 is not in it
    assert "no way to it" in other.stdout
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "did you mean 'cp1'?" in missing.stderr


def test_a_node_without_the_api_server_and_without_any_access(site: Site) -> None:
    site.node()
    done = site.run("node", "cp1", "--kubeconfig", site.dead())
    assert done.returncode == 1
    assert "metadata;" in done.stdout
    assert "API          ? " in done.stdout
    with healthy_api() as api:
        alone = kdiag("node", "w1", "--kubeconfig", api.kubeconfig(site.home / "c"), home=site.home)
    assert alone.returncode == 0
    assert "– it was not asked: no way to it is known" in alone.stdout


def test_a_machine_that_is_no_node_is_told_so() -> None:
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("cp1", "w1")]
    facts = facts_of(observations({"taken": "2026-11-22T09:30:00Z", "nodes": nodes}))
    with pytest.raises(UsageError, match=r"^this machine is none of the cluster's nodes: there are cp1, w1$"):
        named(facts, "")


def test_the_sudoers_file_is_printed_for_a_user(site: Site) -> None:
    done = kdiag("node", "--sudoers", "ops", home=site.home)
    assert done.returncode == 0
    assert "\nops ALL=(root) NOPASSWD: KDIAG, KDIAG_NAMED\n" in done.stdout
    assert kdiag("node", "--sudoers", "a b", home=site.home).returncode == 2
    assert kdiag("node", home=site.home).returncode == 2


# kdiag doctor


def test_the_doctor_says_how_each_node_is_reached(site: Site, silent: int) -> None:
    site.node("cp1")
    site.node("w1", user="guest", sudo="no")
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        done = site.run("doctor", "--kubeconfig", config)
        data = json.loads(site.run("doctor", "-o", "json", "--kubeconfig", config).stdout)
        (site.home / "known_hosts").write_text("")
        strange = site.run("doctor", "--kubeconfig", config)
        plain = kdiag("doctor", "--kubeconfig", config, home=site.home)
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    (first,) = (line for line in lines if "node cp1" in line)
    assert first.startswith("✓")
    how = "as root" if USER == "root" else "sudo yes"
    assert f"{USER}@127.0.0.1:{site.ports['cp1']}, {how}" in " ".join(first.split())
    text = " ".join(done.stdout.split())
    assert "sudo is refused for user guest" in text
    assert "commands need it" in text
    assert "kdiag node --sudoers" in text
    assert any(line.startswith("– node w2") for line in lines)
    assert {s["title"]: s["state"] for s in data["steps"]}["node w2"] == "absent"
    assert "✗ node cp1" in strange.stdout
    assert "ssh-keyscan" in strange.stdout
    assert plain.returncode == 0
    assert "– nodes" in plain.stdout
