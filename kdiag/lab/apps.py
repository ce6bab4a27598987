"""The small applications that a scenario sets up and breaks, written in a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kdiag.errors import LabError
from kdiag.lab.api import Object, merged

#: Images by what a scenario calls them: where the lab of this project runs, and anywhere else.
LAB_IMAGES: Mapping[str, str] = {
    "nginx": "docker.io/library/nginx:1.27",
    "nginx_next": "docker.io/library/nginx:1.28",
    "busybox": "docker.io/library/busybox:1.36",
    "web": "docker.io/lab/app:1",
    "web_next": "docker.io/lab/app:2",
    "db": "docker.io/library/mysql:8",
    "kubectl": "docker.io/lab/app:1",
}
PUBLIC_IMAGES: Mapping[str, str] = {
    **LAB_IMAGES,
    "web": "docker.io/kodekloud/simple-webapp-mysql:latest",
    "web_next": "docker.io/kodekloud/simple-webapp-mysql:latest",
    "kubectl": "registry.k8s.io/kubectl:v1.33.4",
}


def images(nodes: list[Object], given: Mapping[str, str]) -> dict[str, str]:
    """The image of each name: those of the lab where the nodes hold them, public ones elsewhere, then what is given."""
    held = {
        name for n in nodes for image in n.get("status", {}).get("images") or () for name in image.get("names") or ()
    }
    base = LAB_IMAGES if LAB_IMAGES["web"] in held else PUBLIC_IMAGES
    return {f"image_{name}": given.get(name, image) for name, image in base.items()}


def _args(image: str) -> dict[str, Any]:
    # The lab's application is one program with two faces; the public one knows its own.
    return {"args": ["web"]} if "/lab/app" in image else {}


def workload(p: Mapping[str, Any]) -> list[Object]:
    """A Deployment, StatefulSet or DaemonSet of one container, with a Service when ``service`` is given.

    ``container``, ``pod`` and ``spec`` are merged into the container, the pod's spec and the workload's spec.
    """
    name, kind = str(p["name"]), str(p.get("kind", "Deployment"))
    labels = {"app": name, **p.get("labels", {})}
    container = merged(
        {"name": p.get("container_name", "app"), "image": p["image"], "imagePullPolicy": "IfNotPresent"}
        | _args(str(p["image"])),
        p.get("container", {}),
    )
    pod = merged({"terminationGracePeriodSeconds": 1, "containers": [container]}, p.get("pod", {}))
    spec: Object = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind != "DaemonSet":
        spec["replicas"] = p.get("replicas", 1)
    if kind == "StatefulSet":
        spec["serviceName"] = name
    meta = {"name": name, "namespace": p["ns"]}
    found: list[Object] = [
        {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": merged(spec, p.get("spec", {}))}
    ]
    if p.get("service"):
        found.append(service({**p["service"], "name": p["service"].get("name", name), "ns": p["ns"], "selects": name}))
    return found


def service(p: Mapping[str, Any]) -> Object:
    """A Service in front of a workload, by default that of its name; ``node_port`` makes it one of that type."""
    port: Object = {"port": p.get("port", 80), "targetPort": p.get("target", p.get("port", 80))}
    spec: Object = {"selector": {"app": p.get("selects", p["name"])}, "ports": [port]}
    if p.get("node_port"):
        spec["type"] = "NodePort"
        port["nodePort"] = p["node_port"]
    meta = {"name": p["name"], "namespace": p["ns"]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": merged(spec, p.get("spec", {}))}


def shop(p: Mapping[str, Any]) -> list[Object]:
    """The two tiers of the classic course labs: a web server that logs in to its database at each request."""
    env = {"DB_Host": p.get("db_service", "mysql-service"), "DB_User": "root", "DB_Password": p["password"]}
    web = {
        "env": [{"name": k, "value": v} for k, v in env.items()],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 3},
    }
    db = {
        "env": [{"name": "MYSQL_ROOT_PASSWORD", "value": p["password"]}],
        "ports": [{"containerPort": 3306}],
    }
    common = {"ns": p["ns"]}
    return [
        *workload(
            {
                **common,
                "name": p.get("db", "mysql"),
                "image": p["image_db"],
                "container": db,
                "service": {"name": env["DB_Host"], "port": 3306},
            }
        ),
        *workload(
            {
                **common,
                "name": p.get("web", "webapp"),
                "image": p["image_web"],
                "container": merged(web, p.get("container", {})),
                "replicas": p.get("replicas", 2),
                "spec": p.get("spec", {}),
                "service": {"name": p.get("web_service", "web-service"), "port": 8080, "node_port": p["node_port"]},
            }
        ),
    ]


def job(p: Mapping[str, Any]) -> list[Object]:
    """A Job of one container that runs a command."""
    container = merged(
        {"name": "job", "image": p["image"], "imagePullPolicy": "IfNotPresent", "command": p["command"]},
        p.get("container", {}),
    )
    pod = merged({"restartPolicy": "Never", "containers": [container]}, p.get("pod", {}))
    spec = merged({"backoffLimit": 0, "template": {"spec": pod}}, p.get("spec", {}))
    meta = {"name": p["name"], "namespace": p["ns"]}
    return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}]


BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], list[Object]]] = {
    "workload": workload,
    "service": lambda p: [service(p)],
    "shop": shop,
    "job": job,
}


_SHOP = {True: ("node_port", "password"), False: ()}


def build(item: Mapping[str, Any], values: Mapping[str, Any]) -> list[Object]:
    """The objects that one entry of a scenario means: an application by name, or an object as it is.

    An object of a kind that lives in a namespace gets the scenario's own where it names none.
    """
    if "app" in item:
        name = str(item["app"])
        if name not in BUILDERS:
            raise LabError(f"{name!r} is no application; there are {', '.join(BUILDERS)}")
        given = {k: v for k, v in item.items() if k != "app"}
        if name in ("workload", "job"):
            given.setdefault("image", values["image_nginx" if name == "workload" else "image_busybox"])
        # Not every value: a scenario's own $port or $name is not meant for the application unless it says so.
        common = {k: v for k, v in values.items() if k.startswith("image_") or k in ("ns", *_SHOP[name == "shop"])}
        return BUILDERS[name]({**common, **given})
    from kdiag.lab.api import KINDS

    found = dict(item)
    kind = str(found.get("kind", ""))
    if kind not in KINDS:
        raise LabError(f"{kind!r} is no kind that the lab knows")
    meta = dict(found.get("metadata") or {})
    if KINDS[kind].namespaced:
        meta.setdefault("namespace", values["ns"])
    return [{"apiVersion": found.get("apiVersion", KINDS[kind].version), **found, "metadata": meta}]
