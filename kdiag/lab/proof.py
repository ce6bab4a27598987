"""Whether it is mended: what a user would see, asked without kdiag's own checks.

Each line of a proof is asked once a second until it holds or its time is up, and says what still fails.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kdiag.errors import CollectError, LabError
from kdiag.lab.api import Api, Object, Ref, field, ready_pods
from kdiag.lab.hosts import Hosts
from kdiag.lab.steps import MARK, state
from kdiag.model.text import clean_line, shorten

_POD_SECONDS = 40.0
# Not by its exit code: nslookup is content with an alias that leads nowhere, and not with a name without IPv6.
_RESOLVES = 'out=$(nslookup {name} 2>&1); echo "$out"; echo "$out" | grep -A1 ^Name: | grep -q ^Address'


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a proof: what should be, whether it is, and what was seen instead.

    ``task`` and ``failing`` are the same for the student: which field it is would be the solution.
    """

    text: str
    holds: bool
    seen: str = ""
    task: str = ""

    @property
    def failing(self) -> str:
        """What a student is told of a line that does not hold."""
        return "not yet" if self.task != self.text and self.seen.startswith("it is ") else self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a proof may use: the API server, the nodes, and the names of the scenario."""

    api: Api
    hosts: Hosts
    values: Mapping[str, Any]
    machines: Mapping[str, list[str]]
    wait: Callable[[float], None] = time.sleep


def prove(witness: Witness, proof: list[dict[str, Any]], patience: float) -> list[Line]:
    """Each line of the proof, given ``patience`` seconds in all for what is still on its way."""
    ends = time.monotonic() + patience
    lines = []
    for item in proof:
        while True:
            holds, seen = _asked(witness, item)
            if holds or time.monotonic() >= ends:
                break
            witness.wait(1)
        said = "" if holds else shorten(clean_line(seen), 200)
        lines.append(Line(text(witness, item), holds, said, _for_the_student(witness, item)))
    return lines


def slow(item: Mapping[str, Any]) -> bool:
    """Whether it is a new pod that is asked, which takes its time to fail."""
    return _kind(item).by_a_pod


def text(witness: Witness, item: Mapping[str, Any]) -> str:
    """The line in words."""
    return str(item["says"]) if "says" in item else _kind(item).words(_Question.of(witness, item))


def _for_the_student(witness: Witness, item: Mapping[str, Any]) -> str:
    """The line in words that do not name the field."""
    if _kind(item).names_a_field and "says" not in item:
        return f"{_Question.of(witness, item).named} is set as the task wants it"
    return text(witness, item)


def _asked(witness: Witness, item: Mapping[str, Any]) -> tuple[bool, str]:
    """Ask one line once. What cannot be asked does not hold."""
    try:
        return _kind(item).ask(_Question.of(witness, item))
    except (CollectError, LabError) as exc:
        return False, str(exc)


@dataclass(frozen=True, slots=True)
class _Question:
    """One line of a proof as it is written: of what it asks, and how."""

    w: Witness
    about: Any
    item: Mapping[str, Any]

    @classmethod
    def of(cls, witness: Witness, item: Mapping[str, Any]) -> _Question:
        return cls(witness, next(iter(item.values())), item)

    @property
    def ns(self) -> str:
        return str(self.w.values["ns"])

    @property
    def ref(self) -> Ref:
        return Ref.parse(str(self.about), self.ns)

    @property
    def named(self) -> str:
        return _named(self.ref)

    @property
    def contains(self) -> str:
        return f" with {self.item['contains']!r}" if self.item.get("contains") else ""

    def there(self) -> bool:
        return self.w.api.get(self.ref) is not None

    def field(self) -> Any:
        return field(self.w.api.get(self.ref) or {}, str(self.item["path"]))

    def pod(self, *command: str) -> tuple[bool, str]:
        return _pod(self.w, self.ns, list(command), self.item)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a line of one kind says, and how it is asked: whether it holds, and what was seen."""

    words: Callable[[_Question], str]
    ask: Callable[[_Question], tuple[bool, str]]
    by_a_pod: bool = False
    names_a_field: bool = False


def _named(ref: Ref) -> str:
    return f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"


def _kind(item: Mapping[str, Any]) -> _Kind:
    name = next(iter(item))
    if name not in _KINDS:
        raise LabError(f"{name!r} is no line of a proof")
    return _KINDS[name]


_READY = {"PersistentVolumeClaim": "is bound", "Job": "has completed", "APIService": "is available"}


