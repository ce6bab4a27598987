"""The hosts that settings name: URLs, DSNs, lists, files and commands; and what they mean in the cluster."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kdiag.engine.intake import Facts, Intake, known
from kdiag.facts import Dependencies, hosts_in
from kdiag.facts.dependencies import hosts_in_file
from kdiag.model.observation import Observation
from kdiag.model.redact import RUN


@pytest.mark.parametrize(
    ("variable", "value", "hosts"),
    [
        ("DB_Host", "mysql-service", [("mysql-service", 0)]),
        ("PGHOST", "pg", [("pg", 0)]),
        ("dbHost", "pg", [("pg", 0)]),
        ("DB_HOSTNAME", "pg", [("pg", 0)]),
        ("REDIS_ADDR", "redis:6379", [("redis", 6379)]),
        ("DB_HOST", "mysql.shop.svc.cluster.local.", [("mysql.shop.svc.cluster.local", 0)]),
        ("KAFKA_BOOTSTRAP_SERVERS", "k0:9092,k1:9092", [("k0", 9092), ("k1", 9092)]),
        ("KAFKA_BROKERS", "PLAINTEXT://k0:9092,PLAINTEXT://k1:9092", [("k0", 9092), ("k1", 9092)]),
        ("SPRING_DATASOURCE_URL", "jdbc:mysql://mysql:3306/shop?useSSL=false", [("mysql", 3306)]),
        ("X", "jdbc:sqlserver://mssql:1433;databaseName=shop", [("mssql", 1433)]),
        ("X", "jdbc:oracle:thin:@ora:1521:XE", [("ora", 1521)]),
        ("X", "jdbc:oracle:thin:@//ora:1521/svc", [("ora", 1521)]),
        ("MONGO", "mongodb://u:p@m0:27017,m1:27017/db?replicaSet=rs0", [("m0", 27017), ("m1", 27017)]),
        ("MONGO", "mongodb+srv://cluster0.example.mongodb.net/db", []),
        ("DSN", "user:pw@tcp(mysql:3306)/shop", [("mysql", 3306)]),
        ("CS", "Server=tcp:mssql,1433;Database=shop", [("mssql", 1433)]),
        ("PG_DSN", "host=db port=5433 dbname=x", [("db", 5433)]),
        ("API_URL", "http://[::1]:80/", []),
        ("API_URL", "http://localhost:8080", []),
        ("DB_HOST", "10.0.0.1", []),
        ("DB_HOST", "$(OTHER)", []),
        ("HOSTNAME", "web-1", []),
        ("KC_HOSTNAME", "keycloak", []),
        ("POD_HOST", "web-1", []),
        ("LOG_LEVEL", "debug", []),
        ("ALLOWED_HOSTS", "shop", []),
        ("STORE", "sqlite:///var/db.sqlite", []),
        ("N_HOST", "12345", []),
    ],
)
def test_hosts_are_found_in_what_settings_hold(variable: str, value: str, hosts: list[tuple[str, int]]) -> None:
    assert list(hosts_in(variable, value)) == hosts


@pytest.mark.parametrize(
    ("name", "value", "host"),
    [
        ("DATABASE_URL", "postgres://u:p/a@s@db:5432/shop?sslmode=require&password=x", ("db", 5432)),
        ("REDIS_URL", "redis://:pw@redis:6379/0", ("redis", 6379)),
        ("APP_DSN", "root:pw@tcp(mysql:3306)/shop", ("mysql", 3306)),
        ("PG_DSN", "host=db port=5432 user=a password=hunter2", ("db", 5432)),
        ("DB_CONNECTION_STRING", "Server=mssql,1433;User Id=sa;Password=Hunter2;", ("mssql", 1433)),
    ],
)
def test_a_redacted_place_can_still_be_read(name: str, value: str, host: tuple[str, int]) -> None:
    safe = RUN.value(name, value)
    assert list(hosts_in(name, safe)) == [host]
    assert not any(secret in safe for secret in ("p/a@s", ":pw@", "root:", "hunter2", "Hunter2", "password=x"))
    assert RUN.value(name, safe) == safe


def test_files_name_hosts_in_urls_settings_and_upstreams() -> None:
    text = (
        "upstream backend {\n  server api-service:8080;\n  server 10.0.0.1;\n}\n"
        "server {\n  server_name shop;\n  proxy_pass http://backend;\n  proxy_pass http://users:3000/;\n}\n"
        "# http://commented\nspring.datasource.url=jdbc:mysql://mysql:3306/x\ndb.host: pg\n"
    )
    assert [(host, port) for _, host, port in hosts_in_file(text)] == [
        ("api-service", 8080),
        ("users", 3000),
        ("mysql", 3306),
        ("pg", 0),
    ]


@pytest.mark.parametrize(
    "value",
    ["a" * 60000, "a.b" * 20000, "://" * 20000, "http://" + "a," * 30000, "a@" * 30000, "host=" * 12000, "\n" * 60000],
    ids=lambda v: v[:8],
)
def test_huge_and_hostile_values_are_safe(value: str) -> None:
    start = time.perf_counter()
    assert list(hosts_in("DB_HOST", value)) == []
    list(hosts_in_file(value))
    assert time.perf_counter() - start < 1


def facts(env: list[dict[str, Any]], spec: dict[str, Any] | None = None, **lists: list[dict[str, Any]]) -> Facts:
    container = {"name": "app", "image": "x", "env": env, **(spec or {}).pop("container", {})}
    pod = {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {"containers": [container], **(spec or {})},
        "status": {"phase": "Running"},
    }
    names = [{"metadata": {"name": n}} for n in ("shop", "data", "mysql")]
    intake = Intake(known())
    for key, items in {
        "pods": [pod],
        "namespaces": names,
        "configmaps": [],
        "services": [],
        **lists,
    }.items():
        intake.feed(Observation("api", key, body=json.dumps({"items": items}).encode()))
    return intake.finish()


def service(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": "10.96.0.7", **spec}}


def dependencies(found: Facts) -> Dependencies:
    made = found.get(Dependencies)
    assert made is not None
    return made


def test_a_reference_to_another_variable_is_filled_in() -> None:
    env = [{"name": "DB", "value": "pg"}, {"name": "DB_URL", "value": "postgres://$(DB):5432/x"}]
    made = dependencies(facts(env))
    assert [(d.host, d.port) for d in made.of(made.pods.items[0])] == [("pg", 5432)]


def test_the_port_may_be_a_variable_of_its_own() -> None:
    env = [{"name": "DB_HOST", "value": "pg"}, {"name": "DB_PORT", "value": "5433"}]
    made = dependencies(facts(env))
    assert [(d.host, d.port) for d in made.of(made.pods.items[0])] == [("pg", 5433)]


def test_mounted_files_and_commands_count_and_other_files_do_not() -> None:
    config = {"metadata": {"name": "conf", "namespace": "shop"}, "data": {"a.conf": "proxy_pass http://api:8080;"}}
    other = {"metadata": {"name": "else", "namespace": "shop"}, "data": {"b.conf": "proxy_pass http://no:8080;"}}
    spec = {
        "volumes": [{"name": "v", "configMap": {"name": "conf"}}, {"name": "w", "configMap": {"name": "else"}}],
        "container": {
            "volumeMounts": [{"name": "v", "mountPath": "/etc/nginx"}],
            "command": ["sh", "-c", "until nc -z -w 2 mydb 5432; do sleep 1; done"],
        },
    }
    made = dependencies(facts([], spec, configmaps=[config, other]))
    found = {(d.host, d.port, d.origin) for d in made.of(made.pods.items[0])}
    assert found == {("api", 8080, "ConfigMap conf key a.conf"), ("mydb", 5432, "its command")}


def test_a_command_is_shown_as_it_is() -> None:
    script = "until nc -w 2 mydb 5432 </dev/null; do echo waiting for mydb; sleep 1; done"
    made = dependencies(facts([], {"container": {"command": ["sh", "-c", script]}}))
    assert [d.value for d in made.of(made.pods.items[0])] == [script]


def test_options_of_two_words_full_names_and_the_commands_of_probes_count() -> None:
    db = "db-0.db.shop.svc.cluster.local"
    container = {
        "args": ["serve", "--db-host", "pg", "--server", "start", "--verbose", f"{db}:3306,x@y.svc.cluster.local"],
        "readinessProbe": {"exec": {"command": ["sh", "-c", "nc -z -w 2 cache 6379"]}},
    }
    made = dependencies(facts([], {"container": container}))
    found = {(d.host, d.port, d.origin) for d in made.of(made.pods.items[0])}
    assert found == {
        ("pg", 0, "argument --db-host"),
        (db, 3306, "its command"),
        ("cache", 6379, "its readiness probe"),
    }


def revision(name: str, host: str, created: str) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": name, "uid": name, "controller": True}
    meta = {"name": f"{name}-x", "namespace": "shop", "creationTimestamp": created, "ownerReferences": [owner]}
    container = {"name": "app", "image": "x", "env": [{"name": "DB_HOST", "value": host}]}
    return {"metadata": meta, "spec": {"containers": [container]}, "status": {"phase": "Running"}}


def test_what_a_later_template_does_not_name_any_more_is_outdated() -> None:
    old = revision("web-1", "api:80", "2026-11-23T01:00:00Z")
    new = revision("web-2", "api:8080", "2026-11-23T01:05:00Z")
    made = dependencies(facts([], pods=[old, new]))
    first, second = made.pods.items
    (told,), (tells,) = made.of(first), made.of(second)
    assert made.outdated(told, first, second.spec)
    assert made.outdated(told, first, None)  # the template is not to be had, and a later pod tells
    assert not made.outdated(tells, second, None)
    assert not made.outdated(told, first, first.spec)


@pytest.mark.parametrize(
    ("script", "hosts"),
    [
        ('echo "lookup redis.cache.svc.cluster.local: no such host"; sleep 1', []),
        ("until nc -z db 3306; do echo waiting for other.shop.svc.cluster.local; sleep 2; done", ["db"]),
        ("printf 'see http://wiki/page\\n' && serve", []),
        ('echo "$(wget -qO- http://api/health)"; sleep 1', ["api"]),
        ("echo http://api > /etc/upstream; serve", ["api"]),
        ("echo http://api | xargs wget", ["api"]),
        ("URL=$(echo http://api); wget $URL", ["api"]),
    ],
)
def test_what_a_script_only_says_is_no_host_that_it_talks_to(script: str, hosts: list[str]) -> None:
    made = dependencies(facts([], {"container": {"command": ["sh", "-c", script]}}))
    assert [d.host for d in made.of(made.pods.items[0])] == hosts


def test_addresses_in_the_place_of_names_are_found_networks_and_own_ones_are_not() -> None:
    env = [
        {"name": "API_URL", "value": "http://10.96.3.4:8080/"},
        {"name": "NO_PROXY", "value": "10.96.0.0/12"},
        {"name": "BIND_ADDR", "value": "10.0.0.1:80"},
        {"name": "LISTEN_HOST", "value": "0.0.0.0"},
        {"name": "VERSION", "value": "1.2.3.4"},
    ]
    config = {"metadata": {"name": "conf", "namespace": "shop"}, "data": {"a.conf": "proxy_pass http://10.244.1.9:80;"}}
    spec = {
        "volumes": [{"name": "v", "configMap": {"name": "conf"}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/c"}], "args": ["--peer=10.244.1.7:80"]},
    }
    made = dependencies(facts(env, spec, configmaps=[config]))
    pod = made.pods.items[0]
    assert [(d.host, d.port, d.origin) for d in made.addressed(pod)] == [
        ("10.96.3.4", 8080, "env API_URL"),
        ("10.244.1.7", 80, "its command"),
        ("10.244.1.9", 80, "ConfigMap conf key a.conf"),
    ]
    assert [d.origin for d in made.addressed(pod, "10.244.1.7")] == ["its command"]


@pytest.mark.parametrize(
    ("host", "path", "certain"),
    [
        ("mysql", "shop/mysql", False),
        ("pg.data", "data/pg", True),
        ("pg.data.svc", "data/pg", True),
        ("pg.data.svc.cluster.local.", "data/pg", True),
        ("mysql-0.mysql", "shop/mysql", True),
        ("mysql-0.mysql.shop.svc.cluster.local", "shop/mysql", True),
        ("web-1.gone", "shop/gone", True),
        ("web-9.gone", None, False),
        ("gone.nowhere.svc.cluster.local", "nowhere/gone", True),
        ("pg.data.svc.clusterset.local", None, False),
        ("pg.prod.svc.cluster2.local", None, False),
        ("api.example.com", None, False),
        ("10.0.0.1", None, False),
        ("localhost", None, False),
        ("a..b", None, False),
        ("", None, False),
    ],
)
def test_a_host_means_a_service_or_something_outside(host: str, path: str | None, certain: bool) -> None:
    made = dependencies(facts([], services=[service("mysql"), service("pg", "data")]))
    found = made.resolve(host, "shop")
    assert (f"{found.namespace}/{found.name}" if found else None) == path
    assert (found.certain if found else False) is certain


def test_a_log_that_names_an_address_or_a_longer_name_leads_back_to_the_setting() -> None:
    made = dependencies(facts([{"name": "DB_HOST", "value": "mysql"}], services=[service("mysql")]))
    pod = made.pods.items[0]
    for said in ("mysql", "mysql.shop.svc.cluster.local", "10.96.0.7"):
        told = made.told(pod, said)
        assert told is not None, said
        assert told.variable == "DB_HOST"
    assert made.told(pod, "other") is None


_PLAIN = ".:53 {{ kubernetes {} in-addr.arpa {{ pods insecure }} forward . /etc/resolv.conf }}"
_STUB = " cluster.local:53 { forward . 10.9.0.10 }"


@pytest.mark.parametrize(
    ("stated", "corefile", "domain", "meant"),
    [
        ("", "", "cluster.local", ""),
        ("cluster.local", _PLAIN.format("cluster.local"), "cluster.local", ""),
        ("corp.internal", _PLAIN.format("corp.internal"), "corp.internal", "db.shop.svc.corp.internal"),
        ("", _PLAIN.format("corp.internal"), "corp.internal", "db.shop.svc.corp.internal"),
        ("", _PLAIN.format("k8s"), "k8s", "db.shop.svc.k8s"),
        # What CoreDNS was told is wrong: that is another check's.
        ("", _PLAIN.format("cluster.locl"), "cluster.local", ""),
        ("cluster.local", _PLAIN.format("corp.internal"), "cluster.local", ""),
        # Both are its own; the usual one is another cluster's; a rewrite makes one of the other.
        ("corp.internal", _PLAIN.format("corp.internal cluster.local"), "corp.internal", ""),
        ("corp.internal", _PLAIN.format("corp.internal") + _STUB, "corp.internal", ""),
        ("corp.internal", ".:53 { rewrite name suffix .cluster.local .corp.internal }", "corp.internal", ""),
    ],
)
def test_the_domain_is_the_one_that_the_cluster_was_set_up_with(
    stated: str, corefile: str, domain: str, meant: str
) -> None:
    setup = f"networking:\n  dnsDomain: {stated}\n  podSubnet: 10.10.0.0/16\n"
    maps = [("kubeadm-config", "ClusterConfiguration", setup if stated else "")]
    maps += [("coredns", "Corefile", corefile.replace("{ ", "{\n").replace(" }", "\n}"))]
    configs = [
        {"metadata": {"name": name, "namespace": "kube-system"}, "data": {key: text}} for name, key, text in maps
    ]
    made = dependencies(facts([], configmaps=configs, services=[service("db")]))
    assert made.domain == domain
    assert made.respelt("db.shop.svc.cluster.local") == meant
    assert made.respelt(f"db.shop.svc.{domain}") == ""
    there = made.resolve(f"gone.shop.svc.{domain}", "shop")
    assert there is not None
    assert there.certain
    assert made.resolve("gone.shop.svc.somewhere.else", "shop") is None


def test_a_pod_that_names_a_service_many_times_is_one_client() -> None:
    env = [{"name": f"URL_{n}", "value": "http://db:80"} for n in range(300)]
    found = dependencies(facts(env, services=[service("db")]))
    assert [len(pods) for pods in found.clients.values()] == [1]


@pytest.mark.parametrize(
    ("subnet", "address", "network", "known"),
    [
        ("10.244.0.0/16", "10.244.77.9", {}, True),  # of a node that is gone
        ('"10.244.0.0/16,fd00:10::/56"', "10.244.77.9", {}, True),
        ("10.244.0.0/16", "10.245.77.9", {}, False),
        ("10.244.0.0/16", "10.244.1.5", {}, False),  # the pod's own
        ("10.200.0.0/16", "10.200.7.9", {}, False),  # the network plugin hands out others
        ("10.244.0.0/16", "10.244.77.9", {"hostNetwork": True}, False),
        ("nonsense", "10.244.77.9", {}, False),
    ],
)
def test_an_address_of_the_range_set_aside_for_pods_is_nobodys(
    subnet: str, address: str, network: dict[str, Any], known: bool
) -> None:
    setup = {
        "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
        "data": {"ClusterConfiguration": f"networking:\n  podSubnet: {subnet}\n"},
    }
    pod = {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {"containers": [{"name": "app"}], **network},
        "status": {"phase": "Running", "podIP": "10.244.1.5"},
    }
    assert dependencies(facts([], pods=[pod], configmaps=[setup])).no_pod(address, None) is known
