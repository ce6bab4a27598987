"""A container ends because an environment variable that its program needs is not set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest, shorten
from kdiag.facts import Complaint, Complaints, ConfigMaps, Container, Services, Topic, as_variable, edit_template

#: What the kubelet sets for each Service of the namespace.
_OF_SERVICE = re.compile(r"(?P<name>[A-Z0-9][A-Z0-9_]*)_SERVICE_(?:HOST|PORT(?:_\w+)?)")
#: What it sets in every pod; client libraries name it for whatever they lack of a pod's own access.
_OF_API = re.compile(r"KUBERNETES_(?:SERVICE|PORT)(?:_|$)")
# Words in capitals that stand before "is required" in log lines and name no variable.
_WORDS = frozenset(
    {
        *(
            "ERROR",
            "FATAL",
            "WARN",
            "WARNING",
            "INFO",
            "DEBUG",
            "TRACE",
            "PANIC",
            "CRITICAL",
            "NOTICE",
            "HTTP",
            "HTTPS",
        ),
        *(
            "TLS",
            "SSL",
            "TCP",
            "UDP",
            "API",
            "URL",
            "URI",
            "JSON",
            "YAML",
            "XML",
            "CONFIG",
            "NULL",
            "AND",
            "NOT",
            "THE",
        ),
        *("THIS", "VALUE", "ARGUMENT"),
    }
)


@check(
    title="Environment variable is missing",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(
        "application/container_crashes",
        "application/init_container_fails",
        "application/pod_not_ready",
    ),
    tags=("config",),
)
def environment_variable_missing(
    complaints: Complaints, configmaps: ConfigMaps | None, services: Services | None
) -> Iterator[Finding]:
    """Only of a container that fails: one that runs has found another way. A variable that is set is not missing."""
    found: dict[tuple[Ref, str], list[tuple[str, Complaint]]] = {}
    for complaint in complaints.about(Topic.VARIABLE_MISSING):
        container = complaint.pod.spec.container(complaint.container)
        if not complaint.failing or container is None:
            continue
        variable = complaint.said.names.get("variable", "")
        if complaint.said.phrase.by == "MySQL image":
            variable = "MYSQL_ROOT_PASSWORD"
        if not variable or variable in _WORDS or _set(container, variable) or _OF_API.match(variable):
            continue
        found.setdefault((complaint.workload, complaint.container), []).append((variable, complaint))
    for (workload, name), missing in found.items():
        complaint = missing[0][1]
        container = complaint.pod.spec.container(name)
        variables = sorted({variable for variable, _ in missing})
        declared = _declared(container, complaint.pod.namespace, configmaps) if container else {}
        near = nearest(variables[0], list(declared))
        empty = [v for v in variables if v in declared]
        what = f"{listing(variables)} {'is' if len(variables) == 1 else 'are'}"
        what += " empty" if empty == variables else " not set"
        meant = f"; {near} is" if near and not empty else ""
        lost = _lost(container, variables[0], near or "") if container else ""
        if lost:
            meant = f"; {lost}"
        elif beside := _beside(complaint, variables[0]):
            meant = f"; container {beside} has it"
        elif absent := _no_service(variables[0], complaint.pod.namespace, services):
            meant = f"; {absent}"
        yield Finding(
            workload,
            f"{workload} container {name} ends: {what} in its environment{meant}",
            evidence=(
                Evidence(
                    kubectl(*complaint.command, namespace=complaint.pod.namespace), shorten(complaint.said.text, 200)
                ),
                Evidence(
                    _list(workload),
                    listing([f"{k} ({v})" for k, v in declared.items()], 6) if declared else "no variable at all",
                ),
            ),
            next=tuple(_next(workload, name, variables, lost=bool(lost))),
            touches=_sources(container, workload.namespace),
            key=f"{name} {','.join(variables)}",
            severity=Severity.ERROR,
            since=complaint.since,
        )


def _beside(complaint: Complaint, variable: str) -> str:
    """The other container of the pod that was given the variable."""
    others = (c for c in complaint.pod.spec.all_containers if c.name != complaint.container)
    return next((c.name for c in others if any(e.name == variable for e in c.env)), "")


def _no_service(variable: str, namespace: str, services: Services | None) -> str:
    """The Service that would set the variable in every container of its namespace."""
    match = _OF_SERVICE.fullmatch(variable)
    if match is None or services is None or not services.covers(namespace):
        return ""
    there = [s.name for s in services.within(namespace)]
    if any(as_variable(name) == match["name"] for name in there):
        return ""
    name = match["name"].lower().replace("_", "-")
    close = nearest(name, there)
    return f"a Service {name} would set it, and there is none" + (f" but {close}" if close else "")


def _set(container: Container, variable: str) -> bool:
    """Whether it has a value, as far as can be told; what a whole Secret brings in is not known."""
    return any(e.name == variable and (e.value or e.value_from) and not _optional(e.value_from) for e in container.env)


def _lost(container: Container, variable: str, near: str) -> str:
    """How the template takes the variable away: by a prefix, or by an optional reference to what is not there."""
    for env in container.env:
        source = env.value_from if env.name == variable and _optional(env.value_from) else None
        if source and (secret := source.secret_key_ref):
            return f"its optional key {secret.key} of Secret {secret.name} is not there"
        if source and (config := source.config_map_key_ref):
            return f"its optional key {config.key} of ConfigMap {config.name} is not there"
    for source_ in container.env_from:
        whole = source_.secret_ref or source_.config_map_ref
        prefix = source_.prefix
        if whole and prefix and (not variable.startswith(prefix) or near.startswith(prefix)):
            kind = "Secret" if source_.secret_ref else "ConfigMap"
            return f"envFrom puts {prefix} before each name of {kind} {whole.name}"
    return ""


def _optional(source: object) -> bool:
    keys = (getattr(source, "secret_key_ref", None), getattr(source, "config_map_key_ref", None))
    return any(k is not None and k.optional for k in keys)


def _declared(container: Container, namespace: str, configmaps: ConfigMaps | None) -> dict[str, str]:
    """The variables that there are, and where each comes from."""
    found = {e.name: "optional reference" if _optional(e.value_from) else "env" for e in container.env}
    for source in container.env_from:
        if source.config_map_ref:
            name = source.config_map_ref.name
            config = configmaps.get(name, namespace) if configmaps else None
            for key in config.keys if config else ():
                found.setdefault(source.prefix + key, f"ConfigMap {name}")
        if source.secret_ref:
            found.setdefault(f"{source.prefix}*", f"Secret {source.secret_ref.name}")
    return found


def _sources(container: Container | None, namespace: str) -> tuple[Ref, ...]:
    refs = []
    for source in container.env_from if container else ():
        if source.config_map_ref:
            refs.append(Ref("ConfigMap", source.config_map_ref.name, namespace))
        if source.secret_ref:
            refs.append(Ref("Secret", source.secret_ref.name, namespace))
    return tuple(refs)


def _list(workload: Ref) -> str:
    if workload.kind == "Pod":
        return kubectl("get", "pod", workload.name, "-o", "yaml", namespace=workload.namespace)
    return kubectl("set", "env", f"{workload.kind.lower()}/{workload.name}", "--list", namespace=workload.namespace)


def _next(workload: Ref, container: str, variables: list[str], *, lost: bool) -> Iterator[str]:
    if workload.kind == "Pod":
        yield f"set {', '.join(variables)} in the pod's manifest and make the pod anew"
        return
    if lost:
        yield edit_template(workload, "env, envFrom")
        return
    values = [f"{v}=VALUE" for v in variables]
    place = f"{workload.kind.lower()}/{workload.name}"
    yield kubectl("set", "env", place, "-c", container, *values, namespace=workload.namespace)