def _wanted(q: _Question) -> str:
    return str(q.item["is"]) if "is" in q.item else f"not {q.item['not']}"


def _is(q: _Question) -> tuple[bool, str]:
    found = q.field()
    return (found == q.item["is"] if "is" in q.item else found != q.item["not"]), f"it is {found!r}"


def _is_least(q: _Question) -> tuple[bool, str]:
    found = q.field()
    return isinstance(found, int) and found >= int(q.item["of"]), f"it is {found!r}"


def _runs_as(q: _Question) -> tuple[bool, str]:
    wanted = "may" in q.item
    may = _may(q.w, q.ns, str(q.about), str(q.item["may" if wanted else "may_not"]))
    return may == wanted, "it may" if may else "it may not"


def _label(q: _Question) -> str:
    return "=".join(str(part) for part in (q.item["label"], q.item.get("is")) if part is not None)


def _none(q: _Question) -> tuple[bool, str]:
    """Whether no object of a kind has a label, or has it with this value."""
    key, value = str(q.item["label"]), q.item.get("is")
    found = sorted(
        str(item["metadata"].get("name"))
        for item in q.w.api.list(str(q.about))
        if key in (labels := item.get("metadata", {}).get("labels") or {}) and value in (None, labels[key])
    )
    return not found, f"{', '.join(found)} {'has' if len(found) == 1 else 'have'} {_label(q)}"


def _ready(q: _Question) -> tuple[bool, str]:
    """Whether it is ready, and its pods on the node that the task names."""
    holds, seen = state(q.w.api, q.ref, q.item)
    if not holds or "node" not in q.item:
        return holds, seen
    labels = field(q.w.api.get(q.ref) or {}, "spec.selector.matchLabels") or {}
    pods = [p for p in q.w.api.list("Pod", q.ref.namespace, labels) if ready_pods([p])]
    others = sorted({str(field(p, "spec.nodeName")) for p in pods} - {str(q.item["node"])})
    return not others, f"it runs on {', '.join(others)}"


_KINDS: Mapping[str, _Kind] = {
    "absent": _Kind(lambda q: f"{q.named} is gone", lambda q: (not q.there(), "it is still there")),
    "answers": _Kind(
        lambda q: f"NodePort {q.about} answers{q.contains}", lambda q: _answers(q.w, int(q.about), q.item)
    ),
    "api": _Kind(lambda q: "the API server answers", lambda q: (q.w.api.alive(), "it does not")),
    "deploys": _Kind(lambda q: "a new Deployment gets its pod", lambda q: _deploys(q.w, q.ns), by_a_pod=True),
    "exists": _Kind(lambda q: f"{q.named} exists", lambda q: (q.there(), "it does not exist")),
    "field": _Kind(
        lambda q: f"{q.named}: {q.item['path']} is {_wanted(q)}",
        _is,
        names_a_field=True,
    ),
    "least": _Kind(
        lambda q: f"{q.named}: {q.item['path']} is at least {q.item['of']}",
        _is_least,
        names_a_field=True,
    ),
    "logs": _Kind(lambda q: f"the log of a pod on {q.about} can be read", lambda q: _logs(q.w, str(q.about))),
    "on_node": _Kind(
        lambda q: f"{q.item['command']} succeeds on {q.about}",
        lambda q: (True, q.w.hosts.run(str(q.about), str(q.item["command"]), seconds=20)),
    ),
    "none": _Kind(
        lambda q: f"no {q.about} has the label {_label(q)}",
        lambda q: _none(q),
    ),
    "ready": _Kind(
        lambda q: (
            f"{q.named} {_READY.get(q.ref.kind, 'is ready')}" + (f" on {q.item['node']}" if "node" in q.item else "")
        ),
        lambda q: _ready(q),
    ),
    "resolves": _Kind(
        lambda q: f"a pod resolves {q.about}",
        lambda q: q.pod("sh", "-c", _RESOLVES.format(name=q.about)),
        by_a_pod=True,
    ),
    "rolls": _Kind(
        lambda q: f"a restart of {q.named} drops no request",
        lambda q: _rolls(q.w, q.ns, q.ref, str(q.item["through"])),
        by_a_pod=True,
    ),
    "runs": _Kind(
        lambda q: "a new pod can do its work",
        lambda q: q.pod(*map(str, q.about)),
        by_a_pod=True,
    ),
    "runs_as": _Kind(
        lambda q: (
            f"ServiceAccount {q.ns}/{q.about} "
            + (f"may {q.item['may']}" if "may" in q.item else f"may not {q.item['may_not']}")
        ),
        _runs_as,
    ),
    "schedules": _Kind(
        lambda q: "a new pod is started" + (f" on {q.item['node']}" if q.item.get("node") else ""),
        lambda q: q.pod("true"),
        by_a_pod=True,
    ),
    "serves": _Kind(
        lambda q: f"{q.about.replace('Service/', f'Service {q.ns}/', 1)} answers inside the cluster{q.contains}",
        lambda q: _serves(q.w, q.ns, str(q.about), q.item),
        by_a_pod=True,
    ),
    "steady": _Kind(
        lambda q: f"{q.named} runs {q.item.get('seconds', 15)} s without a restart",
        lambda q: _steady(q.w, q.ref, float(q.item.get("seconds", 15))),
    ),
}


