"""A real sshd on 127.0.0.1 with keys made for the test, and peers that are no sshd at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from kdiag.collect.deadline import Deadline
from kdiag.collect.shell import CutShort, LocalShell, late
from kdiag.collect.ssh import SshShell
from kdiag.collect.ssh_config import load
from kdiag.collect.ssh_keys import Access
from kdiag.errors import AccessDenied, BadAnswer, CollectError, ConfigError, KdiagError, Unreachable, Untrusted
from tests.sshd import LONG, USER, Place, free_port, keygen, needs_sshd, wait_for


def ready(place: Place, *options: str, accepts: tuple[str, ...] = ("ed25519",)) -> int:
    """A server that is known, and a configuration that leads to it."""
    port = place.serve(*options, accepts=accepts)
    place.known(port)
    place.node(port)
    return port


# Logging in


@needs_sshd
@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "ecdsa384", "rsa", "ecdsa_pem", "rsa_pem", "rsa_pkcs8"], ids=str)
def test_logs_in_with_a_key_of_each_kind_and_format(place: Place, name: str) -> None:
    port = place.serve(accepts=(name,))
    place.known(port)
    place.node(port, key=name)
    assert place.run() == b"fine\n"


@needs_sshd
def test_the_script_gets_its_argument_and_nothing_of_our_environment(place: Place) -> None:
    ready(place)
    printed = place.run(b'echo "$1"; env; cd /; test -t 0 || echo no terminal; cat </dev/null')
    assert printed.startswith(b"argument\n")
    assert b"no terminal\n" in printed
    names = set(re.findall(rb"^([A-Z_]+)=", printed, re.MULTILINE))
    assert names <= {b"LC_ALL", b"TZ", b"PATH", b"HOME", b"PWD", b"OLDPWD", b"SHLVL", b"_"}


@needs_sshd
def test_one_connection_serves_several_scripts(place: Place) -> None:
    ready(place)
    shell = place.shell()
    parents = {
        shell.run(b"echo $PPID", argument="x", deadline=Deadline(LONG), limit=100).stdout.strip() for _ in range(3)
    }
    session = shell.run(b"cat /proc/$PPID/stat", argument="x", deadline=Deadline(LONG), limit=1000)
    shell.close()
    assert session.status == 0
    assert len(parents) == 1


@needs_sshd
def test_the_exit_code_of_the_script_is_kept(place: Place) -> None:
    ready(place)
    shell = place.shell()
    assert shell.run(b"exit 3", argument="x", deadline=Deadline(LONG), limit=10).status == 3
    shell.close()


@needs_sshd
def test_a_refused_key_is_told_with_what_was_tried_and_what_the_server_takes(place: Place) -> None:
    port = place.serve(accepts=("other",))
    place.known(port)
    place.node(port)
    said = place.fails(AccessDenied, f"{USER}@127.0.0.1:{port}: login refused", "tried ed25519 key", "publickey")
    assert str(place.home / "ed25519") in said


@needs_sshd
def test_the_second_key_is_tried_when_the_first_is_refused(place: Place) -> None:
    port = place.serve(accepts=("rsa",))
    place.known(port)
    place.node(port, f"IdentityFile {place.key('other')}", f"IdentityFile {place.key('rsa')}")
    assert place.run() == b"fine\n"


@needs_sshd
def test_too_many_keys_are_what_the_server_says(place: Place) -> None:
    port = place.serve("MaxAuthTries 2", accepts=("ed25519",))
    place.known(port)
    place.node(port, *(f"IdentityFile {place.key(name)}" for name in ("other", "third", "ecdsa", "ed25519")))
    place.fails(AccessDenied, "Too many authentication failures", "tried ed25519 key")


@needs_sshd
@pytest.mark.parametrize("name", ["locked", "locked_pem"])
def test_a_key_with_a_passphrase_needs_someone_to_ask(place: Place, name: str) -> None:
    port = place.serve(accepts=(name,))
    place.known(port)
    place.node(port, key=name)
    place.fails(AccessDenied, f"key {place.home}/{name} is not usable: it needs its passphrase; try: ssh-add")
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "open sesame"

    assert place.run(ask=ask) == b"fine\n"
    assert asked == [f"Passphrase for {place.home}/{name}: "]
    with pytest.raises(AccessDenied, match="the passphrase is wrong"):
        place.run(ask=lambda _: "open wheat")


@needs_sshd
def test_a_passphrase_is_asked_once_for_all_nodes_and_before_the_clock_runs(place: Place) -> None:
    port = place.serve(accepts=("locked",))
    place.known(port)
    place.node(port, key="locked")
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "open sesame"

    environ = {"HOME": str(place.home)}
    config = load(place.home / "config", environ)
    access = Access(environ, ask)
    access.unlock([config.lookup("node")])
    assert len(asked) == 1
    for _ in range(2):
        shell = SshShell(config.route(config.lookup("node")), access)
        assert shell.run(b"echo fine", argument="x", deadline=Deadline(LONG), limit=100).stdout == b"fine\n"
        shell.close()
    assert len(asked) == 1


@needs_sshd
@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_a_key_in_the_agent_is_enough(place: Place, name: str) -> None:
    port = place.serve(accepts=(name,))
    place.known(port)
    place.environ["SSH_AUTH_SOCK"] = place.agent(name)
    place.node(port, f"IdentityFile {place.home}/none")
    assert place.run() == b"fine\n"


@needs_sshd
def test_identity_agent_is_asked_instead_of_the_usual_one(place: Place) -> None:
    port = place.serve(accepts=("ed25519",))
    place.known(port)
    place.environ["SSH_AUTH_SOCK"] = place.agent("other")
    place.node(port, f"IdentityFile {place.home}/none", f"IdentityAgent {place.agent('ed25519')}")
    assert place.run() == b"fine\n"
    place.node(port, f"IdentityFile {place.home}/none", "IdentityAgent none")
    place.fails(AccessDenied, f"key {place.home}/none does not exist")


@needs_sshd
def test_identities_only_keeps_other_keys_of_the_agent_back(place: Place) -> None:
    port = place.serve("MaxAuthTries 2", accepts=("ed25519",))
    place.known(port)
    place.environ["SSH_AUTH_SOCK"] = place.agent("other", "third", "ecdsa", "ed25519")
    public = place.home / "only.pub"
    public.write_text(place.public("ed25519"))
    place.node(port, f"IdentityFile {public}", "IdentitiesOnly yes")
    assert place.run() == b"fine\n"


@needs_sshd
def test_the_named_key_of_the_agent_comes_first(place: Place) -> None:
    port = place.serve("MaxAuthTries 2", accepts=("locked",))
    place.known(port)
    agent = place.agent("other", "third", "ecdsa")
    script = place.home / "askpass"
    script.write_text("#!/bin/sh\necho open sesame\n")
    script.chmod(0o700)
    subprocess.run(
        ["ssh-add", "-q", str(place.key("locked"))],
        check=True,
        env={**os.environ, "SSH_AUTH_SOCK": agent, "SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"},
        stdin=subprocess.DEVNULL,
    )
    place.environ["SSH_AUTH_SOCK"] = agent
    place.node(port, key="locked")
    assert place.run() == b"fine\n"


@needs_sshd
def test_an_agent_that_is_gone_is_told_and_the_files_are_tried(place: Place) -> None:
    ready(place)
    place.environ["SSH_AUTH_SOCK"] = f"{place.home}/gone"
    assert place.run() == b"fine\n"
    port = place.serve(accepts=("other",))
    place.known(port)
    place.node(port)
    place.fails(AccessDenied, f"the agent at {place.home}/gone cannot be asked")


@needs_sshd
def test_an_agent_that_refuses_to_sign_costs_that_key_only(place: Place) -> None:
    port = place.serve(accepts=("ed25519",))
    place.known(port)
    place.environ["SSH_AUTH_SOCK"] = agent = place.agent("other")
    place.node(port)
    shell = place.shell()
    # The list is asked for once; by the time of the login the key has been taken out.
    problems: list[str] = []
    next(iter(shell._access.signers(shell.entry, problems)))
    subprocess.run(["ssh-add", "-q", "-D"], env={**os.environ, "SSH_AUTH_SOCK": agent}, check=True)
    assert shell.run(b"echo fine", argument="x", deadline=Deadline(LONG), limit=100).stdout == b"fine\n"
    shell.close()


@needs_sshd
@pytest.mark.parametrize("beside", [True, False])
def test_a_certificate_is_tried_and_then_the_plain_key(place: Place, beside: bool) -> None:
    key = place.key("ed25519")
    keygen("-s", place.key("ca"), "-I", "me", "-n", USER, "-V", "+1d", f"{key}.pub")
    options = []
    if not beside:
        (place.home / "ed25519-cert.pub").rename(place.home / "elsewhere.pub")
        options = [f"CertificateFile {place.home}/elsewhere.pub", f"IdentityFile {key}"]
    trusting = place.serve(f"TrustedUserCAKeys {place.home}/ca.pub", accepts=())
    place.known(trusting)
    place.node(trusting, *options)
    assert place.run() == b"fine\n"
    # Here the certificate means nothing.
    plain = place.serve(accepts=("ed25519",))
    place.known(plain)
    place.node(plain, *options)
    assert place.run() == b"fine\n"


@needs_sshd
def test_a_certificate_of_an_rsa_key_and_one_in_the_agent_work(place: Place) -> None:
    key = place.key("rsa")
    keygen("-s", place.key("ca"), "-I", "me", "-n", USER, "-V", "+1d", f"{key}.pub")
    port = place.serve(f"TrustedUserCAKeys {place.home}/ca.pub", accepts=())
    place.known(port)
    place.node(port, key="rsa")
    assert place.run() == b"fine\n"
    place.environ["SSH_AUTH_SOCK"] = place.agent("rsa")
    place.node(port, f"IdentityFile {place.home}/none")
    assert place.run() == b"fine\n"


@needs_sshd
def test_a_key_file_that_cannot_be_used_says_why(place: Place) -> None:
    port = place.serve()
    place.known(port)
    place.node(port)
    key = place.key("ed25519")
    key.chmod(0o644)
    place.fails(AccessDenied, f"key {key} is open to others (mode 0644) and not used; run: chmod 600")
    key.chmod(0o600)
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n-----END OPENSSH PRIVATE KEY-----\n")
    place.fails(AccessDenied, f"key {key} cannot be read: it is no private key")
    key.unlink()
    key.mkdir()
    place.fails(AccessDenied, "is a directory")
    key.rmdir()
    place.fails(AccessDenied, f"key {key} does not exist")


@needs_sshd
def test_without_any_key_the_reason_is_that_there_is_none(place: Place) -> None:
    port = place.serve()
    place.known(port)
    place.config(f"Host node\nHostName 127.0.0.1\nPort {port}\nUserKnownHostsFile {place.home}/known_hosts\n")
    place.fails(AccessDenied, "there is no key to log in with")


@needs_sshd
def test_a_server_that_takes_passwords_alone_is_told_apart(place: Place) -> None:
    ready(place, "PubkeyAuthentication no", "PasswordAuthentication yes")
    place.fails(AccessDenied, "the server takes no keys but password")


@needs_sshd
def test_a_second_factor_is_told(place: Place) -> None:
    ready(place, "AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    place.fails(AccessDenied, "the key is taken, and the server demands password as well")


class Old(paramiko.ServerInterface):
    """Refuses every key; what it says of algorithms is the transport's doing."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


