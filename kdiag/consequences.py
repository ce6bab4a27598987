"""What follows from what: the ids of the checks that show it, by the kind of fault that it follows from.

A check names one of these in its ``explains``, with what else follows from it alone.
"""

from __future__ import annotations

_CONTROL_PLANE_STOPS = (
    "control_plane/api_server_unhealthy",
    "control_plane/api_server_unreachable",
    "control_plane/component_exits",
    "control_plane/controller_manager_not_running",
    "control_plane/leader_election_lost",
    "control_plane/scheduler_not_running",
    "control_plane/static_pod_failing",
    "worker_node/node_heartbeat_stale",
    "worker_node/node_not_ready",
)
#: The API server ends, or is not ready.
API_SERVER_FAILS = (*_CONTROL_PLANE_STOPS, "control_plane/static_pod_restarting")
#: etcd does not serve the API server.
ETCD_FAILS = (*API_SERVER_FAILS, "control_plane/api_server_cannot_reach_etcd")
#: A component of the control plane, whichever, ends or is not ready.
COMPONENT_FAILS = (*ETCD_FAILS, "control_plane/etcd_not_running")
#: The kubelet makes no pod of a component of the control plane.
STATIC_POD_ABSENT = (
    *_CONTROL_PLANE_STOPS,
    "control_plane/api_server_cannot_reach_etcd",
    "control_plane/etcd_not_running",
    "control_plane/static_pod_missing",
)
#: The kubelet of a node is not there.
KUBELET_DOWN = (
    "application/pod_not_ready",
    "application/pod_stuck_terminating",
    "control_plane/api_server_cannot_reach_etcd",
    "control_plane/api_server_unreachable",
    "control_plane/component_exits",
    "control_plane/controller_manager_not_running",
    "control_plane/etcd_not_running",
    "control_plane/leader_election_lost",
    "control_plane/manifest_not_applied",
    "control_plane/scheduler_not_running",
    "control_plane/static_pod_failing",
    "control_plane/static_pod_missing",
    "control_plane/static_pod_restarting",
    "worker_node/kubelet_unreachable",
    "worker_node/node_heartbeat_stale",
    "worker_node/node_not_ready",
)
#: The kubelet of a node has no container runtime.
RUNTIME_DOWN = (
    "application/pod_not_ready",
    "control_plane/api_server_cannot_reach_etcd",
    "control_plane/api_server_unreachable",
    "control_plane/component_exits",
    "control_plane/etcd_not_running",
    "network/network_plugin_not_ready",
    "network/pod_sandbox_fails",
    "worker_node/kubelet_crash_loops",
    "worker_node/node_heartbeat_stale",
    "worker_node/node_not_ready",
    "worker_node/pleg_unhealthy",
)
#: The host of a node has no room, no memory or no right to write left for what runs on it.
HOST_EXHAUSTED = (
    "control_plane/api_server_cannot_reach_etcd",
    "control_plane/api_server_unreachable",
    "control_plane/component_exits",
    "control_plane/etcd_not_running",
    "control_plane/static_pod_restarting",
    "worker_node/node_not_ready",
)
#: What is written on the disk of a node cannot be written any more.
DISK_UNUSABLE = (
    *HOST_EXHAUSTED,
    "control_plane/etcd_data_dir_unusable",
    "control_plane/static_pod_failing",
    "worker_node/kubelet_crash_loops",
    "worker_node/kubelet_not_running",
    "worker_node/runtime_not_running",
)
#: The network plugin of a node gives its pods no network.
NO_POD_NETWORK = (
    "application/pod_not_ready",
    "application/scheduling_taint_untolerated",
    "network/cluster_dns_unavailable",
    "network/network_plugin_not_ready",
    "network/pod_sandbox_fails",
    "worker_node/node_not_ready",
)
#: What pods send to pods, or to Services, is lost on the way.
TRAFFIC_LOST = (
    "application/dependency_name_unresolved",
    "application/dependency_unreachable",
    "control_plane/api_service_unavailable",
    "control_plane/webhook_call_fails",
    "network/cluster_dns_unavailable",
    "network/coredns_cannot_reach_api",
    "worker_node/metrics_server_unavailable",
)
#: The containers of a workload do not get what they ask for when they start.
CLIENT_FAILS = (
    "application/container_crashes",
    "application/init_container_fails",
    "application/pod_not_ready",
    "application/readiness_probe_fails",
)
#: The containers of a workload, at work or waiting, do not get what they ask for.
DEPENDENT_FAILS = (
    *CLIENT_FAILS,
    "application/init_container_waits",
    "application/job_failed",
    "application/liveness_probe_kills",
)
#: A Service leads its clients nowhere.
SERVICE_DEAD = (
    *DEPENDENT_FAILS,
    "application/dependency_unreachable",
    "application/workload_unavailable",
    "network/ingress_backend_unavailable",
)
#: The API server refuses what it would have to ask a webhook about.
WEBHOOK_REFUSES = (
    "application/cronjob_not_running",
    "application/pods_cannot_be_created",
    "application/rollout_stuck",
    "application/workload_unavailable",
)
#: A workload is refused its pods before there are any.
PODS_REFUSED = (
    "application/cronjob_not_running",
    "application/job_failed",
    "application/workload_unavailable",
)
#: A claim gets no volume.
CLAIM_UNBOUND = (
    "application/pod_not_ready",
    "application/pod_waits_for_claim",
    "application/volume_mount_fails",
    "application/workload_unavailable",
)
