"""The API server looks for etcd where no etcd listens, or for its objects where etcd keeps none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import (
    ADMINISTRATORS,
    PKI,
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Namespaces,
    NodeManifests,
    Pods,
    ServerURL,
    component_standing,
    manifest_repair,
    manifest_severity,
    server_urls,
    stands_still,
    static_pod,
)

_CA = f"{PKI}/ca.crt"
#: From the CA of a new cluster to its first objects.
_MAKING = timedelta(minutes=5)


@check(
    title="API server looks for etcd in the wrong place",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *ETCD_FAILS,
        "control_plane/manifest_differs_between_nodes",
        "control_plane/certificate_wrong_ca",
        "control_plane/administrator_rights_missing",
    ),
    tags=("static-pods", "manifests", "apiserver", "etcd"),
)
def etcd_endpoint_wrong(
    manifests: Manifests,
    cluster: Cluster,
    containers: Containers | None,
    pods: Pods | None,
    namespaces: Namespaces | None,
) -> Iterator[Finding]:
    """--etcd-servers against the flags of etcd's own manifests; an etcd outside can only be judged by the form."""
    etcds = {node: etcd for node, found in manifests if (etcd := found.of("etcd"))}
    for node, found in manifests:
        api = found.of("kube-apiserver")
        flag = api.flag("etcd-servers") if api else None
        if api is None or flag is None:
            continue
        yield from _prefix(node, api, found, cluster, namespaces)
        now = component_standing(api, node, containers, pods, cluster)
        if now.proven:
            continue
        severity = manifest_severity(manifests, "kube-apiserver", now)
        subject, touches = static_pod("kube-apiserver", node), stands_still(manifests, "kube-apiserver")
        asked = server_urls(flag.value)
        wrong = [(one, told) for one in asked if (told := _wrong(one, node, etcds, manifests))]
        own = etcds.get(node)
        if wrong and own and _etcd_moved(asked, own):
            continue  # etcd listens elsewhere than it says itself: etcd_flags_inconsistent
        if wrong:
            one, (why, meant) = wrong[0]
            yield Finding(
                subject,
                f"{subject.name} looks for etcd at {one.text} (--etcd-servers, {api.where(flag.line)}): {why}",
                evidence=(
                    api.quote(node, flag.line),
                    *(_listens(n, etcd) for n, etcd in list(etcds.items())[:2]),
                ),
                next=manifest_repair(node, api, flag.line, f"--etcd-servers={meant}" if meant else "correct the URL"),
                touches=touches,
                severity=severity if len(wrong) == len(asked) else Severity.WARNING,
            )
        elif own:
            for name, reason, right in _untrusted(api, own, found):
                line = (api.flag(name) or flag).line
                yield Finding(
                    subject,
                    f"{subject.name} cannot speak to etcd: {api.where(line)} --{name}: {reason}",
                    evidence=(api.quote(node, line), *_certificates(node, api, own, found)),
                    next=manifest_repair(node, api, line, f"--{name}={right}"),
                    touches=touches,
                    key=name,
                    severity=severity,
                )


def _prefix(
    node: str, api: Manifest, found: NodeManifests, cluster: Cluster, namespaces: Namespaces | None
) -> Iterator[Finding]:
    """Under another prefix etcd holds nothing: the API server makes an empty cluster there."""
    flag = api.flag("etcd-prefix")
    if flag is None or flag.value.strip("/") == "registry":
        return
    made, written = found.tree.get(_CA), api.info.changed
    if made is None or made.changed is None or written is None or written - made.changed < _MAKING:
        return  # it was so from the beginning
    system = next((n for n in namespaces.items if n.name == "kube-system"), None) if namespaces else None
    young = system is not None and system.created is not None and system.created > made.changed + _MAKING
    if not young and ADMINISTRATORS not in cluster.refused_groups:
        return
    pod = static_pod("kube-apiserver", node)
    empty = (
        Evidence(kubectl("get", "namespace", "kube-system"), f"made {system.created:%Y-%m-%d %H:%M:%S} UTC, anew")
        if young and system and system.created
        else Evidence(kubectl("auth", "whoami"), f"of group {ADMINISTRATORS}, which no binding gives rights any more")
    )
    yield Finding(
        pod,
        f"{pod.name} works on an empty cluster: {api.where(flag.line)} --etcd-prefix={flag.value}; what was made "
        "before is still in etcd, under /registry",
        evidence=(api.quote(node, flag.line), empty),
        next=manifest_repair(node, api, flag.line, "take the flag out: the default is /registry"),
        touches=(pod, CLUSTER),
        key=flag.name,
    )


