"""Lines of known_hosts, whole and broken, and certificates that ssh-keygen made."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kdiag.collect.known_hosts import KnownHosts, Trust, fingerprint, load, read_certificate

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="openssh-client is not installed")


def key(number: int, kind: str = "ssh-ed25519") -> bytes:
    """The blob of a key that nobody has."""
    parts = [kind.encode(), bytes([number]) * 32]
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def line(hosts: str, blob: bytes, marker: str = "") -> str:
    kind = blob[4 : 4 + blob[3]].decode()
    return f"{marker} {hosts} {kind} {base64.b64encode(blob).decode()} a comment".strip()


def known(tmp_path: Path, *lines: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines) + "\n")
    return load([path])


ONE, TWO = key(1), key(2)


@pytest.mark.parametrize(
    ("hosts", "host", "port", "trust"),
    [
        ("w1", "w1", 22, Trust.TRUSTED),
        ("w1", "W1", 22, Trust.TRUSTED),
        ("W1", "w1", 22, Trust.TRUSTED),
        ("w1", "w2", 22, Trust.UNKNOWN),
        ("w2,w1,10.0.0.1", "10.0.0.1", 22, Trust.TRUSTED),
        ("[w1]:2222", "w1", 2222, Trust.TRUSTED),
        ("[w1]:2222", "w1", 22, Trust.UNKNOWN),
        ("w1", "w1", 2222, Trust.TRUSTED),  # OpenSSH looks for the bare name too
        ("w*", "w1", 22, Trust.TRUSTED),
        ("w?", "w12", 22, Trust.UNKNOWN),
        ("*,!w1", "w1", 22, Trust.UNKNOWN),
        ("*,!w1", "w2", 22, Trust.TRUSTED),
        ("!w1,*", "w1", 22, Trust.UNKNOWN),
        ("[w*]:2222", "w1", 2222, Trust.TRUSTED),
        ("[10.0.0.?]:*", "10.0.0.7", 2200, Trust.TRUSTED),
        ("fe80::1", "fe80::1", 22, Trust.TRUSTED),
        ("[fe80::1]:2222", "fe80::1", 2222, Trust.TRUSTED),
        ("", "w1", 22, Trust.UNKNOWN),
    ],
)
def test_a_host_finds_its_line(tmp_path: Path, hosts: str, host: str, port: int, trust: Trust) -> None:
    assert known(tmp_path, line(hosts, ONE)).check(host, port, ONE).trust is trust


def test_another_key_of_the_same_kind_is_a_change_and_one_of_another_kind_is_unknown(tmp_path: Path) -> None:
    found = known(tmp_path, "", "# a comment", line("w1", ONE))
    changed = found.check("w1", 22, TWO)
    assert changed.trust is Trust.CHANGED
    assert changed.where == f"{tmp_path}/known_hosts:3"
    assert changed.reason == (
        f"the host key of w1 has changed: it shows ssh-ed25519 {fingerprint(TWO)}, "
        f"{tmp_path}/known_hosts:3 has ssh-ed25519 {fingerprint(ONE)}"
    )
    assert changed.fix == f"if the host was set up anew: ssh-keygen -R 'w1' -f {tmp_path}/known_hosts"
    other = found.check("w1", 22, key(3, "ecdsa-sha2-nistp256"))
    assert other.trust is Trust.UNKNOWN
    assert other.reason.endswith(f"; {tmp_path}/known_hosts:3 has ssh-ed25519")


def test_one_of_several_keys_is_enough(tmp_path: Path) -> None:
    assert known(tmp_path, line("w1", ONE), line("w1", TWO)).check("w1", 22, TWO).trust is Trust.TRUSTED


def test_an_unknown_key_comes_with_the_command_to_look_at_it(tmp_path: Path) -> None:
    found = known(tmp_path)
    assert found.check("w1", 22, ONE).fix == f"compare the fingerprint, then: ssh-keyscan w1 >> {tmp_path}/known_hosts"
    assert "ssh-keyscan -p 2222 w1 >>" in found.check("w1", 2222, ONE).fix
    assert load([]).check("w1", 22, ONE).reason.endswith("no known_hosts file is configured")


def test_an_alias_is_looked_for_without_the_port(tmp_path: Path) -> None:
    found = known(tmp_path, line("bare", ONE))
    assert found.check("10.0.0.1", 2222, ONE, alias="bare").trust is Trust.TRUSTED
    assert found.check("bare", 2222, ONE, alias="other").trust is Trust.UNKNOWN


@pytest.mark.parametrize("lines", [(0, 1), (1, 0)])
def test_a_revoked_key_is_refused_wherever_its_line_stands(tmp_path: Path, lines: tuple[int, int]) -> None:
    both = [line("w1", ONE), line("*", ONE, "@revoked")]
    verdict = known(tmp_path, *(both[number] for number in lines)).check("w1", 22, ONE)
    assert verdict.trust is Trust.REVOKED
    assert verdict.where == f"{tmp_path}/known_hosts:{lines.index(1) + 1}"
    assert known(tmp_path, *both).check("w1", 22, TWO).trust is Trust.CHANGED


def test_a_line_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    found = known(
        tmp_path,
        "nonsense",
        "w1 ssh-ed25519",
        "w1 ssh-ed25519 !!!",
        "w1 ssh-rsa " + base64.b64encode(ONE).decode(),
        "@unheard-of w1 ssh-ed25519 " + base64.b64encode(ONE).decode(),
        "w1 ssh-ed25519 AAAA",
        "|1|bad|worse|still ssh-ed25519 " + base64.b64encode(TWO).decode(),
        "|1|!!|!! ssh-ed25519 " + base64.b64encode(TWO).decode(),
        "\x1b[2J\xff ssh-ed25519 x",
        line("*", TWO, "@cert-authority"),
        line("w1", ONE),
    )
    assert found.check("w1", 22, ONE).trust is Trust.TRUSTED
    assert [note.split(": ")[0].rpartition(":")[2] for note in found.notes] == ["1", "2", "3", "4", "5", "6", "9"]
    assert all(note.isprintable() for note in found.notes)


def test_files_are_read_in_their_order_and_may_be_absent(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text(line("w1", ONE) + "\n")
    found = load([first, second])
    assert found.notes == ()
    assert found.check("w1", 22, ONE).where == f"{second}:1"
    first.mkdir()
    found = load([first, second])
    assert "is a directory" in found.notes[0]
    assert found.check("w1", 22, ONE).trust is Trust.TRUSTED


def test_the_kinds_that_are_known_are_asked_for_first(tmp_path: Path) -> None:
    found = known(tmp_path, line("w1", key(1, "ssh-rsa")), line("w1", ONE), line("w2", ONE, "@cert-authority"))
    assert found.key_types("w1", 22) == ["ssh-rsa", "ssh-ed25519"]
    assert found.key_types("w1", 2222) == ["ssh-rsa", "ssh-ed25519"]
    assert "ssh-ed25519-cert-v01@openssh.com" in found.key_types("w2", 22)
    assert found.key_types("w3", 22) == []


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def blob(path: Path) -> bytes:
    return base64.b64decode(path.read_text().split()[1])


@needs_keygen
def test_hashed_lines_of_openssh_are_found(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("w1,10.0.0.1", ONE) + "\n" + line("[w1]:2222", TWO) + "\n")
    keygen("-H", "-f", path)
    assert "w1," not in path.read_text()  # a hash may hold "w1" by chance, and no comma
    found = load([path])
    assert found.check("w1", 22, ONE).trust is Trust.TRUSTED
    assert found.check("10.0.0.1", 22, ONE).trust is Trust.TRUSTED
    assert found.check("w1", 2222, TWO).trust is Trust.TRUSTED
    assert found.check("w1", 22, TWO).trust is Trust.CHANGED
    assert found.check("w2", 22, ONE).trust is Trust.UNKNOWN


@needs_keygen
def test_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa"):
        keygen("-t", kind, "-N", "", "-f", tmp_path / kind)
        printed = subprocess.run(
            ["ssh-keygen", "-lf", str(tmp_path / f"{kind}.pub")], check=True, capture_output=True, text=True
        ).stdout
        assert fingerprint(blob(tmp_path / f"{kind}.pub")) == printed.split()[1]


CA_KINDS = {
    "ed25519": ["-t", "ed25519"],
    "ecdsa": ["-t", "ecdsa", "-b", "384"],
    "rsa": ["-t", "rsa", "-b", "2048"],
}


def signed(tmp_path: Path, *options: str, ca: str = "ed25519", host: str = "ed25519") -> tuple[bytes, bytes]:
    """The certificate of a host and the key of its CA."""
    keygen(*CA_KINDS[ca], "-N", "", "-f", tmp_path / "ca")
    keygen(*CA_KINDS[host], "-N", "", "-f", tmp_path / "host")
    keygen("-s", tmp_path / "ca", "-I", "the node", *options, tmp_path / "host.pub")
    return blob(tmp_path / "host-cert.pub"), blob(tmp_path / "ca.pub")


@needs_keygen
@pytest.mark.parametrize("ca", CA_KINDS)
@pytest.mark.parametrize("host", CA_KINDS)
def test_a_certificate_is_trusted_by_its_ca(tmp_path: Path, ca: str, host: str) -> None:
    certificate, authority = signed(tmp_path, "-h", "-n", "w1,*.example.org", "-V", "+1d", ca=ca, host=host)
    found = known(tmp_path, line("*", authority, "@cert-authority"))
    assert read_certificate(certificate).key == blob(tmp_path / "host.pub")
    assert found.check("w1", 22, certificate).trust is Trust.TRUSTED
    assert found.check("w9.example.org", 2222, certificate).trust is Trust.TRUSTED
    assert found.check("10.0.0.1", 22, certificate, alias="w1").trust is Trust.TRUSTED
    assert known(tmp_path, line("w2", authority, "@cert-authority")).check("w1", 22, certificate).trust is Trust.UNKNOWN


@needs_keygen
def test_a_ca_of_a_domain_holds_on_any_port(tmp_path: Path) -> None:
    certificate, authority = signed(tmp_path, "-h", "-n", "w1.example.org", "-V", "+1d")
    found = known(tmp_path, line("*.example.org", authority, "@cert-authority"))
    assert found.check("w1.example.org", 2222, certificate).trust is Trust.TRUSTED
    found = known(tmp_path, line("*.example.org", blob(tmp_path / "host.pub"), "@revoked"))
    assert found.check("w1.example.org", 2222, certificate).trust is Trust.REVOKED


@needs_keygen
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-n", "w1", "-V", "+1d"], "is one for users"),
        (["-h", "-n", "w2", "-V", "+1d"], "is for w2 and not for w1"),
        (["-h", "-V", "+1d"], "names no host"),
        (["-h", "-n", "w1", "-V", "20200101:20200102"], "has expired"),
        (["-h", "-n", "w1", "-V", "20990101:20990102"], "is not valid before"),
        (["-h", "-n", "w1", "-O", "critical:new@example.org=1"], "has critical options"),
    ],
)
def test_a_certificate_that_does_not_hold_is_told(tmp_path: Path, options: list[str], reason: str) -> None:
    certificate, authority = signed(tmp_path, *options)
    found = known(tmp_path, line("w1", authority, "@cert-authority"))
    verdict = found.check("w1", 22, certificate)
    assert verdict.trust is Trust.UNKNOWN
    assert reason in verdict.reason
    assert f"(CA: {tmp_path}/known_hosts:1)" in verdict.reason


@needs_keygen
def test_a_certificate_with_a_wrong_signature_is_not_trusted(tmp_path: Path) -> None:
    certificate, authority = signed(tmp_path, "-h", "-n", "w1", "-V", "always:forever")
    found = known(tmp_path, line("w1", authority, "@cert-authority"))
    assert found.check("w1", 22, certificate, now=NOW + timedelta(days=40_000)).trust is Trust.TRUSTED
    for position in range(len(certificate)):
        broken = bytearray(certificate)
        broken[position] ^= 1
        assert found.check("w1", 22, bytes(broken)).trust is not Trust.TRUSTED
    for size in range(len(certificate)):
        assert found.check("w1", 22, certificate[:size]).trust is not Trust.TRUSTED
    assert found.check("w1", 22, certificate + b"x").trust is not Trust.TRUSTED


@needs_keygen
def test_a_sha1_signature_of_a_ca_is_not_taken(tmp_path: Path) -> None:
    keygen("-t", "rsa", "-b", "2048", "-N", "", "-f", tmp_path / "ca")
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "host")
    keygen("-s", tmp_path / "ca", "-t", "ssh-rsa", "-I", "x", "-h", "-n", "w1", tmp_path / "host.pub")
    found = known(tmp_path, line("w1", blob(tmp_path / "ca.pub"), "@cert-authority"))
    verdict = found.check("w1", 22, blob(tmp_path / "host-cert.pub"))
    assert verdict.trust is Trust.UNKNOWN
    assert "is signed with ssh-rsa, which is not taken" in verdict.reason


@needs_keygen
def test_a_revoked_key_in_a_certificate_and_a_revoked_ca_are_refused(tmp_path: Path) -> None:
    certificate, authority = signed(tmp_path, "-h", "-n", "w1", "-V", "+1d")
    trusting = line("w1", authority, "@cert-authority")
    host = blob(tmp_path / "host.pub")
    assert known(tmp_path, trusting, line("*", host, "@revoked")).check("w1", 22, certificate).trust is Trust.REVOKED
    assert (
        known(tmp_path, trusting, line("*", authority, "@revoked")).check("w1", 22, certificate).trust is Trust.REVOKED
    )


@needs_keygen
def test_the_plain_key_in_a_certificate_may_be_known_by_itself(tmp_path: Path) -> None:
    certificate, _ = signed(tmp_path, "-h", "-n", "w1", "-V", "+1d")
    host = blob(tmp_path / "host.pub")
    assert known(tmp_path, line("w1", host)).check("w1", 22, certificate).trust is Trust.TRUSTED
    assert known(tmp_path, line("w1", ONE)).check("w1", 22, certificate).trust is Trust.CHANGED
