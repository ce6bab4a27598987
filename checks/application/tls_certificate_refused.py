"""A workload's log says that it refuses the certificate of a server that it connects to."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLIENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Complaint, Complaints, Dependencies, Topic

_STILL = 300.0
# What the libraries say, in the order in which it is looked for, and what that means.
_REASONS = (
    (
        ("expired", "not yet valid", "CERT_HAS_EXPIRED", "validity check", "timestamp check"),
        "it has expired or is not valid yet",
    ),
    (
        ("not ", "subject alt", "Subject alt", "SANs", "ALTNAME", "ostname", "Common Name"),
        "it is not made out to that name",
    ),
    (
        ("unknown authority", "valid certification path", "local issuer", "self-signed", "self signed", "SELF_SIGNED"),
        "no CA that the client trusts has signed it",
    ),
    (("first certificate", "LEAF_SIGNATURE"), "no CA that the client trusts has signed it"),
)


@check(
    title="Workload refuses a server's TLS certificate",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=CLIENT_FAILS,
    tags=("tls", "certificates"),
)
def tls_certificate_refused(
    complaints: Complaints, cluster: Cluster, dependencies: Dependencies | None
) -> Iterator[Finding]:
    """An error where the workload fails; one that runs and says it again and again is a warning."""
    seen: set[tuple[Ref, str, str]] = set()
    for complaint in complaints.about(Topic.CERTIFICATE_REFUSED):
        again = complaint.count > 1 and cluster.age(complaint.when) <= _STILL
        if not complaint.failing and not again:
            continue
        pod, workload, host = complaint.pod, complaint.workload, complaint.said.host
        told = dependencies.told(pod, host) if dependencies and host else None
        target = dependencies.asked(host, pod.namespace) if dependencies and host else None
        reason = _reason(complaint)
        if (workload, host, reason) in seen:
            continue
        seen.add((workload, host, reason))
        port = complaint.said.port or 443
        server = f"{target.name}.{target.namespace}.svc" if target and target.service else host or "HOST"
        where = f" ({told.origin})" if told else ""
        yield Finding(
            workload,
            f"{workload} refuses the certificate of {host or 'a server'}{where}: {reason}",
            evidence=(
                Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(complaint.said.text, 240)),
            ),
            next=(
                f"openssl s_client -connect {server}:{port} -servername {host or 'HOST'} </dev/null 2>/dev/null"
                " | openssl x509 -noout -subject -issuer -dates -ext subjectAltName",
                "renew or reissue the server's certificate, or give the client the CA that signed it",
            ),
            touches=(target.service.ref(),) if target and target.service else (),
            key=f"{host} {reason}",
            severity=Severity.ERROR if complaint.failing else Severity.WARNING,
            since=complaint.since,
        )


def _reason(complaint: Complaint) -> str:
    said = complaint.said
    if said.names.get("valid"):
        return "it is not made out to that name"
    words = said.names.get("reason") or said.text
    return next((meaning for texts, meaning in _REASONS if any(t in words for t in texts)), "it cannot be verified")
