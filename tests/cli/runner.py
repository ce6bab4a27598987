"""Run kdiag as a user does: a process of its own, against a real socket or a folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from kdiag.engine.intake import known, sources
from kdiag.engine.library import checks
from kdiag.facts.base import ApiList
from tests.fakeapi import FakeAPI, Object

ROOT = Path(__file__).parents[2]
HEALTHY = ROOT / "fixtures" / "clusters" / "healthy-lab"
KDIAG = (sys.executable, "-m", "kdiag")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A user's environment without this machine's own kubeconfig, colours and proxies."""
    kept = {
        k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "COVERAGE_PROCESS_START")
    }
    return {"HOME": str(home), "LC_ALL": "C.UTF-8", **kept, **more}


def kdiag(
    *words: str | Path, home: Path, env: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; standard input is empty and no stream is a terminal."""
    return subprocess.run(
        [*KDIAG, *map(str, words)],
        env=environment(home, **(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
        cwd=home,
        check=False,
    )


def started(*words: str | Path, home: Path, **env: str) -> subprocess.Popen[str]:
    """Start it and go on."""
    return subprocess.Popen(
        [*KDIAG, *map(str, words)],
        env=environment(home, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=home,
    )


_STAMP = re.compile(r'(?<=")(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z(?=")')


@cache
def lab() -> tuple[dict[str, str], datetime]:
    """The objects of the recorded healthy cluster, as JSON by list path, and when they were taken."""
    checks()
    found: dict[str, str] = {}
    for source in sources(known()):
        if isinstance(source, ApiList):
            path = source.path(source.namespaces[0] if source.namespaces else "")
            pages = sorted((HEALTHY / "api").glob(f"{source.key}.[0-9]*.json"))
            found[path] = json.dumps([item for page in pages for item in json.loads(page.read_text())["items"]])
    run = json.loads((HEALTHY / "api" / "run.0001.json").read_text())
    return found, datetime.fromisoformat(run["taken"])


def healthy_api(extra: Mapping[str, Sequence[Object]] | None = None, **options: Any) -> FakeAPI:
    """The recorded healthy cluster, served as if it were now; ``extra`` objects are added to its lists."""
    texts, taken = lab()
    later = datetime.now(UTC) - taken

    def shifted(match: re.Match[str]) -> str:
        moment = datetime.fromisoformat(match[1] + "+00:00") + later
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + (match[2] or "") + "Z"

    objects = {path: json.loads(_STAMP.sub(shifted, text)) for path, text in texts.items()}
    more = extra or {}
    return FakeAPI({path: [*objects.get(path, ()), *more.get(path, ())] for path in {*objects, *more}}, **options)


def lost_service(name: str = "db", namespace: str = "shop") -> dict[str, list[dict[str, Any]]]:
    """A Service whose selector misses the only pod by a letter: one certain cause of severity error."""
    labels = {"app": "mysql"}
    spec = {"containers": [{"name": "mysql", "image": "mysql:8", "ports": [{"containerPort": 3306}]}]}
    meta = {"namespace": namespace, "creationTimestamp": "2026-11-22T08:00:00Z", "uid": f"u-{name}"}
    pod = {
        "metadata": {"name": "mysql-0", "labels": labels, **meta},
        "spec": {**spec, "nodeName": "w1"},
        "status": {
            "phase": "Running",
            "podIP": "10.244.1.9",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "mysql",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-11-22T08:00:05Z"}},
                }
            ],
        },
    }
    service = {
        "metadata": {"name": name, **meta},
        "spec": {
            "selector": {"app": "mysqll"},
            "clusterIP": "10.96.0.77",
            "ports": [{"port": 3306, "targetPort": 3306}],
        },
    }
    return {
        "/api/v1/pods": [pod],
        "/api/v1/services": [service],
        "/api/v1/namespaces": [{"metadata": {"name": namespace}}],
    }
