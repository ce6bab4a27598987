"""Faults, one at a time: how each is made, what kdiag must name first, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.lab.cluster import SHOP, kubectl, node

Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: ``cause`` is the check and the object that must come first, ``instead`` others that are as right."""

    name: str
    make: tuple[Step, ...]
    undo: tuple[Step, ...]
    cause: tuple[str, str]
    instead: tuple[tuple[str, str], ...] = ()
    patience: float = 150.0
    nodes: bool = False  # whether kdiag may read the nodes over SSH

    @property
    def core(self) -> bool:
        """Whether it is among those that every CI run makes; the others have ``make lab-all``."""
        return self.name in CORE


#: One of each mechanism, and those that show within seconds.
CORE = frozenset(
    {
        *("service-selector-typo", "service-target-port", "service-named-target-port", "database-password-wrong"),
        *("configmap-missing", "secret-missing", "config-key-missing", "command-not-found", "crash", "out-of-memory"),
        *(
            "liveness-probe",
            "init-container",
            "node-selector",
            "too-much-cpu",
            "claim-missing",
            "storage-class-missing",
        ),
        *("quota", "pod-security", "service-account-missing", "job-fails", "ingress-backend"),
        *("coredns-scaled-to-zero", "webhook-without-backend"),
    }
)


def apply(manifest: str) -> Step:
    """Create or change objects."""
    return partial(kubectl, "apply", "-f", "-", stdin=manifest)


def delete(*words: str) -> Step:
    """Delete an object and wait until it is gone."""
    return partial(kubectl, "delete", "--ignore-not-found", "--timeout=90s", *words)


def patch(kind: str, name: str, json: str, namespace: str = "shop", how: str = "strategic") -> Step:
    """Change one object."""
    return partial(kubectl, "-n", namespace, "patch", kind, name, f"--type={how}", "-p", json)


def on(where: str, script: str) -> Step:
    """A root shell command on a node."""
    return partial(node, where, script)


def ask() -> None:
    """Let the web server log in to its database, as a user's request does."""
    node("w1", "for i in 1 2 3; do curl -s -m5 -o /dev/null http://10.89.0.12:30081/; done; true")


SHOP_AGAIN = (
    partial(kubectl, "apply", "-f", "-", stdin=SHOP.read_text()),
    partial(kubectl, "-n", "shop", "rollout", "status", "deploy/mysql", "--timeout=120s"),
    partial(kubectl, "-n", "shop", "rollout", "status", "deploy/webapp", "--timeout=120s"),
)


def webapp(spec: str) -> Step:
    """Change the web server's container."""
    return patch("deploy", "webapp", f'{{"spec":{{"template":{{"spec":{spec}}}}}}}')


def container(fields: str) -> Step:
    """Change fields of the web server's container."""
    return webapp(f'{{"containers":[{{"name":"webapp",{fields}}}]}}')


def workload(name: str, spec: str, namespace: str = "lab1", kind: str = "Deployment", replicas: int = 1) -> str:
    """A small workload of one container called ``app``; ``spec`` is the pod's spec in YAML flow form."""
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {f"replicas: {replicas}" if kind != "DaemonSet" else ""}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {spec}
"""


def app(extra: str = "", image: str = "nginx:1.27", pod: str = "") -> str:
    """A pod's spec in YAML flow form."""
    inner = f"name: app, image: {image}, imagePullPolicy: IfNotPresent{', ' + extra if extra else ''}"
    return f"{{terminationGracePeriodSeconds: 1, containers: [{{{inner}}}]{', ' + pod if pod else ''}}}"


def alone(name: str, manifest: str, cause: tuple[str, str], *, instead: tuple[tuple[str, str], ...] = ()) -> Fault:
    """A fault that lives in a namespace of its own, and goes with it."""
    return Fault(name=name, make=(apply(manifest),), undo=(delete("namespace", "lab1"),), cause=cause, instead=instead)


MANIFESTS = "/etc/kubernetes/manifests"
DEPLOYMENT = "Deployment/lab1/web"

