"""Each signature matches the line that it was made from, and tells what it names."""

from __future__ import annotations

import pytest

from kdiag.facts.signatures import SIGNATURES, SOCKET_DEAD, Signature


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=lambda s: s.id)
def test_matches_its_sample(signature: Signature) -> None:
    found = signature.search(signature.sample)
    assert found, signature.id
    assert signature.meaning


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=lambda s: s.id)
def test_does_not_match_what_a_healthy_kubelet_says(signature: Signature) -> None:
    for line in (
        'I1122 10:31:38.1 1 kubelet.go:2451] "SyncLoop ADD" source="api" pods=["shop/web-1"]',
        'E1122 10:31:38.1 1 file_linux.go:59] "Unable to read config path" err="path does not exist, ignoring"',
        "kubelet.service: Deactivated successfully.",
    ):
        assert not signature.search(line)


def test_names_the_socket_and_why() -> None:
    found = SOCKET_DEAD.search(SOCKET_DEAD.sample)
    assert found
    assert (found["f"], found["why"]) == ("/run/containerd/containerd.sock", "no such file or directory")
