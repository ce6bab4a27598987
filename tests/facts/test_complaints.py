"""Which lines of a log still count: of what fails, its end; of what runs, what goes on."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec

from kdiag.engine.intake import Intake, known
from kdiag.facts import Complaint, Complaints
from kdiag.model.observation import Observation

TAKEN = "2026-11-22T10:00:00Z"
REFUSED = "dial tcp 10.96.0.7:3306: connect: connection refused"
DENIED = "Access denied for user 'root'@'10.0.0.1'"


def complaints(
    lines: list[tuple[str, str]], *, previous: bool = False, since: str = "", **status: Any
) -> tuple[Complaint, ...]:
    return facts(lines, previous=previous, since=since, **status).items


def facts(lines: list[tuple[str, str]], *, previous: bool = False, since: str = "", **status: Any) -> Complaints:
    container = {
        "name": "app",
        "ready": True,
        "state": {"running": {"startedAt": "2026-11-22T09:00:00Z"}},
        "restartCount": 0,
        **status,
    }
    begun = container["state"].get("running", {}).get("startedAt", "2026-11-22T09:00:00Z")
    ready = {"type": "Ready", "status": str(container["ready"])}
    turned = {"type": "ContainersReady", "status": str(container["ready"]), "lastTransitionTime": since or begun}
    pod = {
        "metadata": {"name": "web-1", "namespace": "shop", "creationTimestamp": begun},
        "spec": {"nodeName": "w1", "containers": [{"name": "app", "image": "x"}]},
        "status": {
            "phase": "Running",
            "startTime": begun,
            "conditions": [ready, turned],
            "containerStatuses": [container],
        },
    }
    intake = Intake(known())
    intake.feed(Observation("api", "run", body=json.dumps({"taken": TAKEN}).encode()))
    for key, items in {"pods": [pod], "replicasets": [], "jobs": []}.items():
        intake.feed(Observation("api", key, body=json.dumps({"items": items}).encode()))
    text = "".join(f"2026-11-22T{when}Z {line}\n" for when, line in lines)
    name = f"shop/web-1/app/{'previous' if previous else 'current'}"
    intake.feed(Observation("api", "log", name=name, body=text.encode()))
    made = intake.finish().get(Complaints)
    assert made is not None
    return made


UNRESOLVED = "dial tcp: lookup mysql on 10.96.0.10:53: no such host"
CRASHED: dict[str, Any] = {
    "ready": False,
    "restartCount": 4,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {
        "terminated": {"exitCode": 1, "startedAt": "2026-11-22T09:58:50Z", "finishedAt": "2026-11-22T09:59:00Z"}
    },
}


def test_a_recent_line_of_a_container_that_runs_counts() -> None:
    (one,) = complaints([("09:59:00", DENIED), ("09:59:30", DENIED)])
    assert (one.count, one.failing, one.span) == (2, False, 30.0)
    assert one.since.startswith("2026-11-22T09:59:00")


def test_an_old_line_does_not() -> None:
    assert complaints([("09:30:00", DENIED), ("09:59:00", "GET / 200")]) == ()


def test_what_success_followed_does_not() -> None:
    assert complaints([("09:58:00", DENIED), ("09:58:30", "connected to mysql")]) == ()


def test_what_was_said_after_success_does() -> None:
    assert len(complaints([("09:58:00", "connected to mysql"), ("09:58:30", DENIED)])) == 1


def test_an_ordinary_start_does_not_count_and_a_refused_login_at_the_start_does() -> None:
    young = {"running": {"startedAt": "2026-11-22T09:55:00Z"}}
    assert complaints([("09:55:05", REFUSED), ("09:55:10", REFUSED)], state=young) == ()
    assert len(complaints([("09:55:05", DENIED)], state=young)) == 1


def test_a_container_that_has_only_just_started_may_still_wait() -> None:
    young = {"running": {"startedAt": "2026-11-22T09:59:40Z"}}
    assert complaints([("09:59:50", REFUSED)], state=young, ready=False) == ()


def test_the_end_of_a_run_that_failed_counts_whatever_its_age() -> None:
    (one,) = complaints([("08:00:00", REFUSED), ("08:00:01", "exiting")], previous=True, **CRASHED)
    assert one.failing
    assert "--previous" in one.command


def test_the_run_before_does_not_count_when_this_one_is_well() -> None:
    ended = {"terminated": {"exitCode": 1, "startedAt": "2026-11-22T09:50:00Z", "finishedAt": "2026-11-22T09:50:05Z"}}
    well = {"running": {"startedAt": "2026-11-22T09:55:00Z"}}
    assert complaints([("09:50:04", REFUSED)], previous=True, restartCount=3, state=well, lastState=ended) == ()


def test_it_counts_between_two_crashes_of_a_row() -> None:
    ended = {"terminated": {"exitCode": 1, "startedAt": "2026-11-22T09:58:00Z", "finishedAt": "2026-11-22T09:58:30Z"}}
    short = {"running": {"startedAt": "2026-11-22T09:59:50Z"}}
    assert len(complaints([("09:58:29", REFUSED)], previous=True, restartCount=3, state=short, lastState=ended)) == 1


def test_a_log_that_its_node_cannot_read_is_a_gap() -> None:
    intake = Intake(known())
    body = b"unable to retrieve container logs for containerd://2582b2dcc264"
    intake.feed(Observation("api", "log", name="shop/web-1/app/current", body=body))
    intake.feed(Observation("api", "log", name="shop/web-1/app/previous", body=body))
    from kdiag.facts import Logs

    logs = intake.finish().get(Logs)
    assert logs is not None
    assert [g.source for g in logs.gaps] == ["log of shop/web-1/app/current"]
    assert logs.items == ()


def test_a_name_that_did_not_resolve_is_kept_however_old_the_line_is() -> None:
    made = facts([("09:00:20", UNRESOLVED), ("09:00:30", UNRESOLVED)])
    assert made.items == ()
    ((one,),) = made.unresolved.values()
    assert (one.said.host, one.count) == ("mysql", 2)


def test_a_name_that_did_not_resolve_before_a_success_or_a_restart_is_over() -> None:
    assert not facts([("09:00:20", UNRESOLVED), ("09:00:40", "Connected to database")]).unresolved
    assert not facts([("09:00:20", UNRESOLVED)], previous=True).unresolved
    assert facts([("09:58:59", UNRESOLVED)], previous=True, **CRASHED).unresolved


def test_a_name_that_did_not_resolve_at_first_is_over_when_its_address_refuses() -> None:
    found = complaints(
        [
            ("09:59:00", "Can't connect to MySQL server on 'mysql:3306': dial tcp: lookup mysql: i/o timeout"),
            ("09:59:30", f"Can't connect to MySQL server on 'mysql:3306': {REFUSED}"),
        ],
        ready=False,
        restartCount=1,
    )
    assert [(c.said.topic.name, c.said.host) for c in found] == [("UNREACHABLE", "mysql")]


def test_a_name_that_did_not_resolve_after_its_address_refused_is_not() -> None:
    found = complaints(
        [
            ("09:59:00", f"Can't connect to MySQL server on 'mysql:3306': {REFUSED}"),
            ("09:59:30", "Can't connect to MySQL server on 'mysql:3306': dial tcp: lookup mysql: i/o timeout"),
        ],
        ready=False,
        restartCount=1,
    )
    assert {c.said.topic.name for c in found} == {"UNREACHABLE", "UNRESOLVED"}


def test_what_a_client_says_while_its_server_is_replaced_does_not_go_on() -> None:
    lines = [(f"09:59:{second:02}", UNRESOLVED) for second in range(0, 60, 5)]
    found = facts(lines)
    (one,) = found.items
    server = found.pods.items[0]
    assert one.when is not None
    assert one.goes_on(found.cluster)
    times = [one.when - timedelta(seconds=age) for age in (300, 5)]
    old, new = (msgspec.structs.replace(server, created=when, started=when) for when in times)
    assert one.goes_on_past([old], found.cluster)
    assert not one.goes_on_past([old, new], found.cluster)
    assert not one.replaced([])


def test_what_was_said_all_the_time_and_not_since_does_not_go_on() -> None:
    (often,) = complaints([(f"09:58:{second:02}", UNRESOLVED) for second in range(0, 60, 2)])
    assert (often.count, often.pause) == (30, 2.0)
    (steady,) = complaints(
        [(f"09:59:{second:02}", UNRESOLVED) for second in range(0, 30, 2)] + [("09:59:52", UNRESOLVED)]
    )
    rare = facts([("09:58:40", UNRESOLVED), ("09:59:00", UNRESOLVED), ("09:59:24", UNRESOLVED)])
    stopped = facts([(f"09:58:{second:02}", UNRESOLVED) for second in range(30, 60, 2)] + [("09:59:30", REFUSED)])
    assert steady.goes_on(rare.cluster)
    assert rare.items[0].goes_on(rare.cluster)  # 36 seconds of silence are nothing to who speaks every 24
    assert not often.goes_on(rare.cluster)
    assert not any(c.goes_on(stopped.cluster) for c in stopped.items)


def test_a_server_that_waited_long_for_a_node_counts_from_its_start() -> None:
    found = facts([(f"09:59:{second:02}", UNRESOLVED) for second in range(0, 60, 5)])
    (one,) = found.items
    assert one.when is not None
    made, begun = (one.when - timedelta(seconds=age) for age in (300, 5))
    assert not one.goes_on_past(
        [msgspec.structs.replace(found.pods.items[0], created=made, started=begun)], found.cluster
    )


def test_a_client_that_is_only_not_ready_has_not_crashed() -> None:
    (unready,) = complaints([("09:59:50", UNRESOLVED)], ready=False)
    (crashed,) = complaints([("09:58:59", UNRESOLVED)], previous=True, **CRASHED)
    assert not unready.crashed
    assert crashed.crashed


def test_what_a_log_agent_passes_on_is_not_its_own_complaint() -> None:
    full = "write /data/x: no space left on device"
    for line in (
        f'[0] kube.var.log.containers.shop-1_shop_web.log: [[17.1, {{}}], {{"stream"=>"stderr", "log"=>"{full}"}}]',
        f'{{"stream":"stderr","log":"{full}"}}',
        f'{{"kubernetes":{{"pod_name":"shop-1"}},"message":"{full}"}}',
        f'{{"reason":"Failed","involvedObject":{{"kind":"Pod"}},"message":"{full}"}}',
    ):
        assert complaints([("09:59:00", line), ("09:59:30", line)]) == (), line
    for line in (
        full,
        f'level=error path=/var/log/pods/shop_shop-1/web/0.log error="{full}"',
        f'{{"message":"{full}"}}',
    ):
        assert len(complaints([("09:59:00", line), ("09:59:30", line)])) == 1, line


def test_a_server_is_told_by_how_it_speaks() -> None:
    postgres = '2026-11-22 09:59:00.123 UTC [88] %sFATAL:  password authentication failed for user "shop"'
    for line in (
        postgres % "",
        postgres % "shop@shop ",
        "2026-11-22T09:59:00Z 8 [Note] [MY-010926] [Server] Access denied for user 'x'@'10.0.0.1' (using password: NO)",
        "2026-11-22 9:59:00 8 [Warning] Access denied for user 'x'@'10.0.0.1'",
    ):
        (one,) = complaints([("09:59:00", line)])
        assert one.by_server, line
    for line in (DENIED, 'FATAL:  password authentication failed for user "shop"', f"[ERROR] login: {DENIED}"):
        (one,) = complaints([("09:59:00", line)])
        assert not one.by_server, line


def test_what_was_said_once_at_the_start_may_be_over() -> None:
    cluster = facts([]).cluster
    (early,) = complaints([("09:51:00", DENIED)], state={"running": {"startedAt": "2026-11-22T09:50:30Z"}})
    assert early.at_start(cluster)
    assert early.passed(cluster)
    (late,) = complaints([("09:59:00", DENIED), ("09:59:30", DENIED)])
    assert not late.at_start(cluster)
    assert not late.passed(cluster)


def test_what_was_said_before_a_container_was_ready_again_is_over() -> None:
    lines = [("09:50:00", UNRESOLVED), ("09:58:30", DENIED), ("09:59:30", DENIED)]
    assert [c.said.text for c in complaints(lines, ready=False, since="2026-11-22T09:58:00Z")] == [DENIED]
    assert len(complaints(lines, ready=False)) == 2  # it has never been ready


def test_what_the_api_server_tells_of_a_webhook_is_no_complaint_of_who_asked() -> None:
    told = (
        'Error from server (InternalError): Internal error occurred: failed calling webhook "a.example.com": failed to '
        'call webhook: Post "https://w.op.svc:443/v?timeout=5s": tls: failed to verify certificate: x509: certificate '
        "signed by unknown authority"
    )
    assert not complaints([("09:59:30", told), ("09:59:40", told)])
    assert not complaints(
        [("09:59:40", told.replace("tls: failed", "dial tcp 10.96.0.7:443: connect: connection refused"))]
    )
