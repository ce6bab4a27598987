"""What makes pods: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, and what scales them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from kdiag.facts.base import ApiList, Derived, Objects
from kdiag.facts.meta import Condition, IntOrString, LabelSelector, Lean, Meta, Object, Time, TracedMeta, condition
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.podspec import PodSpec, kept
from kdiag.model.result import Ref
from kdiag.model.text import whole


class PodTemplate(Lean, frozen=True, gc=False):
    """The template inside a workload."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()


class RollingUpdate(Lean, frozen=True, gc=False):
    """How many pods more, and how many fewer, a rollout may have: counts or percentages."""

    max_surge: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    partition: int = 0


class Strategy(Lean, frozen=True, gc=False):
    """How a rollout replaces pods."""

    type: str = ""
    rolling_update: RollingUpdate = RollingUpdate()


class _WorkloadSpec(Lean, frozen=True, gc=False):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    strategy: Strategy = Strategy()
    update_strategy: Strategy = Strategy()
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    paused: bool = False
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    volume_claim_templates: tuple[Object, ...] = ()


class _WorkloadStatus(Lean, frozen=True, gc=False):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    update_revision: str = ""
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    number_ready: int = 0


class Workload(Object, frozen=True, gc=False):
    """A controller of pods."""

    spec: _WorkloadSpec = _WorkloadSpec()
    status: _WorkloadStatus = _WorkloadStatus()

    @property
    def pod_spec(self) -> PodSpec:
        """The template's spec."""
        return self.spec.template.spec

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return condition(self.status.conditions, kind)

    @property
    def desired(self) -> int:
        """How many pods it should have."""
        return self.spec.replicas

    @property
    def ready(self) -> int:
        """How many of them are ready."""
        return self.status.ready_replicas

    @property
    def revision(self) -> str:
        """The rollout's number, where the controller wrote it."""
        return self.metadata.annotations.revision

    @property
    def written(self) -> datetime | None:
        """When somebody last wrote its spec or scaled it, as far as that is known."""
        fields = self.metadata.managed_fields if isinstance(self.metadata, TracedMeta) else ()
        return max((f.time for f in fields if f.time and f.subresource in ("", "scale")), default=None)

    @property
    def observed(self) -> bool:
        """Whether its controller has seen the present spec."""
        return self.status.observed_generation >= self.metadata.generation


class Deployment(Workload, frozen=True, gc=False):
    """A Deployment."""

    metadata: TracedMeta = TracedMeta()


class ReplicaSet(Workload, frozen=True, gc=False):
    """A ReplicaSet."""


class ReplicationController(Workload, frozen=True, gc=False):
    """A ReplicationController: what there was before ReplicaSets, and still is here and there."""


class _ControllerSpec(Lean, frozen=True, gc=False):
    replicas: int = 1
    selector: dict[str, str] = {}
    template: PodTemplate = PodTemplate()


class _ListedController(Object, frozen=True, gc=False):
    """A ReplicationController as the API has it: its selector is plain labels."""

    spec: _ControllerSpec = _ControllerSpec()
    status: _WorkloadStatus = _WorkloadStatus()


class StatefulSet(Workload, frozen=True, gc=False):
    """A StatefulSet."""

    metadata: TracedMeta = TracedMeta()


class DaemonSet(Workload, frozen=True, gc=False):
    """A DaemonSet."""

    metadata: TracedMeta = TracedMeta()

    @property
    def desired(self) -> int:
        """How many nodes should have a pod of it, as its controller counted."""
        return self.status.desired_number_scheduled

    @property
    def ready(self) -> int:
        """How many of those pods are ready."""
        return self.status.number_ready


def _adapt(item: Any) -> Any:
    template = msgspec.structs.replace(item.spec.template, spec=kept(item.spec.template.spec))
    return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, template=template))


class Deployments(Objects[Deployment]):
    """Every Deployment."""

    item: ClassVar[type[Any]] = Deployment
    sources = (ApiList("deployments", "apps/v1", "deployments"),)
    adapt = staticmethod(_adapt)


class ReplicaSets(Objects[ReplicaSet]):
    """Every ReplicaSet."""

    item: ClassVar[type[Any]] = ReplicaSet
    spare: ClassVar[bool] = True  # their pods tell which Deployment made them
    sources = (ApiList("replicasets", "apps/v1", "replicasets"),)
    adapt = staticmethod(_adapt)

    @cached_property
    def by_owner(self) -> Mapping[str, tuple[ReplicaSet, ...]]:
        """ReplicaSets by the uid of their Deployment, newest revision first."""
        found: dict[str, list[ReplicaSet]] = {}
        for item in self.items:
            if item.controller:
                found.setdefault(item.controller.uid, []).append(item)
        return {uid: tuple(sorted(sets, key=_revision, reverse=True)) for uid, sets in found.items()}


