"""The fake API server against real kubectl, and each of its faults as a plain client sees it."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.fakeapi import GZIP_ABOVE, TLS, Access, Answer, FakeAPI, Fault, Raw, Rule

PODS = "/api/v1/pods"


def pod(name: str, namespace: str = "shop", node: str = "w1", **labels: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "app:1"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "app", "ready": True, "restartCount": 3, "state": {"running": {}}}],
        },
    }


def waiting(name: str, reason: str) -> dict[str, Any]:
    broken = pod(name)
    status = {"name": "app", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}}
    return broken | {"status": {"phase": "Pending", "containerStatuses": [status]}}


def event(name: str, about: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": about, "namespace": "shop"},
        "reason": "BackOff",
        "type": "Warning",
        "source": {"component": "kubelet"},
    }


OBJECTS: Mapping[str, list[dict[str, Any]]] = {
    PODS: [
        pod("web-1", app="web", tier="front"),
        pod("web-2", node="w2", app="web", tier="front"),
        pod("mysql", app="mysql"),
        pod("dns-1", "kube-system", app="dns", tier="infra"),
        waiting("slow", "ContainerCreating"),
    ],
    "/api/v1/namespaces": [{"metadata": {"name": "shop"}}, {"metadata": {"name": "kube-system"}}],
    "/api/v1/nodes": [{"metadata": {"name": "w1"}}, {"metadata": {"name": "w2"}, "spec": {"unschedulable": True}}],
    "/api/v1/events": [event("e1", "web-1"), event("e2", "mysql")],
    "/api/v1/secrets": [{"metadata": {"name": "s", "namespace": "shop"}, "data": {"k": "czNjcjN0"}}],
    "/apis/apps/v1/deployments": [{"metadata": {"name": "web", "namespace": "shop"}}],
    "/apis/example.com/v1/widgets": [{"kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}}],
}
LOGS = {("shop", "web-1", "app", False): "one\ntwo\nthree\n", ("shop", "web-1", "app", True): "before\n"}


@pytest.fixture
def api() -> Iterator[FakeAPI]:
    with FakeAPI(OBJECTS, logs=LOGS) as server:
        yield server


class Reply:
    """One answer as http.client read it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]


def trusting(api: FakeAPI, user: str | None, folder: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=api.ca_pem.decode())
    if user is not None and folder is not None:
        certificate, key = api.client_certificate(user)
        (folder / "client.pem").write_bytes(certificate + key)
        context.load_cert_chain(folder / "client.pem")
    return context