FAULTS: tuple[Fault, ...] = (
    # The two-tier application of the course labs.
    Fault(
        name="service-selector-typo",
        make=(patch("svc", "mysql-service", '{"spec":{"selector":{"name":"mysql-db"}}}'), ask),
        undo=(patch("svc", "mysql-service", '{"spec":{"selector":{"name":"mysql"}}}'),),
        cause=("network/service_selects_nothing", "Service/shop/mysql-service"),
    ),
    Fault(
        name="service-target-port",
        make=(patch("svc", "mysql-service", '{"spec":{"ports":[{"port":3306,"targetPort":8080}]}}'), ask),
        undo=(patch("svc", "mysql-service", '{"spec":{"ports":[{"port":3306,"targetPort":3306}]}}'),),
        cause=("network/service_target_port_wrong", "Service/shop/mysql-service"),
    ),
    Fault(
        name="service-named-target-port",
        make=(patch("svc", "web-service", '{"spec":{"ports":[{"port":8080,"targetPort":"web"}]}}'),),
        undo=(patch("svc", "web-service", '{"spec":{"ports":[{"port":8080,"targetPort":8080}]}}'),),
        cause=("network/service_target_port_wrong", "Service/shop/web-service"),
    ),
    Fault(
        name="database-host-wrong",
        make=(container('"env":[{"name":"DB_Host","value":"mysql-servce"}]'), SHOP_AGAIN[2], ask),
        undo=SHOP_AGAIN,
        cause=("network/service_name_unknown", "Deployment/shop/webapp"),
    ),
    Fault(
        name="database-password-wrong",
        make=(container('"env":[{"name":"DB_Password","value":"wrong-one"}]'), SHOP_AGAIN[2], ask),
        undo=SHOP_AGAIN,
        cause=("application/database_access_denied", "Deployment/shop/webapp"),
    ),
    Fault(
        name="database-user-wrong",
        make=(container('"env":[{"name":"DB_User","value":"sql-user"}]'), SHOP_AGAIN[2], ask),
        undo=SHOP_AGAIN,
        cause=("application/database_access_denied", "Deployment/shop/webapp"),
    ),
    Fault(
        name="readiness-probe-port",
        make=(container('"readinessProbe":{"httpGet":{"path":"/healthz","port":8081},"periodSeconds":2}'),),
        undo=SHOP_AGAIN,
        cause=("application/readiness_probe_fails", "Deployment/shop/webapp"),
    ),
    Fault(
        name="rollout-to-a-missing-tag",
        make=(container('"image":"docker.io/lab/app:9"'),),
        undo=SHOP_AGAIN,
        cause=("application/image_not_found", "Deployment/shop/webapp"),
        # The lab has no way to a registry, and cannot be told there that the tag does not exist.
        instead=(("application/registry_unreachable", "Deployment/shop/webapp"),),
    ),
    # One workload in a namespace of its own.
    alone(
        "image-repository",
        workload("web", app(image="ngnix:1.27")),
        ("application/image_not_found", DEPLOYMENT),
        instead=(("application/image_pull_denied", DEPLOYMENT), ("application/registry_unreachable", DEPLOYMENT)),
    ),
    alone(
        "configmap-missing",
        workload("web", app("envFrom: [{configMapRef: {name: settings}}]")),
        ("application/configmap_missing", DEPLOYMENT),
    ),
    alone(
        "secret-missing",
        workload("web", app("env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: p}}}]")),
        ("application/secret_missing", DEPLOYMENT),
    ),
    alone(
        "config-key-missing",
        workload("web", app("env: [{name: P, valueFrom: {configMapKeyRef: {name: c, key: hots}}}]"))
        + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: lab1}\ndata: {host: a}\n",
        ("application/config_key_missing", DEPLOYMENT),
    ),
    alone(
        "command-not-found",
        workload("web", app("command: [sheep, '4800']")),
        ("application/container_command_not_found", DEPLOYMENT),
    ),
    alone(
        "crash",
        workload("web", app("command: [sh, -c, 'echo panic: no licence; exit 3']", image="busybox:1.36")),
        ("application/container_crashes", DEPLOYMENT),
    ),
    alone(
        "out-of-memory",
        workload(
            "web", app("args: [web, --memory=150], resources: {limits: {memory: 50Mi}}", image="docker.io/lab/app:1")
        ),
        ("application/container_out_of_memory", DEPLOYMENT),
    ),
    alone(
        "liveness-probe",
        workload("web", app("livenessProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 1}")),
        ("application/liveness_probe_kills", DEPLOYMENT),
    ),
    alone(
        "init-container",
        workload(
            "web",
            app(
                pod="initContainers: [{name: prepare, image: 'busybox:1.36', "
                "imagePullPolicy: IfNotPresent, command: [sh, -c, 'exit 2']}]"
            ),
        ),
        ("application/init_container_fails", DEPLOYMENT),
    ),
    alone(
        "node-selector",
        workload("web", app(pod="nodeSelector: {disk: sdd}")),
        ("application/scheduling_node_selector_unmatched", DEPLOYMENT),
    ),
    alone(
        "too-much-cpu",
        workload("web", app("resources: {requests: {cpu: '64'}}")),
        ("application/scheduling_insufficient_resources", DEPLOYMENT),
    ),
    alone(
        "claim-missing",
        workload("web", app(pod="volumes: [{name: d, persistentVolumeClaim: {claimName: dta}}]")),
        ("application/claim_missing", DEPLOYMENT),
    ),
    alone(
        "storage-class-missing",
        workload("web", app(pod="volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]"))
        + "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: d, namespace: lab1}\n"
        "spec: {storageClassName: manually, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
        ("application/storage_class_missing", "PersistentVolumeClaim/lab1/d"),
    ),
    alone(
        "quota",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab1}\n---\napiVersion: v1\nkind: ResourceQuota\n"
        "metadata: {name: small, namespace: lab1}\nspec: {hard: {requests.cpu: 100m}}\n---\n"
        + workload("web", app("resources: {requests: {cpu: 200m}}")),
        ("application/quota_exceeded", DEPLOYMENT),
        instead=(("application/quota_exceeded", "ResourceQuota/lab1/small"),),
    ),
    alone(
        "pod-security",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab1, labels: "
        "{pod-security.kubernetes.io/enforce: restricted}}\n---\n" + workload("web", app()).partition("---\n")[2],
        ("application/pod_security_refused", DEPLOYMENT),
    ),
    alone(
        "service-account-missing",
        workload("web", app(pod="serviceAccountName: robot")),
        ("application/service_account_missing", DEPLOYMENT),
    ),
    alone(
        "job-fails",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab1}\n---\napiVersion: batch/v1\nkind: Job\n"
        "metadata: {name: report, namespace: lab1}\nspec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, "
        "containers: [{name: app, image: 'busybox:1.36', imagePullPolicy: IfNotPresent, command: [sh, -c, 'exit 4']}]}}}\n",
        ("application/job_failed", "Job/lab1/report"),
    ),
    alone(
        "ingress-backend",
        workload("web", app()) + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        "metadata: {name: site, namespace: lab1}\nspec: {rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, "
        "backend: {service: {name: wbe, port: {number: 80}}}}]}}]}\n---\napiVersion: v1\nkind: Service\n"
        "metadata: {name: web, namespace: lab1}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
        ("network/ingress_backend_missing", "Ingress/lab1/site"),
    ),
    # The cluster's own parts.
    Fault(
        name="coredns-scaled-to-zero",
        make=(partial(kubectl, "-n", "kube-system", "scale", "deploy", "coredns", "--replicas=0"),),
        undo=(
            partial(kubectl, "-n", "kube-system", "scale", "deploy", "coredns", "--replicas=2"),
            partial(kubectl, "-n", "kube-system", "rollout", "status", "deploy/coredns", "--timeout=120s"),
        ),
        cause=("network/coredns_scaled_to_zero", "Deployment/kube-system/coredns"),
    ),
    Fault(
        name="kube-proxy-config-path",
        make=(
            patch(
                "ds",
                "kube-proxy",
                '[{"op":"replace","path":"/spec/template/spec/containers/0/command/1",'
                '"value":"--config=/var/lib/kube-proxy/configuration.conf"}]',
                "kube-system",
                "json",
            ),
        ),
        undo=(
            patch(
                "ds",
                "kube-proxy",
                '[{"op":"replace","path":"/spec/template/spec/containers/0/command/1",'
                '"value":"--config=/var/lib/kube-proxy/config.conf"}]',
                "kube-system",
                "json",
            ),
            partial(kubectl, "-n", "kube-system", "delete", "pod", "-l", "k8s-app=kube-proxy", "--wait=false"),
            partial(kubectl, "-n", "kube-system", "rollout", "status", "ds/kube-proxy", "--timeout=180s"),
        ),
        cause=("network/kube_proxy_config_missing", "DaemonSet/kube-system/kube-proxy"),
    ),
    Fault(
        name="webhook-without-backend",
        make=(
            apply(
                "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: guard}\n"
                "webhooks: [{name: guard.example.com, failurePolicy: Fail, sideEffects: None, admissionReviewVersions: [v1], "
                "clientConfig: {service: {name: guard, namespace: shop, path: /}}, rules: [{apiGroups: [''], apiVersions: [v1], "
                "operations: [CREATE], resources: [pods]}], namespaceSelector: {matchLabels: "
                "{kubernetes.io/metadata.name: lab1}}}]\n"
            ),
            apply(workload("web", app())),
        ),
        undo=(delete("validatingwebhookconfiguration", "guard"), delete("namespace", "lab1")),
        cause=("control_plane/webhook_backend_unavailable", "ValidatingWebhookConfiguration/guard"),
    ),
    Fault(
        name="api-service-without-backend",
        make=(
            apply(
                "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1beta1.metrics.k8s.io}\n"
                "spec: {group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, "
                "insecureSkipTLSVerify: true, service: {name: metrics-server, namespace: kube-system}}\n"
            ),
        ),
        undo=(delete("apiservice", "v1beta1.metrics.k8s.io"),),
        cause=("worker_node/metrics_server_unavailable", "APIService/v1beta1.metrics.k8s.io"),
    ),
    Fault(
        name="scheduler-binary-typo",
        make=(on("cp1", f"sed -i 's/- kube-scheduler$/- kube-schedulerrrr/' {MANIFESTS}/kube-scheduler.yaml"),),
        undo=(on("cp1", f"sed -i 's/- kube-schedulerrrr$/- kube-scheduler/' {MANIFESTS}/kube-scheduler.yaml"),),
        cause=("control_plane/static_pod_failing", "Pod/kube-system/kube-scheduler-cp1"),
    ),
    Fault(
        name="controller-manager-flag",
        make=(
            on(
                "cp1",
                f"sed -i 's/- kube-controller-manager$/&\\n    - --totally-bogus-flag=true/' "
                f"{MANIFESTS}/kube-controller-manager.yaml",
            ),
        ),
        undo=(on("cp1", f"sed -i '/totally-bogus-flag/d' {MANIFESTS}/kube-controller-manager.yaml"),),
        cause=("control_plane/static_pod_failing", "Pod/kube-system/kube-controller-manager-cp1"),
    ),
    Fault(
        name="kubelet-stopped",
        make=(on("w2", "systemctl stop kubelet"),),
        undo=(on("w2", "systemctl start kubelet"),),
        cause=("worker_node/node_not_ready", "Node/w2"),
    ),
)


