"""What last words point at in their own template, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from kdiag.facts import Clue, ConfigMaps, Pods, Services, clue
from kdiag.facts.faults import Failure, Fault
from kdiag.facts.logs import LogLine
from kdiag.model.result import Ref
from tests.facts.test_wire import built, listed

REDIS = {
    "metadata": {"name": "redis", "namespace": "shop"},
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 6379}]},
}
SETTINGS = {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"app.yaml": "a", "other.yaml": "b"}}


def found(
    *said: str, volumes: list[dict[str, Any]] | None = None, beside: dict[str, Any] | None = None, **container: Any
) -> Clue | None:
    pod = {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {
            "containers": [{"name": "app", "image": "x", **container}, *([beside] if beside else [])],
            "volumes": volumes or [],
        },
        "status": {"phase": "Running"},
    }
    (one,) = built(Pods, listed(pod)).items
    failure = Failure(
        pod=one,
        owner=Ref("Deployment", "web", "shop"),
        fault=Fault.CRASH,
        container="app",
        text=said[-1],
        log=tuple(LogLine(line) for line in said),
    )
    maps, services = built(ConfigMaps, listed(SETTINGS)), built(Services, listed(REDIS))
    return clue(failure, maps, services)


def text(*said: str, **more: Any) -> str:
    clued = found(*said, **more)
    return clued.text if clued else ""


NO_NUMBER = "ValueError: invalid literal for int() with base 10: 'tcp://10.96.0.9:6379'"
CONFIG: dict[str, Any] = {"volumes": [{"name": "c", "configMap": {"name": "settings"}}]}


def mounted(path: str, **more: Any) -> dict[str, Any]:
    return {**CONFIG, "volumeMounts": [{"name": "c", "mountPath": path, **more}]}


def test_a_service_that_gives_a_program_its_port() -> None:
    assert text(NO_NUMBER) == "REDIS_PORT comes from Service redis (enableServiceLinks)"


@pytest.mark.parametrize(
    "line",
    [
        "cannot connect to tcp://10.96.0.9:6379",  # an address that it was told
        "invalid port: 'tcp://10.96.0.8:6379'",  # of no Service
        "invalid port: 'tcp://10.96.0.9:80'",  # of another port
    ],
)
def test_an_address_that_no_service_gave_it(line: str) -> None:
    assert found(line) is None


def test_a_number_that_is_wrong_elsewhere_makes_no_service_guilty() -> None:
    assert found("connecting to tcp://10.96.0.9:6379", "WRONGPASS invalid username-password pair") is None


def test_a_file_that_it_can_do_without_is_none() -> None:
    said = "WARN open /etc/app/app.yaml: no such file or directory, using defaults"
    assert found(said, "panic: cannot log in", **mounted("/conf")) is None


def test_an_address_that_its_own_env_gives_it() -> None:
    assert found(NO_NUMBER, env=[{"name": "REDIS_PORT", "value": "tcp://10.96.0.9:6379"}]) is None


def test_a_file_that_is_mounted_elsewhere() -> None:
    said = "open /etc/app/app.yaml: no such file or directory"
    assert text(said, **mounted("/etc/apq")) == "ConfigMap settings shows it at /etc/apq/app.yaml"
    assert found(said, **mounted("/etc/app")) is None  # it was made since, or another run's
    assert found(said) is None


def test_a_file_whose_key_has_another_name() -> None:
    volumes = [{"name": "c", "configMap": {"name": "settings", "items": [{"key": "app.yaml", "path": "conf.yaml"}]}}]
    said = "can't open config file '/etc/app/app.yaml': No such file or directory"
    mounts = [{"name": "c", "mountPath": "/etc/app"}]
    assert text(said, volumes=volumes, volumeMounts=mounts) == "ConfigMap settings is there as /etc/app/conf.yaml"


def test_a_file_of_another_folder_is_nobodys() -> None:
    assert found("stat /var/lib/app/data.db: no such file or directory", **mounted("/etc/app")) is None


def test_a_line_before_the_last_one_counts_and_a_url_is_no_path() -> None:
    said = ("open /etc/app/app.yaml: no such file or directory", "exit")
    assert text(*said, **mounted("/conf")) == "ConfigMap settings shows it at /conf/app.yaml"
    assert found("GET http://shop/etc/app/app.yaml: not found", **mounted("/conf")) is None


def test_a_secret_at_a_misspelt_path() -> None:
    volumes = [{"name": "c", "secret": {"secretName": "tls"}}]
    said = "open /etc/tls/tls.crt: no such file or directory"
    assert text(said, volumes=volumes, volumeMounts=[{"name": "c", "mountPath": "/etc/tsl"}]) == (
        "Secret tls is mounted at /etc/tsl"
    )
    assert found(said, volumes=volumes, volumeMounts=[{"name": "c", "mountPath": "/etc/tls"}]) is None


def test_a_volume_that_another_container_has_there() -> None:
    said = "cat: can't open '/var/log/app/app.log': No such file or directory"
    writer = {"name": "writer", "volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}]}
    volumes: list[dict[str, Any]] = [{"name": "logs", "emptyDir": {}}]
    with_mount = [{"name": "logs", "mountPath": "/logs"}]
    there = "container writer has volume logs at /var/log/app"
    assert text(said, volumes=volumes, beside=writer, volumeMounts=with_mount) == f"{there}, it has it at /logs"
    assert text(said, volumes=volumes, beside=writer) == f"{there}, it does not mount it"
    assert found("cat: can't open '/var/lib/x': No such file or directory", volumes=volumes, beside=writer) is None


def test_an_optional_map_that_is_not_there() -> None:
    volumes = [{"name": "c", "configMap": {"name": "gone", "optional": True}}]
    said = "open /etc/app/app.yaml: no such file or directory"
    assert text(said, volumes=volumes, volumeMounts=[{"name": "c", "mountPath": "/etc/app"}]) == (
        "ConfigMap gone, optional here, does not exist"
    )


def test_a_capability_that_was_dropped() -> None:
    said = 'chown("/var/cache/nginx/client_temp", 101) failed (1: Operation not permitted)'
    assert text(said, securityContext={"capabilities": {"drop": ["ALL"]}}) == "its capabilities lack CHOWN"
    assert found(said, securityContext={"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}) is None
    assert found(said, securityContext={"capabilities": {"drop": ["NET_RAW"]}}) is None
    assert found(said) is None


def test_words_after_the_script_of_a_shell() -> None:
    said = "Usage: sleep [N]..."
    assert text(said, command=["sh", "-c"], args=["sleep", "4800"]) == "sh -c runs sleep without its arguments"
    assert found(said, command=["sh", "-c", "sleep 4800"]) is None
    assert found(said, command=["sh", "-c", 'exec "$@"', "sleep"]) is None
    assert found(said, command=["sleep", "-c", "a", "b"]) is None


def test_a_list_of_capabilities_that_is_null() -> None:
    assert found("bind: permission denied", securityContext={"capabilities": {"drop": None, "add": None}}) is None
