"""The flags of etcd contradict each other, its volumes or its node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, listing
from kdiag.facts import (
    Cluster,
    Containers,
    FileInfo,
    Flag,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    server_urls,
    stands_still,
    static_pod,
)

_OLD = 600  # seconds by which an etcd certificate must be older than its data for the data to be new


@check(
    title="Flags of etcd contradict each other",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        "control_plane/static_pod_failing",
        "control_plane/static_pod_restarting",
        "control_plane/scheduler_not_running",
        "control_plane/controller_manager_not_running",
        "control_plane/api_server_unhealthy",
        "control_plane/leader_election_lost",
    ),
    tags=("static-pods", "manifests", "etcd"),
)
def etcd_flags_inconsistent(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """Data that is on no volume or begins empty, addresses that are not the node's, URLs that nobody can reach."""
    for node, found in manifests:
        etcd = found.of("etcd")
        if etcd is None or not etcd.flags or etcd.flag("config-file"):
            continue
        now = component_standing(etcd, node, containers, pods, cluster)
        subject = static_pod("etcd", node)
        faults = [*_data(etcd, found)]
        if not now.proven:
            faults += [*_urls(etcd, found), *_members(etcd, found)]
        for flag, what, meant in faults[:3]:
            serious = flag.name == "data-dir"
            yield Finding(
                subject,
                f"{subject.name}: {etcd.where(flag.line)} --{flag.name}: {what}",
                evidence=(etcd.quote(node, flag.line), *_volumes(node, etcd, flag)),
                next=manifest_repair(node, etcd, flag.line, meant),
                touches=stands_still(manifests, "etcd"),
                key=flag.name,
                severity=None if serious else manifest_severity(manifests, "etcd", now),
            )


def _data(etcd: Manifest, found: NodeManifests) -> Iterator[tuple[Flag, str, str]]:
    flag = etcd.flag("data-dir")
    if flag is None or not flag.value.startswith("/"):
        return
    volume, host = etcd.on_host(flag.value)
    shown = [v for v in etcd.host_volumes() if "certs" not in v.name and "/pki" not in v.path]
    if not volume:
        mounts = [m.mount_path for m in etcd.container.volume_mounts if any(m.name == v.name for v in shown)]
        where = f"; the volume is at {mounts[0]}" if mounts else ""
        meant = f"--data-dir={mounts[0]}" if mounts else "mount a volume there"
        yield (
            flag,
            f"no volume of the pod is mounted at {flag.value}: etcd begins empty and loses its data{where}",
            meant,
        )
        return
    member, old = found.state(f"{host}/member"), found.state("/var/lib/etcd/member")
    changed, mark = etcd.info.changed, found.tree.get("/etc/kubernetes/pki/etcd/server.crt")
    if (
        isinstance(member, FileInfo)
        and member.changed
        and changed
        and mark
        and mark.changed
        and (changed - mark.changed).total_seconds() > _OLD
        and (member.changed - changed).total_seconds() > -2
        and isinstance(old, FileInfo)
        and old.path != member.path
    ):
        what = f"etcd began empty in {host} at {member.changed:%H:%M} UTC; the data is in /var/lib/etcd"
        yield flag, what, "give --data-dir and its volume the path /var/lib/etcd"


def _urls(etcd: Manifest, found: NodeManifests) -> Iterator[tuple[Flag, str, str]]:
    for name in ("listen-client-urls", "listen-peer-urls", "listen-metrics-urls"):
        flag = etcd.flag(name)
        for one in server_urls(flag.value) if flag else ():
            if flag is None:
                continue
            if one.fault:
                yield flag, f"{one.text}: {one.fault}", "correct the URL"
            elif one.scheme.startswith("unix") or one.loopback or one.anywhere:
                continue
            elif not one.literal:
                yield flag, f"{one.host} is a name, and etcd listens only on addresses", "name the node's address"
            elif found.addresses and one.host not in found.addresses:
                own = [e.host for e in server_urls(etcd.value("advertise-client-urls")) if e.host in found.addresses]
                has = own or sorted(a for a in found.addresses if "." in a and not a.startswith("127."))
                yield (
                    flag,
                    f"{one.host} is no address of the node, which has {listing(has, 3)}",
                    f"listen on {has[0]}" if has else "",
                )
    for listen, advertise in (
        ("listen-client-urls", "advertise-client-urls"),
        ("listen-peer-urls", "initial-advertise-peer-urls"),
    ):
        flag, said = etcd.flag(listen), etcd.flag(advertise)
        if flag is None or said is None or (listen == "listen-peer-urls" and "," not in etcd.value("initial-cluster")):
            continue
        heard = {(e.scheme, e.port) for e in server_urls(flag.value) if not e.fault}
        told = [e for e in server_urls(said.value) if not e.fault]
        if heard and told and not any((e.scheme, e.port) in heard for e in told):
            one = told[0]
            ports = sorted({f"{scheme} port {port}" for scheme, port in heard})
            yield (
                flag,
                f"etcd listens on {listing(ports, 3)} and says that it is at {one.text} (--{advertise})",
                (f"listen on port {one.port}"),
            )


def _members(etcd: Manifest, found: NodeManifests) -> Iterator[tuple[Flag, str, str]]:
    """A member that starts for the first time must find itself in --initial-cluster; later nobody reads it."""
    flag, name = etcd.flag("initial-cluster"), etcd.value("name", "default")
    host = etcd.on_host(etcd.value("data-dir"))[1] if etcd.value("data-dir") else ""
    if flag is None or not host or found.state(f"{host}/member") is not False:
        return
    members = dict(word.strip().partition("=")[::2] for word in flag.value.split(",") if "=" in word)
    if name not in members:
        yield (
            flag,
            f"it has no member {name} (--name), only {listing(sorted(members), 3)}",
            f"--name={next(iter(members), '')}",
        )


def _volumes(node: str, etcd: Manifest, flag: Flag) -> Iterator[Evidence]:
    if flag.name == "data-dir":
        mounts = [f"{m.mount_path} ({m.name})" for m in etcd.container.volume_mounts]
        yield Evidence(f"grep -A1 mountPath {etcd.path}", listing(mounts, 4) or "no mount", node)
    for name in ("advertise-client-urls", "initial-advertise-peer-urls"):
        other = etcd.flag(name)
        if other and flag.name.startswith("listen"):
            yield etcd.quote(node, other.line)
