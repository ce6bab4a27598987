"""Certificates of a node, from what openssl, find and grep print (OpenSSL 3.0, GNU find 4.9, kubeadm 1.36)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.collect.batch import refuse_writes
from kdiag.errors import CheckDefinitionError
from kdiag.facts.base import NodeCommand
from kdiag.facts.certificates import Certificate, Certificates, parse_pem
from kdiag.facts.hosts import Answer
from kdiag.facts.nodefiles import CERTIFICATES

PKI = "/etc/kubernetes/pki"
TREE = (
    f"d\td\t4096\t1795337828.6612820680\t755\t0\t{PKI}\t\n"
    f"f\tf\t1277\t1795337828.3194981190\t644\t0\t{PKI}/apiserver.crt\t\n"
    f"f\tf\t1679\t1795337828.3163827510\t600\t0\t{PKI}/apiserver.key\t\n"
    f"f\tf\t451\t1795337828.6612820680\t600\t0\t{PKI}/sa.pub\t\n"
    f"f\tf\t451\t1795337828.6612820680\t600\t0\t{PKI}/we ird;name.crt\t\n"
)
KUBELET = (
    "l\tf\t59\t1795337829.2768283360\t777\t0\t/var/lib/kubelet/pki/kubelet-client-current.pem\t"
    "/var/lib/kubelet/pki/kubelet-client-2026-11-22-08-57-09.pem\n"
)


def first(*more: Answer) -> tuple[Answer, ...]:
    return (Answer("manifest-files", "", TREE), Answer("pki-kubelet", "", KUBELET), *more)


def commands() -> list[NodeCommand]:
    return [s for s in Certificates.sources if isinstance(s, NodeCommand)] + list(Certificates.follow("cp1", first()))


def test_runs_only_what_may_be_run() -> None:
    for command in commands():
        refuse_writes(command.argv)


def test_asks_for_the_public_half_of_a_key_and_for_no_path_that_is_not_plain() -> None:
    asked = [c.argv for c in Certificates.follow("cp1", first())]
    assert ("openssl", "pkey", "-in", f"{PKI}/apiserver.key", "-pubout") in asked
    assert ("grep", "-azoHE", "-e", CERTIFICATES, "/var/lib/kubelet/pki/kubelet-client-current.pem") in asked
    assert not [argv for argv in asked if any(";" in word for word in argv)]
    assert not [argv for argv in asked if argv[0] == "cat" and not argv[-1].endswith(".pub")]


def test_shows_of_a_kubeconfig_only_what_is_public() -> None:
    grep = next(c for c in commands() if c.key == "pki-kubeconfigs")
    refuse_writes(grep.argv)
    for wider in (("-v",), ("-A", "1"), ()):
        words = [w for w in grep.argv if w != "-o"]
        with pytest.raises(CheckDefinitionError):
            refuse_writes([words[0], *wider, *words[1:]])


def test_tells_a_signature_from_a_name() -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    leaf = ours.issue_cert("cp1", "10.89.0.11")
    found = parse_pem(leaf.cert_chain_pems[0].bytes().decode(), "x")
    good, bad = (parse_pem(ca.cert_pem.bytes().decode(), "ca") for ca in (ours, theirs))
    assert isinstance(found, Certificate)
    assert isinstance(good, Certificate)
    assert isinstance(bad, Certificate)
    assert (found.signed_by(good), found.signed_by(bad)) == (True, False)
    assert set(found.names) == {"cp1", "10.89.0.11"}
    assert good.ca
    assert not found.ca


def test_reads_a_kubeconfig_whatever_the_quotes() -> None:
    pem = trustme.CA().cert_pem.bytes()
    data = base64.b64encode(pem).decode()
    text = (
        f'/etc/kubernetes/admin.conf:certificate-authority-data": "{data}\n'
        "/etc/kubernetes/admin.conf:server: https://10.89.0.11:6443\n"
        "/etc/kubernetes/admin.conf:client-certificate-data: Z2FyYmFnZQ==\n"
        "grep: /etc/kubernetes/super-admin.conf: No such file or directory\n"
    )
    pki = Certificates.parse("cp1", first(Answer("pki-kubeconfigs", "", text)))
    config = pki.kubeconfigs["/etc/kubernetes/admin.conf"]
    assert config.authority is not None
    assert config.host == "10.89.0.11"
    assert "no PEM block" in config.fault
    assert "/etc/kubernetes/super-admin.conf" not in pki.kubeconfigs


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ("Could not read certificate from /x\nUnable to load certificate\n", "broken"),
        ("unable to load certificate\n140:error:0909006C:PEM routines:get_name:no start line\n", "broken"),
        (
            "Could not open file or uri for loading certificate from /x\nNo such file or directory:calling stat",
            "missing",
        ),
        ("Could not read certificate from /x: Permission denied\n", ""),
        ("grep: /x: Is a directory\n", ""),
        ("grep: /x: Permission denied\n", ""),
        ("grep: /x: No such file or directory\n", "missing"),
        ("/x:-----BEGIN CERTIFICATE-----␀", "broken"),
        ("", "broken"),  # grep found none in it
    ],
)
def test_tells_what_is_broken_from_what_is_missing_or_was_not_read(said: str, where: str) -> None:
    pki = Certificates.parse("cp1", first(Answer("pki-certificate", "/x", said)))
    assert ("/x" in pki.broken, "/x" in pki.missing) == (where == "broken", where == "missing")


def test_reads_the_clock_of_the_node() -> None:
    pki = Certificates.parse("cp1", first(Answer("pki-clock", "", "1795343474\n")))
    assert pki.clock == datetime(2026, 11, 22, 10, 31, 14, tzinfo=UTC)


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_survives_any_text(text: str, tree: str) -> None:
    pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    assert isinstance(parse_pem(pem, "x"), str)
    answers = (
        Answer("manifest-files", "", tree),
        Answer("pki-kubelet", "", tree),
        Answer("pki-kubeconfigs", "", text),
        Answer("pki-certificate", "/x", pem),
        Answer("pki-key", "/x", text),
        Answer("pki-clock", "", text),
    )
    try:
        Certificates.parse("cp1", answers)
    except ValueError as exc:
        assert "printf" in str(exc)  # noqa: PT017