class ReplicationControllers(Objects[ReplicationController]):
    """Every ReplicationController."""

    item: ClassVar[type[Any]] = _ListedController
    spare: ClassVar[bool] = True
    sources = (ApiList("replicationcontrollers", "v1", "replicationcontrollers"),)

    @staticmethod
    def adapt(item: Any) -> ReplicationController:
        """In the shape that all other workloads have."""
        spec = item.spec
        template = msgspec.structs.replace(spec.template, spec=kept(spec.template.spec))
        labels = LabelSelector(match_labels=spec.selector or template.metadata.labels)
        shared = _WorkloadSpec(replicas=spec.replicas, selector=labels, template=template)
        return ReplicationController(metadata=item.metadata, spec=shared, status=item.status)


def _revision(item: ReplicaSet) -> int:
    return whole(item.revision) or 0


class StatefulSets(Objects[StatefulSet]):
    """Every StatefulSet."""

    item: ClassVar[type[Any]] = StatefulSet
    sources = (ApiList("statefulsets", "apps/v1", "statefulsets"),)
    adapt = staticmethod(_adapt)


class DaemonSets(Objects[DaemonSet]):
    """Every DaemonSet."""

    item: ClassVar[type[Any]] = DaemonSet
    sources = (ApiList("daemonsets", "apps/v1", "daemonsets"),)
    adapt = staticmethod(_adapt)


class _JobSpec(Lean, frozen=True, gc=False):
    parallelism: int | None = None
    completions: int | None = None
    suspend: bool = False
    backoff_limit: int | None = None
    managed_by: str = ""
    template: PodTemplate = PodTemplate()


class _JobStatus(Lean, frozen=True, gc=False):
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    ready: int = 0
    start_time: Time | None = None
    completion_time: Time | None = None
    failed_indexes: str = ""
    conditions: tuple[Condition, ...] = ()


class Job(Object, frozen=True, gc=False):
    """A Job."""

    spec: _JobSpec = _JobSpec()
    status: _JobStatus = _JobStatus()

    @property
    def failed(self) -> Condition | None:
        """Its Failed condition, when it is true."""
        found = self.condition("Failed")
        return found if found and found.status == "True" else None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return any(c.type in ("Complete", "Failed") and c.status == "True" for c in self.status.conditions)

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return condition(self.status.conditions, kind)

    @property
    def pod_spec(self) -> PodSpec:
        """The template's spec."""
        return self.spec.template.spec


class Jobs(Objects[Job]):
    """Every Job."""

    item: ClassVar[type[Any]] = Job
    spare: ClassVar[bool] = True
    sources = (ApiList("jobs", "batch/v1", "jobs"),)
    adapt = staticmethod(_adapt)


class _JobTemplate(Lean, frozen=True, gc=False):
    spec: _JobSpec = _JobSpec()


class _CronJobSpec(Lean, frozen=True, gc=False):
    schedule: str = ""
    time_zone: str = ""
    suspend: bool = False
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    job_template: _JobTemplate = _JobTemplate()


class _CronJobStatus(Lean, frozen=True, gc=False):
    last_schedule_time: Time | None = None
    last_successful_time: Time | None = None


class CronJob(Object, frozen=True, gc=False):
    """A CronJob."""

    spec: _CronJobSpec = _CronJobSpec()
    status: _CronJobStatus = _CronJobStatus()

    @property
    def pod_spec(self) -> PodSpec:
        """The template's spec."""
        return self.spec.job_template.spec.template.spec


class CronJobs(Objects[CronJob]):
    """Every CronJob."""

    item: ClassVar[type[Any]] = CronJob
    sources = (ApiList("cronjobs", "batch/v1", "cronjobs"),)

    @classmethod
    def adapt(cls, item: CronJob) -> CronJob:
        """Its template as it is kept."""
        job = msgspec.structs.replace(item.spec.job_template, spec=_adapt(item.spec.job_template).spec)
        return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, job_template=job))


class ScaleTarget(Lean, frozen=True, gc=False):
    """What an autoscaler scales."""

    kind: str = ""
    name: str = ""
    api_version: str = ""


