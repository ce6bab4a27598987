"""The steps that break something, each recorded before it is taken, and their undoing.

Undoing is the same for a step that was taken, half taken or never reached, and may be repeated: a crash at any moment
leaves a record from which everything is put back. What a file was stays on its node, below ``KEPT``: it may hold keys.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

from kdiag.errors import CollectError, LabError
from kdiag.lab.api import JSON, MERGE, STRATEGIC, Api, Object, Ref, bare, field, ready_pods
from kdiag.lab.apps import build
from kdiag.lab.hosts import Hosts
from kdiag.lab.record import Change

#: Where a node keeps what a lab has replaced there.
KEPT = "/var/lib/kdiag-practice"
#: What a lab may change on a node: a mistake in a scenario must not reach further.
ALLOWED = (
    *("/etc/kubernetes/", "/var/lib/kubelet/", "/etc/cni/net.d", "/etc/containerd/", "/opt/cni/bin/", "/var/lib/etcd/"),
    *("/etc/systemd/system/kubelet.service.d/", "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/resolv.conf"),
    *("/usr/lib/systemd/system/kubelet.service.d/", "/usr/bin/kubelet", "/run/kdiag-practice", "/etc/crictl.yaml"),
)
MARK = "kdiag.dev/practice"

_UNIT = re.compile(r"[a-z][a-z0-9@_.-]*")
_REPLICAS = ("Deployment", "StatefulSet", "DaemonSet")


class Workbench:
    """Takes steps for one scenario, through the API server and on the nodes."""

    def __init__(
        self,
        api: Api,
        hosts: Hosts,
        *,
        session: str,
        note: Callable[[Change], None],
        numbers: Callable[[], int],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._hosts = hosts
        self._session = session
        self._note = note
        self._next = numbers
        self._wait = wait

    def namespace(self, scenario: str, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Make a namespace of the scenario's own. Raises LabError when one of that name is there already."""
        if self._api.get(Ref("Namespace", "", name)) is not None:
            raise LabError(f"namespace {name} exists already: kdiag lab stop, or delete it")
        self._note(Change(number=self._next(), scenario=scenario, kind="namespace", what=name))
        meta = {"name": name, "labels": {MARK: self._session, **(labels or {})}}
        self._api.create({"kind": "Namespace", "metadata": meta})
        # Pods are refused until the controller manager has made this.
        self.until(lambda: self._api.get(Ref("ServiceAccount", name, "default")) is not None, 30)

    def take(self, scenario: str, step: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Take one step of a set-up or a break."""
        inside = str(values["ns"])
        if "node" in step:
            self._on_node(scenario, str(step["node"]), step)
        elif "wait" in step:
            ref = Ref.parse(str(step["wait"]), inside)
            self.until(
                lambda: state(self._api, ref, step)[0], float(step.get("seconds", 120)), what=f"{ref} is not ready"
            )
        elif "pause" in step:
            self._wait(float(step["pause"]))
        elif "ask" in step:
            self._ask(str(step["ask"]), inside)
        elif "delete" in step:
            ref = Ref.parse(str(step["delete"]), inside)
            self._keep(scenario, ref)
            self._api.delete(ref, grace=step.get("grace"))
            if step.get("gone", True):
                self.until(lambda: self._api.get(ref) is None, 60)
        elif "evict" in step:
            for pod in self._api.list("Pod", str(step.get("namespace", inside)), step["evict"]):
                self._api.delete(Ref.of({"kind": "Pod", **pod}))
        elif "scale" in step:
            self._change(scenario, Ref.parse(str(step["scale"]), inside), {"spec": {"replicas": step["to"]}}, MERGE)
        elif "patch" in step:
            self._patch(scenario, Ref.parse(str(step["patch"]), inside), step)
        elif "apply" in step or "kind" in step or "app" in step:
            for item in build(step.get("apply") or step, values):
                self._keep(scenario, Ref.of(item, inside))
                self._put(item, inside)
        else:
            raise LabError(f"{scenario}: no step: {', '.join(map(str, step))}")

    def until(self, true: Callable[[], bool], seconds: float, *, what: str = "") -> bool:
        """Wait until it is true. Raises LabError when it is not in time, unless there is nothing to say."""
        ends = time.monotonic() + seconds
        while True:
            try:
                if true():
                    return True
            except (CollectError, LabError):
                if time.monotonic() > ends:
                    raise
            if time.monotonic() > ends:
                if what:
                    raise LabError(f"{what} after {seconds:.0f} s")
                return False
            self._wait(1)

    # Through the API

    def _put(self, item: Object, namespace: str) -> None:
        # The server may be slow to see what it was told a moment ago: the namespace, its service account.
        for attempt in range(3):
            try:
                self._api.put(item, namespace)
                return
            except LabError:
                if attempt == 2:
                    raise
                self._wait(1)

    def _keep(self, scenario: str, ref: Ref) -> Object | None:
        """Record an object as it is."""
        before = self._api.get(ref)
        own = self._ours(ref.namespace)
        if ref.kind == "Secret":
            if before is not None and not own:
                raise LabError(f"{scenario}: a lab does not touch Secret {ref.namespace}/{ref.name}")
            return before
        number = self._next()
        if ref.kind == "Namespace" and before is None:
            self._note(Change(number=number, scenario=scenario, kind="namespace", what=ref.name))
        else:
            kept = bare({"kind": ref.kind, **before}) if before else None
            self._note(Change(number=number, scenario=scenario, kind="object", what=str(ref), before=kept, own=own))
        return before

    def _ours(self, namespace: str) -> bool:
        if not namespace:
            return False
        found = self._api.get(Ref("Namespace", "", namespace)) or {}
        labels = found.get("metadata", {}).get("labels") or {}
        return bool(labels.get(MARK) == self._session)

    def _change(self, scenario: str, ref: Ref, change: object, kind: str) -> None:
        if self._keep(scenario, ref) is None:
            raise LabError(f"{scenario}: there is no {ref}")
        self._api.patch(ref, change, kind)

    def _patch(self, scenario: str, ref: Ref, step: Mapping[str, Any]) -> None:
        if "json" in step:
            return self._change(scenario, ref, step["json"], JSON)
        if "merge" in step:
            return self._change(scenario, ref, step["merge"], MERGE)
        if "strategic" in step:
            return self._change(scenario, ref, step["strategic"], STRATEGIC)
        there = self._api.get(ref)
        if there is None:
            raise LabError(f"{scenario}: there is no {ref}")
        if "container" in step:
            name = field(there, "spec.template.spec.containers.0.name")
            pod = {"containers": [{"name": name, **step["container"]}]}
            return self._change(scenario, ref, {"spec": {"template": {"spec": pod}}}, STRATEGIC)
        if "pod" in step:
            return self._change(scenario, ref, {"spec": {"template": {"spec": step["pod"]}}}, STRATEGIC)
        path, old = str(step["field"]), field(there, str(step["field"]))
        new, count = re.subn(str(step["find"]), str(step["with"]), str(old), flags=re.M)
        if old is None or not count:
            raise LabError(f"{scenario}: {path} of {ref} has no {step['find']!r}")
        pointer = "/" + "/".join(p.replace("~1", ".").replace("/", "~1") for p in path.split("."))
        value: object = int(new) if isinstance(old, int) else new
        self._change(scenario, ref, [{"op": "replace", "path": pointer, "value": value}], JSON)

    def _ask(self, target: str, namespace: str) -> None:
        """Send a few requests, as users would, so that the application has something to say in its log."""
        ref, _, port = target.rpartition(":")
        service = Ref.parse(ref, namespace)
        for _ in range(3):
            path = f"/api/v1/namespaces/{service.namespace}/services/{service.name}:{port}/proxy/"
            self._api.request("GET", path, seconds=10)

    # On a node

    def _on_node(self, scenario: str, node: str, step: Mapping[str, Any]) -> None:
        number = self._next()
        kept = f"{KEPT}/{self._session}-{number}"
        after = {k: str(step[k]) for k in ("restart", "reload") if step.get(k)}
        for unit in (step.get("restart"), step.get("unit")):
            if unit is not None and not _UNIT.fullmatch(str(unit)):
                raise LabError(f"{scenario}: {unit!r} is no unit")
        change = Change(number=number, scenario=scenario, kind="command", what="", node=node, detail=after)
        if path := step.get("edit") or step.get("remove") or step.get("write") or step.get("keep"):
            if not str(path).startswith(ALLOWED) or ".." in str(path):
                raise LabError(f"{scenario}: a lab does not change {path}")
            change.kind, change.what = "file", str(path)
            script = _keep_file(str(path), kept) + _file_step(str(path), kept, step)
        elif unit := step.get("unit"):
            change.kind, change.what = "unit", str(unit)
            script = _unit_step(str(unit), kept, str(step["do"]))
        elif key := step.get("sysctl"):
            change.kind, change.what = "sysctl", str(key)
            setting = shlex.quote(f"{key}={step['to']}")
            script = (
                f"mkdir -p -m 700 {kept}; test -e {kept}/was || sysctl -n {shlex.quote(str(key))} >{kept}/was\n"
                f"sysctl -qw {setting}\n"
            )
        elif rule := step.get("firewall"):
            change.kind, change.what = "firewall", str(rule)
            script = f"iptables -w -I {rule} -m comment --comment kdiag-practice\n"
        elif command := step.get("run"):
            change.kind, change.what = "command", str(command)
            change.detail = {**after, "undo": str(step["undo"])}
            script = f"{command}\n"
        else:
            raise LabError(f"{scenario}: no step on a node: {', '.join(map(str, step))}")
        self._note(change)
        self._hosts.run(node, f"set -e\n{script}{_after(after)}", seconds=90)


def _keep_file(path: str, kept: str) -> str:
    """Copy what is there now, links and owners included, once."""
    p = shlex.quote(path)
    return (
        f"umask 077; mkdir -p {kept}\n"
        f"if [ ! -e {kept}/was ]; then\n"
        f"  if [ -e {p} ] || [ -L {p} ]; then cp -a {p} {kept}/file; echo present >{kept}/was\n"
        f"  else echo absent >{kept}/was; fi\nfi\n"
    )


def _file_step(path: str, kept: str, step: Mapping[str, Any]) -> str:
    p = shlex.quote(path)
    if "edit" in step:
        # Not sed -i: its own temporary file would lie among the manifests.
        return (
            f"sed -E {shlex.quote(str(step['sed']))} {p} >{kept}/new\n"
            f"if cmp -s {kept}/new {p}; then echo 'nothing to change in {path}'; exit 9; fi\ncat {kept}/new >{p}\n"
        )
    if "remove" in step:
        return f"rm -rf {p}\n"
    if "keep" in step:
        return f"{step['run']}\n"
    mode = f"chmod {int(str(step['mode']), 8):o} {p}\n" if "mode" in step else ""
    return (
        f"mkdir -p $(dirname {p})\nprintf %s {shlex.quote(str(step['text']))} >{kept}/new\ncat {kept}/new >{p}\n{mode}"
    )


def _unit_step(unit: str, kept: str, do: str) -> str:
    lines = [
        f"umask 077; mkdir -p {kept}",
        f"test -e {kept}/was || {{ systemctl is-enabled {unit} >{kept}/was || true; "
        f"systemctl is-active {unit} >>{kept}/was || true; }}",
    ]
    for verb in do.split("+"):
        if verb not in ("stop", "disable", "mask"):
            raise LabError(f"{verb!r} is nothing that a lab does to a unit")
        lines.append(f"systemctl {verb} {unit}")
    return "\n".join(lines) + "\n"


def _after(detail: Mapping[str, str]) -> str:
    reload = "systemctl daemon-reload\n" if detail.get("reload") else ""
    unit = detail.get("restart", "")
    return reload + (
        f"systemctl reset-failed {unit} 2>/dev/null || true\nsystemctl restart {unit} || true\n" if unit else ""
    )


def undo_on_node(change: Change, session: str) -> str:
    """The script that takes a change on a node back; it may be run again, and when the change was never made."""
    kept = f"{KEPT}/{session}-{change.number}"
    p, after = shlex.quote(change.what), _after(change.detail)
    match change.kind:
        case "file":
            same = f"[ -f {p} ] && [ ! -L {p} ] && cmp -s {kept}/file {p}"
            back = (
                f"if [ -s {kept}/was ]; then\n"
                f'  if [ "$(cat {kept}/was)" = absent ]; then rm -rf {p}\n'
                f"  elif {same}; then chmod --reference={kept}/file {p}; chown --reference={kept}/file {p}\n"
                f"  else rm -rf {p}; cp -a {kept}/file {p}; fi\n"
            )
            return f"set -e\n{back}{after}rm -rf {kept}\nfi\n"
        case "unit":
            back = (
                f"systemctl unmask {p}\n"
                f'case "$(head -n1 {kept}/was)" in enabled*) systemctl enable {p};; esac\n'
                f'if [ "$(tail -n1 {kept}/was)" = active ]; then\n'
                f"  systemctl reset-failed {p} || true; systemctl start {p}\nfi\n"
            )
            return f"if [ -s {kept}/was ]; then\nset -e\n{back}{after}rm -rf {kept}\nfi\n"
        case "sysctl":
            return f'if [ -s {kept}/was ]; then sysctl -qw {p}="$(cat {kept}/was)"; rm -rf {kept}; fi\n'
        case "firewall":
            rule = f"{change.what} -m comment --comment kdiag-practice"
            return f"while iptables -w -D {rule} 2>/dev/null; do :; done\n"
        case _:
            return f"{change.detail.get('undo', 'true')}\n{after}"


def undo_object(api: Api, change: Change) -> None:
    """Put an object back as it was, or delete it where there was none."""
    if change.kind == "namespace":
        _release(api, Ref("Namespace", "", change.what))
        return
    ref = Ref.parse(change.what)
    there = api.get(ref)
    if change.before is None:
        if there is not None and not change.own:
            _release(api, ref)
        return
    if ref.kind == "Node":
        if there is not None:
            api.patch(ref, _node_as_before(change.before, there))
        return
    if there is not None and _same(bare(there), bare(change.before)):
        return
    api.put(change.before)
    if ref.kind in _REPLICAS:
        hurry(api, ref)


def _same(one: Object, other: Object) -> bool:
    parts = {*one, *other} - {"metadata", "apiVersion", "kind"}
    return all(one.get(k) == other.get(k) for k in parts) and all(
        (one["metadata"].get(k) or {}) == (other["metadata"].get(k) or {}) for k in ("labels", "finalizers")
    )


def _node_as_before(before: Object, there: Object) -> Object:
    """Only what a lab changes of a Node: its kubelet and the controllers write the rest all the time."""
    old, new = before.get("metadata", {}).get("labels") or {}, there.get("metadata", {}).get("labels") or {}
    labels = {k: old.get(k) for k in {*old, *new} if old.get(k) != new.get(k)}
    spec = before.get("spec", {})
    own = [t for t in spec.get("taints") or () if not str(t.get("key", "")).startswith("node.kubernetes.io/")]
    live = [
        t
        for t in there.get("spec", {}).get("taints") or ()
        if str(t.get("key", "")).startswith("node.kubernetes.io/")
        and t.get("key") != "node.kubernetes.io/unschedulable"
    ]
    return {
        "metadata": {"labels": labels},
        "spec": {"unschedulable": spec.get("unschedulable"), "taints": [*own, *live] or None},
    }


def _release(api: Api, ref: Ref) -> None:
    """Delete an object, also one that a finalizer of ours holds."""
    api.delete(ref, grace=0 if ref.kind == "Pod" else None)
    there = api.get(ref)
    if there and ref.kind != "Namespace" and there.get("metadata", {}).get("finalizers"):
        api.patch(ref, {"metadata": {"finalizers": None}})


def hurry(api: Api, ref: Ref) -> None:
    """Delete the pods of a workload that are not ready, so that no back-off delays what was just put right."""
    labels = field(api.get(ref) or {}, "spec.selector.matchLabels") or {}
    for pod in api.list("Pod", ref.namespace, labels) if labels else ():
        if not ready_pods([pod]):
            api.delete(Ref.of({"kind": "Pod", **pod}))


def state(api: Api, ref: Ref, want: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether an object is as a user wants it, and what is to be said of it."""
    item = api.get(ref)
    if item is None:
        return False, "it does not exist"
    spec, status = item.get("spec") or {}, item.get("status") or {}
    match ref.kind:
        case "Deployment" | "StatefulSet" | "DaemonSet":
            return _rolled_out(ref, item, want)
        case "Pod":
            phase = str(status.get("phase", ""))
            return (phase == "Succeeded" or ready_pods([item]) == 1), phase or "no phase"
        case "Job":
            done = status.get("succeeded", 0) >= spec.get("completions", 1)
            return done, f"{status.get('succeeded', 0)} succeeded, {status.get('failed', 0)} failed"
        case "PersistentVolumeClaim":
            return status.get("phase") == "Bound", str(status.get("phase", "no phase"))
        case "Node":
            ready = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}.get("Ready", "Unknown")
            cordoned = bool(spec.get("unschedulable"))
            said = {"True": "Ready", "False": "NotReady"}.get(ready, "Ready is unknown")
            return ready == "True" and not cordoned, said + (", SchedulingDisabled" if cordoned else "")
        case "APIService":
            found = {c.get("type"): c for c in status.get("conditions") or ()}.get("Available", {})
            return found.get("status") == "True", str(found.get("reason") or "no condition")
        case _:
            return True, "it exists"


def _rolled_out(ref: Ref, item: Object, want: Mapping[str, Any]) -> tuple[bool, str]:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    seen = status.get("observedGeneration", 0) >= item.get("metadata", {}).get("generation", 0)
    if ref.kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated, ready, all_pods = status.get("updatedNumberScheduled", 0), status.get("numberReady", 0), wanted
        enough = wanted >= int(want.get("replicas", 1))
    else:
        wanted = spec.get("replicas", 1)
        updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
        all_pods = status.get("replicas", 0)
        enough = wanted >= int(want.get("replicas", 1))
    if not seen:
        return False, "its controller has not seen the last change"
    said = f"{ready} of {wanted} ready" + (f", {updated} of the newest version" if updated < wanted else "")
    if not enough:
        said = f"{wanted} wanted, {want.get('replicas', 1)} expected"
    elif all_pods > wanted:
        said += f", {all_pods - wanted} of an older version still there"
    return enough and updated == ready == all_pods == wanted, said