MANIFEST = "/etc/kubernetes/manifests/"
KEPT = "/root/kdiag-lab-kept"


KUBELET = "systemctl restart kubelet"


def edited(where: str, path: str, script: str, after: str = "true") -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Change a file on a node with sed, and put it back as it was."""
    kept = f"{KEPT}-{path.rpartition('/')[2]}"
    make = on(where, f"test -e {kept} || cp -p {path} {kept}; sed -i '{script}' {path}; {after}")
    return (make,), (on(where, f"test -e {kept} && cp -p {kept} {path} && rm {kept}; {_at_once(path, after)}"),)


def gone(where: str, path: str, after: str = "true") -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Take a file away, and put it back."""
    kept = f"{KEPT}-{path.rpartition('/')[2]}"
    return (on(where, f"test -e {path} && mv {path} {kept}; {after}"),), (
        on(where, f"test -e {kept} && mv {kept} {path}; {_at_once(path, after)}"),
    )


def _at_once(path: str, after: str) -> str:
    """What follows a repair. What crashed meanwhile waits up to five minutes; a new kubelet starts it at once."""
    return KUBELET if path.startswith(MANIFEST) else after


def seen_on_nodes(
    name: str,
    steps: tuple[tuple[Step, ...], tuple[Step, ...]],
    check: str,
    ref: str,
    *instead: str,
) -> Fault:
    """A fault that the nodes tell; ``instead`` are checks on the same object that are as right."""
    return Fault(
        name=name,
        make=steps[0],
        undo=steps[1],
        cause=(check, ref),
        instead=tuple((other, ref) for other in instead),
        nodes=True,
    )


