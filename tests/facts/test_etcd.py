"""Facts of etcd on its node: log lines of 3.4 and 3.6, ``find`` and etcdctl 3.6.10 as they print."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.collect.batch import refuse_writes
from kdiag.facts.base import NodeCommand
from kdiag.facts.etcd import EtcdAnswers, EtcdData, EtcdLogs
from kdiag.facts.hosts import Answer

LOG = "/var/log/pods/kube-system_etcd-cp1_d48f73cea7aa7990dd205a4d8901345d/etcd/2.log"
VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda x: (
        st.lists(x) | st.dictionaries(st.sampled_from(["header", "errors", "peerURLs", "ID", "alarm", "level"]), x)
    ),
    max_leaves=6,
)
LISTED = Answer("pod-logs", "", f"1795343962.7446414910 377138 {LOG}\n")
STATUS = (
    '[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":16844499610343741182,"member_id":'
    '8828283256189920098,"revision":43169,"raft_term":2},"version":"3.6.10","dbSize":23678976,"leader":'
    '8828283256189920098,"raftIndex":45810,"raftTerm":2,"dbSizeInUse":4513792,"dbSizeQuota":2147483648,'
    '"errors":["memberID:8828283256189920098 alarm:NOSPACE "]}}]\n'
)
DEAD = (
    '{"level":"warn","ts":"2026-11-22T10:46:10Z","logger":"etcd-client","msg":"retrying of unary invoker failed",'
    '"error":"rpc error: code = DeadlineExceeded desc = connection refused"}\n'
    "Failed to get the status of endpoint https://127.0.0.1:2379 (context deadline exceeded)\nnull\n"
)


def test_runs_only_what_may_be_run() -> None:
    for fact in (EtcdLogs, EtcdData, EtcdAnswers):
        for source in (*fact.sources, *fact.follow("cp1", (LISTED,))):
            if isinstance(source, NodeCommand):
                refuse_writes(source.argv)


def test_reads_both_forms_of_the_log() -> None:
    text = (
        '2026-11-22T08:57:10.77Z stderr F {"level":"fatal","ts":"x","msg":"discovery failed","error":"no such file"}\n'
        "2026-11-22T08:57:11.77Z stderr F 2021-01-12 11:20:51.123456 C | etcdmain: cannot listen\n"
        "2026-11-22T08:57:12.77Z stderr F panic: runtime error\n"
        "2026-11-22T08:57:13.77Z stderr F {broken\n"
    )
    (log,) = EtcdLogs.parse("cp1", (LISTED, Answer("etcd-log", LOG, text)))
    assert log.attempt == 2
    assert [x.level for x in log.lines] == ["fatal", "fatal", "panic", ""]
    assert log.lines[0].text == "discovery failed: no such file"
    assert log.lines[1].message == "etcdmain: cannot listen"
    assert log.fatal is log.lines[2]


def test_asks_for_more_lines_of_the_present_log_than_of_the_one_before() -> None:
    before = LOG.replace("2.log", "1.log")
    listed = Answer("pod-logs", "", f"{LISTED.text}1795343000.0000000000 100 {before}\n")
    assert [(c.argv[2], c.name) for c in EtcdLogs.follow("cp1", (listed,))] == [("400", LOG), ("120", before)]


def test_reads_what_etcdctl_answers() -> None:
    answer = EtcdAnswers.parse(
        "cp1",
        (
            Answer("etcdctl-status", "", STATUS),
            Answer("etcdctl-alarms", "", '{"header":{},"alarms":[{"memberID":1,"alarm":1}]}\n'),
        ),
    )
    assert answer.answered
    assert answer.leader == answer.member == "7a845cd8e5baa362"
    assert answer.alarms == ("NOSPACE",)
    assert "NOSPACE" in answer.errors[0]


def test_keeps_the_reason_where_etcd_does_not_answer() -> None:
    answer = EtcdAnswers.parse("cp1", (Answer("etcdctl-status", "", DEAD),))
    assert not answer.answered
    assert "connection refused" in answer.error


@settings(max_examples=60)
@given(st.text(max_size=300), VALUES)
def test_survives_any_text(text: str, value: object) -> None:
    import json

    for body in (
        text,
        json.dumps([{"Status": value}]),
        json.dumps(value),
        json.dumps([{"Status": value}]),
        json.dumps({"members": value, "alarms": value}),
    ):
        EtcdAnswers.parse(
            "cp1", tuple(Answer(k, "", body) for k in ("etcdctl-status", "etcdctl-members", "etcdctl-alarms"))
        )
        EtcdLogs.parse("cp1", (LISTED, Answer("etcd-log", LOG, f"2026-11-22T08:57:10.77Z stderr F {body}")))
        EtcdData.parse("cp1", (Answer("etcd-data", "/var/lib/etcd", body), Answer("etcd-databases", "", body)))
