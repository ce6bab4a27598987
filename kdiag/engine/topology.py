"""What depends on what: the links along which a fault in one object shows in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from kdiag.engine.intake import Facts
from kdiag.facts import (
    APIServices,
    Autoscalers,
    Backends,
    Claims,
    CronJobs,
    DaemonSets,
    Dependencies,
    Deployments,
    DisruptionBudgets,
    Ingresses,
    Jobs,
    Kubelets,
    MutatingWebhookConfiguration,
    MutatingWebhooks,
    Nodes,
    Owners,
    Pod,
    Pods,
    PodSpec,
    ReplicaSets,
    ReplicationControllers,
    Services,
    StatefulSets,
    ValidatingWebhookConfiguration,
    ValidatingWebhooks,
    Workloads,
)
from kdiag.facts.meta import Object
from kdiag.facts.podspec import Container, Volume
from kdiag.facts.units import Units
from kdiag.facts.workloads import Job, Workload
from kdiag.model.result import CLUSTER, CONTROLLERS, Finding, Ref, controller
from kdiag.model.text import whole

_DEPTH = 8
#: The static pods of a kubeadm control plane, and which of them each cannot work without.
_CONTROL_PLANE: Mapping[str, tuple[str, ...]] = {
    "etcd": (),
    "kube-apiserver": ("etcd",),
    "kube-scheduler": ("kube-apiserver",),
    "kube-controller-manager": ("kube-apiserver",),
}
#: What stands still without a controller manager.
_RECONCILED = frozenset(
    {
        *("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "HorizontalPodAutoscaler"),
        "ReplicationController",
        *("Namespace", "Service", "PersistentVolumeClaim", "CertificateSigningRequest", "Node"),
    }
)
#: The single controllers without which a kind stands still. Not a namespace's: all in it depends on it.
_RECONCILERS: Mapping[str, tuple[str, ...]] = {
    "CertificateSigningRequest": ("certificate-controller",),
    "CronJob": ("cronjob-controller", "job-controller"),
    "DaemonSet": ("daemon-set-controller",),
    "Deployment": ("deployment-controller", "replicaset-controller"),
    "HorizontalPodAutoscaler": ("horizontal-pod-autoscaler",),
    "Job": ("job-controller",),
    "PersistentVolumeClaim": ("persistent-volume-binder", "expand-controller", "pvc-protection-controller"),
    "ReplicaSet": ("replicaset-controller",),
    "ReplicationController": ("replication-controller",),
    "Service": ("endpointslice-controller", "endpoint-controller", "service-controller"),
    "StatefulSet": ("statefulset-controller",),
}
#: What a single controller puts into each namespace.
_GIVEN: Mapping[tuple[str, str], str] = {
    ("ConfigMap", "kube-root-ca.crt"): "root-ca-cert-publisher",
    ("ServiceAccount", "default"): "service-account-controller",
}
_MOST = 5000
#: What a user chooses by labels.
_LABELLED = {
    "Pod": Pods,
    "Service": Services,
    "Deployment": Deployments,
    "ReplicaSet": ReplicaSets,
    "ReplicationController": ReplicationControllers,
    "StatefulSet": StatefulSets,
    "DaemonSet": DaemonSets,
    "Job": Jobs,
    "CronJob": CronJobs,
    "Ingress": Ingresses,
    "PersistentVolumeClaim": Claims,
}


class Topology:
    """Answers, for one object, which others it cannot work without. Looks only at what is asked for."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._known: dict[Ref, tuple[Ref, ...]] = {}
        self._served: dict[int, bool] = {}

    def closure(self, refs: tuple[Ref, ...]) -> frozenset[Ref]:
        """These objects, all that they depend on through others, and the cluster."""
        found: set[Ref] = {*refs, CLUSTER}
        edge = list(refs)
        for _ in range(_DEPTH):
            edge = [d for ref in edge for d in self.direct(ref) if d not in found and not found.add(d)]  # type: ignore[func-returns-value]
            if not edge or len(found) > _MOST:
                break
        return frozenset(found)

    def direct(self, ref: Ref) -> tuple[Ref, ...]:
        """The objects that this one depends on directly."""
        if ref not in self._known:
            self._known[ref] = tuple(dict.fromkeys(self._direct(ref)))
        return self._known[ref]

    def serves_without(self, finding: Finding) -> bool:
        """Whether a workload has as many ready pods as it wants, and none of them is one that the finding is about."""
        known = self._served.get(id(finding))
        if known is None:
            known = self._served[id(finding)] = self._serves_without(finding)
        return known

    def _serves_without(self, finding: Finding) -> bool:
        workloads = self._facts.get(Workloads)
        workload = workloads.get(finding.subject) if workloads else None
        about = {(r.namespace, r.name) for r in finding.touches if r.kind == "Pod"}
        if workloads is None or workload is None or not about or workload.desired < 1:
            return False
        ready = {(p.namespace, p.name) for p in workloads.pods_of(workload) if p.ready and not p.terminating}
        return len(ready) >= workload.desired and not ready & about

    def labels(self, ref: Ref) -> tuple[Mapping[str, str], ...]:
        """The labels of an object and of its pods; none for one that was not read, or of a kind that nobody selects."""
        fact = self._facts.get(_LABELLED[ref.kind]) if ref.kind in _LABELLED else None
        item: Object | None = fact.get(ref.name, ref.namespace) if fact else None
        if isinstance(item, Workload | Job):
            return item.labels, item.spec.template.metadata.labels
        return (item.labels,) if item else ()

    def all_labels(self) -> Iterator[Mapping[str, str]]:
        """The labels of each object that was read and that one selects by them."""
        for kind in _LABELLED.values():
            fact = self._facts.get(kind)
            read: Sequence[Object] = fact.items if fact else ()
            yield from (item.labels for item in read)

    def _direct(self, ref: Ref) -> Iterator[Ref]:
        if ref.namespace:
            yield Ref("Namespace", ref.namespace)
        if ref.kind in _RECONCILED:
            yield CONTROLLERS
            yield from map(controller, _RECONCILERS.get(ref.kind, ()))
        if given := _GIVEN.get((ref.kind, ref.name)):
            yield CONTROLLERS
            yield controller(given)
        if ref.kind in _NEEDS:
            yield from _NEEDS[ref.kind](self, ref)

    def _of_api_server(self, _: Ref) -> Iterator[Ref]:
        units = self._facts.get(Units)
        for host in sorted(units.by_node) if units else ():
            yield from (Ref("Pod", f"{part}-{host}", "kube-system") for part in ("kube-apiserver", "etcd"))
            yield Ref("Node", host)

    def _of_node(self, ref: Ref) -> Iterator[Ref]:
        """The API server that its kubelet reports to, where that is the node's own: kubeadm joins control planes so."""
        kubelets, nodes = self._facts.get(Kubelets), self._facts.get(Nodes)
        setup = kubelets.get(ref.name) if kubelets else None
        access = setup.kubeconfig if setup else None
        if access is None or not access.server:
            return
        node = nodes.get(ref.name) if nodes else None
        own = {ref.name, *(a.address for a in node.status.addresses)} if node else {ref.name}
        if access.host in own or access.host in ("localhost", "127.0.0.1", "::1"):
            yield Ref("Pod", f"kube-apiserver-{ref.name}", "kube-system")

    def _of_named_pod(self, ref: Ref) -> Iterator[Ref]:
        """A control-plane pod is known by its name: with a dead API server there is no object to look it up in."""
        for part, needs in _CONTROL_PLANE.items():
            if ref.namespace == "kube-system" and ref.name.startswith(f"{part}-"):
                host = ref.name.removeprefix(f"{part}-")
                yield Ref("Node", host)
                yield from (Ref("Pod", f"{need}-{host}", "kube-system") for need in needs)
        pods = self._facts.get(Pods)
        if pods and (pod := pods.get(ref.name, ref.namespace)):
            yield from self._of_pod(pod)

    def _of_spec(self, spec: PodSpec, namespace: str) -> Iterator[Ref]:
        for kind, name in references(spec):
            yield Ref(kind, name, namespace)
        if spec.priority_class_name:
            yield Ref("PriorityClass", spec.priority_class_name)

    def _of_pod(self, pod: Pod) -> Iterator[Ref]:
        yield from self._of_spec(pod.spec, pod.namespace)
        if pod.node:
            yield Ref("Node", pod.node)
        dependencies = self._facts.get(Dependencies)
        if dependencies:
            for dependency in dependencies.of(pod):
                if target := dependencies.resolve(dependency.host, pod.namespace):
                    yield Ref("Service", target.name, target.namespace)

    def _of_workload(self, ref: Ref) -> Iterator[Ref]:
        workloads = self._facts.get(Workloads)
        if workloads is None:
            return
        workload = workloads.get(ref)
        if workload is None:
            replicasets = self._facts.get(ReplicaSets)
            made = replicasets.get(ref.name, ref.namespace) if replicasets else None
            if made and made.controller:
                yield Ref(made.controller.kind, made.controller.name, ref.namespace)
            return
        yield from self._of_spec(workload.pod_spec, ref.namespace)
        pods = workloads.pods_of(workload)
        for pod in [*pods[:1], *(p for p in pods if not p.ready or p.deleted)]:
            yield from self._of_pod(pod)
            yield pod.ref()
        if ref.kind == "Deployment":
            for made in workloads.replicasets.by_owner.get(workload.metadata.uid, ()):
                if made.desired:
                    yield Ref("ReplicaSet", made.name, ref.namespace)
        if ref.kind == "StatefulSet":
            yield from self._of_templates(workload)

    def _of_templates(self, workload: Workload) -> Iterator[Ref]:
        """The claims of a StatefulSet's pods, which are called ``TEMPLATE-SET-ORDINAL``."""
        claims = self._facts.get(Claims)
        for template in workload.spec.volume_claim_templates:
            start = f"{template.name}-{workload.name}-"
            for claim in claims.within(workload.namespace) if claims else ():
                number = whole(claim.name.removeprefix(start)) if claim.name.startswith(start) else None
                if number is not None and number < workload.desired:
                    yield claim.ref()

    def _of_job(self, ref: Ref) -> Iterator[Ref]:
        jobs = self._facts.get(Jobs)
        job = jobs.get(ref.name, ref.namespace) if jobs else None
        if job is None:
            return
        yield from self._of_spec(job.pod_spec, ref.namespace)
        pods = self._facts.get(Pods)
        if pods:
            for pod in pods.by_owner.get(job.metadata.uid, ()):
                yield pod.ref()
                if pod.node:
                    yield Ref("Node", pod.node)

    def _of_cronjob(self, ref: Ref) -> Iterator[Ref]:
        cronjobs, jobs = self._facts.get(CronJobs), self._facts.get(Jobs)
        cron = cronjobs.get(ref.name, ref.namespace) if cronjobs else None
        if cron is not None:
            yield from self._of_spec(cron.pod_spec, ref.namespace)
        if jobs:
            for job in jobs.within(ref.namespace):
                if job.controller and (job.controller.kind, job.controller.name) == ("CronJob", ref.name):
                    yield Ref("Job", job.name, ref.namespace)

    def _of_service(self, ref: Ref) -> Iterator[Ref]:
        backends, owners = self._facts.get(Backends), self._facts.get(Owners)
        if backends is None:
            return
        service = backends.services.get(ref.name, ref.namespace)
        if service is None:
            return
        if service.external:
            labels = service.spec.external_name.split(".")
            if len(labels) > 2 and labels[2] == "svc":
                yield Ref("Service", labels[0], labels[1])
        yield from dict.fromkeys(owners.top(pod) if owners else pod.ref() for pod in backends.of(service))
        # A workload whose pods do not exist (yet) is behind the Service all the same.
        workloads = self._facts.get(Workloads)
        if workloads and service.spec.selector:
            for workload in workloads.within(ref.namespace):
                labels_ = workload.spec.template.metadata.labels
                if service.spec.selector.items() <= labels_.items():
                    yield workload.ref()

    def _of_ingress(self, ref: Ref) -> Iterator[Ref]:
        ingresses = self._facts.get(Ingresses)
        ingress = ingresses.get(ref.name, ref.namespace) if ingresses else None
        for _, backend in ingress.backends if ingress else ():
            yield Ref("Service", backend.name, ref.namespace)
        if ingress and ingress.spec.ingress_class_name:
            yield Ref("IngressClass", ingress.spec.ingress_class_name)

    def _of_autoscaler(self, ref: Ref) -> Iterator[Ref]:
        scalers = self._facts.get(Autoscalers)
        if scalers and (scaler := scalers.get(ref.name, ref.namespace)):
            target = scaler.spec.scale_target_ref
            yield Ref(target.kind, target.name, ref.namespace)
            yield Ref("APIService", "v1beta1.metrics.k8s.io")

    def _of_claim(self, ref: Ref) -> Iterator[Ref]:
        claims = self._facts.get(Claims)
        claim = claims.get(ref.name, ref.namespace) if claims else None
        if claim and claim.spec.storage_class_name:
            yield Ref("StorageClass", claim.spec.storage_class_name)
        if claim and claim.spec.volume_name:
            yield Ref("PersistentVolume", claim.spec.volume_name)

    def _of_api_service(self, ref: Ref) -> Iterator[Ref]:
        services = self._facts.get(APIServices)
        api = services.get(ref.name) if services else None
        if api and api.spec.service:
            yield Ref("Service", api.spec.service.name, api.spec.service.namespace)

    def _of_budget(self, ref: Ref) -> Iterator[Ref]:
        budgets, workloads = self._facts.get(DisruptionBudgets), self._facts.get(Workloads)
        budget = budgets.get(ref.name, ref.namespace) if budgets else None
        if budget and budget.spec.selector and workloads:
            for workload in workloads.within(ref.namespace):
                labels = workload.spec.template.metadata.labels
                if budget.spec.selector.matches(labels):
                    yield workload.ref()

    def _of_webhooks(self, ref: Ref) -> Iterator[Ref]:
        found: ValidatingWebhookConfiguration | MutatingWebhookConfiguration | None = None
        if ref.kind.startswith("Validating"):
            validating = self._facts.get(ValidatingWebhooks)
            found = validating.get(ref.name) if validating else None
        else:
            mutating = self._facts.get(MutatingWebhooks)
            found = mutating.get(ref.name) if mutating else None
        for hook in found.webhooks if found else ():
            if hook.client_config.service:
                yield Ref("Service", hook.client_config.service.name, hook.client_config.service.namespace)