@needs_sshd
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"disabled_algorithms": {"pubkeys": ["rsa-sha2-512", "rsa-sha2-256"]}},
            "the server takes RSA keys with SHA-1 only, or not at all",
        ),
        ({"server_sig_algs": False}, "the server is old: it may want SHA-1 with RSA keys"),
    ],
)
def test_a_server_that_takes_rsa_keys_with_sha1_only_is_told(
    place: Place, settings: dict[str, Any], reason: str
) -> None:
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        transport = paramiko.Transport(connection, **settings)
        transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(place.key("host"))))
        transport.start_server(server=Old())
        done.wait(LONG)
        transport.close()

    with peer(talk) as port:
        place.known(port)
        place.node(port, key="rsa")
        place.fails(AccessDenied, reason)
        done.set()


# Host keys


@needs_sshd
def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_what_to_do(place: Place) -> None:
    port = place.serve()
    place.node(port)
    said = place.fails(Untrusted, f"the host key of [127.0.0.1]:{port} is not known: ssh-ed25519 SHA256:")
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", str(place.keys / "host.pub")], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    assert fingerprint in said
    assert said.endswith(f"ssh-keyscan -p {port} 127.0.0.1 >> {place.home}/known_hosts")
    assert not (place.home / "known_hosts").exists()


