"""Filling a page: the finding's own objects in the place of the page's examples."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from kdiag.engine import shell
from kdiag.engine.runbook.page import Kind, Page, Step
from kdiag.engine.runbook.reading import judged
from kdiag.model.result import Finding, Ref

#: What a value may look like that goes into a command: it needs no quotes and is no option.
_VALUE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:@+=,-]{0,252}")
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController")
#: Which kinds of object may stand for a variable.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "NODE": ("Node",),
    "POD": ("Pod",),
    "SERVICE": ("Service",),
    "CLAIM": ("PersistentVolumeClaim",),
    "PV": ("PersistentVolume",),
    "ACCOUNT": ("ServiceAccount",),
    "SECRET": ("Secret",),
    "REQUEST": ("CertificateSigningRequest",),
    "DRIVER": ("CSIDriver",),
}
#: Words of a page's comment ("# the Service of the finding"), and the kinds that they mean.
_MEANT: Mapping[str, tuple[str, ...]] = {
    "workload": _WORKLOADS,
    "deployment": ("Deployment",),
    "statefulset": ("StatefulSet",),
    "daemonset": ("DaemonSet",),
    "cronjob": ("CronJob",),
    "job": ("Job",),
    "service": ("Service",),
    "ingress": ("Ingress",),
    "pod": ("Pod",),
    "budget": ("PodDisruptionBudget",),
    "autoscaler": ("HorizontalPodAutoscaler",),
    "apiservice": ("APIService",),
    "claim": ("PersistentVolumeClaim",),
    "node": ("Node",),
}
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


def fill(page: Page, finding: Finding | None, hints: Mapping[str, str] | None = None) -> Page:
    """The page with the finding's own objects in its commands.

    ``hints`` are values that the finding itself does not name and the caller knows: ``POD`` (a troubled pod of the
    workload), ``NODE`` (a control-plane node). What is known of neither is left as the page has it and is in
    ``unfilled``; steps that read it have it in ``missing``. A variable that is fixed on the page (a path, a namespace
    of the system, what is made of others) stays.
    """
    values: dict[str, str] = {}
    unfilled: dict[str, None] = {}
    blocks = []
    for block in page.blocks:
        steps = []
        for step in block.steps:
            match step.kind:
                case Kind.SET:
                    steps.append(_set(step, finding, hints or {}, values, unfilled))
                case Kind.RUN if step.sets:
                    steps.append(_asked(step, finding, hints or {}, values, unfilled))
                case _ if step.by_hand:
                    steps.append(dataclasses.replace(step, command=shell.filled(step.text, values)))
                case _:
                    steps.append(judged(step, values, unfilled))
        blocks.append(dataclasses.replace(block, steps=tuple(steps)))
    return dataclasses.replace(
        page,
        blocks=tuple(blocks),
        mitigation=_quoted(page.mitigation, values),
        remedies=tuple(
            dataclasses.replace(
                r, text=_quoted(r.text, values), commands=tuple(shell.filled(c, values) for c in r.commands)
            )
            for r in page.remedies
        ),
        values=values,
        unfilled=tuple(unfilled),
        finding=finding,
    )


def _quoted(text: str, values: Mapping[str, str]) -> str:
    """Prose with the values in the commands of its fences."""
    return re.sub(
        r"(```sh\n)(.*?)(\n[ \t]*```)", lambda m: m[1] + shell.filled(m[2], values) + m[3], text, flags=re.DOTALL
    )


def _set(
    step: Step, finding: Finding | None, hints: Mapping[str, str], values: dict[str, str], unfilled: dict[str, None]
) -> Step:
    """The settings of a page with the finding's values."""
    text = step.text
    for command in shell.parse(step.text).commands():
        for name, word in command.sets:
            fixed = any(not isinstance(part, shell.Text) for part in word)
            example = "" if fixed else shell.expand_value(word, {}, lambda _: "")
            known = "" if fixed else _known(name, example, step.comment, finding, hints)
            if known:
                text = re.sub(rf"(?<![\w]){name}=(?:\"[^\"]*\"|'[^']*'|\S)*", f"{name}={known}", text)
            else:
                try:
                    known = shell.expand_value(word, values, lambda _: "")
                except shell.ShellError:
                    unfilled[name] = None
                    continue
                if not fixed and not _constant(known):
                    unfilled[name] = None
                if fixed and any(p.name in unfilled for p in word if isinstance(p, shell.Variable)):
                    unfilled[name] = None
            if name not in unfilled:
                values[name] = known
            else:
                values.pop(name, None)
    missing = tuple(name for name in step.sets if name in unfilled)
    return dataclasses.replace(step, command=shell.filled(text, values) if not missing else text, missing=missing)


def _asked(
    step: Step, finding: Finding | None, hints: Mapping[str, str], values: dict[str, str], unfilled: dict[str, None]
) -> Step:
    """``POD=$(kubectl …)``: asked for, unless the finding or a hint says it."""
    name = step.sets[0]
    known = _known(name, "", step.comment, finding, hints) if len(step.sets) == 1 else ""
    if known:
        # "-o name" writes the kind before the name, and the commands that follow count on it.
        if name == "POD" and "-o name" in step.text and "cut -d/" not in step.text:
            known = f"pod/{known}"
        values[name] = known
        return dataclasses.replace(
            step, kind=Kind.SET, command=f"{name}={known}", comment=step.comment or "of the finding", refused=""
        )
    for each in step.sets:
        values.pop(each, None)
    return judged(step, values, unfilled)


def _constant(value: str) -> bool:
    """Whether an example holds in every cluster of the kind that the pages are about."""
    return value.startswith(("/", "kube-", "system:", "v1beta1.metrics")) or " " in value


