"""The walk of a request, over small worlds made of what an API server says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest

from kdiag.engine.trace import Start, trace
from kdiag.errors import UsageError
from kdiag.model.step import State, Step, outcome
from tests.recording import facts_of, observations

TAKEN = "2026-11-22T09:30:00Z"
OLD = "2026-11-22T08:00:00Z"
OK, BROKEN, UNKNOWN = State.OK, State.BROKEN, State.UNKNOWN


def meta(name: str, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "creationTimestamp": OLD, **more}


def pod(
    name: str,
    labels: Any,
    *,
    ready: bool = True,
    port: int = 8080,
    env: Any = (),
    namespace: str = "shop",
    probe: bool = True,
    ports: Any = None,
    status: Any = None,
    **spec: Any,
) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "x",
        "env": list(env),
        "ports": ports if ports is not None else [{"containerPort": port}],
    }
    if probe:
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": port}}
    state = {"running": {"startedAt": OLD}}
    return {
        "metadata": meta(name, namespace, labels=labels),
        "spec": {"nodeName": "w1", "dnsPolicy": "ClusterFirst", "containers": [container], **spec},
        "status": {
            "phase": "Running",
            "podIP": "10.244.1.5",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "app", "ready": ready, "restartCount": 0, "state": state}],
        }
        | (status or {}),
    }


def service(name: str, selector: Any, *ports: Any, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    wanted = [{"port": p, "targetPort": p} if isinstance(p, int) else p for p in ports]
    return {
        "metadata": meta(name, namespace),
        "spec": {"clusterIP": "10.96.0.9", "selector": selector, "ports": wanted, **spec},
    }


def endpoints(
    of: str,
    *pods: Any,
    port: int = 8080,
    namespace: str = "shop",
    ports: Any = None,
    addresses: Any = ("10.244.1.5",),
) -> dict[str, Any]:
    found = []
    for one in pods:
        name, conditions = one if isinstance(one, tuple) else (one, {"ready": True, "serving": True})
        ref = {"targetRef": {"kind": "Pod", "name": name, "namespace": namespace}} if name else {}
        found.append({"addresses": list(addresses), "conditions": conditions, **ref})
    labels = {"kubernetes.io/service-name": of}
    there = [{"name": "", "port": port, "protocol": "TCP"}] if ports is None else ports
    return {
        "metadata": meta(f"{of}-x", namespace, labels=labels),
        "addressType": "IPv4",
        "endpoints": found,
        "ports": there,
    }


WEB = {"app": "web"}
DB = {"app": "db"}
TO_DB = ({"name": "DB_HOST", "value": "db"},)


def shop(**changes: Any) -> dict[str, Any]:
    """Two tiers that work: web:80 → 8080, and db:3306 behind DB_HOST."""
    world = {
        "taken": TAKEN,
        "namespaces": [{"metadata": {"name": n}} for n in ("shop", "prod", "kube-system")],
        "nodes": [
            {"metadata": {"name": "w1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
        ],
        "services": [service("web", WEB, {"port": 80, "targetPort": 8080}), service("db", DB, 3306)],
        "endpointslices": [endpoints("web", "web-1"), endpoints("db", "db-1", port=3306)],
        "pods": [pod("web-1", WEB, env=TO_DB), pod("db-1", DB, port=3306)],
    }
    return {**world, **changes}


def walk(world: dict[str, Any], target: str = "shop/web") -> tuple[Step, ...]:
    return trace(Start.parse(target), facts_of(observations(world)))


def told(steps: Sequence[Step]) -> list[tuple[State, str]]:
    return [(s.state, s.title) for s in steps]


def last(steps: Sequence[Step]) -> tuple[State, str, str]:
    """The step that decides, and its text."""
    bad = [s for s in steps if s.state is not OK and (s.blocks or s.state is BROKEN)]
    return (bad[-1].state, bad[-1].title, bad[-1].detail) if bad else (outcome(steps), "", "")


def test_all_is_well() -> None:
    steps = walk(shop())
    assert told(steps) == [
        (OK, "Service shop/web"),
        (OK, "endpoints"),
        (OK, "Pod shop/web-1"),
        (OK, "container port 8080"),
        (OK, "DB_HOST names db"),
        (OK, "Service shop/db"),
        (OK, "endpoints"),
        (OK, "Pod shop/db-1"),
        (OK, "container port 3306"),
    ]
    assert [s.level for s in steps] == [0] * 4 + [1] * 5
    assert outcome(steps) is OK
    assert all(s.command.startswith("kubectl") for s in steps)
    ways = [s.command for s in steps if "port-forward" in s.command]
    assert ways
    assert all(re.search(r" :\d+$", way) for way in ways)  # a free port at the near end: 80 is root's


# ---- what is asked for


@pytest.mark.parametrize(
    ("text", "namespace", "found"),
    [
        ("shop/web", "", ("Service", "shop", "web", "", "")),
        ("shop/web:http", "", ("Service", "shop", "web", "http", "")),
        ("web", "shop", ("Service", "shop", "web", "", "")),
        ("web:80", "", ("Service", "default", "web", "80", "")),
        ("svc/shop/web", "", ("Service", "shop", "web", "", "")),
        ("svc/web", "shop", ("Service", "shop", "web", "", "")),
        ("svc/web", "", ("Service", "svc", "web", "", "")),  # a namespace of that name, if there is one
        ("shop/web", "shop", ("Service", "shop", "web", "", "")),
        ("ingress/shop/front", "", ("Ingress", "shop", "front", "", "")),
        ("ing/front/shop.test/a/b", "shop", ("Ingress", "shop", "front", "", "shop.test/a/b")),
        ("pod/shop/web-1", "", ("Pod", "shop", "web-1", "", "")),
        ("po/web-1", "shop", ("Pod", "shop", "web-1", "", "")),
    ],
)
def test_targets(text: str, namespace: str, found: tuple[str, ...]) -> None:
    start = Start.parse(text, namespace)
    assert (start.kind, start.namespace, start.name, start.port, start.path) == found


@pytest.mark.parametrize(
    ("text", "kind", "name", "port"),
    [
        ("svc/web:http", "Service", "web", "http"),
        ("services/web", "Service", "web", ""),
        ("po/web-1", "Pod", "web-1", ""),
        ("ing/front", "Ingress", "front", ""),
    ],
)
def test_a_kind_before_the_name_as_kubectl_has_it(text: str, kind: str, name: str, port: str) -> None:
    meant = Start.parse(text, default="shop").meant(facts_of(observations(shop())))
    assert (meant.kind, meant.namespace, meant.name, meant.port) == (kind, "shop", name, port)


def test_a_namespace_that_is_called_as_a_kind_is() -> None:
    world = shop(namespaces=[{"metadata": {"name": n}} for n in ("svc", "shop")])
    start = Start.parse("svc/web", default="shop")
    assert start.meant(facts_of(observations(world))) == start


@pytest.mark.parametrize(
    "text", ["", "/", "shop/", "/web", "shop/web/x", "shop/we b", "shop/$(x)", "shop/web:", "a/b:c/d", "shop/web:80:90"]
)
def test_words_that_are_no_target(text: str) -> None:
    if text == "shop/web:":
        assert Start.parse(text).port == ""
        return
    with pytest.raises(UsageError):
        Start.parse(text)


# ---- the Service


def test_a_service_that_is_not_there_and_what_was_meant() -> None:
    assert last(walk(shop(), "shop/wob"))[2] == "does not exist; did you mean Service shop/web?"
    assert "Service web is in namespace shop" in last(walk(shop(), "prod/web"))[2]
    assert "there is no namespace shp (shop?)" in last(walk(shop(), "shp/nothing"))[2]


def test_services_that_could_not_be_read_are_no_verdict() -> None:
    world = shop(services=[], errors={"services": "403 Forbidden: may not list services"})
    state, title, detail = last(walk(world))
    assert (state, title) == (UNKNOWN, "Service shop/web")
    assert "403" in detail


def test_a_port_that_the_service_does_not_have() -> None:
    steps = walk(shop(), "shop/web:8080")
    assert told(steps) == [(BROKEN, "Service shop/web:8080")]
    assert steps[0].detail == "has no port 8080; it has 80"


def test_a_named_port_of_the_service() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": "adm"}]
    world = shop(
        services=[service("web", WEB, *ports)],
        endpointslices=[endpoints("web", "web-1", ports=[{"name": "http", "port": 8080, "protocol": "TCP"}])],
        pods=[pod("web-1", WEB)],
    )
    assert outcome(walk(world, "shop/web:http")) is OK
    assert last(walk(world, "shop/web:admin"))[0] is BROKEN
    both = walk(world)
    assert "no selected pod has a container port called 'adm'" in last(both)[2]
    assert (OK, "endpoints of port http") in told(both)


def test_the_selector_misses_by_a_letter() -> None:
    world = shop(services=[service("web", {"app": "wbe"}, 80)], endpointslices=[])
    state, title, detail = last(walk(world))
    assert (state, title) == (BROKEN, "endpoints")
    assert detail == "none: no pod has app=wbe; 1 pod has app=web"


def test_a_workload_scaled_to_zero_is_said() -> None:
    deployment = {
        "metadata": meta("web"),
        "spec": {"replicas": 0, "selector": {"matchLabels": WEB}, "template": {"metadata": {"labels": WEB}}},
    }
    world = shop(endpointslices=[endpoints("web")], pods=[], deployments=[deployment])
    assert last(walk(world))[2] == "none: Deployment shop/web is scaled to 0"


def test_an_endpoint_written_by_hand_whose_port_has_another_name() -> None:
    ports = [{"name": "mysql", "port": 3306}]
    steps = walk(
        shop(
            services=[service("web", {}, {"name": "tcp", "port": 80})],
            endpointslices=[endpoints("web", "", ports=ports, addresses=["192.0.2.7"])],
        )
    )
    assert last(steps)[2] == 'none: EndpointSlice web-x calls its port "mysql", the Service "tcp"'


def test_a_service_without_selector() -> None:
    assert "no selector" in last(walk(shop(services=[service("web", {}, 80)], endpointslices=[])))[2]
    by_hand = shop(
        services=[service("web", {}, 80)], endpointslices=[endpoints("web", "", port=80, addresses=["192.0.2.7"])]
    )
    steps = walk(by_hand)
    assert outcome(steps) is OK
    assert (steps[-1].state, steps[-1].blocks) == (UNKNOWN, False)
    assert "192.0.2.7" in steps[-1].detail


def test_external_names() -> None:
    def external(host: str, *more: Any) -> dict[str, Any]:
        return shop(services=[service("web", {}, 80, type="ExternalName", externalName=host, clusterIP=""), *more])

    outside = walk(external("db.example.com"))
    assert (outcome(outside), outside[-1].state) == (OK, UNKNOWN)
    assert last(walk(external("192.0.2.7")))[0] is BROKEN
    inside = walk(external("db.shop.svc.cluster.local", service("db", DB, 80)))
    assert (OK, "Service shop/db") in told(inside)
    assert "circle" in last(walk(external("web.shop.svc.cluster.local")))[2]
    assert "does not exist" in last(walk(external("db.prod.svc.cluster.local")))[2]


def test_a_headless_service() -> None:
    steps = walk(
        shop(
            services=[service("web", WEB, {"port": 80, "targetPort": 8080}, clusterIP="None"), service("db", DB, 3306)]
        )
    )
    assert outcome(steps) is OK
    assert steps[0].detail.startswith("headless")
    bare = shop(services=[service("web", WEB, clusterIP="None")], endpointslices=[endpoints("web", "web-1", ports=[])])
    assert outcome(walk(bare)) is OK
    unlisted = walk(bare, "shop/web:5432")
    assert (outcome(unlisted), unlisted[0].state) == (UNKNOWN, UNKNOWN)


# ---- endpoints and pods

NOT_READY = {"ready": False, "serving": False}
GOING = {"ready": False, "serving": True, "terminating": True}


def test_no_pod_is_ready_and_why() -> None:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    status = {"phase": "Pending", "containerStatuses": [{"name": "app", "ready": False, "state": state}]}
    world = shop(
        pods=[pod("web-1", WEB, ready=False, status=status)], endpointslices=[endpoints("web", ("web-1", NOT_READY))]
    )
    assert last(walk(world))[2] == (
        "none of 1 pod is ready: web-1 is not ready: container app waits, ImagePullBackOff: no such tag"
    )
    assert walk(world)[-1].command == "kubectl -n shop describe pod web-1"


def test_what_lies_behind_a_broken_hop_is_not_judged() -> None:
    world = shop(
        pods=[pod("web-1", WEB, ready=False, env=({"name": "DB_HOST", "value": "nothing"},))],
        endpointslices=[endpoints("web", ("web-1", NOT_READY))],
    )
    assert [s.title for s in walk(world)] == ["Service shop/web", "endpoints"]


def test_one_of_two_ready_is_enough_and_the_other_is_told() -> None:
    world = shop(
        pods=[pod("web-1", WEB), pod("web-2", WEB, ready=False)],
        endpointslices=[endpoints("web", "web-1", ("web-2", NOT_READY))],
    )
    steps = walk(world)
    assert outcome(steps) is OK
    assert steps[1].detail.startswith("1 of 2 endpoints ready; web-2 is not ready")


def test_both_families_count_a_pod_once() -> None:
    slices = [endpoints("web", "web-1"), endpoints("web", "web-1", addresses=["fd00::5"])]
    slices[1]["metadata"]["name"] = "web-y"
    assert walk(shop(endpointslices=slices, pods=[pod("web-1", WEB)]))[1].detail == "1 of 1 endpoint ready"


def test_only_pods_on_their_way_out_serve() -> None:
    world = shop(pods=[pod("web-1", WEB, ready=False)], endpointslices=[endpoints("web", ("web-1", GOING))])
    assert last(walk(world))[0] is UNKNOWN
    assert "being deleted still serve" in last(walk(world))[2]


def test_a_ready_pod_that_no_slice_names() -> None:
    assert "not kept up to date" in last(walk(shop(endpointslices=[])))[2]
    young = pod("web-1", WEB)
    young["metadata"]["creationTimestamp"] = "2026-11-22T09:29:40Z"
    assert last(walk(shop(endpointslices=[], pods=[young])))[0] is UNKNOWN


def test_endpointslices_that_could_not_be_read() -> None:
    world = shop(endpointslices=[], errors={"endpointslices": "403 Forbidden: may not list endpointslices"})
    assert last(walk(world))[:2] == (UNKNOWN, "endpoints")


def test_a_slice_that_calls_an_unready_pod_ready() -> None:
    world = shop(pods=[pod("web-1", WEB, ready=False)])
    assert last(walk(world))[0] is UNKNOWN
    published = shop(
        pods=[pod("web-1", WEB, ready=False)], services=[service("web", WEB, 8080, publishNotReadyAddresses=True)]
    )
    assert "publishNotReadyAddresses" in last(walk(published))[2]


def test_the_container_port_is_proven_by_a_probe_alone() -> None:
    def port_step(**how: Any) -> Step:
        steps = walk(shop(pods=[pod("web-1", WEB, **how), pod("db-1", DB, port=3306)]))
        return next(s for s in steps if s.title == "container port 8080")

    assert port_step().state is OK
    declared = port_step(probe=False)
    assert (declared.state, declared.blocks) == (UNKNOWN, False)
    nothing = port_step(probe=False, ports=[])
    assert (nothing.state, nothing.blocks) == (UNKNOWN, False)
    other = port_step(port=9090)
    assert (other.state, other.blocks) == (UNKNOWN, True)
    assert "they declare 9090" in other.detail


def test_a_pod_among_others_that_declares_another_port_gets_its_share_of_the_requests() -> None:
    slices = [endpoints("web", "web-1", "web-2")]
    pods = [pod("web-1", WEB), pod("web-2", WEB, port=9090)]
    for order in (pods, pods[::-1]):
        steps = walk(shop(pods=order, endpointslices=slices))
        assert (OK, "container port 8080") in told(steps)
        assert last(steps) == (
            UNKNOWN,
            "Pod shop/web-2",
            "gets requests too (1 of 2 pods) and declares port 9090, not 8080",
        )
    named = [{"name": "http", "containerPort": 8080}], [{"name": "http", "containerPort": 9090}]
    by_name = shop(
        services=[service("web", WEB, {"port": 80, "targetPort": "http"})],
        endpointslices=slices,
        pods=[pod("web-1", WEB, ports=named[0]), pod("web-2", WEB, port=9090, ports=named[1])],
    )
    assert outcome(walk(by_name)) is OK


def test_a_named_target_port_is_looked_for_in_all_selected_pods() -> None:
    to_name = service("web", WEB, {"port": 80, "targetPort": "http"})
    slices = [endpoints("web", ("web-1", NOT_READY), ports=[])]
    world = shop(
        services=[to_name],
        endpointslices=slices,
        pods=[pod("web-1", WEB, ports=[{"name": "htpp", "containerPort": 8080}])],
    )
    assert last(walk(world))[2].endswith("called 'http'; they have htpp (was htpp meant?)")
    two = shop(
        services=[to_name],
        endpointslices=[endpoints("web", "web-2")],
        pods=[pod("web-1", WEB, ready=False), pod("web-2", WEB, ports=[{"name": "http", "containerPort": 8080}])],
    )
    assert outcome(walk(two)) is OK


# ---- entrances


def test_a_node_port() -> None:
    steps = walk(
        shop(services=[service("web", WEB, {"port": 80, "targetPort": 8080, "nodePort": 30080}, type="NodePort")])
    )
    assert (steps[0].title, steps[0].detail) == ("NodePort 30080", "on every node: 10.0.0.1")


def test_a_load_balancer_without_an_address() -> None:
    broken = walk(shop(services=[service("web", WEB, 8080, type="LoadBalancer")]))
    assert broken[0].state is BROKEN
    assert (OK, "Pod shop/web-1") in told(broken)  # from inside the Service works: another way in


def ingress(*paths: Any, cls: str = "nginx", host: str = "shop.test", **status: Any) -> dict[str, Any]:
    rules = [
        {
            "host": host,
            "http": {
                "paths": [{"path": p, "backend": {"service": {"name": s, "port": {"number": n}}}} for p, s, n in paths]
            },
        }
    ]
    return {
        "metadata": meta("front"),
        "spec": {"ingressClassName": cls, "rules": rules} if cls else {"rules": rules},
        "status": status,
    }


def with_ingress(one: Any, classes: Any = ("nginx",), **more: Any) -> dict[str, Any]:
    found = [{"metadata": {"name": c}, "spec": {"controller": "x"}} for c in classes]
    return shop(ingresses=[one], ingressclasses=found, **more)


def test_an_ingress() -> None:
    steps = walk(with_ingress(ingress(("/", "web", 80))), "ingress/shop/front")
    assert (steps[0].title, steps[0].state, steps[0].blocks) == ("Ingress shop/front", UNKNOWN, False)
    assert (OK, "Service shop/web:80") in told(steps)
    assert outcome(steps) is OK
    addressed = ingress(("/", "web", 80), loadBalancer={"ingress": [{"ip": "192.0.2.1"}]})
    assert walk(with_ingress(addressed), "ingress/shop/front")[0].state is OK


def test_an_ingress_that_nobody_serves() -> None:
    assert (
        "did you mean nginx?"
        in last(walk(with_ingress(ingress(("/", "web", 80), cls="ngnix")), "ingress/shop/front"))[2]
    )
    unclassed = walk(with_ingress(ingress(("/", "web", 80), cls="")), "ingress/shop/front")
    assert told(unclassed) == [(BROKEN, "Ingress shop/front")]


def test_an_ingress_without_a_class_where_there_is_none() -> None:
    steps = walk(with_ingress(ingress(("/", "web", 80), cls=""), classes=()), "ingress/shop/front")
    assert (steps[0].state, steps[0].blocks) == (UNKNOWN, False)
    assert (OK, "Service shop/web:80") in told(steps)


def test_an_ingress_to_the_wrong_port_and_the_wrong_service() -> None:
    assert (
        last(walk(with_ingress(ingress(("/", "web", 8080))), "ingress/shop/front"))[2] == "has no port 8080; it has 80"
    )
    assert (
        "did you mean Service shop/web?" in last(walk(with_ingress(ingress(("/", "wen", 80))), "ingress/shop/front"))[2]
    )


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("shop.test/", "rule shop.test/"),
        ("shop.test/cart", "rule shop.test/cart"),
        ("shop.test/cart/7", "rule shop.test/cart"),
        ("shop.test/cartoon", "rule shop.test/"),
        ("/cart", "rule shop.test/cart"),
    ],
)
def test_the_rule_that_serves_a_path(path: str, title: str) -> None:
    world = with_ingress(ingress(("/", "web", 80), ("/cart", "db", 3306)))
    steps = walk(world, f"ingress/shop/front/{path}")
    assert [s.title for s in steps if s.title.startswith("rule")] == [title]


def test_no_rule_serves_a_host() -> None:
    steps = walk(with_ingress(ingress(("/", "web", 80))), "ingress/shop/front/other.test/")
    assert last(steps)[0] is BROKEN
    assert "shop.test/" in last(steps)[2]


# ---- what pods talk to


def test_a_host_that_is_no_service_with_a_near_one() -> None:
    world = shop(pods=[pod("web-1", WEB, env=({"name": "DB_HOST", "value": "dbb"},)), pod("db-1", DB, port=3306)])
    world["services"].append(service("dbx", DB, 3306))
    state, title, detail = last(walk(shop(**world)))
    assert (state, title) == (BROKEN, "DB_HOST names dbb")
    assert "does not exist; did you mean Service shop/db" in detail


def test_a_host_in_another_namespace_that_is_not_there() -> None:
    env = ({"name": "DB_HOST", "value": "db.prod.svc.cluster.local"},)
    state, _, detail = last(walk(shop(pods=[pod("web-1", WEB, env=env)])))
    assert state is BROKEN
    assert "Service prod/db does not exist; Service db is in namespace shop" in detail


@pytest.mark.parametrize("value", ["db.example.com", "192.0.2.3", "prod", "https://api.example.com/v1"])
def test_hosts_outside_are_not_judged(value: float) -> None:
    world = shop(pods=[pod("web-1", WEB, env=({"name": "API_URL", "value": value},))])
    assert outcome(walk(world)) is OK


def test_the_wrong_port_of_a_dependency() -> None:
    env = ({"name": "DB_URL", "value": "mysql://u@db:3307/x"},)
    assert (
        last(walk(shop(pods=[pod("web-1", WEB, env=env), pod("db-1", DB, port=3306)])))[2]
        == "has no port 3307; it has 3306"
    )


def test_a_dependency_behind_a_configmap() -> None:
    env = ({"name": "DB_HOST", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "host"}}},)
    config = [{"metadata": meta("conf"), "data": {"host": "db"}}]
    steps = walk(shop(pods=[pod("web-1", WEB, env=env), pod("db-1", DB, port=3306)], configmaps=config))
    assert (OK, "DB_HOST names db") in told(steps)
    unread = walk(
        shop(pods=[pod("web-1", WEB, env=env)], errors={"configmaps": "403 Forbidden: may not list configmaps"})
    )
    assert unread[-1].title == "further hosts"


def test_a_host_in_a_secret_is_named_and_not_read() -> None:
    env = ({"name": "DB_HOST", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "db.host"}}},)
    steps = walk(shop(pods=[pod("web-1", WEB, env=env)]))
    assert (steps[-1].title, steps[-1].state, steps[-1].blocks) == ("DB_HOST of Secret creds", UNKNOWN, False)
    assert "base64 -d" in steps[-1].command


def test_hosts_that_lead_in_a_circle_end() -> None:
    back = ({"name": "WEB_HOST", "value": "web"},)
    steps = walk(shop(pods=[pod("web-1", WEB, env=TO_DB), pod("db-1", DB, port=3306, env=back)]))
    assert steps[-1].detail == "is on this way already"
    assert outcome(steps) is OK


def test_a_long_chain_ends() -> None:
    names = [f"s{i}" for i in range(30)]
    world = shop(
        services=[service(n, {"app": n}, 8080) for n in names],
        endpointslices=[endpoints(n, f"{n}-1") for n in names],
        pods=[
            pod(f"{n}-1", {"app": n}, env=({"name": "NEXT_HOST", "value": m},)) for n, m in itertools.pairwise(names)
        ],
    )
    steps = walk(world, "shop/s0")
    assert "not followed further" in steps[-1].detail


def test_a_pod_that_is_not_ready_and_one_that_is() -> None:
    assert outcome(walk(shop(), "pod/shop/web-1")) is OK
    broken = walk(shop(pods=[pod("web-1", WEB, ready=False)]), "pod/shop/web-1")
    assert told(broken) == [(BROKEN, "Pod shop/web-1")]
    assert "did you mean Pod shop/web-1?" in last(walk(shop(), "pod/shop/web-2"))[2]


def kube_dns(ready: bool) -> dict[str, Any]:
    labels = {"k8s-app": "kube-dns"}
    return {
        "services": [*shop()["services"], service("kube-dns", labels, 53, namespace="kube-system")],
        "endpointslices": [
            *shop()["endpointslices"],
            endpoints("kube-dns", ("coredns-1", {"ready": ready, "serving": ready}), port=53, namespace="kube-system"),
        ],
    }


def test_a_name_that_nobody_can_look_up() -> None:
    assert outcome(walk(shop(**kube_dns(True)))) is OK
    state, title, detail = last(walk(shop(**kube_dns(False))))
    assert (state, title) == (BROKEN, "DB_HOST names db")
    assert "kube-dns" in detail


def policy(name: str, selects: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": meta(name), "spec": {"podSelector": {"matchLabels": selects}, **spec}}


def test_network_policies() -> None:
    def way(*policies: Any) -> tuple[Step, ...]:
        return walk(shop(networkpolicies=list(policies)))

    let = {"from": [{"podSelector": {"matchLabels": WEB}}], "ports": [{"port": 3306}]}
    assert outcome(way(policy("db", DB, ingress=[let]))) is OK
    closed = way(policy("db", DB, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "other"}}}]}]))
    assert last(closed)[:2] == (UNKNOWN, "NetworkPolicy db")
    assert "let nobody in as Pod shop/web-1" in last(closed)[2]
    assert last(way(policy("deny", {}, policyTypes=["Ingress"])))[0] is UNKNOWN
    wrong_port = way(policy("db", DB, ingress=[{"ports": [{"port": 3307}]}]))
    assert last(wrong_port)[0] is UNKNOWN
    # One policy that lets it through is enough, and from where a user comes is not known.
    assert outcome(way(policy("deny", DB, policyTypes=["Ingress"]), policy("db", DB, ingress=[let]))) is OK
    assert outcome(way(policy("web", WEB, ingress=[let]))) is OK
    assert "let Pod shop/web-1 out" in last(way(policy("out", WEB, policyTypes=["Egress"])))[2]
    assert outcome(way(policy("cidr", DB, ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]))) is OK


def test_nothing_read_at_all_is_unknown_and_no_crash() -> None:
    steps = trace(Start.parse("shop/web"), facts_of([]))
    assert outcome(steps) is UNKNOWN
