"""deploy/rbac.yaml gives what kdiag asks for, and nothing else; and kdiag asks for nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kdiag.collect.api import STORE_CHECK
from kdiag.engine.intake import known, sources
from kdiag.engine.library import checks
from kdiag.facts.base import ApiGet, ApiList, PodLog
from tests.cli.runner import healthy_api, kdiag, lost_service
from tests.fakeapi import Access, FakeAPI, Rule

ROOT = Path(__file__).parents[1]
DOCUMENTS = list(yaml.safe_load_all((ROOT / "deploy" / "rbac.yaml").read_text()))
REVIEWS = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}


def document(kind: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [d for d in DOCUMENTS if d["kind"] == kind]
    return found


def granted() -> tuple[set[tuple[str, str, str]], set[tuple[str, str]]]:
    """Each group, resource and verb, and each path, that the role gives."""
    resources, paths = set(), set()
    for rule in document("ClusterRole")["rules"]:
        for verb in rule["verbs"]:
            paths |= {(path, verb) for path in rule.get("nonResourceURLs", ())}
            resources |= {(g, r, verb) for g in rule.get("apiGroups", ()) for r in rule.get("resources", ())}
    return resources, paths


def asked() -> tuple[set[tuple[str, str]], set[str]]:
    """What kdiag asks for, by its own declarations."""
    checks()  # a fact that only a check names is known now
    resources, paths = set(), {STORE_CHECK}
    for source in sources(known()):
        match source:
            case ApiList():
                resources.add((source.group, source.resource))
            case ApiGet():
                paths.add(source.url.partition("?")[0])
            case PodLog():
                resources.add(("", "pods/log"))
    return resources, paths


def test_the_role_is_what_kdiag_asks_for() -> None:
    resources, paths = asked()
    given, given_paths = granted()
    lists = {(g, r, "list") for g, r in resources if r != "pods/log"}
    assert {x for x in given if x[2] == "list"} == lists
    assert {(g, r) for g, r, _ in given} == resources
    assert ("", "pods/log", "get") in given
    assert given_paths == {(path, "get") for path in paths}


def test_the_role_only_reads_and_never_secrets() -> None:
    given, paths = granted()
    assert {verb for *_, verb in given} | {verb for _, verb in paths} == {"get", "list"}
    names = {resource for _, resource, _ in given}
    assert not {"secrets", "nodes/proxy", "pods/exec", "pods/attach", "pods/portforward", "services/proxy"} & names
    assert "*" not in names | {group for group, *_ in given} | {path for path, _ in paths}


def test_the_binding_binds_the_account_to_the_role() -> None:
    binding, account = document("ClusterRoleBinding"), document("ServiceAccount")
    assert binding["roleRef"]["name"] == document("ClusterRole")["metadata"]["name"] == "kdiag-reader"
    (subject,) = binding["subjects"]
    meta = account["metadata"]
    assert (subject["kind"], subject["name"], subject["namespace"]) == (
        "ServiceAccount",
        meta["name"],
        meta["namespace"],
    )


def rules() -> list[Rule]:
    """The role as the fake API server takes it."""
    return [
        Rule(
            verbs=tuple(rule["verbs"]),
            groups=tuple(rule.get("apiGroups", ())),
            resources=tuple(rule.get("resources", ())),
            paths=tuple(rule.get("nonResourceURLs", ())),
        )
        for rule in document("ClusterRole")["rules"]
    ]


def accesses(api: FakeAPI) -> list[Access]:
    return [api.access(request) for request in api.requests]


def crashing_pod() -> dict[str, Any]:
    """A pod whose log kdiag wants to read."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-22T08:00:00Z"}}
    status = {"name": "app", "restartCount": 5, "ready": False, "state": state, "lastState": ended}
    return {
        "metadata": {"name": "crash", "namespace": "shop", "uid": "c", "creationTimestamp": "2026-11-22T07:00:00Z"},
        "spec": {"nodeName": "w1", "containers": [{"name": "app", "image": "x"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


@pytest.mark.parametrize("words", [("check",), ("check", "-n", "shop"), ("trace", "shop/db"), ("record", "out")])
def test_a_run_sends_gets_alone_and_none_that_the_role_does_not_give(tmp_path: Path, words: tuple[str, ...]) -> None:
    extra = lost_service()
    extra["/api/v1/pods"].append(crashing_pod())
    with healthy_api(extra, rbac=rules(), logs={("shop", "crash", "app", True): "no database\n"}) as api:
        done = kdiag(*words, "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
        asked_for = accesses(api)
    assert done.returncode in (0, 1), done.stderr
    assert {request.method for request in api.requests} == {"GET"}
    assert {a.verb for a in asked_for} <= {"get", "list"}
    refused = [a for a in asked_for if not api.allowed(a)]
    assert refused == []
    assert not {"secrets"} & {a.resource for a in asked_for}
    assert all(a.full_resource == "pods/log" for a in asked_for if a.subresource)
    if words == ("check",):
        assert any(a.full_resource == "pods/log" for a in asked_for)


def test_the_doctor_posts_self_reviews_alone(tmp_path: Path) -> None:
    with healthy_api(rbac=rules()) as api:
        done = kdiag("doctor", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
        asked_for = accesses(api)
    assert (done.returncode, done.stderr) == (0, "")
    posted = [a for a in asked_for if a.verb not in ("get", "list")]
    assert {a.resource for a in posted} <= REVIEWS
    assert {request.method for request in api.requests} == {"GET", "POST"}


def test_with_the_role_nothing_is_unknown(tmp_path: Path) -> None:
    with healthy_api(rbac=rules()) as api:
        done = kdiag("check", "--strict", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_cronjob_is_hardened() -> None:
    job = yaml.safe_load((ROOT / "deploy" / "cronjob.yaml").read_text())
    spec = job["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == document("ServiceAccount")["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert "volumes" not in pod
    from kdiag.cli.parser import parser

    parser().parse_args(container["command"][1:])  # its flags exist