@needs_sshd
def test_a_changed_host_key_is_refused_with_the_line_that_has_the_old_one(place: Place) -> None:
    port = place.serve()
    (place.home / "known_hosts").write_text("# mine\n\n")
    place.known(port, "host_other")
    place.node(port)
    said = place.fails(Untrusted, "has changed", f"{place.home}/known_hosts:3 has ssh-ed25519 SHA256:")
    assert said.endswith(f"ssh-keygen -R '[127.0.0.1]:{port}' -f {place.home}/known_hosts")
    command = said.partition("set up anew: ")[2].replace("'", "").split()
    subprocess.run(command, check=True, capture_output=True)
    place.fails(Untrusted, "is not known")


@needs_sshd
def test_a_revoked_host_key_is_refused_although_it_is_known(place: Place) -> None:
    port = place.serve()
    place.known(port)
    place.known(port, marker="@revoked")
    place.node(port)
    place.fails(Untrusted, "is revoked by", "known_hosts:2")


@needs_sshd
def test_a_hashed_host_is_found(place: Place) -> None:
    port = ready(place)
    keygen("-H", "-f", place.home / "known_hosts")
    assert f"{port}" not in (place.home / "known_hosts").read_text().split()[0]
    assert place.run() == b"fine\n"


@needs_sshd
def test_the_server_is_asked_for_the_kind_of_key_that_is_known(place: Place) -> None:
    port = place.serve(f"HostKey {place.key('host_rsa')}")
    place.known(port, "host_rsa")
    place.node(port)
    assert place.run() == b"fine\n"


