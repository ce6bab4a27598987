"""A Service's selector also matches pods of another workload, which do not listen on its port."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import Backends, Owners, Pod, Service, declared, image_port, labels_text, listeners, mentions


@check(
    title="Service selects pods of another workload",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=SERVICE_DEAD,
    tags=("service", "endpoints", "labels"),
)
def service_selects_strangers(backends: Backends, owners: Owners) -> Iterator[Finding]:
    """Ready pods get their share of the requests, whether or not they listen: only what is plainly closed counts."""
    for service in backends.services.items:
        if service.external or service.headless or not service.spec.selector:
            continue
        pods = backends.of(service)
        if len({id(p.owner) for p in pods}) < 2 and pods[:1] and pods[0].owner:
            continue  # of one controller, as nearly everywhere
        groups = owners.group([p for p in pods if p.ready and not p.terminating])
        if len(groups) < 2:
            continue
        for port in service.spec.ports:
            if not isinstance(port.target, int) or port.protocol != "TCP":
                continue  # pods without a port of that name are no endpoints
            right = [ref for ref, pods in groups.items() if all(_has(p, port.target) for p in _one_each(pods))]
            wrong = [ref for ref, pods in groups.items() if all(_lacks(p, port.target) for p in _one_each(pods))]
            if not right or not wrong or _same_program(groups, right, wrong):
                continue
            yield _finding(service, port.target, groups, right, wrong)
            break


def _one_each(pods: Sequence[Pod]) -> list[Pod]:
    """One pod of each template."""
    return list({id(p.spec): p for p in pods}.values())


def _has(pod: Pod, port: int) -> bool:
    said = any(p.container_port == port for p in declared(pod.spec))
    return said or any(image_port(c) == port or mentions(c, port) for c in listeners(pod.spec))


def _lacks(pod: Pod, port: int) -> bool:
    """Whether each of its containers says where it listens, and none says this port."""
    return not _has(pod, port) and all(
        image_port(c) or (c.ports and any(p.port is not None for _, p in c.probes())) for c in listeners(pod.spec)
    )


def _same_program(groups: dict[Ref, list[Pod]], right: Sequence[Ref], wrong: Sequence[Ref]) -> bool:
    """Whether they run one image in two versions: a canary that declares less than it opens."""

    def images(refs: Sequence[Ref]) -> set[str]:
        used = {c.image for r in refs for c in groups[r][0].spec.containers}
        return {image.rpartition("/")[2].split(":")[0].split("@")[0] for image in used}

    return bool(images(right) & images(wrong))


def _finding(
    service: Service, port: int, groups: dict[Ref, list[Pod]], right: Sequence[Ref], wrong: Sequence[Ref]
) -> Finding:
    other, namespace = groups[wrong[0]][0], service.namespace
    known = {image_port(c) or 0 for c in listeners(other.spec)}
    ports = sorted({p.container_port for p in declared(other.spec)} | known)
    listens = listing([str(p) for p in ports if p], 3)
    total = sum(len(pods) for pods in groups.values())
    share = sum(len(groups[ref]) for ref in wrong)
    return Finding(
        service.ref(),
        f"Service {service.ref().path} also selects the pods of {listing(map(str, wrong), 2)}, which listen on"
        f" {listens}, not {port}: some requests are refused",
        evidence=(
            Evidence(
                kubectl("get", "service", service.name, "-o", "wide", namespace=namespace),
                f"SELECTOR {service.selector_text}, targetPort {port}",
            ),
            Evidence(
                kubectl("get", "pods", "-l", service.selector_text, "--show-labels", namespace=namespace),
                listing(
                    [f"{groups[ref][0].name} {labels_text(_plain(groups[ref][0]))}" for ref in (*right, *wrong)], 3
                ),
            ),
            Evidence("", f"{share} of {total} ready endpoints have no port {port}"),
        ),
        next=tuple(_next(service, groups, right[0], wrong[0])),
        touches=(*right, *wrong),
        key=str(port),
    )


def _next(service: Service, groups: dict[Ref, list[Pod]], right: Ref, wrong: Ref) -> Iterator[str]:
    namespace = service.namespace
    theirs = _plain(groups[wrong][0])
    own = {k: v for k, v in _plain(groups[right][0]).items() if theirs.get(k) != v}
    if own:
        key, value = min(own.items())
        patch = json.dumps({"spec": {"selector": {key: value}}}, separators=(",", ":"))
        yield kubectl("patch", "service", service.name, "--type=merge", "-p", patch, namespace=namespace)
        return
    yield kubectl("get", wrong.kind.lower(), wrong.name, "-o", "yaml", namespace=namespace) + f" > {wrong.name}.yaml"
    yield (
        f"give its pods and its selector a label of their own in place of {service.selector_text}; a selector cannot be"
        f" changed, so: kubectl -n {namespace} replace --force -f {wrong.name}.yaml"
    )


def _plain(pod: Pod) -> dict[str, str]:
    return {k: v for k, v in pod.labels.items() if k != "pod-template-hash" and not k.startswith("controller")}
