"""A client that writes: the practice lab's own, apart from the one that only reads."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from kdiag import __version__
from kdiag.collect.deadline import Deadline
from kdiag.collect.http import dialled, os_reason, tls_context
from kdiag.collect.kubeconfig import Target
from kdiag.errors import BadAnswer, ConfigError, LabError, Unreachable
from kdiag.model.jsontext import read_object
from kdiag.model.text import clean_line, shorten

Object = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"

# Kind: group version, resource, whether it lives in a namespace.
_KINDS = """
APIService apiregistration.k8s.io/v1 apiservices cluster
ClusterRole rbac.authorization.k8s.io/v1 clusterroles cluster
ClusterRoleBinding rbac.authorization.k8s.io/v1 clusterrolebindings cluster
ConfigMap v1 configmaps namespaced
CSIDriver storage.k8s.io/v1 csidrivers cluster
CronJob batch/v1 cronjobs namespaced
CustomResourceDefinition apiextensions.k8s.io/v1 customresourcedefinitions cluster
DaemonSet apps/v1 daemonsets namespaced
Deployment apps/v1 deployments namespaced
EndpointSlice discovery.k8s.io/v1 endpointslices namespaced
HorizontalPodAutoscaler autoscaling/v2 horizontalpodautoscalers namespaced
Ingress networking.k8s.io/v1 ingresses namespaced
IngressClass networking.k8s.io/v1 ingressclasses cluster
Job batch/v1 jobs namespaced
Lease coordination.k8s.io/v1 leases namespaced
LimitRange v1 limitranges namespaced
MutatingWebhookConfiguration admissionregistration.k8s.io/v1 mutatingwebhookconfigurations cluster
Namespace v1 namespaces cluster
NetworkPolicy networking.k8s.io/v1 networkpolicies namespaced
Node v1 nodes cluster
PersistentVolume v1 persistentvolumes cluster
PersistentVolumeClaim v1 persistentvolumeclaims namespaced
Pod v1 pods namespaced
PodDisruptionBudget policy/v1 poddisruptionbudgets namespaced
PriorityClass scheduling.k8s.io/v1 priorityclasses cluster
ReplicaSet apps/v1 replicasets namespaced
ResourceQuota v1 resourcequotas namespaced
Role rbac.authorization.k8s.io/v1 roles namespaced
RoleBinding rbac.authorization.k8s.io/v1 rolebindings namespaced
RuntimeClass node.k8s.io/v1 runtimeclasses cluster
Secret v1 secrets namespaced
Service v1 services namespaced
ServiceAccount v1 serviceaccounts namespaced
StatefulSet apps/v1 statefulsets namespaced
StorageClass storage.k8s.io/v1 storageclasses cluster
ValidatingWebhookConfiguration admissionregistration.k8s.io/v1 validatingwebhookconfigurations cluster
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the objects of a kind live."""

    name: str
    version: str
    resource: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """The address of one object, or without a name of all of a namespace, or without either of all."""
        root = f"/api/{self.version}" if "/" not in self.version else f"/apis/{self.version}"
        inside = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.resource}{f'/{quote(name)}' if name else ''}"


KINDS: Mapping[str, Kind] = {
    words[0]: Kind(words[0], words[1], words[2], words[3] == "namespaced")
    for words in (line.split() for line in _KINDS.split("\n") if line)
}


@dataclass(frozen=True, slots=True)
class Ref:
    """One object by name; ``namespace`` is empty for what belongs to the whole cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @property
    def path(self) -> str:
        """Its address on the API server."""
        return KINDS[self.kind].path(self.namespace, self.name)

    @classmethod
    def parse(cls, text: str, namespace: str = "") -> Ref:
        """``Kind/name`` in the given namespace, ``Kind/namespace/name``, or ``Kind/name`` of the cluster.

        Raises LabError for a kind that the lab does not know.
        """
        kind, _, rest = text.partition("/")
        if kind not in KINDS or not rest:
            raise LabError(f"{text!r} names no object that the lab knows")
        first, slash, last = rest.partition("/")
        if not KINDS[kind].namespaced:
            return cls(kind, "", rest)
        return cls(kind, first, last) if slash else cls(kind, namespace, first)

    @classmethod
    def of(cls, item: Object, namespace: str = "") -> Ref:
        """The name of an object that is at hand."""
        kind = str(item.get("kind", ""))
        if kind not in KINDS:
            raise LabError(f"{kind!r} is no kind that the lab knows")
        meta = item.get("metadata") or {}
        inside = str(meta.get("namespace") or namespace) if KINDS[kind].namespaced else ""
        return cls(kind, inside, str(meta.get("name", "")))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def object(self) -> Object:
        """The body as an object; empty when it is none."""
        return read_object(self.body)

    def message(self) -> str:
        """Why not, in a line."""
        said = self.object().get("message")
        return shorten(clean_line(said if isinstance(said, str) else self.text), 200) or f"HTTP {self.status}"