def _may(w: Witness, ns: str, account: str, what: str) -> bool:
    """Whether an account may do something in the scenario's namespace, or in another: ``list pods in default``."""
    verb, resource, *where = what.split()
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{ns}:{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{ns}", "system:authenticated"],
            "resourceAttributes": {"namespace": where[-1] if where else ns, "verb": verb, "resource": resource},
        },
    }
    answer = w.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return field(answer.object(), "status.allowed") is True


def _answers(w: Witness, port: int, item: Mapping[str, Any]) -> tuple[bool, str]:
    """A NodePort, asked from here; where this machine has no way to the nodes, from a node."""
    seen, path = "no node has an address", str(item.get("path", "/"))
    for name, addresses in w.machines.items():
        for address in addresses:
            if ":" in address or not address[:1].isdigit():
                continue
            status, body = _http(address, port, path)
            if not status and w.hosts.reaches(name):
                script = f"curl -s -m 5 -w '\\n%{{http_code}}' http://{address}:{port}{path} || true"
                said, _, code = w.hosts.run(name, script).rpartition("\n")
                status, body = (int(code), said) if code.isdigit() else (0, body)
            # The public two-tier application says 200 and "Failed connecting", that of the lab 500 and "Failed".
            if status == 200 and str(item.get("contains", "")) in body and "Failed" not in body:
                return True, ""
            seen = f"HTTP {status}: {body.strip()}" if status else body
    return False, seen


