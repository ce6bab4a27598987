"""What programs complain of: the table against its own samples, and against lines that complain of nothing."""

from __future__ import annotations

import time

import pytest

from kdiag.facts.phrases import PHRASES, Phrase, Topic, said, says_connected


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda p: f"{p.topic.name}-{p.by}-{p.sample[:24]}")
def test_each_sample_is_understood_as_what_it_is(phrase: Phrase) -> None:
    found = said(phrase.sample)
    assert found is not None
    assert found.topic is phrase.topic
    assert phrase.search(phrase.sample)


@pytest.mark.parametrize(
    ("line", "topic", "host", "port"),
    [
        ("dial tcp: lookup mysql on 10.96.0.10:53: no such host", Topic.UNRESOLVED, "mysql", 0),
        # A line that says both means the name: an address was never reached.
        (
            "Can't connect to MySQL server on 'mysql:3306': dial tcp: lookup mysql: i/o timeout",
            Topic.UNRESOLVED,
            "mysql",
            0,
        ),
        (
            "dial tcp: lookup db on 10.96.0.10:53: read udp 10.1.1.7:5408->10.96.0.10:53: read: connection refused",
            Topic.UNRESOLVED,
            "db",
            0,
        ),
        (
            "dial tcp: lookup db on 10.96.0.10:53: dial udp 10.96.0.10:53: connect: network is unreachable",
            Topic.UNRESOLVED,
            "db",
            0,
        ),
        ("dial tcp 10.96.184.108:3307: i/o timeout", Topic.UNREACHABLE, "10.96.184.108", 3307),
        ("Error: connect ECONNREFUSED 10.96.3.4:27017", Topic.UNREACHABLE, "10.96.3.4", 27017),
        (
            "io.netty.channel.AbstractChannel$AnnotatedConnectException: Connection refused: redis/10.96.3.4:6379",
            Topic.UNREACHABLE,
            "redis",
            6379,
        ),
        ("java.net.UnknownHostException: Mysql.Shop.svc.", Topic.UNRESOLVED, "mysql.shop.svc", 0),
        ("wget: bad address 'mydb:5432'", Topic.UNRESOLVED, "mydb", 5432),
        ('connection to server at "pg" (10.96.3.4), port 99999 failed: Connection refused', Topic.UNREACHABLE, "pg", 0),
    ],
)
def test_names_the_host_and_port(line: str, topic: Topic, host: str, port: int) -> None:
    found = said(line)
    assert found is not None
    assert (found.topic, found.host, found.port) == (topic, host, port)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "listening on :8080",
        'GET /healthz HTTP/1.1" 200 2',
        "login failed for user bob@example.com: wrong password",
        "Authentication failed for customer 4711",
        "I1122 controller.go:10] Successfully connected to mysql-service:3306",
        "reading configuration from /etc/app/config.yaml",
        "the access token is not set to expire",
        "role assigned: admin",
        "kubelet is running",
    ],
)
def test_ordinary_lines_complain_of_nothing(line: str) -> None:
    assert said(line) is None


def test_topics_narrow_what_is_looked_for() -> None:
    line = "Can't connect to MySQL server on 'mysql:3306': dial tcp: lookup mysql: i/o timeout"
    found = said(line, Topic.UNREACHABLE)
    assert found is not None
    assert found.topic is Topic.UNREACHABLE


def test_what_is_forbidden_is_told_apart_by_verb_and_resource() -> None:
    text = (
        'pods is forbidden: User "system:serviceaccount:a:b" cannot {} resource "pods" in API group ""'
        " at the cluster scope"
    )
    first, second = said(text.format("list")), said(text.format("watch"))
    assert first is not None
    assert second is not None
    assert first.word != second.word


@pytest.mark.parametrize(
    ("line", "well"),
    [
        ("successfully connected to mysql", True),
        ("Connection to redis established", True),
        ("not connected to mysql", False),
        ("disconnected to save power", False),
        ("cannot connect to mysql", False),
    ],
)
def test_success_is_told_from_failure(line: str, well: bool) -> None:
    assert says_connected(line) is well


@pytest.mark.parametrize(
    "line",
    [
        "a" * 2000,
        "a." * 1000,
        "lookup " * 280,
        '"https://a/' + "x" * 1900,
        "host='a', port=1)" * 110,
        "dial tcp 1:1 " * 150,
        "Exception " + " a" * 900 + ":",
        "missing env " * 160,
        "connect() failed (111: " + "u" * 1900,
        'FATAL database "' * 120,
        "is forbidden: User " + '\\"' * 900,
    ],
    ids=lambda line: line[:16],
)
def test_a_hostile_line_costs_no_more_than_a_long_one(line: str) -> None:
    start = time.perf_counter()
    said(line)
    says_connected(line)
    assert time.perf_counter() - start < 0.5