class _Connection(http.client.HTTPConnection):
    """Dials as the rest of kdiag does, and checks the server's certificate as kubectl does."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(target.host, target.port, timeout=seconds)
        self._target = target
        self._context = context
        self._seconds = seconds

    def connect(self) -> None:
        """Open the socket, and TLS on it."""
        self.sock = dialled(self._target.host, self._target.port, Deadline(self._seconds))
        self.sock.settimeout(self._seconds)
        if self._context is not None:
            name = self._target.tls_server_name or self._target.host
            self.sock = self._context.wrap_socket(self.sock, server_hostname=name)


class Api:
    """One API server. Each request has a connection of its own: a lab asks little, and breaks much."""

    def __init__(self, target: Target) -> None:
        if target.proxy_url:
            raise ConfigError("the practice lab speaks to the API server directly, and this context has a proxy-url")
        self.target = target

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", seconds: float = 20
    ) -> Answer:
        """Ask once. Raises CollectError when nothing comes back; any status is an answer."""
        deadline = Deadline(seconds)
        pair = self.target.credentials.certificate(deadline)
        context = tls_context(self.target, pair) if self.target.tls else None
        headers = {"User-Agent": f"kdiag-lab/{__version__}", "Accept": "application/json", "Content-Type": kind}
        headers |= self.target.credentials.headers(deadline) if self.target.tls else {}
        connection = _Connection(self.target, context, seconds)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.putrequest(method, f"{self.target.base_path}{path}", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            for name, values in self.target.impersonate.items():
                for value in values:
                    connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(16 << 20))
        except http.client.HTTPException as exc:
            raise BadAnswer(f"{self.target.server}: {type(exc).__name__}") from exc
        except OSError as exc:
            raise Unreachable(f"{self.target.host}:{self.target.port}: {os_reason(exc)}") from exc
        finally:
            connection.close()

    def alive(self) -> bool:
        """Whether the API server answers and can read what it stores."""
        try:
            return self.request("GET", "/api/v1/namespaces/default", seconds=5).status in (200, 403, 404)
        except (Unreachable, BadAnswer):
            return False

    def get(self, ref: Ref) -> Object | None:
        """The object; None when there is none."""
        answer = self.request("GET", ref.path)
        if answer.status == 404:
            return None
        return self._done(answer, f"get {ref}").object()

    def list(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind, in one namespace or in all."""
        query = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())} if labels else {}
        path = KINDS[kind].path(namespace) + (f"?{urlencode(query)}" if query else "")
        items = self._done(self.request("GET", path, seconds=30), f"list {KINDS[kind].resource}").object().get("items")
        return [i for i in items if isinstance(i, dict)] if isinstance(items, list) else []

    def create(self, item: Object, namespace: str = "") -> Object:
        """Create an object."""
        ref = Ref.of(item, namespace)
        path = KINDS[ref.kind].path(ref.namespace)
        return self._done(self.request("POST", path, _typed(item)), f"create {ref}").object()

    def put(self, item: Object, namespace: str = "") -> None:
        """Make it so: create the object, or replace what there is; made anew where it cannot be changed."""
        ref = Ref.of(item, namespace)
        there = self.get(ref)
        if there is None:
            self.create(item, namespace)
            return
        wanted = _typed(item)
        meta = dict(wanted.get("metadata") or {})
        if ref.kind in ("Service", "PersistentVolume", "CustomResourceDefinition"):
            meta["resourceVersion"] = there.get("metadata", {}).get("resourceVersion")
        if ref.kind == "Service" and "clusterIP" not in (wanted.get("spec") or {}):
            spec = there.get("spec", {})
            kept = {k: spec[k] for k in ("clusterIP", "clusterIPs") if k in spec}
            wanted = {**wanted, "spec": {**wanted["spec"], **kept}}
        answer = self.request("PUT", ref.path, {**wanted, "metadata": meta})
        if answer.status == 422:
            self.delete(ref)
            self.create(item, namespace)
            return
        self._done(answer, f"replace {ref}")

    def patch(self, ref: Ref, change: object, kind: str = MERGE) -> Object:
        """Change an object."""
        return self._done(self.request("PATCH", ref.path, change, kind=kind), f"patch {ref}").object()

    def delete(self, ref: Ref, *, grace: int | None = None, missing_ok: bool = True) -> None:
        """Delete an object; its dependents go after it."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        answer = self.request("DELETE", ref.path, options)
        if answer.status == 404 and missing_ok:
            return
        self._done(answer, f"delete {ref}")

    def log(self, namespace: str, pod: str, container: str = "", *, lines: int = 50) -> Answer:
        """The end of a container's log, as the kubelet gives it."""
        query = urlencode({"tailLines": lines, **({"container": container} if container else {})})
        return self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log?{query}")

    @staticmethod
    def _done(answer: Answer, what: str) -> Answer:
        if not answer.ok:
            raise LabError(f"cannot {what}: {answer.message()}")
        return answer


def _typed(item: Object) -> Object:
    """The object with the version that its kind has here."""
    return {**item, "apiVersion": item.get("apiVersion") or KINDS[str(item["kind"])].version}


def bare(item: Object) -> Object:
    """An object as it would be written by hand: without what the server adds and refuses to be given."""
    meta = dict(item.get("metadata") or {})
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"):
        meta.pop(name, None)
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(name, None)
    return {k: v for k, v in item.items() if k != "status"} | {"metadata": meta}


def merged(base: Any, change: Any) -> Any:
    """A JSON merge patch applied: maps are merged, null removes, everything else replaces."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def field(item: Any, path: str) -> Any:
    """What stands at ``spec.template.spec.containers.0.image``; None when nothing does."""
    for part in path.split("."):
        if isinstance(item, list):
            item = item[int(part)] if part.isdigit() and int(part) < len(item) else None
        elif isinstance(item, dict):
            item = item.get(part.replace("~1", "."))
        else:
            return None
    return item


def ready_pods(pods: Iterable[Object]) -> int:
    """How many of these pods are ready and not on their way out."""
    return sum(
        1
        for pod in pods
        if not pod.get("metadata", {}).get("deletionTimestamp")
        and any(
            c.get("type") == "Ready" and c.get("status") == "True"
            for c in pod.get("status", {}).get("conditions") or ()
        )
    )
