"""A node cannot reach the registry of an image, or the registry answers with an error."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, present, ssh
from kdiag.facts import (
    HOSTS,
    Events,
    Failures,
    Fault,
    HostResolvers,
    Image,
    Images,
    Logs,
    RuntimeUnits,
    UnitLine,
    close_image,
    set_image,
    touched,
)


@check(
    title="Registry cannot be reached",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "pull",
        "network",
    ),
)
def registry_unreachable(
    failures: Failures,
    events: Events | None,
    logs: Logs | None,
    images: Images | None,
    resolvers: HostResolvers | None,
    units: RuntimeUnits | None,
) -> Iterator[Finding]:
    """One finding for each workload. Where nodes live on images they hold already, a misspelt name shows like this."""
    broken = failures.of(Fault.REGISTRY_UNREACHABLE, events, logs)
    used = {c.image for t in (failures.pods.templates if broken else ()) if t[0].ready for c in t[0].spec.containers}
    used.update(name for _, names in (images if broken and images else ()) for name in names)
    for group in broken:
        one = group[0]
        namespace = one.pod.namespace
        registry = _host(one.text) or Image.parse(one.about).registry
        nodes = sorted({f.pod.node for f in group})
        close = close_image(Image.parse(one.about), sorted(used))
        hint = f"; {close} is here already: was that meant?" if close else ""
        host = registry.partition(":")[0].lower()
        led = next(((n, at) for n, r in resolvers or () if n in nodes and (at := r.names.get(host))), None)
        lead = f"{HOSTS}:{led[1].line} of {led[0]} leads {host} to {led[1].address}: " if led else ""
        why, proxy = _why(one.text, registry), None
        mirror = _MIRROR.search(one.text)
        scheme = mirror[1] if mirror else "https"
        if mirror:
            why += f", its mirror of {mirror[2]}"
        if gate := _PROXY.search(one.text):
            proxy = _told(units, nodes)
            place = f", as {proxy[1].path}:{proxy[1].line} on {proxy[0]} has it" if proxy else ""
            why = f"the proxy {gate[1]} does not answer{place}"
        yield Finding(
            one.owner,
            f"{one.where} cannot pull {one.about}: {lead}{why}{hint}",
            evidence=present(
                Evidence(
                    kubectl("get", "pod", one.pod.name, "-o", "wide", namespace=namespace),
                    f"{one.status}, on {nodes[0]}",
                ),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence(f"grep -n PROXY {proxy[1].path}", f"line {proxy[1].line}: {proxy[1].name}=…", proxy[0])
                if proxy
                else None,
                Evidence(f"grep -n {host} {HOSTS}", f"{led[1].address} {host}", led[0]) if led else None,
            ),
            next=present(
                f"ssh -t {led[0]} sudoedit {HOSTS}    # line {led[1].line}: is it meant to be there?" if led else None,
                *(
                    [
                        ssh(proxy[0], f"sudoedit {proxy[1].path}")
                        + f"    # line {proxy[1].line}: the right proxy, or none",
                        f"ssh {proxy[0]} sudo systemctl daemon-reload",
                        f"ssh {proxy[0]} sudo systemctl restart {_unit(proxy[1])}    # running containers go on",
                    ]
                    if proxy
                    else []
                ),
                *(
                    [f"ssh {nodes[0]} sudo grep -rn {registry} /etc/containerd    # the right mirror, or none"]
                    if mirror
                    else [ssh(nodes[0], f"getent hosts {registry.partition(':')[0]}")]
                ),
                ssh(nodes[0], f"curl -sSI {scheme}://{registry}/v2/"),
                ssh(nodes[0], f"sudo crictl pull {one.about}"),
                set_image(one, close) + "    # if that was meant" if close else None,
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
            shared=Shared(Ref("Registry", registry), f"Images of {registry} cannot be pulled: {lead}{why}", "want one"),
        )


_REASONS = (
    ("toomanyrequests", "{registry} limits the rate of pulls (429)"),
    ("too many requests", "{registry} limits the rate of pulls (429)"),
    ("rate limit", "{registry} limits the rate of pulls (429)"),
    ("server gave http response", "{registry} speaks HTTP, and the node asks with HTTPS"),
    ("x509", "the node does not trust the certificate of {registry}"),
    ("no such host", "the node cannot resolve {registry}"),
    ("server misbehaving", "the node cannot resolve {registry}"),
    ("proxyconnect", "the node's proxy does not answer"),
    ("connection refused", "{registry} refuses the connection"),
    ("no route to host", "the node has no route to {registry}"),
    ("network is unreachable", "the node has no route to {registry}"),
    ("eof", "{registry} breaks the connection off"),
    ("connection reset", "{registry} breaks the connection off"),
)
#: containerd adds this where it asks another host in the registry's place.
_MIRROR = re.compile(r"\"(https?)://[A-Za-z0-9.:-]+/[^\"\s]*[?&]ns=([A-Za-z0-9.-]+)")
_PROXY = re.compile(r"proxyconnect tcp: dial tcp:? (?:lookup )?([A-Za-z0-9.:-]+?):? ")


def _told(units: RuntimeUnits | None, nodes: list[str]) -> tuple[str, UnitLine] | None:
    """The node, and the line of its runtime's unit, that sends pulls through a proxy."""
    for node in nodes:
        for text in ((units.get(node) or {}) if units else {}).values():
            for line in reversed(text.of("Environment")):
                if re.search(r"https?_proxy=", line.value, re.IGNORECASE):
                    return node, line
    return None


def _unit(line: UnitLine) -> str:
    found = re.search(r"/([\w-]+)\.service", line.path)
    return found[1] if found else "containerd"


_HOST = re.compile(r"lookup ([A-Za-z0-9.-]+\.[A-Za-z]+)\b|\"https?://([A-Za-z0-9.:-]+)/")


def _host(text: str) -> str:
    """The host that was really asked: docker.io is another one."""
    match = _HOST.search(text)
    return (match[1] or match[2]) if match else ""


def _why(text: str, registry: str) -> str:
    lower = text.lower()
    for word, reason in _REASONS:
        if word in lower:
            return reason.format(registry=registry)
    if "lookup" in lower:
        return f"the node's DNS does not answer when asked for {registry}"
    if "timeout" in lower or "deadline exceeded" in lower:
        return f"{registry} does not answer in time"
    if code := re.search(r"\b(50\d [A-Z][A-Za-z -]+)", text):
        return f"{registry} answers {code[1].strip()}"
    return f"{registry} fails"