def ask(
    api: FakeAPI,
    path: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5,
    user: str | None = None,
    folder: Path | None = None,
    **query: str,
) -> Reply:
    """Make one request on a connection of its own."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", api.port, timeout=timeout, context=trusting(api, user, folder))
        if api.url.startswith("https")
        else http.client.HTTPConnection("127.0.0.1", api.port, timeout=timeout)
    )
    try:
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        connection.request(method, target, None if body is None else json.dumps(body), dict(headers or {}))
        return Reply(connection.getresponse())
    finally:
        connection.close()


# ---- as kubectl sees it


Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def kubectl(tmp_path: Path) -> Callable[[FakeAPI], Kubectl]:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed")

    def on(api: FakeAPI, **user: Any) -> Kubectl:
        config = api.kubeconfig(tmp_path / "config", **user)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(config)}

        def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                [program, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert not check or done.returncode == 0, done.stderr
            return done

        return run

    return on


OnApi = Callable[..., Kubectl]


def test_kubectl_lists_and_selects(kubectl: OnApi) -> None:
    with FakeAPI(OBJECTS, tls=True) as api:
        run = kubectl(api)
        everything = run("get", "pods", "-A").stdout.splitlines()
        assert everything[0].split() == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert everything[1].split()[:5] == ["kube-system", "dns-1", "1/1", "Running", "3"]
        assert everything[3].split()[3] == "ContainerCreating"
        assert len(everything) == 6

        def names(*arguments: str) -> list[str]:
            return run("get", *arguments, "-o", "name").stdout.split()

        assert names("pods", "-n", "shop") == ["pod/mysql", "pod/slow", "pod/web-1", "pod/web-2"]
        assert names("po", "-A", "-l", "app=web") == ["pod/web-1", "pod/web-2"]
        assert names("pods", "-A", "-l", "app in (dns,mysql),!tier") == ["pod/mysql"]
        assert names("pods", "-A", "-l", "tier,app!=web") == ["pod/dns-1"]
        assert names("pods", "-A", "--field-selector", "spec.nodeName=w2") == ["pod/web-2"]
        assert names("pods", "-A", "--field-selector", "status.phase!=Running") == ["pod/slow"]
        assert names("events", "-n", "shop", "--field-selector", "involvedObject.name=mysql") == ["event/e2"]
        assert names("deploy", "-n", "shop", "web") == ["deployment.apps/web"]
        assert names("widgets", "-A") == ["widget.example.com/w"]
        assert names("nodes") == ["node/w1", "node/w2"]
        assert "No resources found" in run("get", "ingress", "-A").stderr
        one = json.loads(run("get", "pod", "web-1", "-n", "shop", "-o", "json").stdout)
        assert (one["kind"], one["apiVersion"], one["spec"]["nodeName"]) == ("Pod", "v1", "w1")
        assert "v1.36.3" in run("version").stdout
        assert run("get", "--raw", "/readyz").stdout == "ok"
        assert "[+]etcd ok" in run("get", "--raw", "/readyz?verbose").stdout
        assert {request.headers["authorization"] for request in api.requests} == {"Bearer fake-token"}


def test_kubectl_follows_the_pages(kubectl: OnApi) -> None:
    with FakeAPI(OBJECTS, tls=True) as api:
        found = kubectl(api)("get", "pods", "-A", "--chunk-size=2", "-o", "name").stdout.split()
        pages = [request for request in api.requests if request.path == PODS]
    assert len(found) == 5
    assert [request.query["limit"] for request in pages] == ["2", "2", "2"]
    assert ["continue" in request.query for request in pages] == [False, True, True]


def test_kubectl_reads_logs(kubectl: OnApi) -> None:
    with FakeAPI(OBJECTS, tls=True, logs=LOGS) as api:
        run = kubectl(api)
        assert run("logs", "-n", "shop", "web-1").stdout == "one\ntwo\nthree\n"
        assert run("logs", "-n", "shop", "web-1", "--tail=1").stdout == "three\n"
        assert run("logs", "-n", "shop", "web-1", "--previous").stdout == "before\n"
        assert run("logs", "-n", "shop", "web-1", "--limit-bytes=5").stdout == "one\nt"
        assert run("logs", "-n", "shop", "web-1", "--timestamps").stdout.splitlines()[1].endswith("Z two")
        absent = run("logs", "-n", "shop", "web-2", "-p", check=False)
        assert 'previous terminated container "app" in pod "web-2" not found' in absent.stderr
        early = run("logs", "-n", "shop", "slow", check=False)
        assert 'container "app" in pod "slow" is waiting to start: ContainerCreating' in early.stderr


def test_kubectl_is_told_what_it_may_do(kubectl: OnApi) -> None:
    rules = [
        Rule(resources=["nodes"]),
        Rule(resources=["pods", "pods/log"], namespaces=["shop"]),
        Rule(groups=["apps"], resources=["deployments"], verbs=["get"]),
    ]
    with FakeAPI(OBJECTS, tls=True, rbac=rules, users={"t": "x"}) as api:
        run = kubectl(api)
        assert run("auth", "can-i", "list", "pods", "-n", "shop").stdout == "yes\n"
        assert run("auth", "can-i", "list", "pods", "-A", check=False).stdout == "no\n"
        assert run("auth", "can-i", "get", "pods/log", "-n", "shop").stdout == "yes\n"
        assert "nodes" in run("auth", "can-i", "--list", "-n", "shop").stdout
        assert "deployments.apps" in run("auth", "can-i", "--list").stdout
        assert run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").stdout == "x"
        refused = run("get", "pods", "-A", check=False)
        assert refused.stderr.endswith(
            'Error from server (Forbidden): pods is forbidden: User "x" cannot list resource "pods" in API group "" '
            "at the cluster scope\n"
        )
        assert len(run("get", "pods", "-n", "shop", "-o", "name").stdout.split()) == 4


def test_kubectl_knows_a_client_certificate(kubectl: OnApi) -> None:
    with FakeAPI(OBJECTS, tls=True, users={}) as api:
        run = kubectl(api, certificate_for="alice")
        assert run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").stdout == "alice"
        assert run("get", "pods", "-A", "-o", "name").stdout


def test_kubectl_understands_the_errors(kubectl: OnApi) -> None:
    with FakeAPI(OBJECTS, tls=True) as api:
        run = kubectl(api)

        def error(*arguments: str) -> str:
            done = run(*arguments, check=False)
            assert done.returncode != 0
            return done.stderr

        assert 'Error from server (NotFound): pods "nope" not found' in error("get", "pod", "nope", "-n", "shop")
        assert 'deployments.apps "nope" not found' in error("get", "deploy", "nope", "-n", "shop")
        assert "the server doesn't have a resource type" in error("get", "gadgets")
        assert "Error from server (BadRequest)" in error("get", "pods", "-A", "--field-selector", "foo=bar")
        assert "could not find the requested resource" in error("get", "--raw", "/apis/nope.example/v1")
        assert "does not allow this method" in error("delete", "pod", "web-1", "-n", "shop", "--wait=false")
        api.fault(PODS, Fault.status(410), continued=True)
        assert "too old to display a consistent list" in error("get", "pods", "-A", "--chunk-size=2")
        api.heal()
        api.fault(PODS, Fault.status(401))
        assert "must be logged in" in error("get", "pods", "-A")


# ---- lists


def test_a_list_has_the_form_of_the_real_one(api: FakeAPI) -> None:
    reply = ask(api, PODS)
    whole = reply.json
    assert (whole["kind"], whole["apiVersion"]) == ("PodList", "v1")
    assert whole["metadata"] == {"resourceVersion": whole["metadata"]["resourceVersion"]}
    assert reply.names == ["dns-1", "mysql", "slow", "web-1", "web-2"]
    assert not any({"kind", "apiVersion"} & set(item) for item in whole["items"])
    assert ask(api, "/api/v1/namespaces/shop/pods").names == ["mysql", "slow", "web-1", "web-2"]
    assert ask(api, "/api/v1/namespaces/nope/pods").json["items"] == []
    empty = ask(api, "/apis/batch/v1/namespaces/shop/cronjobs").json
    assert (empty["kind"], empty["apiVersion"], empty["items"]) == ("CronJobList", "batch/v1", [])


def test_long_answers_are_chunked_and_short_ones_counted() -> None:
    with FakeAPI({PODS: [pod(f"p{number}") for number in range(100)]}) as api:
        long, short = ask(api, PODS), ask(api, "/api/v1/configmaps")
    assert len(long.names) == 100
    assert (long.headers["Transfer-Encoding"], long.headers["Content-Length"]) == ("chunked", None)
    assert short.headers["Content-Length"] == str(len(short.body))


def test_pages_carry_a_token_and_the_rest_of_the_count(api: FakeAPI) -> None:
    first = ask(api, PODS, limit="2").json["metadata"]
    assert first["remainingItemCount"] == 3
    second = ask(api, PODS, limit="2", **{"continue": first["continue"]})
    assert second.names == ["slow", "web-1"]
    last = ask(api, PODS, limit="2", **{"continue": second.json["metadata"]["continue"]})
    assert last.names == ["web-2"]
    assert last.json["metadata"] == {"resourceVersion": first["resourceVersion"]}
    selected = ask(api, PODS, limit="1", labelSelector="tier").json["metadata"]
    assert "continue" in selected
    assert "remainingItemCount" not in selected
    assert len(ask(api, PODS, limit="2", resourceVersion="0").names) == 5
    inside = ask(api, "/api/v1/namespaces/shop/pods", limit="3")
    rest = ask(api, "/api/v1/namespaces/shop/pods", **{"continue": inside.json["metadata"]["continue"]})
    assert inside.names + rest.names == ["mysql", "slow", "web-1", "web-2"]


def test_pages_show_the_state_of_the_first_until_it_is_compacted(api: FakeAPI) -> None:
    token = ask(api, PODS, limit="2").json["metadata"]["continue"]
    api.set(PODS, [pod("zzz")])
    assert ask(api, PODS).names == ["zzz"]
    assert ask(api, PODS, **{"continue": token}).names == ["slow", "web-1", "web-2"]
    api.compact()
    gone = ask(api, PODS, **{"continue": token})
    assert (gone.status, gone.json["reason"]) == (410, "Expired")
    assert ask(api, PODS, **{"continue": gone.json["metadata"]["continue"]}).names == ["zzz"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=web", "web-1 web-2"),
        ("app==web,tier=front", "web-1 web-2"),
        ("app!=web", "dns-1 mysql slow"),
        ("app", "dns-1 mysql web-1 web-2"),
        ("!app", "slow"),
        ("app in (dns, mysql)", "dns-1 mysql"),
        ("app notin (web,dns)", "mysql slow"),
        ("tier,app notin (dns)", "web-1 web-2"),
        ("app=", ""),
        ("", "dns-1 mysql slow web-1 web-2"),
    ],
)
def test_label_selectors(api: FakeAPI, selector: str, names: str) -> None:
    assert ask(api, PODS, labelSelector=selector).names == names.split()


@pytest.mark.parametrize(
    ("path", "selector", "names"),
    [
        (PODS, "metadata.name=mysql", "mysql"),
        (PODS, "metadata.namespace=kube-system", "dns-1"),
        (PODS, "metadata.namespace!=kube-system,spec.nodeName=w1", "mysql slow web-1"),
        (PODS, "status.phase=Pending", "slow"),
        ("/api/v1/events", "involvedObject.kind=Pod,involvedObject.name=web-1", "e1"),
        ("/api/v1/events", "source=kubelet,type!=Normal", "e1 e2"),
        ("/api/v1/nodes", "spec.unschedulable=true", "w2"),
        ("/api/v1/nodes", "spec.unschedulable=false", "w1"),
    ],
)
def test_field_selectors(api: FakeAPI, path: str, selector: str, names: str) -> None:
    assert ask(api, path, fieldSelector=selector).names == names.split()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"labelSelector": "a===b"}, "unable to parse requirement"),
        ({"labelSelector": "a in b"}, "unable to parse requirement"),
        ({"fieldSelector": "foo=bar"}, "field label not supported: foo"),
        ({"limit": "abc"}, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ({"continue": "xx"}, "invalid continue token"),
    ],
)
def test_a_bad_question_gets_a_400(api: FakeAPI, query: dict[str, Any], message: str) -> None:
    reply = ask(api, PODS, **query)
    assert (reply.status, reply.json["reason"]) == (400, "BadRequest")
    assert message in reply.json["message"]


def test_metadata_alone_leaves_the_data_of_a_secret_behind(api: FakeAPI) -> None:
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    reply = ask(api, "/api/v1/secrets", headers=accept)
    assert reply.json["kind"] == "PartialObjectMetadataList"
    assert reply.json["items"][0]["kind"] == "PartialObjectMetadata"
    assert b"czNjcjN0" not in reply.body
    assert ask(api, "/api/v1/secrets", headers={"Accept": "text/html"}).status == 406


# ---- everything else of a healthy server


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/apis/apps/v2/deployments", "application/json"),
        ("/api/v1/foos", "application/json"),
        ("/api/v1/pods/web-1", "application/json"),
        ("/apis/nope.example/v1", "text/plain; charset=utf-8"),
        ("/apis/nope.example/v1/things", "text/plain; charset=utf-8"),
        ("/nope", "text/plain; charset=utf-8"),
    ],
)
def test_an_unknown_path_is_not_found(api: FakeAPI, path: str, kind: str) -> None:
    reply = ask(api, path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, kind)
    if kind == "application/json":
        assert reply.json["message"] == "the server could not find the requested resource"
    else:
        assert reply.body == b"404 page not found\n"


def test_discovery_lists_what_there_is() -> None:
    with FakeAPI(OBJECTS, absent=["autoscaling/v2", "/apis/policy/v1/poddisruptionbudgets"]) as api:
        groups = {group["name"]: group for group in ask(api, "/apis").json["groups"]}
        assert groups["autoscaling"]["preferredVersion"]["version"] == "v1"
        assert "policy" not in groups
        assert "example.com" in groups
        assert ask(api, "/api").json["versions"] == ["v1"]
        core = {resource["name"]: resource for resource in ask(api, "/api/v1").json["resources"]}
        assert core["pods"]["shortNames"] == ["po"]
        assert core["pods/log"]["verbs"] == ["get"]
        assert ask(api, "/apis/apps").json["kind"] == "APIGroup"
        assert ask(api, "/apis/autoscaling/v2").status == 404


def test_health_names_the_check_that_failed() -> None:
    with FakeAPI(unhealthy=["etcd"]) as api:
        reply = ask(api, "/readyz")
        assert reply.status == 500
        assert reply.body.splitlines()[2] == b"[-]etcd failed: reason withheld"
        assert reply.body.endswith(b"readyz check failed\n")
        assert ask(api, "/readyz", exclude="etcd").body == b"ok"
        assert ask(api, "/livez/ping").body == b"ok"
        api.unhealthy.clear()
        assert ask(api, "/livez", verbose="").body.endswith(b"livez check passed\n")


def test_the_clock_of_the_server_can_be_wrong(api: FakeAPI) -> None:
    api.date = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert ask(api, "/version").headers["Date"] == "Thu, 02 Jan 2031 03:04:05 GMT"
    api.date = timedelta(hours=-1)
    off = datetime.now(UTC) - parsedate_to_datetime(ask(api, "/version").headers["Date"])
    assert timedelta(minutes=59) < off < timedelta(minutes=61)


def test_raw_answers_are_taken_as_they_are() -> None:
    raw: dict[str, Raw] = {
        "/metrics": "up 1\n",
        "/api/v1/nodes/w1/proxy/configz": {"kubeletconfig": {}},
        "/readyz?verbose": Answer.text("no\n", 500),
    }
    with FakeAPI(raw=raw) as api:
        assert ask(api, "/metrics").body == b"up 1\n"
        assert ask(api, "/api/v1/nodes/w1/proxy/configz").json == {"kubeletconfig": {}}
        assert ask(api, "/readyz", verbose="").status == 500
        assert ask(api, "/readyz").status == 200


def test_the_log_of_a_pod_with_two_containers_needs_a_name() -> None:
    both = pod("two")
    both["spec"]["containers"].append({"name": "side"})
    with FakeAPI({PODS: [both, waiting("pull", "ImagePullBackOff")]}) as api:

        def message(name: str, **query: Any) -> str:
            reply = ask(api, f"/api/v1/namespaces/shop/pods/{name}/log", **query)
            assert reply.status >= 400
            return str(reply.json["message"])

        assert message("two") == "a container name must be specified for pod two, choose one of: [app side]"
        assert message("two", container="x") == "container x is not valid for pod two"
        assert message("pull").endswith("is waiting to start: trying and failing to pull image")
        assert message("nope") == 'pods "nope" not found'
        assert message("two", container="app", tailLines="-2").endswith("must be greater than or equal to 0")
        assert ask(api, "/api/v1/namespaces/shop/pods/two/log", container="app").body == b""


def test_refusals_are_worded_as_the_real_ones() -> None:
    with FakeAPI(OBJECTS, rbac=lambda access: False) as api:

        def message(path: str) -> str:
            reply = ask(api, path, headers={"Impersonate-User": "x"})
            assert (reply.status, reply.json["reason"]) == (403, "Forbidden")
            return str(reply.json["message"])

        assert message("/api/v1/namespaces/default/pods/foo/log") == (
            'pods "foo" is forbidden: User "x" cannot get resource "pods/log" in API group "" '
            'in the namespace "default"'
        )
        assert message("/apis/foo.example/v1/bars") == (
            'bars.foo.example is forbidden: User "x" cannot list resource "bars" in API group "foo.example" '
            "at the cluster scope"
        )
        assert message("/api/v1/namespaces/default") == (
            'namespaces "default" is forbidden: User "x" cannot get resource "namespaces" in API group "" '
            'in the namespace "default"'
        )
        assert message("/metrics") == 'forbidden: User "x" cannot get path "/metrics"'
        assert ask(api, "/readyz").status == ask(api, "/apis").status == 200


def test_self_reviews_follow_a_function() -> None:
    def only_pods(access: Access) -> bool:
        return access.resource == "pods" and access.verb == "list" and access.namespace == "shop"

    with FakeAPI(rbac=only_pods) as api:

        def review(kind: str, group: str, spec: object) -> Any:
            body = {"kind": kind, "apiVersion": f"{group}/v1", "spec": spec}
            reply = ask(api, f"/apis/{group}/v1/{kind.lower()}s", method="POST", body=body)
            assert reply.status == 201
            return reply.json["status"]

        wanted = {"verb": "list", "resource": "pods", "namespace": "shop"}
        group = "authorization.k8s.io"
        assert review("SelfSubjectAccessReview", group, {"resourceAttributes": wanted}) == {"allowed": True}
        wanted["namespace"] = ""
        assert review("SelfSubjectAccessReview", group, {"resourceAttributes": wanted}) == {"allowed": False}
        rules = review("SelfSubjectRulesReview", group, {"namespace": "shop"})
        assert rules["resourceRules"][0] == {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}
        assert rules["incomplete"] is False
        user = review("SelfSubjectReview", "authentication.k8s.io", {})["userInfo"]
        assert user["username"] == "kubernetes-admin"


def test_a_credential_is_checked_where_users_are_given() -> None:
    with FakeAPI(OBJECTS, users={"right": "alice"}) as api:
        assert ask(api, PODS, headers={"Authorization": "Bearer right"}).status == 200
        wrong = ask(api, PODS, headers={"Authorization": "Bearer wrong"})
        assert (wrong.status, wrong.json["message"]) == (401, "Unauthorized")
        nobody = ask(api, PODS)
        assert nobody.status == 403
        assert 'User "system:anonymous"' in nobody.json["message"]
        assert ask(api, "/readyz").status == 200


def test_a_client_certificate_names_the_user(tmp_path: Path) -> None:
    with FakeAPI(tls=True, rbac=[]) as api:
        reply = ask(api, PODS, user="alice", folder=tmp_path)
        assert 'User "alice"' in reply.json["message"]


def test_the_certificate_can_be_wrong() -> None:
    with FakeAPI(tls=TLS(names=["10.0.0.1"])) as api, pytest.raises(ssl.SSLCertVerificationError, match="IP address"):
        ask(api, PODS)
    past = datetime.now(UTC) - timedelta(days=1)
    expired = TLS(not_before=past - timedelta(days=1), not_after=past)
    with FakeAPI(tls=expired) as api, pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        ask(api, PODS)


def test_nothing_can_be_changed(api: FakeAPI) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        reply = ask(api, "/api/v1/namespaces/shop/pods/web-1", method=method, body={})
        assert (reply.status, reply.json["reason"]) == (405, "MethodNotAllowed")
    assert [request.method for request in api.requests] == ["POST", "PUT", "PATCH", "DELETE"]


def test_requests_are_noted_and_a_connection_is_kept(api: FakeAPI) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
    for path in (PODS, "/api/v1/nodes?limit=5&labelSelector=a%3Db", "/nope"):
        connection.request("GET", path, headers={"Authorization": "Bearer t"})
        connection.getresponse().read()
    connection.close()
    assert api.connections == 1
    assert [request.path for request in api.requests] == [PODS, "/api/v1/nodes", "/nope"]
    assert api.requests[1].query == {"limit": "5", "labelSelector": "a=b"}
    assert {request.headers["authorization"] for request in api.requests} == {"Bearer t"}


def test_a_long_answer_is_compressed_only_when_asked() -> None:
    with FakeAPI({PODS: [pod(f"p{number}") for number in range(600)]}) as api:
        plain = ask(api, PODS)
        assert plain.headers["Content-Encoding"] is None
        assert len(plain.body) > GZIP_ABOVE
        packed = ask(api, PODS, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body


# ---- faults


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (410, "Expired"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ],
)
def test_a_status_comes_with_its_reason(api: FakeAPI, code: int, reason: str) -> None:
    api.fault(PODS, Fault.status(code))
    reply = ask(api, PODS)
    assert reply.status == reply.json["code"] == code
    assert (reply.json["kind"], reply.json["status"], reply.json["reason"]) == ("Status", "Failure", reason)
    assert ask(api, "/api/v1/nodes").status == 200


def test_too_many_requests_pass_after_a_while(api: FakeAPI) -> None:
    api.fault(PODS, Fault.status(429, retry_after=7), first=2)
    replies = [ask(api, PODS) for _ in range(3)]
    assert [reply.status for reply in replies] == [429, 429, 200]
    assert replies[0].headers["Retry-After"] == "7"
    assert replies[0].json["details"]["retryAfterSeconds"] == 7


def test_a_page_that_expired_can_be_continued_inconsistently(api: FakeAPI) -> None:
    api.fault(PODS, Fault.status(410), continued=True, first=1)
    token = ask(api, PODS, limit="2").json["metadata"]["continue"]
    gone = ask(api, PODS, limit="2", **{"continue": token})
    assert (gone.status, gone.json["reason"]) == (410, "Expired")
    fresh = gone.json["metadata"]["continue"]
    assert fresh != token
    assert ask(api, PODS, **{"continue": fresh}).names == ["slow", "web-1", "web-2"]


def test_each_fault_counts_its_own_requests(api: FakeAPI) -> None:
    api.fault(PODS, Fault.status(500), nth=1)
    api.fault(PODS, Fault.status(503), nth=2)
    api.fault(PODS, Fault.status(504), nth=3, method="GET")
    assert [ask(api, PODS).status for _ in range(4)] == [500, 503, 504, 200]
    api.fault("/", Fault.status(500))
    assert ask(api, "/version").status == 500
    api.heal()
    assert ask(api, "/version").status == 200


def test_bodies_that_are_not_what_they_should_be(api: FakeAPI) -> None:
    good = ask(api, PODS).body
    api.fault(PODS, Fault.html(), nth=1)
    api.fault(PODS, Fault.not_json(), nth=2)
    api.fault(PODS, Fault.truncated_json(), nth=3)
    api.fault(PODS, Fault.content_type("text/plain"), nth=4)
    api.fault(PODS, Fault.gzip(), nth=5)
    api.fault(PODS, Fault.redirect("https://elsewhere.test/"), nth=6)
    api.fault(PODS, Fault.edit_json(lambda value: value | {"items": None}), nth=7)
    html, bad, cut, plain, packed, moved, edited = [ask(api, PODS) for _ in range(7)]
    assert (html.status, html.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert bad.headers["Content-Type"] == "application/json"
    for reply in (html, bad, cut):
        with pytest.raises(ValueError, match=r".+"):
            json.loads(reply.body)
    assert cut.body == good[: len(good) // 2]
    assert (plain.headers["Content-Type"], plain.body) == ("text/plain", good)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == good
    assert (moved.status, moved.headers["Location"]) == (302, "https://elsewhere.test/")
    assert edited.json["items"] is None


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.short_body(), http.client.IncompleteRead),
        (Fault.cut_chunk(), http.client.IncompleteRead),
        (Fault.reset(), ConnectionResetError),
        (Fault.reset(after=100), (ConnectionResetError, http.client.IncompleteRead)),  # the latter over TLS
        (Fault.close(), http.client.RemoteDisconnected),
        (Fault.silent(), TimeoutError),
        (Fault.slow(30), TimeoutError),
    ],
    ids=repr,
)
def test_connections_that_break(tls: bool, fault: Fault, error: type[Exception] | tuple[type[Exception], ...]) -> None:
    with FakeAPI(OBJECTS, tls=tls) as api:
        api.fault(PODS, fault)
        with pytest.raises(error):
            ask(api, PODS, timeout=0.3)
        assert ask(api, "/version").status == 200


def test_a_slow_answer_comes_after_all(api: FakeAPI) -> None:
    api.fault(PODS, Fault.slow(0.05, then=Fault.status(503)))
    start = time.monotonic()
    assert ask(api, PODS).status == 503
    assert time.monotonic() - start >= 0.05


def test_a_body_that_dribbles_outlives_a_timeout_for_each_read(api: FakeAPI) -> None:
    good = ask(api, "/version").body
    api.fault("/version", Fault.dribble(0.001))
    assert ask(api, "/version", timeout=0.2).body == good
    assert len(good) * 0.001 > 0.2


@pytest.mark.parametrize("what", ["whitespace", "items"])
def test_a_body_that_never_ends(api: FakeAPI, what: Any) -> None:
    api.fault(PODS, Fault.endless(what))
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
    connection.request("GET", PODS)
    response = connection.getresponse()
    assert len(response.read(200_000)) == 200_000
    response.close()
    connection.close()


# ---- the end


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_closing_is_fast_and_leaves_no_thread(tls: bool) -> None:
    before = set(threading.enumerate())
    clients: list[socket.socket] = []
    with FakeAPI(OBJECTS, tls=tls) as api:
        api.fault(PODS, Fault.endless())
        api.fault("/version", Fault.silent())
        for path in (PODS, "/version", "/readyz"):
            client = socket.create_connection(("127.0.0.1", api.port), timeout=5)
            if tls:
                client = trusting(api, None, None).wrap_socket(client, server_hostname="127.0.0.1")
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            clients.append(client)
        clients.append(socket.create_connection(("127.0.0.1", api.port), timeout=5))  # says nothing at all
        while len(api.requests) < 3 or api.connections < 4:
            time.sleep(0.005)
        start = time.monotonic()
    assert time.monotonic() - start < 1
    assert set(threading.enumerate()) <= before
    for client in clients:
        client.close()


def test_a_bug_in_a_fault_is_not_swallowed() -> None:
    def broken(exchange: object) -> None:
        raise RuntimeError("a bug in the test")

    def run() -> None:
        with FakeAPI() as api:
            api.fault("/", Fault(broken))
            with pytest.raises(http.client.RemoteDisconnected):
                ask(api, "/version")

    with pytest.raises(RuntimeError, match="a bug in the test"):
        run()


def test_a_client_of_http_1_0_gets_no_chunks(api: FakeAPI) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as client:
        client.sendall(f"GET {PODS} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"Transfer-Encoding" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["kind"] == "PodList"