def _wrong(one: ServerURL, node: str, etcds: Mapping[str, Manifest], manifests: Manifests) -> tuple[str, str] | None:
    """Why nothing answers there, and the URL that was meant."""
    local = etcds.get(node)
    right = _right(local)
    if one.fault:
        return one.fault, right
    if one.scheme.startswith("unix") or not etcds:
        return None
    if one.loopback:
        if local is None:
            return None  # a proxy on the node may lead to etcd
        return _against(one, local, right)
    if not one.literal:
        return None
    for owner, etcd in etcds.items():
        found = manifests.get(owner)
        hosts = {e.host for e in _listen(etcd) + server_urls(etcd.value("advertise-client-urls"))}
        if one.host in hosts or (found and one.host in found.addresses):
            return _against(one, etcd, right)
    members = {e.partition("=")[2] for etcd in etcds.values() for e in etcd.value("initial-cluster").split(",")}
    if any(e.host == one.host for m in members for e in server_urls(m)):
        return None
    everywhere = {e.host for etcd in etcds.values() for e in _listen(etcd) if not e.loopback}
    return f"no member of etcd has that address; {node} has {listing(sorted(everywhere), 3)}", right


def _against(one: ServerURL, etcd: Manifest, right: str) -> tuple[str, str] | None:
    listen = _listen(etcd)
    same = [
        e for e in listen if e.port == one.port and (e.host == one.host or e.anywhere or (e.loopback and one.loopback))
    ]
    if not listen or any(e.scheme == one.scheme for e in same):
        return None
    if same:
        return f"etcd serves {same[0].scheme} there and not {one.scheme}", f"{same[0].scheme}://{one.host}:{one.port}"
    if any(e.port == one.port for e in server_urls(etcd.value("listen-peer-urls"))):
        return f"port {one.port} is for etcd's peers; clients are served on {listen[0].port}", right
    if any(e.port == one.port for e in listen):
        return f"etcd listens on {listing([e.host for e in listen], 3)} and not on {one.host}", right
    metrics = any(e.port == one.port for e in server_urls(etcd.value("listen-metrics-urls")))
    what = "is for etcd's metrics" if metrics else "is not etcd's"
    return f"port {one.port} {what}; it listens on {listen[0].port}", right


def _listen(etcd: Manifest) -> tuple[ServerURL, ...]:
    return tuple(e for e in server_urls(etcd.value("listen-client-urls", "http://localhost:2379")) if not e.fault)


def _right(etcd: Manifest | None) -> str:
    found = _listen(etcd) if etcd else ()
    return next((e.text for e in found if e.loopback), found[0].text if found else "https://127.0.0.1:2379")


def _etcd_moved(asked: tuple[ServerURL, ...], etcd: Manifest) -> bool:
    """Whether the API server asks where etcd itself says that it serves, and etcd listens elsewhere."""
    said = {(e.scheme, e.port) for e in server_urls(etcd.value("advertise-client-urls"))}
    listens = {(e.scheme, e.port) for e in server_urls(etcd.value("listen-client-urls")) if not e.fault}
    return bool(said) and not said & listens and all((e.scheme, e.port) in said for e in asked)


def _listens(node: str, etcd: Manifest) -> Evidence:
    flag = etcd.flag("listen-client-urls")
    return etcd.quote(node, flag.line if flag else 1)


def _untrusted(api: Manifest, etcd: Manifest, found: NodeManifests) -> Iterator[tuple[str, str, str]]:
    """The certificates that do not fit: by the names of who signed them, where a file holds just one."""

    def certificate(manifest: Manifest, name: str) -> Mapping[str, str]:
        path = manifest.on_host(manifest.value(name))[1] if manifest.value(name) else ""
        shown = found.certificates.get(path, {})
        return shown if shown.get("count") == "1" and shown.get("subject") and shown.get("issuer") else {}

    # The flag names another file than etcd's own. Where it is the same file, its content is what is wrong.
    elsewhere = api.on_host(api.value("etcd-cafile"))[1] != etcd.on_host(etcd.value("trusted-ca-file"))[1]
    trusted, server = certificate(api, "etcd-cafile"), certificate(etcd, "cert-file")
    if elsewhere and trusted and server and trusted["subject"] != server["issuer"]:
        why = f"it is the authority {trusted['subject']}, and etcd's certificate is signed by {server['issuer']}"
        yield "etcd-cafile", why, etcd.value("trusted-ca-file")
    client, authority = certificate(api, "etcd-certfile"), certificate(etcd, "trusted-ca-file")
    named = "etcd" in api.value("etcd-certfile").rpartition("/")[2]
    if (
        not named
        and client
        and authority
        and etcd.value("client-cert-auth") == "true"
        and client["issuer"] != authority["subject"]
    ):
        why = f"it is signed by {client['issuer']}, and etcd trusts only {authority['subject']}"
        yield "etcd-certfile", why, "/etc/kubernetes/pki/apiserver-etcd-client.crt"


def _certificates(node: str, api: Manifest, etcd: Manifest, found: NodeManifests) -> Iterator[Evidence]:
    for manifest, name in (
        (api, "etcd-cafile"),
        (etcd, "cert-file"),
        (api, "etcd-certfile"),
        (etcd, "trusted-ca-file"),
    ):
        path = manifest.on_host(manifest.value(name))[1] if manifest.value(name) else ""
        if shown := found.certificates.get(path, {}):
            text = f"subject={shown.get('subject', '')} issuer={shown.get('issuer', '')}"
            yield Evidence(f"openssl x509 -noout -subject -issuer -in {path}", text, node)