class _ResourceMetric(Lean, frozen=True, gc=False):
    name: str = ""


class Metric(Lean, frozen=True, gc=False):
    """What an autoscaler looks at."""

    type: str = ""
    resource: _ResourceMetric | None = None


class _AutoscalerSpec(Lean, frozen=True, gc=False):
    scale_target_ref: ScaleTarget = ScaleTarget()
    min_replicas: int = 1
    metrics: tuple[Metric, ...] = ()


class _AutoscalerStatus(Lean, frozen=True, gc=False):
    conditions: tuple[Condition, ...] = ()


class HorizontalPodAutoscaler(Object, frozen=True, gc=False):
    """An autoscaler."""

    spec: _AutoscalerSpec = _AutoscalerSpec()
    status: _AutoscalerStatus = _AutoscalerStatus()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return condition(self.status.conditions, kind)


class Autoscalers(Objects[HorizontalPodAutoscaler]):
    """Every HorizontalPodAutoscaler."""

    item: ClassVar[type[Any]] = HorizontalPodAutoscaler
    sources = (ApiList("horizontalpodautoscalers", "autoscaling/v2", "horizontalpodautoscalers"),)


class _BudgetSpec(Lean, frozen=True, gc=False):
    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None


class _BudgetStatus(Lean, frozen=True, gc=False):
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: tuple[Condition, ...] = ()


class PodDisruptionBudget(Object, frozen=True, gc=False):
    """A disruption budget."""

    spec: _BudgetSpec = _BudgetSpec()
    status: _BudgetStatus = _BudgetStatus()


class DisruptionBudgets(Objects[PodDisruptionBudget]):
    """Every PodDisruptionBudget."""

    item: ClassVar[type[Any]] = PodDisruptionBudget
    spare: ClassVar[bool] = True
    sources = (ApiList("poddisruptionbudgets", "policy/v1", "poddisruptionbudgets"),)


@dataclass(frozen=True, kw_only=True)
class Owners(Derived):
    """The workload that a pod belongs to in a person's mind.

    The Deployment and not the ReplicaSet, the CronJob and not the Job.
    """

    replicasets: ReplicaSets = field(default_factory=ReplicaSets)
    jobs: Jobs = field(default_factory=Jobs)

    @classmethod
    def derive(cls, replicasets: ReplicaSets, jobs: Jobs) -> Owners:
        """Join the two kinds that stand between a pod and its workload."""
        return cls(replicasets=replicasets, jobs=jobs)

    def top(self, pod: Pod) -> Ref:
        """The workload of a pod; the pod itself when nothing owns it or its node does."""
        owner = pod.owner
        if owner is None or pod.mirror:
            return pod.ref()
        key = (owner.kind, owner.name, pod.namespace)
        known = self._known.get(key)
        if known is None:
            listed = owner.kind != "ReplicaSet" or self.replicasets.get(owner.name, pod.namespace)
            known = self._known[key] = self.above(Ref(*key)) if listed else _by_hash(pod) or Ref(*key)
        return known

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], Ref]:
        return {}  # the pods of one owner have one answer

    def above(self, ref: Ref) -> Ref:
        """The Deployment of a ReplicaSet, the CronJob of a Job, and anything else itself."""
        made: Object | None = None
        if ref.kind == "ReplicaSet":
            made = self.replicasets.get(ref.name, ref.namespace)
        elif ref.kind == "Job":
            made = self.jobs.get(ref.name, ref.namespace)
        if made is not None and made.controller:
            return Ref(made.controller.kind, made.controller.name, ref.namespace)
        return ref

    def replaced(self, pod: Pod, pods: Pods) -> tuple[PodSpec, PodSpec] | None:
        """The template that a pod was made from and the one that replaces it; None while its own is the newest.

        Where its ReplicaSet was not seen, the newest pod of another one of the same Deployment stands for the template.
        """
        owner = pod.owner
        if owner is None or owner.kind != "ReplicaSet":
            return None
        made = self.replicasets.get(owner.name, pod.namespace)
        if made is None:
            newer = pods.newest_alike.get((pod.namespace, owner.name.rpartition("-")[0]))
            if newer is None or not newer.owner or newer.owner.uid == owner.uid or newer.age_key <= pod.age_key:
                return None
            return pod.spec, newer.spec
        if made.controller is None:
            return None
        newest = self.replicasets.by_owner[made.controller.uid][0]
        if not newest.spec.replicas or _revision(newest) <= _revision(made):
            return None
        return made.spec.template.spec, newest.spec.template.spec

    def adrift(self, pod: Pod) -> bool:
        """Whether it is of a Job that was not seen: another run may have made good since what failed here."""
        owner = pod.owner
        return owner is not None and owner.kind == "Job" and self.jobs.get(owner.name, pod.namespace) is None

    def group(self, pods: tuple[Pod, ...] | list[Pod]) -> dict[Ref, list[Pod]]:
        """Pods by their workload, in the order in which they came."""
        found: dict[Ref, list[Pod]] = {}
        for pod in pods:
            found.setdefault(self.top(pod), []).append(pod)
        return found