#: What a kind cannot work without, for those that need more than their namespace and their controllers.
_NEEDS: Mapping[str, Callable[[Topology, Ref], Iterator[Ref]]] = {
    "APIServer": Topology._of_api_server,
    "APIService": Topology._of_api_service,
    "CronJob": Topology._of_cronjob,
    "HorizontalPodAutoscaler": Topology._of_autoscaler,
    "Ingress": Topology._of_ingress,
    "Job": Topology._of_job,
    "Node": Topology._of_node,
    "PersistentVolumeClaim": Topology._of_claim,
    "Pod": Topology._of_named_pod,
    "PodDisruptionBudget": Topology._of_budget,
    "Service": Topology._of_service,
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"), Topology._of_workload
    ),
    **dict.fromkeys(("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"), Topology._of_webhooks),
}


def references(spec: PodSpec) -> Iterator[tuple[str, str]]:
    """The kind and name of each namespaced object that a template needs."""
    if spec.service_account_name:
        yield "ServiceAccount", spec.service_account_name
    yield from (("Secret", secret.name) for secret in spec.image_pull_secrets)
    for container in spec.all_containers:
        yield from _of_environment(container)
    for volume in spec.volumes:
        yield from _of_volume(volume)


def _of_environment(container: Container) -> Iterator[tuple[str, str]]:
    for env in container.env:
        if env.value_from and env.value_from.config_map_key_ref:
            yield "ConfigMap", env.value_from.config_map_key_ref.name
        if env.value_from and env.value_from.secret_key_ref:
            yield "Secret", env.value_from.secret_key_ref.name
    for source in container.env_from:
        if source.config_map_ref:
            yield "ConfigMap", source.config_map_ref.name
        if source.secret_ref:
            yield "Secret", source.secret_ref.name


def _of_volume(volume: Volume) -> Iterator[tuple[str, str]]:
    if volume.config_map:
        yield "ConfigMap", volume.config_map.name
    if volume.secret:
        yield "Secret", volume.secret.secret_name
    if volume.persistent_volume_claim:
        yield "PersistentVolumeClaim", volume.persistent_volume_claim.claim_name
    for projection in volume.projected.sources if volume.projected else ():
        if projection.config_map:
            yield "ConfigMap", projection.config_map.name
        if projection.secret:
            yield "Secret", projection.secret.name
