"""A kube-apiserver that is not one: real HTTP(S) on 127.0.0.1, real answers, and faults on request.

What it answers was compared with kube-apiserver v1.36.3 and is held against kubectl by test_fakeapi.py. It changes
nothing and watches nothing: every write except a self review is refused with 405, and so is a watch.

    with FakeAPI({"/api/v1/pods": [pod]}, tls=True) as api:
        api.fault("/api/v1/pods", Fault.status(429, retry_after=1), first=2)
        run(api.kubeconfig(tmp_path / "config"))
        assert {request.method for request in api.requests} == {"GET"}
"""

from __future__ import annotations

import base64
import binascii
import bisect
import gzip
import json
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import trustme

Object = Mapping[str, Any]

# The real server counts a longer answer in chunks instead of by Content-Length ...
CHUNKED_ABOVE = 2048
# ... and compresses one longer than this for a client that says it can read gzip.
GZIP_ABOVE = 128 * 1024

EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
NO_SUCH_RESOURCE = "the server could not find the requested resource"


# --------------------------------------------------------------------------------------------------------------------
# The kinds of a cluster without add-ons, as v1.36 lists them: group version, resource, kind, scope, short names.

_BUILT_IN = """
v1 bindings Binding namespaced
v1 componentstatuses ComponentStatus cluster cs
v1 configmaps ConfigMap namespaced cm
v1 endpoints Endpoints namespaced ep
v1 events Event namespaced ev
v1 limitranges LimitRange namespaced limits
v1 namespaces Namespace cluster ns
v1 nodes Node cluster no
v1 persistentvolumeclaims PersistentVolumeClaim namespaced pvc
v1 persistentvolumes PersistentVolume cluster pv
v1 pods Pod namespaced po
v1 podtemplates PodTemplate namespaced
v1 replicationcontrollers ReplicationController namespaced rc
v1 resourcequotas ResourceQuota namespaced quota
v1 secrets Secret namespaced
v1 serviceaccounts ServiceAccount namespaced sa
v1 services Service namespaced svc
apiregistration.k8s.io/v1 apiservices APIService cluster
apps/v1 controllerrevisions ControllerRevision namespaced
apps/v1 daemonsets DaemonSet namespaced ds
apps/v1 deployments Deployment namespaced deploy
apps/v1 replicasets ReplicaSet namespaced rs
apps/v1 statefulsets StatefulSet namespaced sts
events.k8s.io/v1 events Event namespaced ev
authentication.k8s.io/v1 selfsubjectreviews SelfSubjectReview cluster
authentication.k8s.io/v1 tokenreviews TokenReview cluster
authorization.k8s.io/v1 localsubjectaccessreviews LocalSubjectAccessReview namespaced
authorization.k8s.io/v1 selfsubjectaccessreviews SelfSubjectAccessReview cluster
authorization.k8s.io/v1 selfsubjectrulesreviews SelfSubjectRulesReview cluster
authorization.k8s.io/v1 subjectaccessreviews SubjectAccessReview cluster
autoscaling/v2 horizontalpodautoscalers HorizontalPodAutoscaler namespaced hpa
autoscaling/v1 horizontalpodautoscalers HorizontalPodAutoscaler namespaced hpa
batch/v1 cronjobs CronJob namespaced cj
batch/v1 jobs Job namespaced
certificates.k8s.io/v1 certificatesigningrequests CertificateSigningRequest cluster csr
networking.k8s.io/v1 ingressclasses IngressClass cluster
networking.k8s.io/v1 ingresses Ingress namespaced ing
networking.k8s.io/v1 ipaddresses IPAddress cluster ip
networking.k8s.io/v1 networkpolicies NetworkPolicy namespaced netpol
networking.k8s.io/v1 servicecidrs ServiceCIDR cluster
policy/v1 poddisruptionbudgets PodDisruptionBudget namespaced pdb
rbac.authorization.k8s.io/v1 clusterrolebindings ClusterRoleBinding cluster
rbac.authorization.k8s.io/v1 clusterroles ClusterRole cluster
rbac.authorization.k8s.io/v1 rolebindings RoleBinding namespaced
rbac.authorization.k8s.io/v1 roles Role namespaced
storage.k8s.io/v1 csidrivers CSIDriver cluster
storage.k8s.io/v1 csinodes CSINode cluster
storage.k8s.io/v1 csistoragecapacities CSIStorageCapacity namespaced
storage.k8s.io/v1 storageclasses StorageClass cluster sc
storage.k8s.io/v1 volumeattachments VolumeAttachment cluster
storage.k8s.io/v1 volumeattributesclasses VolumeAttributesClass cluster vac
admissionregistration.k8s.io/v1 mutatingadmissionpolicies MutatingAdmissionPolicy cluster
admissionregistration.k8s.io/v1 mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding cluster
admissionregistration.k8s.io/v1 mutatingwebhookconfigurations MutatingWebhookConfiguration cluster
admissionregistration.k8s.io/v1 validatingadmissionpolicies ValidatingAdmissionPolicy cluster
admissionregistration.k8s.io/v1 validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding cluster
admissionregistration.k8s.io/v1 validatingwebhookconfigurations ValidatingWebhookConfiguration cluster
apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition cluster crd,crds
scheduling.k8s.io/v1 priorityclasses PriorityClass cluster pc
coordination.k8s.io/v1 leases Lease namespaced
node.k8s.io/v1 runtimeclasses RuntimeClass cluster
discovery.k8s.io/v1 endpointslices EndpointSlice namespaced
resource.k8s.io/v1 deviceclasses DeviceClass cluster
resource.k8s.io/v1 resourceclaims ResourceClaim namespaced
resource.k8s.io/v1 resourceclaimtemplates ResourceClaimTemplate namespaced
resource.k8s.io/v1 resourceslices ResourceSlice cluster
flowcontrol.apiserver.k8s.io/v1 flowschemas FlowSchema cluster
flowcontrol.apiserver.k8s.io/v1 prioritylevelconfigurations PriorityLevelConfiguration cluster
"""

_SUBRESOURCES = {
    "v1": ("nodes/proxy", "nodes/status", "pods/eviction", "pods/exec", "pods/log", "pods/status", "services/proxy"),
    "apps/v1": ("daemonsets/status", "deployments/scale", "deployments/status", "statefulsets/status"),
}
_IN_ALL = frozenset(
    {"pods", "services", "replicationcontrollers", "daemonsets", "deployments", "replicasets", "statefulsets"}
    | {"horizontalpodautoscalers", "cronjobs", "jobs"}
)
_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

# What each kind can be selected by besides metadata.name and metadata.namespace.
_FIELDS = {
    "pods": "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase "
    "status.podIP status.nominatedNodeName",
    "events": "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath regarding.kind "
    "regarding.namespace regarding.name regarding.uid reason reportingComponent source type",
    "nodes": "spec.unschedulable",
    "namespaces": "status.phase",
    "secrets": "type",
    "services": "spec.clusterIP spec.type",
    "jobs": "status.successful",
    "replicasets": "status.replicas",
    "replicationcontrollers": "status.replicas",
    "certificatesigningrequests": "spec.signerName",
}

