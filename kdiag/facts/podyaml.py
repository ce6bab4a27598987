"""YAML of a pod as the kubelet reads it: where it breaks, with line and column, and what of it is no pod."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from kdiag.model.quantity import Quantity
from kdiag.model.text import nearest, shorten

Path = tuple[str | int, ...]

_MOST = 400_000  # characters
_DEPTH = 60


@dataclass(frozen=True, slots=True)
class YamlFault:
    """Why a text is no YAML; ``line`` is where to look, counted from one."""

    line: int
    column: int
    what: str


@dataclass(frozen=True, slots=True)
class Document:
    """The first document of a text, and the line of each of its keys and items."""

    value: Any = None
    lines: Mapping[Path, int] = field(default_factory=dict)
    more: int = 0  # documents behind it, which the kubelet passes over

    def line(self, *path: str | int) -> int:
        """The line of a place, or of the nearest place around it; 1 for the document."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1

    def at(self, *path: str | int) -> Any:
        """The value at a place; None where there is none."""
        value = self.value
        for step in path:
            if isinstance(value, dict) or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
                value = value.get(step) if isinstance(value, dict) else value[step]  # type: ignore[index]
            else:
                return None
        return value


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one place of a pod. ``fatal``: the kubelet refuses the file; else it passes over the field."""

    path: Path
    line: int
    what: str
    fatal: bool = True
    meant: str = ""


def read_yaml(text: str) -> Document | YamlFault:
    """The first document of a text, as the kubelet takes it, or the fault that keeps it from being read."""
    text = text.removeprefix("<U+FEFF>").removeprefix("\ufeff")
    if len(text) > _MOST:
        return YamlFault(1, 1, "the file is too large to be a pod")
    lines: dict[Path, int] = {}
    try:
        nodes = yaml.compose_all(text, Loader=yaml.SafeLoader)
        first = next(iter(nodes), None)
        value = _value(first, (), lines, {}, 0) if first is not None else None
    except yaml.MarkedYAMLError as exc:
        return _fault(exc)
    except (yaml.YAMLError, ValueError) as exc:
        return YamlFault(1, 1, shorten(" ".join(str(exc).split()), 120))
    except RecursionError:
        return YamlFault(1, 1, "it is nested too deeply")
    more = 0
    try:
        more = sum(1 for node in nodes if node is not None and node.value)
    except (yaml.YAMLError, ValueError, RecursionError):
        more = 0  # the kubelet does not read so far
    return Document(value, lines, more)


def _fault(exc: yaml.MarkedYAMLError) -> YamlFault:
    mark = exc.problem_mark or exc.context_mark
    # A key without its colon is noticed only on the next line; where it began is where to look.
    if exc.context_mark and "simple key" in (exc.context or ""):
        mark = exc.context_mark
    what = (exc.problem or exc.context or "it cannot be parsed").replace("\t", "\\t")
    return YamlFault(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, shorten(what, 120))


_SCALARS = yaml.constructor.SafeConstructor


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], known: dict[int, Any], depth: int) -> Any:
    if depth > _DEPTH:
        raise ValueError("it is nested too deeply")
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        known[id(node)] = table
        for key_node, value_node in node.value:
            key = str(_scalar(key_node)) if isinstance(key_node, yaml.ScalarNode) else "?"
            value = _value(value_node, (*path, key), lines, known, depth + 1)
            lines[(*path, key)] = key_node.start_mark.line + 1
            if key == "<<" and isinstance(value, dict):
                table.update({k: v for k, v in value.items() if k not in table})
            else:
                table[key] = value
        return table
    if isinstance(node, yaml.SequenceNode):
        items: list[Any] = []
        known[id(node)] = items
        for at, item in enumerate(node.value):
            items.append(_value(item, (*path, at), lines, known, depth + 1))
            lines[(*path, at)] = item.start_mark.line + 1
        return items
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    make = {
        "int": _SCALARS.construct_yaml_int,
        "float": _SCALARS.construct_yaml_float,
        "bool": _SCALARS.construct_yaml_bool,
        "null": _SCALARS.construct_yaml_null,
    }.get(kind)
    if make is None:
        return str(node.value)
    try:
        return make(_SCALARS(), node)  # type: ignore[arg-type]
    except (ValueError, KeyError, OverflowError):
        return str(node.value)


# What a pod is made of, as far as static pods use it. None stands for anything.
_S, _I, _B, _IS, _Q = "a string", "a whole number", "true or false", "a number or a name", "a quantity"
_M = {"*": _S}
_KEYREF = {"name": _S, "key": _S, "optional": _B}
_HANDLER: dict[str, Any] = {
    "httpGet": {"path": _S, "port": _IS, "host": _S, "scheme": _S, "httpHeaders": [{"name": _S, "value": _S}]},
    "exec": {"command": [_S]},
    "tcpSocket": {"port": _IS, "host": _S},
    "grpc": {"port": _I, "service": _S},
}
_PROBE = {
    **_HANDLER,
    **dict.fromkeys(("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold"), _I),
    **dict.fromkeys(("failureThreshold", "terminationGracePeriodSeconds"), _I),
}
_CONTAINER: dict[str, Any] = {
    "name": _S,
    "image": _S,
    "imagePullPolicy": _S,
    "command": [_S],
    "args": [_S],
    "workingDir": _S,
    "ports": [{"containerPort": _I, "hostPort": _I, "hostIP": _S, "name": _S, "protocol": _S}],
    "env": [
        {
            "name": _S,
            "value": _S,
            "valueFrom": {
                "fieldRef": None,
                "resourceFieldRef": None,
                "configMapKeyRef": _KEYREF,
                "secretKeyRef": _KEYREF,
            },
        }
    ],
    "envFrom": None,
    "resources": {"requests": {"*": _Q}, "limits": {"*": _Q}, "claims": None},
    "resizePolicy": None,
    "volumeMounts": [
        {
            "name": _S,
            "mountPath": _S,
            "subPath": _S,
            "subPathExpr": _S,
            "readOnly": _B,
            "recursiveReadOnly": _S,
            "mountPropagation": _S,
        }
    ],
    "volumeDevices": None,
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": None,
    "terminationMessagePath": _S,
    "terminationMessagePolicy": _S,
    "securityContext": {
        "privileged": _B,
        "runAsUser": _I,
        "runAsGroup": _I,
        "runAsNonRoot": _B,
        "readOnlyRootFilesystem": _B,
        "allowPrivilegeEscalation": _B,
        "procMount": _S,
        **dict.fromkeys(("capabilities", "seLinuxOptions", "windowsOptions", "seccompProfile", "appArmorProfile")),
    },
    "stdin": _B,
    "stdinOnce": _B,
    "tty": _B,
    "restartPolicy": _S,
    "restartPolicyRules": None,
}
_SOURCES = [
    "emptyDir",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "projected",
    "portworxVolume",
    "scaleIO",
    "storageos",
    "csi",
    "ephemeral",
    "image",
]
_POD: dict[str, Any] = {
    "apiVersion": _S,
    "kind": _S,
    "metadata": {
        "name": _S,
        "namespace": _S,
        "labels": _M,
        "annotations": _M,
        "uid": _S,
        "generateName": _S,
        **dict.fromkeys(
            [
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "finalizers",
                "generation",
                "managedFields",
                "ownerReferences",
                "resourceVersion",
                "selfLink",
            ]
        ),
    },
    "spec": {
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "ephemeralContainers": None,
        "volumes": [{"name": _S, "hostPath": {"path": _S, "type": _S}, **dict.fromkeys(_SOURCES)}],
        "hostNetwork": _B,
        "hostPID": _B,
        "hostIPC": _B,
        "hostUsers": _B,
        "hostname": _S,
        "subdomain": _S,
        "nodeName": _S,
        "nodeSelector": _M,
        "priority": _I,
        "priorityClassName": _S,
        "preemptionPolicy": _S,
        "restartPolicy": _S,
        "dnsPolicy": _S,
        "schedulerName": _S,
        "serviceAccountName": _S,
        "serviceAccount": _S,
        "automountServiceAccountToken": _B,
        "enableServiceLinks": _B,
        "terminationGracePeriodSeconds": _I,
        "activeDeadlineSeconds": _I,
        "shareProcessNamespace": _B,
        "runtimeClassName": _S,
        "setHostnameAsFQDN": _B,
        "securityContext": {
            "runAsUser": _I,
            "runAsGroup": _I,
            "runAsNonRoot": _B,
            "fsGroup": _I,
            **dict.fromkeys(
                [
                    "seccompProfile",
                    "seLinuxOptions",
                    "supplementalGroups",
                    "supplementalGroupsPolicy",
                    "sysctls",
                    "windowsOptions",
                    "fsGroupChangePolicy",
                    "appArmorProfile",
                    "seLinuxChangePolicy",
                ]
            ),
        },
        "tolerations": None,
        "affinity": None,
        "topologySpreadConstraints": None,
        "imagePullSecrets": None,
        "hostAliases": None,
        "readinessGates": None,
        "overhead": {"*": _Q},
        "dnsConfig": None,
        "os": None,
        "resourceClaims": None,
        "resources": None,
        "schedulingGates": None,
        "hostnameOverride": _S,
        "workloadRef": None,
    },
    "status": None,
}


def pod_problems(document: Document) -> tuple[Problem, ...]:
    """What keeps the kubelet from taking a document for a pod, and fields that it passes over for their spelling."""
    value = document.value
    if value is None:
        return (Problem((), 1, "it is empty"),)
    if not isinstance(value, dict):
        return (Problem((), 1, f"it is {_kind(value)} and no object"),)
    found = [*_identity(document), *_walk(value, _POD, (), document)]
    if not any(p.fatal for p in found):
        found += _required(document)
    return tuple(sorted(found, key=lambda p: (not p.fatal, p.line)))


def _identity(document: Document) -> Iterator[Problem]:
    for name, right in (("apiVersion", "v1"), ("kind", "Pod")):
        value = document.at(name)
        if value in (None, ""):
            typo = next((k for k in document.value if k not in _POD and nearest(str(k), [name])), "")
            what = f"{name} is missing" + (f": the file has {typo}" if typo else "")
            yield Problem((typo or name,), document.line(typo or name), what, meant=f"{name}: {right}")
        elif value != right:
            yield Problem((name,), document.line(name), f"{name} is {value}", meant=f"{name}: {right}")


def _walk(value: Any, shape: Any, path: Path, document: Document) -> Iterator[Problem]:
    if shape is None or value is None:
        return
    line = document.line(*path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield Problem(path, line, f"{spell(path)} is {_kind(value)} and must be a list")
            return
        for at, item in enumerate(value):
            yield from _walk(item, shape[0], (*path, at), document)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield Problem(path, line, f"{spell(path)} is {_kind(value)} and must be an object")
            return
        for key, item in value.items():
            if "*" in shape:
                yield from _walk(item, shape["*"], (*path, key), document)
            elif key in shape:
                yield from _walk(item, shape[key], (*path, key), document)
            elif meant := _meant(key, shape, value):
                where = (*path, key)
                what = f"{spell(where)} is no field of a pod"
                yield Problem(where, document.line(*where), what, fatal=False, meant=meant)
    elif not _fits(value, shape):
        yield Problem(path, line, f"{spell(path)} is {_kind(value)} and must be {shape}")


def _meant(key: str, shape: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    """The field that was meant by an unknown one, unless that is there as well."""
    meant = next((k for k in shape if k.lower() == key.lower()), None) or nearest(key, list(shape))
    contained = bool(meant) and (str(meant).lower() in key.lower()) and len(key) - len(str(meant)) > 2
    return "" if not meant or meant in value or contained else meant


def _fits(value: Any, shape: str) -> bool:
    if shape == _S:
        return isinstance(value, str)
    if shape == _B:
        return isinstance(value, bool)
    if shape == _I:
        return isinstance(value, int) and not isinstance(value, bool)
    if shape == _IS:
        return isinstance(value, int | str) and not isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        Quantity.parse(value)
    except ValueError:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        shown = ", ".join(f"{k}: {v}" for k, v in list(value.items())[:1] if not isinstance(v, dict | list))
        return f"an object ({shorten(shown, 60)})" if shown else "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"{value} (true or false)".lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    return f'the text "{shorten(str(value), 60)}"'


def spell(path: Path) -> str:
    """``spec.containers[0].image``."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.lstrip(".") or "the document"


