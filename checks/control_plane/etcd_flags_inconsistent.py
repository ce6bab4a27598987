"""The flags of etcd contradict each other or its node: it listens where it cannot, or where nobody looks."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, listing, whole
from kdiag.facts import (
    Cluster,
    Containers,
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

#: Milliseconds: the defaults of heartbeat and election, and the longest that etcd takes.
_BEAT, _PATIENCE, _LONGEST = 100, 1000, 50_000


@check(
    title="Flags of etcd contradict each other",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=COMPONENT_FAILS,
    explains_here=("control_plane/manifest_probe_wrong",),
    tags=("static-pods", "manifests", "etcd"),
)
def etcd_flags_inconsistent(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """Addresses that are not the node's, URLs that nobody can reach, a member that is not in its own cluster."""
    for node, found in manifests:
        etcd = found.of("etcd")
        if etcd is None or not etcd.flags or etcd.flag("config-file"):
            continue
        now = component_standing(etcd, node, containers, pods, cluster)
        subject = static_pod("etcd", node)
        elsewhere = [w for w in _elsewhere(etcd) if w[0].name != "listen-client-urls" or not _is_found(etcd, found)]
        wrong = [*_urls(etcd, found), *elsewhere, *_members(etcd, found), *_closed(etcd), *_beats(etcd)]
        if now.proven:
            # That etcd runs proves its flags, but not that its clients find it.
            api = found.of("kube-apiserver")
            now = component_standing(api, node, containers, pods, cluster) if api else now
            wrong = [w for w in elsewhere if w[0].name == "listen-client-urls" and not now.runs]
        for flag, what, meant in wrong[:3]:
            yield Finding(
                subject,
                f"{subject.name}: {etcd.where(flag.line)} --{flag.name}: {what}",
                evidence=(etcd.quote(node, flag.line), *_volumes(node, etcd, flag)),
                next=manifest_repair(node, etcd, flag.line, meant),
                touches=stands_still(manifests, "etcd"),
                key=flag.name,
                severity=manifest_severity(manifests, "etcd", now),
            )


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


def _elsewhere(etcd: Manifest) -> Iterator[tuple[Flag, str, str]]:
    """It listens where it does not say that it is."""
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
                f"listen on port {one.port}"
                if one.port not in {port for _, port in heard}
                else f"{one.scheme}:// in place of {'http' if one.scheme == 'https' else 'https'}://",
            )


def _is_found(etcd: Manifest, found: NodeManifests) -> bool:
    """Whether the API server of the node, the one that must find it, asks at a port that etcd listens on."""
    api = found.of("kube-apiserver")
    heard = {(e.scheme, e.port) for e in server_urls(etcd.value("listen-client-urls")) if not e.fault}
    asked = [e for e in server_urls(api.value("etcd-servers")) if not e.fault] if api else []
    return any((e.scheme, e.port) in heard for e in asked)


def _closed(etcd: Manifest) -> Iterator[tuple[Flag, str, str]]:
    """The volume of its data may be there and not be written to."""
    flag = etcd.flag("data-dir")
    volume = etcd.on_host(flag.value)[0] if flag else ""
    for at, mount in enumerate(etcd.container.volume_mounts):
        if flag and volume and mount.name == volume and mount.read_only:
            line = etcd.line("spec", "containers", etcd.index, "volumeMounts", at, "readOnly")
            yield (
                flag,
                f"volume {volume} is mounted there with readOnly (line {line}), and etcd must write",
                (f"it is right; remove readOnly of line {line}"),
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


def _beats(etcd: Manifest) -> Iterator[tuple[Flag, str, str]]:
    """An election may not begin before five heartbeats are missed, nor later than 50 s after the first."""
    beat, election = etcd.flag("heartbeat-interval"), etcd.flag("election-timeout")
    pause = whole(beat.value) if beat else _BEAT
    patience = whole(election.value) if election else _PATIENCE
    flag = beat or election
    if flag is None or pause is None or patience is None:
        return
    if beat and (pause == 0 or patience < 5 * pause):
        least = f"--election-timeout, {patience} ms{'' if election else ' by default'}"
        what = "it must be above 0" if pause == 0 else f"five heartbeats of {pause} ms are more than {least}"
        yield beat, f"{what}, so etcd ends at once", f"--heartbeat-interval={min(_BEAT, max(patience // 10, 1))}"
    elif election and (patience > _LONGEST or patience < 5 * pause):
        what = f"it is above {_LONGEST} ms" if patience > _LONGEST else f"{patience} ms is less than five heartbeats"
        yield election, f"{what}, so etcd ends at once", f"--election-timeout={10 * pause}"


def _volumes(node: str, etcd: Manifest, flag: Flag) -> Iterator[Evidence]:
    for name in ("advertise-client-urls", "initial-advertise-peer-urls"):
        other = etcd.flag(name)
        if other and flag.name.startswith("listen"):
            yield etcd.quote(node, other.line)