@needs_sshd
def test_host_key_alias_is_the_name_that_is_looked_for(place: Place) -> None:
    port = place.serve()
    (place.home / "known_hosts").write_text(f"bare {place.public('host')}\n")
    place.node(port, "HostKeyAlias bare")
    assert place.run() == b"fine\n"


def certified(place: Place, *options: str) -> int:
    """A server whose host key a CA has signed."""
    host = place.key("host")
    keygen("-s", place.key("ca"), "-I", "node", "-h", *options, f"{host}.pub")
    port = place.serve(f"HostCertificate {host}-cert.pub")
    place.node(port)
    return port


@needs_sshd
def test_a_certified_host_is_trusted_by_its_ca_and_a_revoked_ca_is_not(place: Place) -> None:
    port = certified(place, "-n", "127.0.0.1", "-V", "+1d")
    place.known(port, "ca", marker="@cert-authority")
    assert place.run() == b"fine\n"
    place.known(port, "ca", marker="@revoked")
    place.fails(Untrusted, "is revoked by")


@needs_sshd
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-n", "another", "-V", "+1d"], "its host certificate is for another and not for 127.0.0.1"),
        (["-n", "127.0.0.1", "-V", "20200101:20200102"], "its host certificate has expired on 2020-01-0"),
        (["-n", "127.0.0.1", "-V", "20990101:20990102"], "its host certificate is not valid before 20"),
        (["-V", "+1d"], "its host certificate names no host"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused_unless_the_plain_key_is_known(
    place: Place, options: list[str], reason: str
) -> None:
    port = certified(place, *options)
    place.known(port, "ca", marker="@cert-authority")
    place.fails(Untrusted, "is not known", reason, f"(CA: {place.home}/known_hosts:1)")
    place.known(port)
    assert place.run() == b"fine\n"


# Jump hosts


def two_hosts(place: Place, *options: str, target: int | None = None) -> tuple[int, int]:
    first, second = place.serve(*options), target or place.serve(host="host_other")
    place.known(first)
    place.known(second, "host_other")
    common = f"IdentityFile {place.key('ed25519')}\nUserKnownHostsFile {place.home}/known_hosts\nHostName 127.0.0.1\n"
    place.config(
        f"Host bastion\nPort {first}\n{common}Host node\nPort {second}\n{common}ProxyJump bastion\n"
        f"Host far\nPort {second}\n{common}ProxyJump bastion,node\n"
    )
    return first, second


@needs_sshd
def test_a_node_behind_one_or_two_jump_hosts_is_reached(place: Place) -> None:
    two_hosts(place)
    assert place.run() == b"fine\n"
    shell = place.shell(name="far")
    assert len(shell._route) == 2  # the last hop is the node itself, under another name
    assert shell.run(b"echo fine", argument="x", deadline=Deadline(LONG), limit=10).stdout == b"fine\n"
    shell.close()


@needs_sshd
def test_a_jump_host_that_is_down_is_named(place: Place) -> None:
    first, _ = two_hosts(place)
    place.daemons[0].kill()
    place.daemons[0].wait()
    place.fails(Unreachable, f"jump host bastion (127.0.0.1:{first}): connection refused")


@needs_sshd
def test_a_jump_host_of_unknown_key_is_named(place: Place) -> None:
    first, second = two_hosts(place)
    (place.home / "known_hosts").write_text(f"[127.0.0.1]:{second} {place.public('host_other')}\n")
    place.fails(Untrusted, f"jump host bastion (127.0.0.1:{first}): the host key of")


@needs_sshd
def test_the_key_of_the_node_behind_a_jump_host_is_checked_too(place: Place) -> None:
    first, second = two_hosts(place)
    (place.home / "known_hosts").write_text(f"[127.0.0.1]:{first} {place.public('host')}\n")
    assert place.fails(Untrusted).startswith(f"127.0.0.1:{second}: the host key of")


@needs_sshd
def test_a_jump_host_that_does_not_forward_or_cannot_reach_the_node_is_named(place: Place) -> None:
    first, second = two_hosts(place, "AllowTcpForwarding no")
    place.fails(AccessDenied, f"jump host bastion (127.0.0.1:{first}) does not forward to 127.0.0.1:{second}")
    first, second = two_hosts(place, target=free_port())
    place.fails(Unreachable, f"jump host bastion (127.0.0.1:{first}) cannot connect to 127.0.0.1:{second}")


@needs_sshd
def test_a_node_that_hangs_behind_a_jump_host_costs_its_deadline(place: Place) -> None:
    with peer(falls_silent(b"")) as silent:
        _, second = two_hosts(place, target=silent)
        place.fails(Unreachable, f"127.0.0.1:{second}", seconds=2)


@needs_sshd
def test_a_proxy_command_is_not_run(place: Place) -> None:
    port = ready(place)
    mark = place.home / "mark"
    place.node(port, f"ProxyCommand touch {mark}")
    place.fails(ConfigError, f"{place.home}/config:", "kdiag does not run a ProxyCommand")
    assert not mark.exists()


# What a login may do to a script


SHELLS = {
    "sh": "sh -c",
    "bash": "bash -c",
    "dash": "dash -c",
    "zsh": "zsh -c",
    "fish": "fish -c",
    "tcsh": "tcsh -c",
    "ash": "busybox ash -c",
}


@needs_sshd
@pytest.mark.parametrize("name", SHELLS)
def test_any_login_shell_will_do(place: Place, name: str) -> None:
    program = SHELLS[name].split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    ready(place, f'ForceCommand exec {SHELLS[name]} "$SSH_ORIGINAL_COMMAND"')
    assert place.run(b"echo $1; x=$(printf abc); echo ${x#a}") == b"argument\nbc\n"


@needs_sshd
def test_banners_and_greetings_are_passed_over(place: Place) -> None:
    banner = place.home / "banner"
    banner.write_text("Authorised use only\n" * 20)
    ready(
        place,
        f"Banner {banner}",
        "ForceCommand seq 100000; printf 'no line end'; seq 10 >&2; exec sh -c \"$SSH_ORIGINAL_COMMAND\"",
    )
    assert place.run(b"echo fine; echo not this >&2") == b"fine\n"


@needs_sshd
def test_a_greeting_that_does_not_end_in_a_line_end_spoils_nothing(place: Place) -> None:
    ready(place, "ForceCommand printf 'kdiag:'; exec sh -c \"$SSH_ORIGINAL_COMMAND\"")
    assert place.run() == b"fine\n"


@needs_sshd
@pytest.mark.parametrize("when", ["ForceCommand", "script"])
def test_a_flood_on_stderr_blocks_nothing(place: Place, when: str) -> None:
    flood = "head -c 5000000 /dev/zero >&2"
    if when == "ForceCommand":
        ready(place, f'ForceCommand {flood}; exec sh -c "$SSH_ORIGINAL_COMMAND"')
        assert place.run() == b"fine\n"
    else:
        ready(place)
        assert place.run(f"{flood}; echo fine".encode()) == b"fine\n"


@needs_sshd
@pytest.mark.parametrize(
    ("command", "error", "reason"),
    [
        ("echo; echo This account is currently not available.; exit 1", AccessDenied, "the account may not log in"),
        ("echo Hello, menu: 1 2 3", BadAnswer, "it says “Hello, menu: 1 2 3” (exit code 0)"),
        ("echo trouble >&2; exit 7", BadAnswer, "it says “trouble” (exit code 7)"),
        ("cat", BadAnswer, "a forced command?"),
        ("true", BadAnswer, "it says nothing (exit code 0)"),
        ("printf '\\033[2Jgone'", BadAnswer, "it says “␛[2Jgone”"),
        ("internal-sftp", BadAnswer, ""),
    ],
)
def test_what_runs_in_place_of_our_script_is_no_answer(
    place: Place, command: str, error: type[KdiagError], reason: str
) -> None:
    ready(place, f"ForceCommand {command}")
    place.fails(error, reason)


@needs_sshd
def test_a_server_that_opens_no_session_is_told(place: Place) -> None:
    ready(place, "MaxSessions 0")
    place.fails(AccessDenied, "the server opens no session", "MaxSessions")


@needs_sshd
def test_bytes_are_kept_as_they_are(place: Place) -> None:
    ready(place)
    printed = place.run(b"printf 'a\\000\\377\\376\\r\\n\\033[2J'")
    assert printed == b"a\0\xff\xfe\r\n\x1b[2J"


@needs_sshd
def test_a_large_output_comes_whole_and_a_larger_one_is_cut(place: Place) -> None:
    ready(place)
    assert len(place.run(b"head -c 5000000 /dev/zero")) == 5_000_000
    shell = place.shell()
    output = shell.run(b"cat /dev/zero", argument="x", deadline=Deadline(LONG), limit=100_000)
    assert output.cut
    assert output.status is None
    assert output.stdout == bytes(100_000)
    assert shell.run(b"echo on", argument="x", deadline=Deadline(LONG), limit=100).stdout == b"on\n"
    shell.close()


@needs_sshd
def test_a_connection_that_drops_is_an_error_that_keeps_what_came(place: Place) -> None:
    ready(place)
    shell = place.shell()
    with pytest.raises(CutShort, match=r"the connection was dropped \(6 bytes received\)") as caught:
        shell.run(b"echo begun; sleep 0.5; kill -9 $PPID; sleep 60", argument="x", deadline=Deadline(LONG), limit=100)
    assert caught.value.stdout == b"begun\n"
    assert shell.run(b"echo again", argument="x", deadline=Deadline(LONG), limit=100).stdout == b"again\n"
    shell.close()


@needs_sshd
def test_a_script_whose_shell_is_killed_is_an_error(place: Place) -> None:
    ready(place)
    shell = place.shell()
    with pytest.raises(CutShort):
        shell.run(b"echo begun; kill -9 $$", argument="x", deadline=Deadline(LONG), limit=100)
    shell.close()


@needs_sshd
def test_a_script_that_hangs_ends_at_its_deadline_and_the_next_one_works(place: Place) -> None:
    ready(place)
    shell = place.shell()
    shell.connect(Deadline(LONG))
    with pytest.raises(CutShort, match=r"did not finish within 0\.5 s") as caught:
        shell.run(b"echo begun; exec sleep 1000", argument="x", deadline=Deadline(0.5), limit=100)
    assert caught.value.stdout in (b"begun\n", b"")
    assert shell.run(b"echo again", argument="x", deadline=Deadline(LONG), limit=100).stdout == b"again\n"
    shell.close()


@needs_sshd
@pytest.mark.parametrize("argument", ["", "a b", "$(id)", "'", "a\nb", "!x", "x" * 200])
def test_an_argument_that_a_shell_could_take_for_more_is_not_sent(place: Place, argument: str) -> None:
    ready(place)
    for shell in (place.shell(), LocalShell()):
        with pytest.raises(CollectError, match="does not send the argument"):
            shell.run(b"true", argument=argument, deadline=Deadline(LONG), limit=10)


# Peers that are no SSH server, or an old one


@contextlib.contextmanager
def peer(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A listener that does this with every connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk(connection)
        connection.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in open_ones:
        connection.close()


def http_server(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def resets(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def says(data: bytes) -> Callable[[socket.socket], object]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        # Whatever we are sent is read, so that closing is no reset.
        connection.settimeout(0.2)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    return talk


def falls_silent(head: bytes) -> Callable[[socket.socket], object]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        while connection.recv(65536):
            pass

    return talk


def test_a_node_that_takes_no_connection_costs_the_connect_timeout(place: Place) -> None:
    with contextlib.ExitStack() as stack:
        # Its queue is full, so what comes is dropped, as by a machine that is switched off.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        place.node(full.getsockname()[1], "ConnectTimeout 1")
        place.fails(Unreachable, "no connection within 1 s")


@pytest.mark.parametrize(
    ("talk", "error", "reason"),
    [
        (http_server, BadAnswer, "no SSH server answers there; it says “HTTP/1.1 400 Bad Request”"),
        (says(b"Exceeded MaxStartups\r\n"), BadAnswer, "it says “Exceeded MaxStartups”"),
        (says(b""), BadAnswer, "closed before anything was said"),
        (resets, BadAnswer, "closed before anything was said"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), BadAnswer, "closed during the SSH handshake (SSH-2.0-OpenSSH_9.2)"),
        (says(b"SSH-1.5-old\r\n"), BadAnswer, "the server is too old: Incompatible version (1.5"),
        (says(b"SSH-2.0-x\r\n" + b"\xff" * 4000), BadAnswer, "the SSH handshake failed"),
        (says(b"\x1b[2J\xff\xfe\r\n"), BadAnswer, "it says “␛[2J"),
        (says(b"\0" * 100_000), BadAnswer, ""),
    ],
)
def test_a_peer_that_is_no_ssh_server_is_told(
    tmp_path: Path,
    talk: Callable[[socket.socket], object],
    error: type[KdiagError],
    reason: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = Place(tmp_path, tmp_path)
    with peer(talk) as port:
        place.config(f"Host node\nHostName 127.0.0.1\nPort {port}\nIdentityAgent none\n")
        assert place.fails(error, reason).startswith(f"127.0.0.1:{port}: ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("head", [b"", b"SSH-2.0-x\r\n", b"a line before\r\n"])
def test_a_peer_that_falls_silent_costs_its_deadline(tmp_path: Path, head: bytes) -> None:
    place = Place(tmp_path, tmp_path)

    with peer(falls_silent(head)) as port:
        place.config(f"Host node\nHostName 127.0.0.1\nPort {port}\nIdentityAgent none\n")
        place.fails(Unreachable, f"127.0.0.1:{port}: ", "within 0.5 s", seconds=0.5)


def test_a_peer_that_dribbles_costs_its_deadline(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path)

    def talk(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    with peer(talk) as port:
        place.config(f"Host node\nHostName 127.0.0.1\nPort {port}\nIdentityAgent none\n")
        place.fails(Unreachable, "within 0.5 s", seconds=0.5)


def test_a_closed_port_and_a_name_that_does_not_exist_are_told(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path)
    port = free_port()
    place.config(f"Host node\nHostName 127.0.0.1\nPort {port}\n")
    place.fails(Unreachable, f"127.0.0.1:{port}: connection refused")
    place.config("Host node\nHostName nowhere.invalid\n")
    place.fails(Unreachable, "nowhere.invalid:22: the name cannot be resolved")


@needs_sshd
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("HostKeyAlgorithms ssh-rsa", "all it has for host keys is weak or unknown (ssh-rsa"),
        (
            "KexAlgorithms diffie-hellman-group14-sha1",
            "all it has for key exchanges is weak or unknown (diffie-hellman-g",
        ),
        ("Ciphers aes128-cbc,3des-cbc", "all it has for ciphers is weak or unknown (aes128-cbc"),
        ("MACs hmac-md5,hmac-sha1-96", "all it has for MACs is weak or unknown (hmac-md5"),
    ],
)
def test_a_server_with_nothing_but_old_algorithms_is_told(place: Place, option: str, reason: str) -> None:
    port = place.serve(option, host="host_rsa")
    place.known(port, "host_rsa")
    place.node(port)
    place.fails(BadAnswer, "the server is too old", reason)


# This host


def test_the_local_shell_runs_a_script_as_a_node_would() -> None:
    output = LocalShell().run(b'echo "$1"; echo not this >&2; exit 3', argument="a", deadline=Deadline(LONG), limit=100)
    assert (output.stdout, output.status, output.cut) == (b"a\n", 3, False)


def test_the_local_shell_takes_a_script_larger_than_a_pipe_and_drains_floods() -> None:
    script = b"# " + b"x" * 500_000 + b"\nhead -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2"
    assert len(LocalShell().run(script, argument="a", deadline=Deadline(LONG), limit=1 << 24).stdout) == 5_000_000


def test_the_local_shell_kills_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"echo begun; sh -c 'echo $$ > {note}; exec sleep 1000' & wait".encode()
    done: list[CutShort] = []

    def run() -> None:
        try:
            LocalShell().run(script, argument="a", deadline=Deadline(2), limit=100)
        except CutShort as exc:
            done.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: note.exists() and note.read_text().endswith("\n"))
    thread.join()
    assert done[0].stdout == b"begun\n"
    assert "did not finish within 2 s" in str(done[0])

    def is_gone() -> bool:
        try:
            return " Z " in Path(f"/proc/{note.read_text().strip()}/stat").read_text()
        except OSError:
            return True

    wait_for(is_gone)


def test_the_local_shell_cuts_and_tells_a_kill_from_an_end() -> None:
    output = LocalShell().run(b"cat /dev/zero", argument="a", deadline=Deadline(LONG), limit=1000)
    assert (output.cut, output.status, output.stdout) == (True, None, bytes(1000))
    with pytest.raises(CutShort, match="killed by signal 9"):
        LocalShell().run(b"echo a; kill -9 $$", argument="a", deadline=Deadline(LONG), limit=1000)


def test_a_node_that_does_not_know_its_own_name_is_told_from_a_slow_one() -> None:
    said = b"sudo: unable to resolve host w1: Temporary failure in name resolution\n"
    assert str(late("w1", Deadline(20), said)).endswith("waits for DNS each time, /etc/hosts there has no line for w1")
    assert str(late("w1", Deadline(20), b"x")).endswith("(1 bytes received)")