_TYPES = ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
_CHOICES: tuple[tuple[str, Sequence[str]], ...] = (
    ("restartPolicy", ("Always", "OnFailure", "Never")),
    ("dnsPolicy", ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")),
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _required(document: Document) -> Iterator[Problem]:
    """What validation asks of a pod beyond the types."""
    name = document.at("metadata", "name")
    if not name:
        yield _wrong(document, ("metadata", "name"), "metadata.name is missing")
    elif not _NAME.fullmatch(name):
        only = "only a-z, 0-9, - and . are allowed"
        yield _wrong(document, ("metadata", "name"), f"metadata.name is {name}: {only}")
    if not document.at("spec", "containers"):
        typo = next((p for p in _walk(document.value, _POD, (), document) if p.meant in ("spec", "containers")), None)
        what = "spec.containers is missing" + (f": the file has {spell(typo.path)}" if typo else "")
        yield _wrong(document, typo.path if typo else ("spec", "containers"), what, typo.meant if typo else "")
        return
    for option, options in _CHOICES:
        yield from _choice(document, ("spec", option), options)
    volumes = [v.get("name") for v in document.at("spec", "volumes") or () if isinstance(v, dict)]
    yield from _volumes(document, volumes)
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for at, container in enumerate(document.at("spec", group) or ()):
            place = ("spec", group, at)
            if not isinstance(container, dict):
                yield _wrong(document, place, f"{spell(place)} is empty")
                continue
            yield from _container(document, place, container, names)
            yield from _mounts(document, place, container, volumes)
            names.add(str(container.get("name") or ""))


def _wrong(document: Document, path: Path, what: str, meant: str = "") -> Problem:
    return Problem(path, document.line(*path), what, meant=meant)


def _choice(document: Document, path: Path, options: Sequence[str]) -> Iterator[Problem]:
    value = document.at(*path)
    if value is not None and value not in options:
        meant = nearest(str(value), [o for o in options if o]) or ""
        yield _wrong(document, path, f"{spell(path)} is {value}", meant)


def _volumes(document: Document, names: Sequence[Any]) -> Iterator[Problem]:
    for at, volume in enumerate(document.at("spec", "volumes") or ()):
        place: Path = ("spec", "volumes", at)
        if not isinstance(volume, dict) or not volume.get("name"):
            yield _wrong(document, place, f"{spell(place)}.name is missing")
        elif names.index(volume["name"]) != at:
            yield _wrong(document, place, f"two volumes are called {volume['name']}")
        elif isinstance(volume.get("hostPath"), dict):
            yield from _choice(document, (*place, "hostPath", "type"), _TYPES)
            if not volume["hostPath"].get("path"):
                yield _wrong(document, (*place, "hostPath"), f"{spell(place)}.hostPath.path is missing")


def _container(document: Document, place: Path, container: Any, names: Container[str]) -> Iterator[Problem]:
    for needed in ("name", "image"):
        if not container.get(needed):
            yield _wrong(document, place, f"{spell(place)}.{needed} is missing")
    own = str(container.get("name") or "")
    if own and (not _LABEL.fullmatch(own) or own in names):
        why = "is there twice" if own in names else "may hold only a-z, 0-9 and -"
        yield _wrong(document, (*place, "name"), f"container name {own} {why}")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield from _probe(document, (*place, probe))
    yield from _choice(document, (*place, "imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort") if isinstance(port, dict) else None
        if number is None or not 0 < number < 65536:
            where = (*place, "ports", index, "containerPort")
            yield _wrong(document, where, f"{spell(where)} is {number}: a port is between 1 and 65535")
    yield from _amounts(document, place, container)


def _mounts(document: Document, place: Path, container: Any, volumes: Sequence[Any]) -> Iterator[Problem]:
    paths: set[str] = set()
    for at, mount in enumerate(container.get("volumeMounts") or ()):
        where = (*place, "volumeMounts", at)
        mount = mount if isinstance(mount, dict) else {}
        name, path = mount.get("name"), mount.get("mountPath")
        if not name or not path:
            yield _wrong(document, where, f"{spell(where)}.{'mountPath' if name else 'name'} is missing")
        elif name not in volumes:
            meant = nearest(name, [v for v in volumes if isinstance(v, str)]) or ""
            yield _wrong(
                document, (*where, "name"), f"{spell(where)}.name is {name}, and no volume is called so", meant
            )
        elif path in paths:
            yield _wrong(document, (*where, "mountPath"), f"two volumes are mounted at {path}")
        paths.add(path or "")


def _probe(document: Document, where: Path) -> Iterator[Problem]:
    probe = document.at(*where)
    if not isinstance(probe, dict):
        return
    handlers = [h for h in _HANDLER if probe.get(h) is not None]
    if len(handlers) != 1:
        yield _wrong(document, where, f"{spell(where)} names {'several handlers' if handlers else 'nothing to ask'}")
        return
    action = probe[handlers[0]]
    if handlers[0] != "exec":
        port = action.get("port")
        if not port or (isinstance(port, int) and not 0 < port < 65536):
            path = (*where, handlers[0], "port")
            yield _wrong(document, path, f"{spell(path)} is {port}: a port is between 1 and 65535")
    if (scheme := action.get("scheme")) is not None and scheme not in ("HTTP", "HTTPS"):
        path = (*where, handlers[0], "scheme")
        yield _wrong(document, path, f"{spell(path)} is {scheme}", str(scheme).upper())


def _amounts(document: Document, place: Path, container: Any) -> Iterator[Problem]:
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    for name, value in (resources.get("requests") or {}).items():
        if limits.get(name) is not None and Quantity.parse(value) > Quantity.parse(limits[name]):
            path = (*place, "resources", "requests", name)
            yield _wrong(document, path, f"{spell(path)} is {value}, more than the limit {limits[name]}")
