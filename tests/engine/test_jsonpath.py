"""kubectl's JSONPath, as the pages use it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kdiag.engine.jsonpath import PathError, find, render
from kdiag.engine.library import checks
from kdiag.engine.runbook import page

POD: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "x"}, "finalizers": ["a", "b"]},
    "spec": {
        "replicas": 2,
        "paused": True,
        "containers": [
            {"name": "app", "ports": [{"containerPort": 80}, {"containerPort": 443}], "image": "nginx"},
            {"name": "side", "resources": {"limits": {"cpu": "1"}}},
        ],
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.metadata.name}", "web"),
        ("{$.metadata.name}", "web"),
        ("{.metadata['name']}", "web"),
        ("{.spec.replicas} {.spec.paused}", "2 true"),
        ("{.metadata.finalizers}", '["a","b"]'),
        ("{.metadata.finalizers[*]}", "a b"),
        ("{.metadata.finalizers[-1]}", "b"),
        ("{.metadata.finalizers[7]}", ""),
        (r"{.metadata.labels.app\.kubernetes\.io/name}", "x"),
        ("{.spec.containers[*].name}", "app side"),
        ("{.spec.containers[*].ports[*].containerPort}", "80 443"),
        ("{.spec.containers[1].resources}", '{"limits":{"cpu":"1"}}'),
        ('{range .spec.containers[*]}{.name}={.image}{"\\n"}{end}', "app=nginx\nside=\n"),
        ("{range .spec.containers[*]}{.name}:{range .ports[*]}{.containerPort},{end};{end}", "app:80,443,;side:;"),
        ('{.status.conditions[?(@.type=="Ready")].status}', "True"),
        ('{range .status.conditions[?(@.status=="True")]}{.type}{end}', "Ready"),
        ("{.status.conditions[?(@.type!='Ready')].type}", "Old"),
        ("{.nothing.at.all}", ""),
        ("name: {.metadata.name}!", "name: web!"),
        ("{.spec.containers[?(@.image)].name}", "app"),
    ],
)
def test_prints_what_kubectl_prints(template: str, expected: str) -> None:
    assert render(template, POD) == expected


@pytest.mark.parametrize(
    "template", ["{.a", "{range .a}x", "{end}", "{.a[?(@.b>1)]}", "{.a[0:2]}", "{..name}", "{.a b}"]
)
def test_says_what_it_does_not_understand(template: str) -> None:
    with pytest.raises(PathError):
        render(template, POD)


def test_every_template_of_every_page_is_understood() -> None:
    found = 0
    for check_id in checks():
        for step in page(check_id).steps:
            for template in re.findall(r"-o jsonpath='([^']+)'", step.text):
                render(template, POD)
                found += 1
            for columns in re.findall(r"-o custom-columns='?([^'\s|]+)", step.text):
                for part in re.split(r",(?=[A-Z_]+:)", columns):
                    find(part.partition(":")[2], POD)
                    found += 1
    assert found > 80