@dataclass(frozen=True, kw_only=True)
class Workloads(Derived):
    """The workloads that are meant to keep running, of every kind, and their pods."""

    items: tuple[Workload, ...] = ()
    pods: Pods = field(default_factory=Pods)
    replicasets: ReplicaSets = field(default_factory=ReplicaSets)

    @classmethod
    def derive(
        cls,
        deployments: Deployments,
        replicasets: ReplicaSets,
        statefulsets: StatefulSets,
        daemonsets: DaemonSets,
        pods: Pods,
        controllers: ReplicationControllers | None,
    ) -> Workloads:
        """All of them; a ReplicaSet or ReplicationController only where nothing else made it."""
        alone = [w for w in (*replicasets.items, *(controllers or ())) if w.controller is None]
        items = (*deployments.items, *statefulsets.items, *daemonsets.items, *alone)
        return cls(items=items, pods=pods, replicasets=replicasets)

    @cached_property
    def _index(self) -> Mapping[Ref, Workload]:
        return {w.ref(): w for w in self.items}

    def get(self, ref: Ref) -> Workload | None:
        """The workload of that name."""
        return self._index.get(ref)

    def template(self, ref: Ref) -> PodSpec | None:
        """What new pods of that workload are made from."""
        workload = self.get(ref)
        return workload.pod_spec if workload else None

    @cached_property
    def _namespaces(self) -> Mapping[str, tuple[Workload, ...]]:
        found: dict[str, list[Workload]] = {}
        for workload in self.items:
            found.setdefault(workload.namespace, []).append(workload)
        return {namespace: tuple(items) for namespace, items in found.items()}

    def within(self, namespace: str) -> tuple[Workload, ...]:
        """The workloads of one namespace."""
        return self._namespaces.get(namespace, ())

    def pods_of(self, workload: Workload) -> tuple[Pod, ...]:
        """Its pods, of every revision."""
        if isinstance(workload, Deployment):
            sets = self.replicasets.by_owner.get(workload.metadata.uid, ())
            seen = (p for r in sets for p in self.pods.by_owner.get(r.metadata.uid, ()))
            return (*seen, *self._unlisted.get(workload.ref(), ()))
        return self.pods.by_owner.get(workload.metadata.uid, ())

    @cached_property
    def _unlisted(self) -> Mapping[Ref, tuple[Pod, ...]]:
        """Pods of ReplicaSets that were not seen, by the Deployment that must have made these."""
        listed = {r.metadata.uid for r in self.replicasets.items}
        found: dict[Ref, tuple[Pod, ...]] = {}
        for pods in self.pods.alike:
            owner = pods[0].owner
            if owner is not None and owner.kind == "ReplicaSet" and owner.uid not in listed:
                deployment = _by_hash(pods[0])
                if deployment is not None:
                    found[deployment] = (*found.get(deployment, ()), *pods)
        return found


def _by_hash(pod: Pod) -> Ref | None:
    """The Deployment of a pod whose ReplicaSet was not seen: that one is called after it and its template's hash."""
    owner, end = pod.owner, f"-{pod.labels.get('pod-template-hash', '')}"
    if owner is None or owner.kind != "ReplicaSet" or end == "-" or not owner.name.endswith(end):
        return None
    return Ref("Deployment", owner.name.removesuffix(end), pod.namespace)


def scaled(value: IntOrString | None, total: int, *, up: bool, default: IntOrString) -> int:
    """A count or percentage of ``total``; a surge is rounded up and an unavailability down, as the controllers do."""
    wanted = default if value is None else value
    if isinstance(wanted, int):
        return wanted
    product = (whole(wanted.strip().removesuffix("%")) or 0) * total
    return -(-product // 100) if up else product // 100