_CHECK_NAMES = """
    ping log etcd poststarthook/start-apiserver-admission-initializer
    poststarthook/generic-apiserver-start-informers poststarthook/priority-and-fairness-config-consumer
    poststarthook/start-apiextensions-controllers poststarthook/crd-informer-synced
    poststarthook/rbac/bootstrap-roles poststarthook/scheduling/bootstrap-system-priority-classes
    poststarthook/bootstrap-controller poststarthook/start-kube-aggregator-informers
    poststarthook/apiservice-registration-controller autoregister-completion
"""
_CHECKS = _CHECK_NAMES.split()
# readyz asks for more than livez and healthz do.
_READY_CHECKS = [*_CHECKS[:3], "etcd-readiness", "informer-sync", *_CHECKS[3:], "shutdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One resource of the API, as discovery lists it."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    short: tuple[str, ...] = ()

    @property
    def group_version(self) -> str:
        """What stands as apiVersion in an object of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """The list of all objects of this kind."""
        return f"{_root(self.group_version)}/{self.resource}"

    @property
    def qualified(self) -> str:
        """The resource as error messages name it: pods, deployments.apps."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def verbs(self) -> tuple[str, ...]:
        """What discovery promises. Reviews and bindings can only be created."""
        if self.resource == "componentstatuses":
            return ("get", "list")
        return ("create",) if self.resource.endswith("reviews") or self.resource == "bindings" else _ALL_VERBS

    def discovery(self) -> dict[str, Any]:
        """This kind as an entry of an APIResourceList."""
        entry: dict[str, Any] = {
            "name": self.resource,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": list(self.verbs),
        }
        if self.short:
            entry["shortNames"] = list(self.short)
        if self.resource in _IN_ALL:
            entry["categories"] = ["all"]
        return entry


def _root(group_version: str) -> str:
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


def _built_in() -> Iterator[Kind]:
    for line in _BUILT_IN.strip().splitlines():
        group_version, resource, kind, scope, *short = line.split()
        group, _, version = group_version.rpartition("/")
        yield Kind(
            group=group,
            version=version,
            resource=resource,
            kind=kind,
            namespaced=scope == "namespaced",
            short=tuple(short[0].split(",")) if short else (),
        )


# --------------------------------------------------------------------------------------------------------------------
# What comes in and goes out


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came. The names of headers are lower case; a query holds the last value of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    at: float = 0.0
    """When it came, on the monotonic clock: the distance of two is how long a client waited."""

    @property
    def target(self) -> str:
        """The path with its query, as a raw answer may be keyed."""
        query = "&".join(f"{key}={value}" if value else key for key, value in self.query.items())
        return f"{self.path}?{query}" if query else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as it goes out, before it is framed."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Self:
        """A document, in the compact form that the server sends to programs."""
        return cls(status=status, body=json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")

    @classmethod
    def text(cls, text: str | bytes, status: int = 200) -> Self:
        """Plain text."""
        body = text.encode() if isinstance(text, str) else text
        return cls(status=status, body=body, content_type="text/plain; charset=utf-8")


Raw = str | bytes | Mapping[str, Any] | Sequence[Any] | Answer
"""An answer as a test writes it: text, a JSON document, or all of it."""

NOT_FOUND = Answer.text("404 page not found\n", 404)


class Refused(Exception):
    """Ends a request with an error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def status(
    code: int,
    message: str,
    reason: str = "",
    *,
    details: Mapping[str, Any] | None = None,
    continue_token: str = "",
    retry_after: int | None = None,
) -> Answer:
    """The Status object that the server sends in place of what was asked for."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"continue": continue_token} if continue_token else {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        body["reason"] = reason
    if details is not None or retry_after is not None:
        body["details"] = dict(details or {}) | ({} if retry_after is None else {"retryAfterSeconds": retry_after})
    answer = Answer.json(body | {"code": code}, code)
    return answer if retry_after is None else replace(answer, headers={"Retry-After": str(retry_after)})


def _bad_request(message: str) -> Refused:
    return Refused(status(400, message, "BadRequest"))


def _no_such_resource() -> Refused:
    return Refused(status(404, NO_SUCH_RESOURCE, "NotFound", details={}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one request wants to do, as an authorizer sees it. A request without a resource has a path."""

    user: str
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """The resource as a rule names it: pods, pods/log."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def forbidden(self) -> Answer:
        """The real server's refusal, word for word."""
        if not self.resource:
            message = f'forbidden: User "{self.user}" cannot {self.verb} path "{self.path}"'
            return status(403, message, "Forbidden", details={})
        subject = f"{self.resource}.{self.group}" if self.group else self.resource
        details = {"name": self.name, "group": self.group, "kind": self.resource}
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        name = f' "{self.name}"' if self.name else ""
        wants = f'cannot {self.verb} resource "{self.full_resource}" in API group "{self.group}"'
        message = f'{subject}{name} is forbidden: User "{self.user}" {wants} {where}'
        return status(403, message, "Forbidden", details={key: value for key, value in details.items() if value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is allowed: a PolicyRule with the namespaces and the users that it is bound in. Empty names mean any."""

    verbs: Collection[str] = ("get", "list", "watch")
    groups: Collection[str] = ("",)
    resources: Collection[str] = ()
    names: Collection[str] = ()
    paths: Collection[str] = ()
    namespaces: Collection[str] | None = None
    """None is a ClusterRoleBinding; otherwise a RoleBinding in each of these."""
    users: Collection[str] | None = None

    def allows(self, access: Access) -> bool:
        """Whether this rule alone is enough."""
        if not _any_of(self.verbs, access.verb) or (self.users is not None and access.user not in self.users):
            return False
        if not access.resource:
            return any(fnmatchcase(access.path, pattern) for pattern in self.paths)
        return (
            _any_of(self.groups, access.group)
            and _any_of(self.resources, access.full_resource)
            and (not self.names or access.name in self.names)
            and (self.namespaces is None or access.namespace in self.namespaces)
        )


def _any_of(allowed: Collection[str], wanted: str) -> bool:
    return "*" in allowed or wanted in allowed


Rbac = Callable[[Access], bool] | Sequence[Rule]

# What system:discovery, system:public-info-viewer and system:basic-user give to everybody.
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")
_PUBLIC = ("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/")
_SELF_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """The server's certificate, where a test wants a wrong one. FakeAPI.ca signs it."""

    names: Sequence[str] = ("127.0.0.1", "localhost")
    not_before: datetime | None = None
    not_after: datetime | None = None


# --------------------------------------------------------------------------------------------------------------------
# Selectors

_KEY = r"[A-Za-z0-9][A-Za-z0-9_./-]*"
_LABEL_VALUE = r"[A-Za-z0-9_.-]*"
_REQUIREMENT = re.compile(
    rf"""\s*(?:
      !\s*(?P<absent>{_KEY})
    | (?P<key>{_KEY})\s*(?:
          (?P<op>==|=|!=|>|<)\s*(?P<value>{_LABEL_VALUE})
        | \s(?P<set>in|notin)\s*\(\s*(?P<values>[^()]*)\)
      )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)

Labels = Mapping[str, str]


def label_selector(text: str) -> Callable[[Labels], bool]:
    """Parse a label selector. A key that is missing satisfies != and notin, as on the real server."""
    tests: list[Callable[[Labels], bool]] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise _bad_request(f"unable to parse requirement: found '{text[position:]}', expected: identifier")
        tests.append(partial(_satisfies, match.groupdict()))
        position = match.end()
    return lambda labels: all(test(labels) for test in tests)


def _satisfies(requirement: Mapping[str, str | None], labels: Labels) -> bool:
    if requirement["absent"]:
        return requirement["absent"] not in labels
    value = labels.get(requirement["key"] or "")
    if requirement["set"]:
        among = value in [item.strip() for item in (requirement["values"] or "").split(",")]
        return among if requirement["set"] == "in" else not among
    wanted = requirement["value"]
    match requirement["op"]:
        case "=" | "==":
            return value == wanted
        case "!=":
            return value != wanted
        case ">" | "<" as op:
            if value is None or not value.isdigit():
                return False
            return int(value) > int(wanted or 0) if op == ">" else int(value) < int(wanted or 0)
    return value is not None


def field_selector(text: str, resource: str) -> Callable[[Object], bool]:
    """Parse a field selector for this resource; a field that it does not have is a 400."""
    known = {"metadata.name", "metadata.namespace", *_FIELDS.get(resource, "").split()}
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if match is None:
            raise _bad_request(f"invalid field selector: {text}; can't understand '{part}'")
        name, op, value = match.groups()
        if name not in known:
            raise _bad_request(
                f"field label not supported: {name}"
                if resource in _FIELDS
                else f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
        tests.append((name, op != "!=", value))
    return lambda item: all((_field(item, name) == value) is wanted for name, wanted, value in tests)


def _field(item: Object, name: str) -> str:
    value: Any = item
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):  # the label "source" of an event means source.component
        value = value.get("component")
    match value:
        case None:
            return "false" if name in ("spec.unschedulable", "spec.hostNetwork") else ""
        case bool():
            return str(value).lower()
    return str(value)


# --------------------------------------------------------------------------------------------------------------------
# Faults


class Closing(Exception):
    """The server is being shut down: whoever still speaks stops here."""


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, api: FakeAPI, request: Request, handler: _Handler) -> None:
        self.api = api
        self.request = request
        self._handler = handler

    def healthy(self) -> Answer:
        """What would be said without the fault."""
        return self.api.answer(self.request, self._handler.peer_name)

    def forbidden(self) -> Answer:
        """What would be said if rbac did not allow it."""
        try:
            return self.api.access(self.request, self._handler.peer_name).forbidden()
        except Refused as refused:
            return refused.answer

    def send(self, answer: Answer) -> None:
        """Say it all, framed as the real server frames it."""
        body = answer.body
        log = answer.content_type == "text/plain"
        if (len(body) > CHUNKED_ABOVE or log) and not self._handler.old_client:
            self.head(answer, {"Transfer-Encoding": "chunked"})
            for start in range(0, len(body), 32768):
                self.chunk(body[start : start + 32768])
            self.write(b"0\r\n\r\n")
        else:
            self.head(answer, {"Content-Length": str(len(body))})
            self.write(body)

    def head(self, answer: Answer, framing: Mapping[str, str]) -> None:
        """Say the status line and the headers only."""
        headers = {
            "Audit-Id": "00000000-0000-4000-8000-000000000000",
            "Cache-Control": "no-cache, private",
            "Content-Type": answer.content_type,
            "Date": format_datetime(self.api.now(), usegmt=True),
            **framing,
            **answer.headers,
        }
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{key}: {value}" for key, value in headers.items() if value)]
        self._handler.write_head("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Say these bytes as they are."""
        self._handler.write(data)

    def chunk(self, data: bytes) -> None:
        """Say one chunk."""
        if data:
            self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the life of the server."""
        if self.api.closing.wait(seconds):
            raise Closing

    def hang_up(self) -> None:
        """Close the connection after this exchange, in order (FIN)."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """Close the connection after this exchange with a TCP reset."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True


class Fault:
    """Something that goes wrong. Any function of an Exchange will do; the usual ones are made by the methods below."""

    def __init__(self, act: Callable[[Exchange], None], name: str = "") -> None:
        self.act = act
        self.name = name or getattr(act, "__name__", "fault")

    def __repr__(self) -> str:
        return f"Fault({self.name})"

    @classmethod
    def answer(cls, answer: Answer) -> Self:
        """Answer this instead, correctly framed."""
        return cls(lambda exchange: exchange.send(answer), f"answer {answer.status}")

    @classmethod
    def status(
        cls, code: int, message: str | None = None, *, reason: str | None = None, retry_after: int | None = None
    ) -> Self:
        """Answer with a Status object, in the real server's words for this code unless others are given.

        410 is what a page gets whose continue token is too old: it carries a token for going on inconsistently.
        """

        def act(exchange: Exchange) -> None:
            if message is None and code == 403:
                exchange.send(exchange.forbidden())
            elif message is None and code == 410:
                exchange.send(_expired(exchange.request.query.get("continue", "")))
            else:
                words, why = _WORDS.get(code, (HTTPStatus(code).phrase, ""))
                why = why if reason is None else reason
                exchange.send(status(code, words if message is None else message, why, retry_after=retry_after))

        return cls(act, f"status {code}")

    @classmethod
    def html(cls, status: int = 200) -> Self:
        """A login page in place of the API, as captive portals and single sign-on proxies send."""
        page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form>...</form></body></html>\n"
        return cls.answer(Answer(status=status, body=page, content_type="text/html; charset=utf-8"))

    @classmethod
    def not_json(cls, body: bytes = b"upstream said: \xff\xfe no\n") -> Self:
        """Bytes that are called application/json and are not."""
        return cls.answer(Answer(body=body))

    @classmethod
    def truncated_json(cls, share: float = 0.5) -> Self:
        """The first part of the right document, framed so that nothing but JSON shows the loss."""

        def act(exchange: Exchange) -> None:
            answer = exchange.healthy()
            exchange.send(replace(answer, body=answer.body[: int(len(answer.body) * share)]))

        return cls(act, "truncated JSON")

    @classmethod
    def short_body(cls, missing: int = 10) -> Self:
        """Announce the whole body, leave out its last bytes, and close."""

        def act(exchange: Exchange) -> None:
            answer = exchange.healthy()
            exchange.head(answer, {"Content-Length": str(len(answer.body))})
            exchange.write(answer.body[:-missing])
            exchange.hang_up()

        return cls(act, "short body")

    @classmethod
    def cut_chunk(cls) -> Self:
        """Close in the middle of a chunk."""

        def act(exchange: Exchange) -> None:
            answer = exchange.healthy()
            half = len(answer.body) // 2
            exchange.head(answer, {"Transfer-Encoding": "chunked"})
            exchange.chunk(answer.body[:half])
            exchange.write(b"%x\r\n%b" % (len(answer.body) - half, answer.body[half:-1]))
            exchange.hang_up()

        return cls(act, "cut chunk")

    @classmethod
    def reset(cls, *, after: int | None = None) -> Self:
        """A TCP reset: before any header, or after so many bytes of the body."""

        def act(exchange: Exchange) -> None:
            if after is not None:
                answer = exchange.healthy()
                exchange.head(answer, {"Content-Length": str(len(answer.body))})
                exchange.write(answer.body[:after])
                exchange.pause(0.02)  # a reset overtakes what is still on its way
            exchange.reset()

        return cls(act, "reset")

    @classmethod
    def close(cls) -> Self:
        """Read the request and close the connection without a word."""
        return cls(Exchange.hang_up, "close")

    @classmethod
    def silent(cls) -> Self:
        """Never answer."""
        return cls(lambda exchange: exchange.pause(float(threading.TIMEOUT_MAX)), "silent")

    @classmethod
    def slow(cls, seconds: float, then: Fault | None = None) -> Self:
        """Wait before the headers; then answer well, or badly in another way."""

        def act(exchange: Exchange) -> None:
            exchange.pause(seconds)
            if then is None:
                exchange.send(exchange.healthy())
            else:
                then.act(exchange)

        return cls(act, f"slow {seconds:g} s")

    @classmethod
    def dribble(cls, interval: float = 0.05, size: int = 1) -> Self:
        """The right answer, so many bytes of its body at a time."""

        def act(exchange: Exchange) -> None:
            answer = exchange.healthy()
            exchange.head(answer, {"Content-Length": str(len(answer.body))})
            for start in range(0, len(answer.body), size):
                exchange.write(answer.body[start : start + size])
                exchange.pause(interval)

        return cls(act, "dribble")

    @classmethod
    def endless(cls, what: Literal["whitespace", "items"] = "whitespace", interval: float = 0.005) -> Self:
        """A list that is valid as far as one has read, and has no end."""
        item = b'{"metadata":{"name":"again","namespace":"default"},"spec":{},"status":{}},'

        def act(exchange: Exchange) -> None:
            start = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":['
            exchange.head(Answer(), {"Transfer-Encoding": "chunked"})
            exchange.chunk(start)
            more = b" " * 8192 if what == "whitespace" else item * 100
            while True:
                exchange.chunk(more)
                exchange.pause(interval)

        return cls(act, f"endless {what}")

    @classmethod
    def content_type(cls, value: str = "text/plain") -> Self:
        """The right answer under a wrong name; an empty one leaves the header out."""
        return cls.edit(lambda answer: replace(answer, content_type=value, headers={"X-Fault": "content-type"}))

    @classmethod
    def gzip(cls) -> Self:
        """The right answer compressed, asked for or not."""
        return cls.edit(
            lambda answer: replace(answer, body=gzip.compress(answer.body), headers={"Content-Encoding": "gzip"})
        )

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Self:
        """Send the client elsewhere: it had better not take its credential there."""
        return cls.answer(Answer(status=status, headers={"Location": location}))

    @classmethod
    def edit(cls, change: Callable[[Answer], Answer]) -> Self:
        """The right answer with something changed in it."""
        return cls(lambda exchange: exchange.send(change(exchange.healthy())), "edit")

    @classmethod
    def edit_json(cls, change: Callable[[Any], Any]) -> Self:
        """The right document with something changed in it: an odd object among good ones."""
        return cls.edit(lambda answer: Answer.json(change(json.loads(answer.body)), answer.status))


_WORDS = {
    400: ("the server rejected our request for an unknown reason", "BadRequest"),
    401: ("Unauthorized", "Unauthorized"),
    404: (NO_SUCH_RESOURCE, "NotFound"),
    409: ("the server reported a conflict", "Conflict"),
    429: ("Too many requests, please try again later.", "TooManyRequests"),
    500: ("Internal error occurred: etcdserver: request timed out", "InternalError"),
    503: ("the server is currently unable to handle the request", "ServiceUnavailable"),
    504: ("Timeout: request did not complete within the allotted timeout", "Timeout"),
}


@dataclass(slots=True, kw_only=True)
class _Script:
    """One line of the fault script, with the count of the requests that it has met."""

    prefix: str
    fault: Fault
    nth: int | None
    first: int | None
    continued: bool | None
    method: str | None
    met: int = 0

    def meets(self, request: Request) -> bool:
        if not request.path.startswith(self.prefix) or self.method not in (None, request.method):
            return False
        if self.continued is not None and self.continued is not ("continue" in request.query):
            return False
        self.met += 1
        return self.nth in (None, self.met) and (self.first is None or self.met <= self.first)


# --------------------------------------------------------------------------------------------------------------------
# Continue tokens: opaque to a client, and in the real server's form, so that a peek at one misleads nobody


def _token(revision: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start + "\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(value["rv"]), str(value["start"]).rstrip("\0").lstrip("/")
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise _bad_request(f"invalid continue token: continue key is not valid: {error}") from error


def _expired(token: str) -> Answer:
    """The answer to a token whose revision is compacted: with another that goes on from there in the present."""
    start = ""
    if token:
        try:
            start = _read_token(token)[1]
        except Refused as refused:
            return refused.answer
    return status(410, EXPIRED, "Expired", continue_token=_token(-1, start) if start else "")


# --------------------------------------------------------------------------------------------------------------------
# The server


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """A resource path taken apart."""

    kind: Kind | None
    group_version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


class _Stored:
    """All objects of one kind in the order of their keys, so that a page of many costs only itself."""

    def __init__(self, items: Iterable[Object] = ()) -> None:
        self.items = sorted(items, key=_key)
        self.keys = [_key(item) for item in self.items]

    def after(self, prefix: str, start: str) -> Sequence[Object]:
        """What lies below this prefix, beyond this key."""
        first = bisect.bisect_right(self.keys, prefix + start)
        return self.items[first : bisect.bisect_left(self.keys, prefix + "\U0010ffff")]

    def get(self, key: str) -> Object | None:
        """The object of this key."""
        at = bisect.bisect_left(self.keys, key)
        return self.items[at] if self.keys[at : at + 1] == [key] else None


class FakeAPI:
    """A fake kube-apiserver, listening from __enter__ to __exit__.

    objects       list path → full objects. Cluster and namespaced lists and single objects are served from it; a
                  path that no built-in kind has adds a custom resource, and its group to discovery.
    tls           True, or a TLS that says what is wrong with the certificate.
    logs          (namespace, pod, container, previous) → text.
    raw           path, or path?query, → an answer taken as it is: text, bytes, a JSON document or an Answer.
    rbac          a function of an Access, or rules; None allows everything.
    date          the server's clock: a moment that stands still, or how far it is off.
    users         token → user name. Where given, another token gets 401 and no credential makes system:anonymous.
    version       gitVersion of /version.
    absent        group versions, or list paths, that this server does not have.
    unhealthy     names of checks that /readyz, /livez and /healthz report as failed.

    A fault of the fake itself is raised by __exit__.
    """

    def __init__(
        self,
        objects: Mapping[str, Sequence[Object]] | None = None,
        *,
        tls: bool | TLS = False,
        logs: Mapping[tuple[str, str, str, bool], str | bytes] | None = None,
        raw: Mapping[str, Raw] | None = None,
        rbac: Rbac | None = None,
        date: datetime | timedelta | None = None,
        users: Mapping[str, str] | None = None,
        version: str = "v1.36.3",
        absent: Collection[str] = (),
        unhealthy: Collection[str] = (),
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self.closing = threading.Event()
        self.logs = dict(logs or {})
        self.raw = dict(raw or {})
        self.rbac = rbac
        self.date = date
        self.users = users
        self.version = version
        self.unhealthy = set(unhealthy)
        self.kinds = {
            kind.path: kind for kind in _built_in() if kind.group_version not in absent and kind.path not in absent
        }
        self._lock = threading.Lock()
        self._script: list[_Script] = []
        self._revision = 1000
        self._objects: dict[str, _Stored] = {}
        self._kept: dict[int, dict[str, _Stored]] = {self._revision: self._objects}
        for path, items in (objects or {}).items():
            self.set(path, [*self._stored(self._all_of(path)).items, *items])
        self._tls = (tls if isinstance(tls, TLS) else TLS()) if tls else None
        self.ca = trustme.CA() if tls else None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # ---- life

    def __enter__(self) -> Self:
        self._server = _Server(self, self._context())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fakeapi", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self.errors:
            raise self.errors[0]

    @property
    def open(self) -> int:
        """How many connections are open at this end."""
        return self._server.held if self._server is not None else 0

    def close(self) -> None:
        """Stop answering: every connection is closed and every thread has ended when this returns."""
        self.closing.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.stop()

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None or self.ca is None:
            return None
        leaf = self.ca.issue_cert(
            *self._tls.names,
            not_before=self._tls.not_before,
            not_after=self._tls.not_after,
            common_name="kube-apiserver",
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        leaf.configure_cert(context)
        self.ca.configure_trust(context)
        return context

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        assert self._server is not None, "not listening: use the fake as a context manager"
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where to reach it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority that signed the server's."""
        assert self.ca is not None, "a fake without TLS has no authority"
        return self.ca.cert_pem.bytes()

    def client_certificate(self, user: str, group: str | None = None) -> tuple[bytes, bytes]:
        """A certificate chain and its key, both PEM, for a user who needs no token."""
        assert self.ca is not None, "a client certificate needs TLS"
        leaf = self.ca.issue_cert(f"{user}@clients.test", common_name=user, organization_name=group)
        return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()

    def kubeconfig(
        self,
        path: Path,
        *,
        namespace: str | None = None,
        certificate_for: str | None = None,
        server: str | None = None,
        **user_fields: object,
    ) -> Path:
        """Write a kubeconfig for this server: with these user fields, a client certificate, or else a token.

        An underscore stands for a dash, and a trailing one is dropped: client_key_data="...", as_="alice".
        """
        user = {key.rstrip("_").replace("_", "-"): value for key, value in user_fields.items()}
        if certificate_for is not None:
            certificate, key = self.client_certificate(certificate_for)
            user |= {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        elif not user_fields:
            user["token"] = next(iter(self.users or {}), "fake-token")
        cluster: dict[str, Any] = {"server": server or self.url}
        if self.ca is not None:
            cluster["certificate-authority-data"] = _base64(self.ca_pem)
        context = {"cluster": "fake", "user": "fake"} | ({"namespace": namespace} if namespace else {})
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "contexts": [{"name": "fake", "context": context}],
            "users": [{"name": "fake", "user": user}],
        }
        path.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
        path.chmod(0o600)
        return path

    # ---- what a test changes while it runs

    def set(self, path: str, items: Iterable[Object]) -> None:
        """Replace all objects of one list path. Continue tokens handed out before go on in the old state."""
        items = tuple(items)
        path = self._all_of(path)
        if path not in self.kinds:
            self.kinds[path] = _custom(path, items)
        self._revision += 1
        self._objects = self._objects | {path: _Stored(items)}
        self._kept[self._revision] = self._objects

    def compact(self) -> None:
        """Forget all earlier states, as etcd does every five minutes: continue tokens get the real 410 from now on."""
        self._revision += 1
        self._kept = {self._revision: self._objects}

    def fault(
        self,
        path_prefix: str,
        fault: Fault,
        *,
        nth: int | None = None,
        first: int | None = None,
        continued: bool | None = None,
        method: str | None = None,
    ) -> None:
        """Let requests below this path meet a fault. Of several that apply, the one added first does.

        nth       only the nth such request, counted from 1
        first     only the first so many
        continued only pages with (True) or without (False) a continue token
        """
        with self._lock:
            self._script.append(
                _Script(prefix=path_prefix, fault=fault, nth=nth, first=first, continued=continued, method=method)
            )

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._script.clear()

    def now(self) -> datetime:
        """The time on the server's clock."""
        if isinstance(self.date, datetime):
            return self.date.astimezone(UTC)
        return datetime.now(UTC) + (self.date or timedelta())

    # ---- one request

    def log(self, request: Request) -> Fault | None:
        """Note a request and say which fault it meets."""
        with self._lock:
            self.requests.append(request)
            met = [line.fault for line in self._script if line.meets(request)]  # every line counts it
        return met[0] if met else None

    def answer(self, request: Request, peer_name: str = "") -> Answer:
        """Answer as a healthy server would."""
        try:
            access = self.access(request, peer_name)
            if not self.allowed(access):
                return access.forbidden()
            raw = self.raw.get(request.target, self.raw.get(request.path))
            if raw is not None:
                return _raw_answer(raw)
            answer = self._route(request, access.user)
        except Refused as refused:
            return refused.answer
        if len(answer.body) > GZIP_ABOVE and "gzip" in request.headers.get("accept-encoding", ""):
            answer = replace(answer, body=gzip.compress(answer.body, 1), headers={"Content-Encoding": "gzip"})
        return answer

    # ---- who may do what

    def user(self, request: Request, peer_name: str = "") -> str:
        """Who asks: by token, by client certificate, or impersonated."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = peer_name or ("system:anonymous" if self.users is not None else "kubernetes-admin")
        if scheme and self.users is not None:
            if scheme.lower() != "bearer" or token not in self.users:
                raise Refused(status(401, "Unauthorized", "Unauthorized"))
            user = self.users[token]
        return request.headers.get("impersonate-user", user)

    def access(self, request: Request, peer_name: str = "") -> Access:
        """What the authorizer is asked about this request."""
        user = self.user(request, peer_name)
        route = self._parse(request.path)
        if route is None or not route.resource:
            return Access(user=user, verb=request.method.lower(), path=request.path)
        verb = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        name = route.name
        if request.method == "GET" and not name:
            verb["GET"] = "watch" if _flag(request.query.get("watch", "")) else "list"
            single = re.fullmatch(r"metadata\.name==?([^,]+)", request.query.get("fieldSelector", ""))
            name = single[1] if single else ""
        return Access(
            user=user,
            verb=verb.get(request.method, request.method.lower()),
            group=route.group_version.rpartition("/")[0],
            resource=route.resource,
            subresource=route.subresource,
            # The name of a namespace is in the namespace of that name, for an authorizer.
            namespace=route.namespace or (route.name if route.resource == "namespaces" else ""),
            name=name,
        )

    def allowed(self, access: Access) -> bool:
        """Whether rbac lets it through; discovery, health and self reviews are for everybody."""
        if access.path and any(fnmatchcase(access.path, pattern) for pattern in _PUBLIC):
            return True
        if self.users is not None and access.user == "system:anonymous":
            return False
        if self.rbac is None or access.resource in _SELF_REVIEWS:
            return True
        if access.path and any(fnmatchcase(access.path, pattern) for pattern in _DISCOVERY):
            return True
        return self.rbac(access) if callable(self.rbac) else any(rule.allows(access) for rule in self.rbac)

    def _review(self, resource: str, request: Request, user: str) -> Answer:
        body = _posted(request.body)
        spec = body.get("spec") or {}
        head: dict[str, Any] = {"kind": body.get("kind"), "apiVersion": body.get("apiVersion"), "metadata": {}}
        match resource:
            case "selfsubjectaccessreviews":
                head |= {"spec": spec, "status": {"allowed": self.allowed(_asked(spec, user))}}
            case "selfsubjectrulesreviews":
                head |= {"spec": {}, "status": self._rules(str(spec.get("namespace", "")), user)}
            case _:
                info = {"username": user, "groups": ["system:authenticated"]}
                head |= {"status": {"userInfo": info}}
        return Answer.json(head, 201)

    def _rules(self, namespace: str, user: str) -> dict[str, Any]:
        """What this user may do in a namespace; what a function allows is found by asking it about every kind."""
        everywhere = [{"verbs": ["get"], "nonResourceURLs": [*_PUBLIC, *_DISCOVERY]}]
        if self.rbac is None:
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            everywhere.insert(0, {"verbs": ["*"], "nonResourceURLs": ["*"]})
        elif callable(self.rbac):
            rules = list(self._asked_rules(namespace, user))
        else:
            bound = [rule for rule in self.rbac if rule.users is None or user in rule.users]
            bound = [rule for rule in bound if rule.namespaces is None or namespace in rule.namespaces]
            rules = [_policy_rule(rule) for rule in bound if rule.resources]
            everywhere += [{"verbs": [*rule.verbs], "nonResourceURLs": [*rule.paths]} for rule in bound if rule.paths]
        own = {"authorization.k8s.io": _SELF_REVIEWS[:2], "authentication.k8s.io": _SELF_REVIEWS[2:]}
        rules += [{"verbs": ["create"], "apiGroups": [group], "resources": [*names]} for group, names in own.items()]
        return {"resourceRules": rules, "nonResourceRules": everywhere, "incomplete": False}

    def _asked_rules(self, namespace: str, user: str) -> Iterator[dict[str, list[str]]]:
        for kind in self.kinds.values():
            names = [kind.resource, *(name for name in _SUBRESOURCES.get(kind.group_version, ()) if _of(name, kind))]
            for name in names:
                resource, _, sub = name.partition("/")
                wanted = partial(Access, user=user, group=kind.group, resource=resource, subresource=sub)
                verbs = [verb for verb in kind.verbs if self.allowed(wanted(verb=verb, namespace=namespace))]
                if verbs and resource not in _SELF_REVIEWS:
                    yield {"verbs": verbs, "apiGroups": [kind.group], "resources": [name]}

    # ---- where a path leads

    def _parse(self, path: str) -> _Route | None:
        """Take a resource path apart; None for a path that is none."""
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["api", version, *rest]:
                group_version = version
            case ["apis", group, version, *rest]:
                group_version = f"{group}/{version}"
            case _:
                return None
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        resource, name, sub, *more = [*rest, "", "", ""][: max(3, len(rest))]
        return _Route(
            kind=self.kinds.get(f"{_root(group_version)}/{resource}"),
            group_version=group_version,
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=sub,
            rest="/".join(more).strip("/"),
        )

    def _route(self, request: Request, user: str) -> Answer:
        path = request.path.rstrip("/") or "/"
        route = self._parse(path)
        if route is None:
            return self._outside(path, request)
        group = route.group_version.rpartition("/")[0]
        if group not in {kind.group for kind in self.kinds.values()}:
            return NOT_FOUND
        if not route.resource:
            return self._resources(route.group_version)
        kind = route.kind
        if kind is None or (route.namespace and not kind.namespaced):
            raise _no_such_resource()
        if request.method == "POST" and kind.resource in _SELF_REVIEWS and not route.name:
            return self._review(kind.resource, request, user)
        if request.method != "GET" or "list" not in kind.verbs or _flag(request.query.get("watch", "")):
            message = "the server does not allow this method on the requested resource"
            return status(405, message, "MethodNotAllowed", details={})
        if not route.name:
            return self._list(kind, route.namespace, request)
        if kind.namespaced and not route.namespace:
            raise _no_such_resource()
        item = self._get(kind, route.namespace, route.name)
        match route.subresource:
            case "" | "status":
                return _rendered(item, kind, request.headers.get("accept", ""), self.now())
            case "log" if kind.resource == "pods":
                return self._log(item, request.query)
        raise _no_such_resource()

    def _outside(self, path: str, request: Request) -> Answer:
        """Answer what is not below a group version: discovery, health, version."""
        match path.strip("/").split("/", 1):
            case ["version"]:
                return Answer.json(self._version())
            case [("readyz" | "livez" | "healthz") as name, *check]:
                return self._health(name, check[0] if check else "", request.query)
            case ["api"]:
                address = {"clientCIDR": "0.0.0.0/0", "serverAddress": f"127.0.0.1:{self.port}"}
                return Answer.json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]})
            case ["apis"]:
                return Answer.json(
                    {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(self._groups().values())}
                )
            case ["apis", group] if group in self._groups():
                return Answer.json({"kind": "APIGroup", "apiVersion": "v1"} | self._groups()[group])
        return NOT_FOUND

    def _version(self) -> dict[str, str]:
        major, minor = self.version.lstrip("v").split(".")[:2]
        return {
            "major": major,
            "minor": minor,
            "gitVersion": self.version,
            "gitCommit": "0" * 40,
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": "go1.26.8",
            "compiler": "gc",
            "platform": "linux/amd64",
        }

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {}
        for kind in self.kinds.values():
            version = {"groupVersion": kind.group_version, "version": kind.version}
            if kind.group:
                entry = groups.setdefault(kind.group, {"name": kind.group, "versions": [], "preferredVersion": version})
                if version not in entry["versions"]:
                    entry["versions"].append(version)
        return groups

    def _resources(self, group_version: str) -> Answer:
        kinds = [kind for kind in self.kinds.values() if kind.group_version == group_version]
        if not kinds:
            raise _no_such_resource()
        resources = [kind.discovery() for kind in kinds]
        for kind in kinds:
            for name in _SUBRESOURCES.get(group_version, ()):
                if _of(name, kind):
                    entry = {"name": name, "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind}
                    resources.append(entry | {"verbs": ["get"]})
        head = {"kind": "APIResourceList", "groupVersion": group_version}
        if "/" in group_version:
            head["apiVersion"] = "v1"
        return Answer.json(head | {"resources": resources})

    def _health(self, endpoint: str, check: str, query: Mapping[str, str]) -> Answer:
        checks = _READY_CHECKS if endpoint == "readyz" else _CHECKS
        if check:
            if check not in checks:
                return NOT_FOUND
            if check in self.unhealthy:
                return Answer.text("internal server error: failed: reason withheld\n", 500)
            return Answer.text("ok")
        excluded = query.get("exclude", "").split(",")
        lines = []
        failed = False
        for name in checks:
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif name in self.unhealthy:
                failed = True
                lines.append(f"[-]{name} failed: reason withheld")
            else:
                lines.append(f"[+]{name} ok")
        if failed:
            return Answer.text("\n".join([*lines, f"{endpoint} check failed", ""]), 500)
        return Answer.text("\n".join([*lines, f"{endpoint} check passed", ""]) if "verbose" in query else "ok")

    # ---- objects

    def _all_of(self, path: str) -> str:
        """The cluster-wide list of the kind at this list path."""
        route = self._parse(path)
        assert route is not None, f"not a list path: {path}"
        assert route.resource, f"not a list path: {path}"
        assert not route.name, f"not a list path: {path}"
        return f"{_root(route.group_version)}/{route.resource}"

    def _stored(self, path: str, revision: int | None = None) -> _Stored:
        """All objects of this kind, now or in an earlier state."""
        objects = self._objects if revision is None else self._kept[revision]
        return objects.get(path) or _Stored()

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        item = self._stored(kind.path).get(f"{namespace}/{name}" if namespace else name)
        if item is not None:
            return {"kind": kind.kind, "apiVersion": kind.group_version} | dict(item)
        details = {"name": name, "group": kind.group, "kind": kind.resource}
        details = {key: value for key, value in details.items() if value}
        raise Refused(status(404, f'{kind.qualified} "{name}" not found', "NotFound", details=details))

    def _list(self, kind: Kind, namespace: str, request: Request) -> Answer:
        query = request.query
        limit, token, version = _int(query, "limit"), query.get("continue", ""), query.get("resourceVersion", "")
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if token and version not in ("", "0"):
            raise _bad_request("specifying resource version is not allowed when using continue")
        has_labels, has_fields = label_selector(labels), field_selector(fields, kind.resource)
        revision, start = self._from(token)
        prefix = f"{namespace}/" if namespace else ""
        items = self._stored(kind.path, revision).after(prefix, start)
        if labels or fields:
            items = [
                item
                for item in items
                if has_labels((item.get("metadata") or {}).get("labels") or {}) and has_fields(item)
            ]
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        # A list that may be answered from the cache is answered whole.
        if 0 < limit < len(items) and version != "0":
            last = _key(items[limit - 1]).removeprefix(prefix)
            metadata["continue"] = _token(revision, f"/{last}")
            if not labels and not fields:
                metadata["remainingItemCount"] = len(items) - limit
            items = items[:limit]
        return _rendered_list(items, metadata, kind, request.headers.get("accept", ""), self.now())

    def _from(self, token: str) -> tuple[int, str]:
        """Where a list starts: the state, and the key after which."""
        if not token:
            return self._revision, ""
        revision, start = _read_token(token)
        if revision == -1:
            return self._revision, start
        if revision not in self._kept:
            raise Refused(_expired(token))
        return revision, start

    def _log(self, pod: Object, query: Mapping[str, str]) -> Answer:
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        name, previous = metadata["name"], _flag(query.get("previous", ""))
        containers = [each["name"] for each in spec.get("containers") or ()]
        inits = [each["name"] for each in spec.get("initContainers") or ()]
        container = query.get("container", "")
        if not container:
            if len(containers) > 1 or inits:
                choice = f"choose one of: [{' '.join(containers)}]"
                choice += f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
                if len(containers) > 1:
                    raise _bad_request(f"a container name must be specified for pod {name}, {choice}")
            container = containers[0] if containers else ""
        if container not in (*containers, *inits):
            raise _bad_request(f"container {container} is not valid for pod {name}")
        text = self.logs.get((metadata.get("namespace", ""), name, container, previous))
        if text is None:
            if previous:
                raise _bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
            _refuse_waiting(pod, container)
            text = ""
        body = _cut_log(text.encode() if isinstance(text, str) else text, query, name)
        return Answer(body=body, content_type="text/plain")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _flag(value: str) -> bool:
    return value.lower() in ("1", "t", "true")


def _int(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query.get(name) or 0)
    except ValueError:
        raise _bad_request(f'strconv.ParseInt: parsing "{query[name]}": invalid syntax') from None


def _key(item: Object) -> str:
    """Where etcd keeps it, and so the order of lists."""
    metadata = item.get("metadata") or {}
    namespace, name = metadata.get("namespace"), metadata.get("name", "")
    return f"{namespace}/{name}" if namespace else str(name)


def _of(subresource: str, kind: Kind) -> bool:
    return subresource.partition("/")[0] == kind.resource


def _custom(path: str, items: Sequence[Object]) -> Kind:
    """A kind that only its objects tell of."""
    group, _, version = path.split("/", 2)[2].rpartition("/")[0].rpartition("/")
    resource = path.rpartition("/")[2]
    first = items[0] if items else {}
    return Kind(
        group=group,
        version=version,
        resource=resource,
        kind=first.get("kind") or resource.removesuffix("s").capitalize(),
        namespaced=not items or any((item.get("metadata") or {}).get("namespace") for item in items),
    )


def _raw_answer(raw: Raw) -> Answer:
    match raw:
        case Answer():
            return raw
        case str() | bytes():
            return Answer.text(raw)
    return Answer.json(raw)


def _policy_rule(rule: Rule) -> dict[str, list[str]]:
    policy = {"verbs": [*rule.verbs], "apiGroups": [*rule.groups], "resources": [*rule.resources]}
    return policy | ({"resourceNames": [*rule.names]} if rule.names else {})


def _asked(spec: Object, user: str) -> Access:
    """What a SelfSubjectAccessReview asks about."""
    if path := spec.get("nonResourceAttributes"):
        return Access(user=user, verb=path.get("verb", ""), path=path.get("path", ""))
    wanted = spec.get("resourceAttributes") or {}
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Access(user=user, **{name: wanted.get(name, "") for name in names})


# What kubectl posts is protobuf: the numbers of the few fields that reviews use.
_ATTRIBUTES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")


def _posted(body: bytes) -> Object:
    """A review, from JSON or from protobuf."""
    if not body.startswith(b"k8s\0"):
        try:
            return cast(Object, json.loads(body or b"{}"))
        except ValueError as error:
            raise _bad_request(f"the object provided is unrecognized: {error}") from error
    envelope = _protobuf(body[4:])
    version, kind = (_protobuf(envelope[1]).get(number, b"").decode() for number in (1, 2))
    asked = _protobuf(_protobuf(envelope.get(2, b"")).get(2, b""))
    spec: dict[str, Any] = {}
    if kind == "SelfSubjectRulesReview":
        spec["namespace"] = asked.get(1, b"").decode()
    elif kind == "SelfSubjectAccessReview" and 1 in asked:
        given = _protobuf(asked[1])
        spec["resourceAttributes"] = {
            name: given[number].decode() for number, name in enumerate(_ATTRIBUTES, 1) if given.get(number)
        }
    elif kind == "SelfSubjectAccessReview" and 2 in asked:
        given = _protobuf(asked[2])
        spec["nonResourceAttributes"] = {"path": given.get(1, b"").decode(), "verb": given.get(2, b"").decode()}
    return {"kind": kind, "apiVersion": version, "spec": spec}


def _protobuf(data: bytes) -> dict[int, bytes]:
    """The fields of a message that have a length: strings and messages. Numbers are passed over."""
    fields: dict[int, bytes] = {}
    position = 0

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        tag = number()
        length = number()  # of the field, or else the number itself
        if tag & 7 == 2:
            fields[tag >> 3] = data[position : position + length]
            position += length
    return fields


# ---- logs


def _refuse_waiting(pod: Object, container: str) -> None:
    found = pod.get("status") or {}
    for each in [*(found.get("containerStatuses") or ()), *(found.get("initContainerStatuses") or ())]:
        waiting = (each.get("state") or {}).get("waiting")
        if each.get("name") != container or waiting is None or waiting.get("reason") == "CrashLoopBackOff":
            continue
        why = waiting.get("reason", "")
        if why in ("ErrImagePull", "ImagePullBackOff"):
            why = "trying and failing to pull image"
        name = pod["metadata"]["name"]
        raise _bad_request(f'container "{container}" in pod "{name}" is waiting to start: {why}')


def _cut_log(body: bytes, query: Mapping[str, str], pod: str) -> bytes:
    """Apply tailLines, then timestamps (one line a second, made up), then limitBytes."""
    lines = body.splitlines(keepends=True)
    if "tailLines" in query:
        count = _int(query, "tailLines")
        if count < 0:
            why = f"Invalid value: {count}: must be greater than or equal to 0"
            cause = {"reason": "FieldValueInvalid", "message": why, "field": "tailLines"}
            details = {"name": pod, "kind": "PodLogOptions", "causes": [cause]}
            message = f'PodLogOptions "{pod}" is invalid: tailLines: {why}'
            raise Refused(status(422, message, "Invalid", details=details))
        lines = lines[len(lines) - count :] if count < len(lines) else lines
    if _flag(query.get("timestamps", "")):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        lines = [
            f"{start + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S}.000000000Z ".encode() + line
            for number, line in enumerate(lines)
        ]
    text = b"".join(lines)
    return text[: _int(query, "limitBytes")] if "limitBytes" in query else text


# ---- the three forms of an object: whole, metadata only, and the rows that kubectl prints


def _form(accept: str) -> str:
    """Which form is asked for. The first that we know counts; protobuf alone is refused as text/html is."""
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        wanted = next((value.removeprefix("as=") for value in parameters if value.startswith("as=")), "")
        if media in ("application/json", "application/*", "*/*", "") and wanted in (
            "",
            "Table",
            "PartialObjectMetadata",
            "PartialObjectMetadataList",
        ):
            return wanted
    message = "406: Not Acceptable\n\nAvailable representations: application/json"
    raise Refused(status(406, message, "NotAcceptable", details={}))


def _partial(item: Object) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item.get("metadata") or {},
    }


def _rendered(item: Object, kind: Kind, accept: str, now: datetime) -> Answer:
    match _form(accept):
        case "Table":
            return Answer.json(_table([item], {}, kind, now))
        case "PartialObjectMetadata":
            return Answer.json(_partial(item))
    return Answer.json(item)


def _rendered_list(
    items: Sequence[Object], metadata: Mapping[str, Any], kind: Kind, accept: str, now: datetime
) -> Answer:
    head: dict[str, Any] = {"kind": f"{kind.kind}List", "apiVersion": kind.group_version, "metadata": metadata}
    match _form(accept):
        case "Table":
            return Answer.json(_table(items, metadata, kind, now))
        case "PartialObjectMetadataList":
            head |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            return Answer.json(head | {"items": [_partial(item) for item in items]})
    untyped = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
    return Answer.json(head | {"items": untyped})


def _table(items: Sequence[Object], metadata: Mapping[str, Any], kind: Kind, now: datetime) -> dict[str, Any]:
    pods = kind.resource == "pods" and not kind.group
    names = ["Name", "Ready", "Status", "Restarts", "Age"] if pods else ["Name", "Age"]
    columns = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name in names
    ]
    rows = []
    for item in items:
        age = _age(item, now)
        cells = [*_pod_cells(item), age] if pods else [_key(item).rpartition("/")[2], age]
        rows.append({"cells": cells, "object": _partial(item)})
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return head | {"columnDefinitions": columns, "rows": rows}


def _pod_cells(pod: Object) -> list[str]:
    found = pod.get("status") or {}
    containers = found.get("containerStatuses") or []
    ready = sum(bool(each.get("ready")) for each in containers)
    reasons = [((each.get("state") or {}).get("waiting") or {}).get("reason") for each in containers]
    return [
        pod["metadata"]["name"],
        f"{ready}/{len((pod.get('spec') or {}).get('containers') or ())}",
        next(filter(None, reasons), None) or found.get("phase") or "Unknown",
        str(sum(each.get("restartCount", 0) for each in containers)),
    ]


def _age(item: Object, now: datetime) -> str:
    created = (item.get("metadata") or {}).get("creationTimestamp")
    if not created:
        return "<unknown>"
    seconds = int((now - datetime.fromisoformat(created)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


# --------------------------------------------------------------------------------------------------------------------
# The sockets


class _Server(ThreadingHTTPServer):
    """Keeps hold of its connections and threads, so that none outlives it."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, api: FakeAPI, context: ssl.SSLContext | None) -> None:
        self.api = api
        self._context = context
        self._open: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind without the name lookup of HTTPServer, which may ask a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Serve one connection in a thread of its own."""
        connection = cast(socket.socket, request)
        if self._context is not None:
            # The handshake is left to the thread: a client that never speaks must not stop the others.
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self._serve, args=(connection, client_address), daemon=True)
        with self._guard:
            self.api.connections += 1
            self._open[thread] = connection
        thread.start()

    def _serve(self, connection: socket.socket, client_address: Any) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            _Handler(connection, client_address, self)
        except (OSError, Closing):
            pass  # the client left, or was made to leave
        except Exception as error:
            self.api.errors.append(error)
        finally:
            connection.close()
            with self._guard:
                self._open.pop(threading.current_thread(), None)

    @property
    def held(self) -> int:
        """How many connections it has not let go of."""
        with self._guard:
            return len(self._open)

    def stop(self) -> None:
        """Close what is open and wait for the threads to see it."""
        self.server_close()
        with self._guard:
            left = dict(self._open)
        for connection in left.values():
            # On the plain socket: SSLSocket.shutdown takes the TLS state away under the thread that is reading.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in left:
            thread.join(5)
            assert not thread.is_alive(), "a connection of the fake API server outlives it"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def peer_name(self) -> str:
        """The common name of the client's certificate."""
        if not isinstance(self.connection, ssl.SSLSocket):
            return ""
        certificate = self.connection.getpeercert() or {}
        subject = cast(Iterable[tuple[tuple[str, str], ...]], certificate.get("subject", ()))
        return next((value for part in subject for key, value in part if key == "commonName"), "")

    @property
    def old_client(self) -> bool:
        """Whether the client cannot read chunks."""
        return self.request_version == "HTTP/1.0"

    def write_head(self, head: bytes) -> None:
        self._pending = head

    def write(self, data: bytes) -> None:
        """Write the head with the first of the body, as one packet."""
        head, self._pending = self._pending, b""
        self.wfile.write(head + data)

    _pending = b""

    def exchange(self) -> None:
        """Note the request, then answer it or do to it what the fault script says."""
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(url.path),
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            at=time.monotonic(),
        )
        api = self.server.api
        exchange = Exchange(api, request, self)
        fault = api.log(request)
        if fault is None:
            exchange.send(exchange.healthy())
        else:
            fault.act(exchange)
        if self._pending:
            self.write(b"")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = exchange

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests are in FakeAPI.requests."""