def _known(name: str, example: str, comment: str, finding: Finding | None, hints: Mapping[str, str]) -> str:
    """The value of a variable, from the finding or a hint; empty when neither knows it."""
    if "any node" in comment:
        name, finding = "ANY_NODE", None
    if re.search(r"(?:clientConfig|spec)\.service\b", comment):
        # The Service behind a webhook or an API: the finding's own objects are those that it fails for.
        name, finding = f"BACKEND_{name}", None
    found = _from_finding(name, example, comment, finding) if finding else ""
    for value in (found, hints.get(name, "")):
        if value and _VALUE.fullmatch(value) and not (value.startswith("/") and name not in ("FILE", "STEM", "FOLDER")):
            return value
    return ""


def _from_finding(name: str, example: str, comment: str, finding: Finding) -> str:
    refs = (finding.subject, *finding.touches)
    if name == "NAMESPACE":
        return next((r.namespace for r in refs if r.namespace), "") or next(
            (r.name for r in refs if r.kind == "Namespace"), ""
        )
    if name in ("KIND", "OBJECT") and (name == "OBJECT" or example in ("configmap", "secret")):
        ref = next((r for r in refs if r.kind in ("ConfigMap", "Secret")), None)
        return (ref.kind.lower() if name == "KIND" else ref.name) if ref else ""
    if name == "KIND":
        return finding.subject.kind.lower()
    if name in _KINDS:
        ref = next((r for r in refs if r.kind in _KINDS[name]), None)
        return ref.name if ref else _from_evidence(name, finding)
    if name in ("PART", "COMPONENT") or (name == "NAME" and example in _STATIC):
        return _component(refs, finding)
    if name == "NAME":
        return _named(comment, finding, refs)
    return _from_evidence(name, finding)


def _named(comment: str, finding: Finding, refs: Sequence[Ref]) -> str:
    """NAME: of the kind that the page's comment speaks of, else the subject."""
    words = re.findall(r"[a-z]+", comment.lower())
    kinds = next((_MEANT[word] for word in words if word in _MEANT), None)
    if kinds is None or not finding.subject.kind or finding.subject.kind in kinds:
        return finding.subject.name if finding.subject.kind != "Cluster" else ""
    ref = next((r for r in refs if r.kind in kinds), None)
    if ref:
        return ref.name
    # "the workload of the finding", and the finding is about a pod that nothing owns: its name finds it as well.
    return finding.subject.name if kinds is _WORKLOADS and finding.subject.kind == "Pod" else ""


def _component(refs: Sequence[Ref], finding: Finding) -> str:
    """The control-plane component of a finding: by its pod's name, or by its manifest."""
    for ref in refs:
        for part in _STATIC:
            if ref.kind == "Pod" and ref.name.startswith(f"{part}-"):
                return part
    text = " ".join((*(e.command for e in finding.evidence), finding.message))
    match = re.search(r"/manifests/([a-z0-9.-]+)\.ya?ml", text)
    if match:
        return match[1]
    return next((part for part in _STATIC if re.search(rf"(?<![\w-]){part}(?![\w-])", text)), "")


_EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "POD": (r"\b(?:logs|pod) (?:-\S+ )*(?:pod/)?([a-z0-9][a-z0-9.-]*)", r"\bpod/([a-z0-9][a-z0-9.-]*)"),
    "SERVICE": (r"\b(?:svc|service)s?[ /]([a-z0-9][a-z0-9-]*)",),
    "UNIT": (r"\bsystemctl (?:show|status|cat) (?:-\S+ )*([a-z][a-z0-9@.-]*)", r"-u ([a-z][a-z0-9@.-]*)"),
    "FILE": (r"(/[A-Za-z0-9_./-]+\.(?:ya?ml|crt|pem|conf|toml|json))",),
    "CLAIM": (r"\b(?:pvc|persistentvolumeclaim)s? ([a-z0-9][a-z0-9.-]*)",),
    "PV": (r"\b(?:pv|persistentvolume)s? ([a-z0-9][a-z0-9.-]*)",),
    "ACCOUNT": (r"system:serviceaccount:[a-z0-9-]+:([a-z0-9][a-z0-9.-]*)",),
    "INIT": (r"\blogs (?:\S+ )*-c ([a-z0-9][a-z0-9-]*)",),
}


#: What only the finding's own sentence names.
_MESSAGE: Mapping[str, tuple[str, ...]] = {
    "PORT": (r"\bport (\d{2,5})\b",),
    "TARGET": (r"\bleads to port (\d{2,5})\b",),
    "OTHER": (r"\b(?:listen on|declare) (\d{2,5})\b",),
    "IMAGE": (r"\bpull (\S+?)(?=:? )", r"\brun (\S+:\S+) on "),
    "REGISTRY": (r"\bpull ([a-z0-9.-]+(?:\.[a-z0-9-]+|:[0-9]+))/",),
    "HOST": (r"\bresolve ([a-z0-9][a-z0-9.-]*)", r"\bnames ([a-z0-9][a-z0-9.-]*) in "),
    "UPSTREAM": (r"\bupstream (\d+(?:\.\d+){3})",),
    "VERB": (r"\bmay not ([a-z]+) ",),
    "RESOURCE": (r"\bmay not [a-z]+ ([a-z][a-z0-9./-]*)",),
    "REQUEST": (r"\brequest (\S+) is",),
}


def _from_evidence(name: str, finding: Finding) -> str:
    """A value that only the evidence names."""
    if name == "NODE":
        return next((e.source for e in finding.evidence if e.source != "api"), "")
    for pattern in _MESSAGE.get(name, ()):
        if match := re.search(pattern, finding.message):
            return match[1]
    for pattern in _EVIDENCE.get(name, ()):
        for evidence in finding.evidence:
            if match := re.search(pattern, evidence.command):
                return match[1]
    return ""
