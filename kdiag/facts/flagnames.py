"""The flags of the control plane's components, by the kind of their value: what ``--help`` of Kubernetes 1.36 shows.

``GONE`` are flags of releases before: to a component of today they are as unknown as a typo, and somebody who upgrades
meets them. What neither names may still be right for another release: a reader must ask for more proof.
"""

from __future__ import annotations

from collections.abc import Mapping

#: By component, then by the kind of the value.
KNOWN: Mapping[str, Mapping[str, str]] = {
    "kube-apiserver": {
        "bool": (
            "aggregator-reject-forwarding-redirect allow-privileged anonymous-auth "
            "audit-log-batch-throttle-enable audit-log-compress audit-log-truncate-enabled "
            "audit-webhook-batch-throttle-enable audit-webhook-truncate-enabled contention-profiling "
            "disable-http2-serving emulation-forward-compatible enable-aggregator-routing "
            "enable-bootstrap-token-auth enable-garbage-collector enable-logs-handler "
            "enable-priority-and-fairness encryption-provider-config-automatic-reload help "
            "log-json-split-stream log-text-split-stream permit-address-sharing permit-port-sharing "
            "profiling runtime-config-emulation-forward-compatible service-account-extend-token-expiration "
            "service-account-lookup shutdown-send-retry-after watch-cache"
        ),
        "duration": (
            "audit-log-batch-max-wait audit-webhook-batch-max-wait audit-webhook-initial-backoff "
            "authentication-token-webhook-cache-ttl authorization-webhook-cache-authorized-ttl "
            "authorization-webhook-cache-unauthorized-ttl coordinated-leadership-lease-duration "
            "coordinated-leadership-renew-deadline coordinated-leadership-retry-period "
            "etcd-compaction-interval etcd-count-metric-poll-period etcd-db-metric-poll-interval "
            "etcd-healthcheck-timeout etcd-readycheck-timeout event-ttl kubelet-timeout livez-grace-period "
            "log-flush-frequency request-timeout service-account-max-token-expiration "
            "shutdown-delay-duration shutdown-watch-termination-grace-period storage-initialization-timeout"
        ),
        "float": ("audit-log-batch-throttle-qps audit-webhook-batch-throttle-qps goaway-chance"),
        "int": (
            "audit-log-batch-buffer-size audit-log-batch-max-size audit-log-batch-throttle-burst "
            "audit-log-maxage audit-log-maxbackup audit-log-maxsize audit-log-truncate-max-batch-size "
            "audit-log-truncate-max-event-size audit-webhook-batch-buffer-size audit-webhook-batch-max-size "
            "audit-webhook-batch-throttle-burst audit-webhook-truncate-max-batch-size "
            "audit-webhook-truncate-max-event-size default-not-ready-toleration-seconds "
            "default-unreachable-toleration-seconds delete-collection-workers "
            "http2-max-streams-per-connection kubernetes-service-node-port lease-reuse-duration-seconds "
            "max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight "
            "min-request-timeout secure-port v"
        ),
        "ip": ("advertise-address bind-address"),
        "text": (
            "admission-control admission-control-config-file allow-metric-labels "
            "allow-metric-labels-manifest api-audiences audit-log-format audit-log-mode audit-log-path "
            "audit-log-version audit-policy-file audit-webhook-config-file audit-webhook-mode "
            "audit-webhook-version authentication-config authentication-token-webhook-config-file "
            "authentication-token-webhook-version authorization-config authorization-mode "
            "authorization-policy-file authorization-webhook-config-file authorization-webhook-version "
            "cert-dir client-ca-file cors-allowed-origins debug-socket-path disable-admission-plugins "
            "disabled-metrics egress-selector-config-file emulated-version enable-admission-plugins "
            "encryption-provider-config endpoint-reconciler-type etcd-cafile etcd-certfile etcd-keyfile "
            "etcd-prefix etcd-servers etcd-servers-overrides external-hostname feature-gates "
            "kubelet-certificate-authority kubelet-client-certificate kubelet-client-key "
            "kubelet-preferred-address-types log-json-info-buffer-size log-text-info-buffer-size "
            "logging-format min-compatibility-version oidc-ca-file oidc-client-id oidc-groups-claim "
            "oidc-groups-prefix oidc-issuer-url oidc-required-claim oidc-signing-algs oidc-username-claim "
            "oidc-username-prefix peer-advertise-ip peer-advertise-port peer-ca-file proxy-client-cert-file "
            "proxy-client-key-file requestheader-allowed-names requestheader-client-ca-file "
            "requestheader-extra-headers-prefix requestheader-group-headers requestheader-uid-headers "
            "requestheader-username-headers runtime-config service-account-issuer service-account-jwks-uri "
            "service-account-key-file service-account-signing-endpoint service-account-signing-key-file "
            "service-cluster-ip-range service-node-port-range show-hidden-metrics-for-version "
            "storage-backend storage-media-type strict-transport-security-directives tls-cert-file "
            "tls-cipher-suites tls-curve-preferences tls-min-version tls-private-key-file tls-sni-cert-key "
            "token-auth-file tracing-config-file version vmodule watch-cache-sizes"
        ),
    },
    "kube-controller-manager": {
        "bool": (
            "allocate-node-cidrs authentication-skip-lookup authentication-tolerate-lookup-failure "
            "configure-cloud-routes contention-profiling disable-attach-detach-reconcile-sync "
            "disable-force-detach-on-timeout disable-http2-serving enable-dynamic-provisioning "
            "enable-garbage-collector enable-hostpath-provisioner enable-leader-migration help leader-elect "
            "log-json-split-stream log-text-split-stream permit-address-sharing permit-port-sharing "
            "profiling use-service-account-credentials"
        ),
        "duration": (
            "attach-detach-reconcile-sync-period authentication-token-webhook-cache-ttl "
            "authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl "
            "cluster-signing-duration controller-shutdown-timeout controller-start-interval "
            "endpoint-updates-batch-period endpointslice-updates-batch-period "
            "horizontal-pod-autoscaler-cpu-initialization-period "
            "horizontal-pod-autoscaler-downscale-stabilization "
            "horizontal-pod-autoscaler-initial-readiness-delay horizontal-pod-autoscaler-sync-period "
            "leader-elect-lease-duration leader-elect-renew-deadline leader-elect-retry-period "
            "legacy-service-account-token-clean-up-period log-flush-frequency min-resync-period "
            "mirroring-endpointslice-updates-batch-period namespace-sync-period node-monitor-grace-period "
            "node-monitor-period node-startup-grace-period pvclaimbinder-sync-period "
            "resource-quota-sync-period route-reconciliation-period"
        ),
        "float": (
            "horizontal-pod-autoscaler-tolerance kube-api-qps node-eviction-rate "
            "secondary-node-eviction-rate unhealthy-zone-threshold"
        ),
        "int": (
            "concurrent-cron-job-syncs concurrent-daemonset-syncs concurrent-deployment-syncs "
            "concurrent-device-taint-eviction-syncs concurrent-endpoint-syncs "
            "concurrent-ephemeralvolume-syncs concurrent-gc-syncs concurrent-horizontal-pod-autoscaler-syncs "
            "concurrent-job-syncs concurrent-namespace-syncs concurrent-rc-syncs concurrent-replicaset-syncs "
            "concurrent-resource-quota-syncs concurrent-resourceclaim-syncs "
            "concurrent-service-endpoint-syncs concurrent-service-syncs "
            "concurrent-serviceaccount-token-syncs concurrent-statefulset-syncs "
            "concurrent-ttl-after-finished-syncs concurrent-validating-admission-policy-status-syncs "
            "http2-max-streams-per-connection kube-api-burst large-cluster-size-threshold "
            "max-endpoints-per-slice mirroring-concurrent-service-endpoint-syncs "
            "mirroring-max-endpoints-per-subset node-cidr-mask-size node-cidr-mask-size-ipv4 "
            "node-cidr-mask-size-ipv6 pv-recycler-increment-timeout-nfs pv-recycler-minimum-timeout-hostpath "
            "pv-recycler-minimum-timeout-nfs pv-recycler-timeout-increment-hostpath secure-port "
            "terminated-pod-gc-threshold v"
        ),
        "ip": ("bind-address"),
        "text": (
            "allow-metric-labels allow-metric-labels-manifest authentication-kubeconfig "
            "authorization-always-allow-paths authorization-kubeconfig cert-dir cidr-allocator-type "
            "client-ca-file cloud-config cloud-provider cluster-cidr cluster-name cluster-signing-cert-file "
            "cluster-signing-key-file cluster-signing-kube-apiserver-client-cert-file "
            "cluster-signing-kube-apiserver-client-key-file cluster-signing-kubelet-client-cert-file "
            "cluster-signing-kubelet-client-key-file cluster-signing-kubelet-serving-cert-file "
            "cluster-signing-kubelet-serving-key-file cluster-signing-legacy-unknown-cert-file "
            "cluster-signing-legacy-unknown-key-file controllers disabled-metrics emulated-version "
            "external-cloud-volume-plugin feature-gates flex-volume-plugin-dir kube-api-content-type "
            "kubeconfig leader-elect-resource-lock leader-elect-resource-name "
            "leader-elect-resource-namespace leader-migration-config log-json-info-buffer-size "
            "log-text-info-buffer-size logging-format master min-compatibility-version "
            "pv-recycler-pod-template-filepath-hostpath pv-recycler-pod-template-filepath-nfs "
            "requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix "
            "requestheader-group-headers requestheader-uid-headers requestheader-username-headers "
            "root-ca-file service-account-private-key-file service-cluster-ip-range "
            "show-hidden-metrics-for-version tls-cert-file tls-cipher-suites tls-curve-preferences "
            "tls-min-version tls-private-key-file tls-sni-cert-key version vmodule"
        ),
    },
    "kube-scheduler": {
        "bool": (
            "authentication-skip-lookup authentication-tolerate-lookup-failure contention-profiling "
            "disable-http2-serving help leader-elect log-json-split-stream log-text-split-stream "
            "permit-address-sharing permit-port-sharing profiling"
        ),
        "duration": (
            "authentication-token-webhook-cache-ttl authorization-webhook-cache-authorized-ttl "
            "authorization-webhook-cache-unauthorized-ttl leader-elect-lease-duration "
            "leader-elect-renew-deadline leader-elect-retry-period log-flush-frequency "
            "pod-max-in-unschedulable-pods-duration"
        ),
        "float": ("kube-api-qps"),
        "int": ("http2-max-streams-per-connection kube-api-burst secure-port v"),
        "ip": ("bind-address"),
        "text": (
            "allow-metric-labels allow-metric-labels-manifest authentication-kubeconfig "
            "authorization-always-allow-paths authorization-kubeconfig cert-dir client-ca-file config "
            "disabled-metrics emulated-version feature-gates kube-api-content-type kubeconfig "
            "leader-elect-resource-lock leader-elect-resource-name leader-elect-resource-namespace "
            "log-json-info-buffer-size log-text-info-buffer-size logging-format master "
            "min-compatibility-version requestheader-allowed-names requestheader-client-ca-file "
            "requestheader-extra-headers-prefix requestheader-group-headers requestheader-uid-headers "
            "requestheader-username-headers show-hidden-metrics-for-version tls-cert-file tls-cipher-suites "
            "tls-curve-preferences tls-min-version tls-private-key-file tls-sni-cert-key version vmodule "
            "write-config-to"
        ),
    },
    "etcd": {
        "text": (
            "advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention "
            "auto-tls backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost "
            "bootstrap-defrag-threshold-megabytes cert-file cipher-suites client-cert-allowed-hostname "
            "client-cert-auth client-cert-file client-crl-file client-key-file compact-hash-check-time "
            "compaction-batch-limit compaction-sleep-interval corrupt-check-time cors data-dir discovery "
            "discovery-cacert discovery-cert discovery-dial-timeout discovery-endpoints discovery-fallback "
            "discovery-insecure-skip-tls-verify discovery-insecure-transport discovery-keepalive-time "
            "discovery-keepalive-timeout discovery-key discovery-password discovery-proxy "
            "discovery-request-timeout discovery-srv discovery-srv-name discovery-token discovery-user "
            "distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate "
            "distributed-tracing-service-name downgrade-check-time election-timeout "
            "enable-distributed-tracing enable-grpc-gateway enable-log-rotation enable-pprof "
            "experimental-bootstrap-defrag-threshold-megabytes experimental-compact-hash-check-enabled "
            "experimental-compact-hash-check-time experimental-compaction-batch-limit "
            "experimental-compaction-sleep-interval experimental-corrupt-check-time "
            "experimental-distributed-tracing-address experimental-distributed-tracing-instance-id "
            "experimental-distributed-tracing-sampling-rate experimental-distributed-tracing-service-name "
            "experimental-downgrade-check-time experimental-enable-distributed-tracing "
            "experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist "
            "experimental-initial-corrupt-check experimental-memory-mlock "
            "experimental-peer-skip-client-san-verification experimental-snapshot-catchup-entries "
            "experimental-stop-grpc-service-on-defrag experimental-txn-mode-write-with-shared-buffer "
            "experimental-warning-apply-duration experimental-warning-unary-request-duration "
            "experimental-watch-progress-notify-interval feature-gates force-new-cluster "
            "grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval "
            "host-whitelist initial-advertise-peer-urls initial-cluster initial-cluster-state "
            "initial-cluster-token initial-election-tick-advance key-file listen-client-http-urls "
            "listen-client-urls listen-metrics-urls listen-peer-urls log-format log-level log-outputs "
            "log-rotation-config-json logger max-concurrent-streams max-learners max-request-bytes "
            "max-snapshots max-txn-ops max-wals memory-mlock metrics name peer-auto-tls peer-cert-allowed-cn "
            "peer-cert-allowed-hostname peer-cert-file peer-client-cert-auth peer-client-cert-file "
            "peer-client-key-file peer-crl-file peer-key-file peer-skip-client-san-verification "
            "peer-trusted-ca-file pre-vote quota-backend-bytes raft-read-timeout raft-write-timeout "
            "self-signed-cert-validity snapshot-catchup-entries snapshot-count socket-reuse-address "
            "socket-reuse-port strict-reconfig-check tls-max-version tls-min-version trusted-ca-file "
            "unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration warning-unary-request-duration "
            "watch-progress-notify-interval"
        ),
    },
}