def _http(host: str, port: int, path: str) -> tuple[int, str]:
    """The status and the body; 0 and the reason when there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(1 << 16).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        return 0, f"{host}:{port}: {exc}"
    finally:
        connection.close()
    return answer.status, body


def _serves(w: Witness, ns: str, target: str, item: Mapping[str, Any]) -> tuple[bool, str]:
    """A Service, asked by a pod, as its users do; by its address, for ``resolves`` is what asks for names."""
    request, seen = _request(w, ns, target, str(item.get("path", "/")))
    if not request:
        return False, seen
    holds, said = _pod(w, ns, ["sh", "-c", f"for i in 1 2 3; do {request} || echo no connection; done"], item)
    good = len(re.findall(r"^HTTP/1\.[01] 200", said, re.M)) == 3 and str(item.get("contains", "")) in said
    return holds and good, said.strip() or "no answer"


def _request(w: Witness, ns: str, target: str, path: str = "/") -> tuple[str, str]:
    """The command that asks ``Service/name:port`` over HTTP, or why there is none.

    With nc: the wget of some builds of busybox crashes before it has asked.
    """
    name, _, port = target.rpartition(":")
    ref = Ref.parse(name, ns)
    ip = field(w.api.get(ref) or {}, "spec.clusterIP")
    if not ip:
        return "", f"{_named(ref)} does not exist"
    host = f"{ref.name}.{ref.namespace}.svc"
    return (
        f"printf 'GET {path} HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' | nc -w 5 {host if ip == 'None' else ip} {port}",
        "",
    )


def _pod(w: Witness, ns: str, command: list[str], item: Mapping[str, Any]) -> tuple[bool, str]:
    """Run a command in a new pod, and give what it printed."""
    name = f"kdiag-proof-{secrets.token_hex(4)}"
    ref = Ref("Pod", ns, name)
    container: Object = {
        "name": "proof",
        "image": w.values["image_busybox"],
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}},
    }  # fmt: skip
    spec: Object = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    if item.get("node"):
        spec["nodeSelector"] = {"kubernetes.io/hostname": item["node"]}
        spec["tolerations"] = [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
    if item.get("account"):
        spec["serviceAccountName"] = item["account"]
    labels = {MARK: "proof", **item.get("labels", {})}
    meta: Object = {"name": name, "namespace": ns, "labels": labels}
    w.api.create({"kind": "Pod", "metadata": meta, "spec": spec})
    try:
        return _outcome(w, ref, float(item.get("seconds", _POD_SECONDS)), str(item.get("prints", "")))
    finally:
        with contextlib.suppress(CollectError, LabError):  # it goes with its namespace
            w.api.delete(ref, grace=0)


def _outcome(w: Witness, ref: Ref, seconds: float, prints: str) -> tuple[bool, str]:
    ends = time.monotonic() + seconds
    while True:
        pod = w.api.get(ref) or {}
        phase = field(pod, "status.phase")
        if phase in ("Succeeded", "Failed"):
            said = w.api.log(ref.namespace, ref.name).text
            return phase == "Succeeded" and prints in said, said
        if time.monotonic() > ends:
            waits = field(pod, "status.containerStatuses.0.state.waiting.reason") or phase or "not created"
            where = field(pod, "spec.nodeName") or "no node"
            return False, f"a new pod does not get to run: {waits}, on {where}"
        w.wait(0.5)


def _steady(w: Witness, ref: Ref, seconds: float) -> tuple[bool, str]:
    """Whether the workload is ready, and stays so without a restart."""
    holds, seen = state(w.api, ref, {})
    if not holds:
        return False, seen
    before = _restarts(w, ref)
    w.wait(seconds)
    holds, seen = state(w.api, ref, {})
    if not holds:
        return False, seen
    after = _restarts(w, ref)
    return after == before, f"{after - before} restarts within {seconds:.0f} s"


def _restarts(w: Witness, ref: Ref) -> int:
    labels = field(w.api.get(ref) or {}, "spec.selector.matchLabels") or {}
    return sum(
        int(status.get("restartCount", 0))
        for pod in w.api.list("Pod", ref.namespace, labels)
        for status in field(pod, "status.containerStatuses") or ()
    )


def _deploys(w: Witness, ns: str) -> tuple[bool, str]:
    """Whether a Deployment that is made now gets its pod: somebody must make its ReplicaSet, and that its pod."""
    name = f"kdiag-proof-{secrets.token_hex(4)}"
    ref = Ref("Deployment", ns, name)
    labels = {"app": name}
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "proof", "image": w.values["image_nginx"], "imagePullPolicy": "IfNotPresent"},
        ],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    w.api.create({"kind": "Deployment", "metadata": {"name": name, "namespace": ns}, "spec": spec})
    try:
        ends = time.monotonic() + _POD_SECONDS
        while time.monotonic() < ends:
            pods = w.api.list("Pod", ns, labels)
            if ready_pods(pods):
                return True, ""
            w.wait(0.5)
        return False, "its pod is not ready" if w.api.list("Pod", ns, labels) else "no pod is made for it"
    finally:
        w.api.delete(ref)


def _logs(w: Witness, node: str) -> tuple[bool, str]:
    for pod in w.api.list("Pod"):
        if field(pod, "spec.nodeName") == node and ready_pods([pod]):
            meta = pod["metadata"]
            answer = w.api.log(meta["namespace"], meta["name"], str(field(pod, "spec.containers.0.name")), lines=1)
            return answer.ok, answer.message() if not answer.ok else ""
    return False, f"no pod is ready on {node}"


def _rolls(w: Witness, ns: str, ref: Ref, service: str) -> tuple[bool, str]:
    """Restart a workload while a pod sends it requests; none may fail."""
    request, seen = _request(w, ns, service)
    if not request:
        return False, seen
    ask = f"{request} | grep -q '^HTTP/1.[01] 200'"
    script = (
        f"{ask}; echo begun; bad=0; n=0; end=$(( $(date +%s) + 25 ))\n"
        f"while [ $(date +%s) -lt $end ]; do {ask} || bad=$((bad + 1)); n=$((n + 1)); done\n"
        'echo "$bad of $n failed"; [ "$bad" = 0 ]'
    )
    stamp = {"kdiag.dev/restarted": secrets.token_hex(4)}
    restart = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    w.api.patch(ref, restart)
    holds, seen = _pod(w, ns, ["sh", "-c", script], {"seconds": 60})
    last = (seen.strip().splitlines() or ["nothing was said"])[-1]
    return holds, f"{last} while it rolled"
