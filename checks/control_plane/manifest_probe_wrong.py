"""A probe of a control-plane pod asks where its component does not answer."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Gap, Layer, Severity, check, nearest, whole
from kdiag.facts import (
    Cluster,
    Containers,
    HTTPGet,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    ServerURL,
    component_seen,
    manifest_repair,
    server_urls,
    stands_still,
    static_pod,
)

_PORTS = {"kube-apiserver": 6443, "kube-scheduler": 10259, "kube-controller-manager": 10257}
_PATHS = ("/livez", "/readyz", "/healthz", "/health")
_ASKS_FOR = "asks for "
_NAMELESS = "shows no token"
# A container that has outlived its startup and liveness probes this long has answered them.
_OUTLIVED = 900


@check(
    title="Probe of a control-plane pod asks the wrong place",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=COMPONENT_FAILS,
    explains_here=("application/liveness_probe_kills",),
    tags=("static-pods", "manifests", "probes", "apiserver"),
)
def manifest_probe_wrong(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding | Gap]:
    """Port, scheme, host and path against --secure-port and --bind-address. The kubelet's journal does not tell."""
    for node, found in manifests:
        for manifest in found.running:
            if not manifest.flags or _answered(node, manifest, containers, cluster):
                continue
            told: set[str] = set()
            for kind, probe in manifest.container.probes():
                if probe.http_get is None:
                    continue
                wrong = _wrong(manifest, probe.http_get, found)
                if not wrong or wrong in told:
                    continue
                told.add(wrong)
                if not component_seen(manifest.component, node, containers, pods, cluster):
                    yield Gap(node, f"whether {manifest.component} runs was not seen")
                    continue
                subject = static_pod(manifest.component, node)
                place = ("spec", "containers", manifest.index, f"{kind}Probe", "httpGet")
                line = manifest.line(*place, "path" if wrong.startswith(_ASKS_FOR) else "port")
                kills = kind != "readiness"
                budget = probe.budget
                effect = f"is killed {budget} s after each start" if kills else "never becomes ready"
                what, repair = f"its {kind} probe {wrong}", f"correct the {kind} probe"
                if wrong == _NAMELESS and (off := manifest.flag("anonymous-auth")):
                    line = off.line
                    what = f"--anonymous-auth={off.value} answers its {kind} probe, which shows no token, 401"
                    repair = "remove the flag; --authentication-config may keep the paths of probes open"
                yield Finding(
                    subject,
                    f"{subject.name} {effect}: {manifest.where(line)} {what}",
                    evidence=(
                        manifest.quote(node, manifest.line(*place), manifest.line(*place) + 4),
                        _port(node, manifest),
                    ),
                    next=manifest_repair(node, manifest, line, repair),
                    touches=stands_still(manifests, manifest.component) if kills else (),
                    key=kind,
                    severity=None if kills else Severity.WARNING,
                )


def _listen(manifest: Manifest) -> tuple[ServerURL, ...]:
    """Where the component answers probes."""
    if manifest.component == "etcd":
        urls = ",".join(manifest.value(name) for name in ("listen-metrics-urls", "listen-client-urls"))
        return tuple(e for e in server_urls(urls) if not e.fault)
    given = whole(manifest.value("secure-port"))
    port = _PORTS[manifest.component] if given is None else given
    host = manifest.value("bind-address", "0.0.0.0")  # noqa: S104
    return (ServerURL("", "https", "" if host in ("0.0.0.0", "::") else host, port),) if port else ()  # noqa: S104


def _wrong(manifest: Manifest, asked: HTTPGet, found: NodeManifests) -> str:
    listen = _listen(manifest)
    port = manifest.container.port_number(asked.port)
    if port is None:
        return f"asks port {asked.port}, a name that no port of the container has"
    if not listen:
        return ""
    same = [e for e in listen if e.port == port]
    if not same:
        return f"asks port {port}; {manifest.component} listens on {listen[0].port}"
    if not any(e.scheme == asked.scheme.lower() for e in same):
        return f"speaks {asked.scheme} to port {port}, which serves {same[0].scheme.upper()}"
    if _nobody(manifest) and not any(h.name.lower() == "authorization" for h in asked.http_headers):
        return _NAMELESS
    if not manifest.spec or not manifest.spec.host_network:
        return ""
    if not any(_heard(e, asked.host, found) for e in same):
        where = asked.host or "the node's address"
        return f"asks {where}; {manifest.component} listens on {same[0].host or 'the addresses of the node'}"
    path = asked.path.partition("?")[0]
    known = path in _PATHS or path.startswith(tuple(f"{one}/" for one in _PATHS))
    if not known and path not in ("/metrics", "/version", "/"):
        return f"{_ASKS_FOR}{path}, which does not exist{_meant(path)}"
    return ""


def _meant(path: str) -> str:
    close = nearest(path, _PATHS)
    return f", meant is {close}" if close else ""


def _nobody(manifest: Manifest) -> bool:
    """Whether the API server lets nobody ask who does not say who he is, not even the kubelet for its probe."""
    off = manifest.value("anonymous-auth").lower() in ("false", "f", "0")
    return manifest.component == "kube-apiserver" and off and not manifest.flag("authentication-config")


def _heard(one: ServerURL, host: str, found: NodeManifests) -> bool:
    """Whether a request to that host reaches the listener."""
    local = ServerURL("", host=host).loopback
    if one.anywhere:
        return (
            not host or local or not found.addresses or host in found.addresses or not ServerURL("", host=host).literal
        )
    if one.loopback:
        return local
    return host == one.host or not host or not ServerURL("", host=host).literal


def _answered(node: str, manifest: Manifest, containers: Containers | None, cluster: Cluster) -> bool:
    seen = containers.get(node) if containers else None
    live = next((c for c in seen.of(manifest.component) if c.running), None) if seen else None
    began = (live.started or live.created) if live else None
    changed = manifest.info.changed
    return bool(began and changed and began > changed and cluster.age(began) > _OUTLIVED)


def _port(node: str, manifest: Manifest) -> Evidence:
    if _nobody(manifest) and (off := manifest.flag("anonymous-auth")):
        return manifest.quote(node, off.line)
    names = ("listen-metrics-urls",) if manifest.component == "etcd" else ("secure-port", "bind-address")
    flag = next((f for n in names if (f := manifest.flag(n))), None)
    if flag:
        return manifest.quote(node, flag.line)
    return Evidence("", f"{manifest.component} listens on {_PORTS.get(manifest.component, 2381)} by default", node)