#: Flags of earlier releases of any of them.
_GONE = (
    "proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout listen-peer-advertise-urls "
    "add-dir-header address admission-control algorithm-provider alsologtostderr apiserver-count "
    "audit-dynamic-configuration auto-tls azure-container-registry-config basic-auth-file ca-file "
    "cloud-config cloud-provider cluster-signing-legacy-unknown-cert-file "
    "concurrent-service-endpoint-syncs concurrent-serviceaccount-token-syncs cors-allowed-origins debug "
    "default-watch-cache-size deployment-controller-sync-period deserialization-cache-size "
    "discovery-fallback discovery-proxy discovery-srv enable-aggregator-routing enable-garbage-collector "
    "enable-hostpath-provisioner enable-logs-handler enable-swagger-ui enable-taint-manager enable-v2 "
    "endpoint-reconciler-type etcd-servers-overrides event-ttl experimental-backend-bbolt-freelist-type "
    "experimental-bootstrap-defrag-threshold-megabytes experimental-cluster-signing "
    "experimental-cluster-signing-duration experimental-compact-hash-check-enabled "
    "experimental-compact-hash-check-time experimental-compaction-batch-limit "
    "experimental-compaction-sleep-interval experimental-corrupt-check-time "
    "experimental-distributed-tracing-address experimental-distributed-tracing-instance-id "
    "experimental-distributed-tracing-sampling-rate experimental-distributed-tracing-service-name "
    "experimental-downgrade-check-time experimental-enable-distributed-tracing "
    "experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist "
    "experimental-enable-v2v3 experimental-encryption-provider-config experimental-initial-corrupt-check "
    "experimental-keystone-ca-file experimental-keystone-url experimental-max-learners "
    "experimental-memory-mlock experimental-peer-skip-client-san-verification "
    "experimental-snapshot-catchup-entries experimental-stop-grpc-service-on-defrag "
    "experimental-txn-mode-write-with-shared-buffer experimental-warning-apply-duration "
    "experimental-warning-unary-request-duration experimental-watch-progress-notify-interval "
    "external-cloud-volume-plugin failure-domains feature-gates flex-volume-plugin-dir force-new-cluster "
    "hard-pod-affinity-symmetric-weight horizontal-pod-autoscaler-downscale-delay "
    "horizontal-pod-autoscaler-upscale-delay horizontal-pod-autoscaler-use-rest-clients "
    "http2-max-streams-per-connection insecure-bind-address insecure-port kubelet-https kubelet-port "
    "kubelet-read-only-port kubernetes-service-node-port large-cluster-size-threshold "
    "leader-elect-resource-lock legacy-service-account-token-clean-up-period lock-object-name "
    "lock-object-namespace log-backtrace-at log-dir log-file log-file-max-size log-output "
    "log-package-levels logger logtostderr master-service-namespace max-connection-bytes-per-sec "
    "max-result-buffer max-snapshots min-resync-period node-eviction-rate oidc-client-id oidc-issuer-url "
    "one-output peer-auto-tls peer-ca-file pod-eviction-timeout policy-config-file policy-configmap "
    "policy-configmap-namespace port proxy proxy-failure-wait pv-recycler-pod-template-filepath-hostpath "
    "register-retry-count repair-malformed-updates scheduler-name secondary-node-eviction-rate "
    "service-account-api-audiences skip-headers skip-log-headers snapshot-count ssh-keyfile ssh-user "
    "stderrthreshold storage-version storage-versions target-ram-mb tls-ca-file unhealthy-zone-threshold "
    "use-legacy-policy-config volume-host-allow-local-loopback volume-host-cidr-denylist"
)
GONE = frozenset(_GONE.split())