API = "Pod/kube-system/kube-apiserver-cp1"
ETCD = "Pod/kube-system/etcd-cp1"
SCHEDULER = "Pod/kube-system/kube-scheduler-cp1"
MANAGER = "Pod/kube-system/kube-controller-manager-cp1"
APISERVER_YAML, ETCD_YAML = f"{MANIFEST}kube-apiserver.yaml", f"{MANIFEST}etcd.yaml"

NODE_FAULTS: tuple[Fault, ...] = (
    # The API server dies of these: only the nodes can tell.
    seen_on_nodes(
        "apiserver-etcd-port",
        edited("cp1", APISERVER_YAML, "s/127.0.0.1:2379/127.0.0.1:2389/"),
        "control_plane/etcd_endpoint_wrong",
        API,
    ),
    seen_on_nodes(
        "apiserver-yaml",
        edited("cp1", APISERVER_YAML, "s/^metadata:/metadata;/"),
        "control_plane/manifest_unparsable",
        API,
    ),
    seen_on_nodes(
        "apiserver-flag",
        edited("cp1", APISERVER_YAML, "s/- kube-apiserver$/&\\n    - --this-is-very-wrong/"),
        "control_plane/manifest_flag_unknown",
        API,
    ),
    seen_on_nodes(
        "apiserver-certificate-path",
        edited("cp1", APISERVER_YAML, "s/apiserver.crt/apiserver-wrong.crt/"),
        "control_plane/manifest_file_missing",
        API,
    ),
    seen_on_nodes(
        "apiserver-api-version",
        edited("cp1", APISERVER_YAML, "s/^apiVersion:/apiersion:/"),
        "control_plane/manifest_not_a_pod",
        API,
        "control_plane/manifest_field_misspelt",
    ),
    seen_on_nodes(
        "apiserver-command",
        edited("cp1", APISERVER_YAML, "s/- kube-apiserver$/- kube-apiservr/"),
        "control_plane/manifest_command_unknown",
        API,
    ),
    seen_on_nodes(
        "apiserver-request",
        edited("cp1", APISERVER_YAML, "s/cpu: 250m/cpu: 4000m/"),
        "control_plane/request_exceeds_node",
        API,
    ),
    seen_on_nodes(
        "etcd-certificate-path",
        edited(
            "cp1",
            ETCD_YAML,
            "s#--cert-file=/etc/kubernetes/pki/etcd/server.crt#--cert-file=/etc/kubernetes/pki/etcd/srever.crt#",
        ),
        "control_plane/manifest_file_missing",
        ETCD,
    ),
    seen_on_nodes("etcd-manifest-gone", gone("cp1", ETCD_YAML), "control_plane/manifest_missing", ETCD),
    seen_on_nodes(
        "etcd-ca-of-another",
        edited(
            "cp1",
            APISERVER_YAML,
            "s#--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt#--etcd-cafile=/etc/kubernetes/pki/ca.crt#",
        ),
        "control_plane/certificate_wrong_ca",
        API,
        "control_plane/etcd_endpoint_wrong",
    ),
    seen_on_nodes(
        "apiserver-volume",
        edited("cp1", APISERVER_YAML, "s#path: /etc/kubernetes/pki$#path: /etc/kubernetes/WRONG-PKI#"),
        "control_plane/manifest_volume_wrong",
        API,
        "control_plane/manifest_file_missing",
    ),
    seen_on_nodes(
        "kubelet-of-the-control-plane",
        (
            (
                on(
                    "cp1",
                    "systemctl stop kubelet; crictl ps --name kube-apiserver -q | xargs -r -n1 ctr -n k8s.io task kill -s KILL || true",
                ),
            ),
            (on("cp1", "systemctl start kubelet"),),
        ),
        "worker_node/kubelet_not_running",
        "Node/cp1",
    ),
    # The API answers; the nodes know better.
    seen_on_nodes(
        "scheduler-command",
        edited("cp1", f"{MANIFEST}kube-scheduler.yaml", "s/- kube-scheduler$/- kube-schedulerrrr/"),
        "control_plane/manifest_command_unknown",
        SCHEDULER,
    ),
    seen_on_nodes(
        "controller-manager-kubeconfig",
        edited(
            "cp1",
            f"{MANIFEST}kube-controller-manager.yaml",
            "s#--kubeconfig=/etc/kubernetes/controller-manager.conf#--kubeconfig=/etc/kubernetes/controller-manager-XXXX.conf#",
        ),
        "control_plane/manifest_file_missing",
        MANAGER,
    ),
    seen_on_nodes(
        "kubelet-stopped",
        ((on("w1", "systemctl stop kubelet"),), (on("w1", "systemctl start kubelet"),)),
        "worker_node/kubelet_not_running",
        "Node/w1",
    ),
    seen_on_nodes(
        "kubelet-config-gone",
        gone("w1", "/var/lib/kubelet/config.yaml", KUBELET),
        "worker_node/kubelet_config_missing",
        "Node/w1",
    ),
    seen_on_nodes(
        "kubelet-client-ca",
        edited("w1", "/var/lib/kubelet/config.yaml", "s#pki/ca.crt#pki/WRONG-CA-FILE.crt#", KUBELET),
        "worker_node/kubelet_client_ca_missing",
        "Node/w1",
    ),
    seen_on_nodes(
        "kubelet-server-port",
        edited("w1", "/etc/kubernetes/kubelet.conf", "s/:6443/:6553/", KUBELET),
        "worker_node/kubelet_server_wrong",
        "Node/w1",
    ),
    seen_on_nodes(
        "containerd-stopped",
        ((on("w2", "systemctl stop containerd"),), (on("w2", "systemctl start containerd"),)),
        "worker_node/runtime_not_running",
        "Node/w2",
    ),
)