#: The admission plugins of this and of earlier releases.
_PLUGINS = (
    "AlwaysAdmit AlwaysDeny AlwaysPullImages CertificateApproval CertificateSigning "
    "CertificateSubjectRestriction ClusterTrustBundleAttest DefaultIngressClass DefaultStorageClass "
    "DefaultTolerationSeconds DenyEscalatingExec DenyExecOnPrivileged DenyServiceExternalIPs "
    "EventRateLimit ExtendedResourceToleration ImagePolicyWebhook InitialResources Initializers "
    "JobValidation LimitPodHardAntiAffinityTopology LimitRanger MutatingAdmissionPolicy "
    "MutatingAdmissionWebhook NamespaceAutoProvision NamespaceExists NamespaceLifecycle "
    "NodeDeclaredFeatureValidator NodeRestriction OwnerReferencesPermissionEnforcement "
    "PersistentVolumeClaimResize PersistentVolumeLabel PodGroupProtection PodGroupWorkloadExists "
    "PodNodeSelector PodPreset PodResizeValidator PodSecurity PodSecurityPolicy PodTolerationRestriction "
    "PodTopologyLabels Priority ResourceQuota RuntimeClass SecurityContextDeny ServiceAccount "
    "StorageObjectInUseProtection TaintNodesByCondition ValidatingAdmissionPolicy "
    "ValidatingAdmissionWebhook"
)
PLUGINS = frozenset(_PLUGINS.split())
#: The modes of --authorization-mode.
MODES = ("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")


def flag_kind(component: str, name: str) -> str:
    """The kind of a flag's value: bool, int, float, duration, ip or text; empty for a flag that nobody knows."""
    name = name if component == "etcd" else name.replace("_", "-")
    for kind, names in KNOWN.get(component, {}).items():
        if name in names.split():
            return kind
    return "text" if name in GONE or name in ("v", "h") else ""


def flag_names(component: str) -> tuple[str, ...]:
    """All flags of a component."""
    return tuple(name for names in KNOWN.get(component, {}).values() for name in names.split())
