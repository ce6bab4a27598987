"""A cluster that takes writes, and nodes that are folders: what a lab changes can be looked at afterwards."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdiag.errors import CollectError, LabError
from kdiag.lab.api import JSON, KINDS, merged
from tests.fakeapi import Answer, FakeAPI, Request, status

_PATH = re.compile(
    r"/apis?/(?:[a-z0-9.]+/)?v[0-9a-z]+(?:/namespaces/(?P<ns>[^/]+))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?$"
)


class WritableAPI(FakeAPI):
    """The fake API server, storing what it is told. ``down`` makes it answer nothing of use."""

    def __init__(self, objects: Mapping[str, list[dict[str, Any]]] | None = None) -> None:
        base: dict[str, list[dict[str, Any]]] = {KINDS[k].path(""): [] for k in KINDS}
        super().__init__({**base, **(objects or {})})
        self.store: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for path, items in {**base, **(objects or {})}.items():
            kept = self.store.setdefault(path, {})
            for item in items:
                kept[(item["metadata"].get("namespace", ""), item["metadata"]["name"])] = copy.deepcopy(item)
        self.down = False
        self.refuse = ""
        self._revision = 1000

    def answer(self, request: Request, peer_name: str = "") -> Answer:
        """Store, change and delete; everything else as the read-only server does."""
        if self.down:
            return status(503, "the server is currently unable to handle the request", "ServiceUnavailable", details={})
        match = _PATH.match(request.path)
        if match is None:
            return super().answer(request, peer_name)
        kind = match["kind"]
        namespace, name = match["ns"] or "", match["name"] or ""
        if request.path.startswith("/api/v1/namespaces/") and kind == "namespaces":
            namespace = ""
        found = next((k for k in KINDS.values() if k.resource == kind), None)
        if found is None:
            return super().answer(request, peer_name)
        if not found.namespaced:
            namespace = ""
        with self._writing:
            return self._stored_answer(found.path(""), namespace, name, request)

    @property
    def _writing(self) -> Any:
        return self._lock_for_writes

    def __enter__(self) -> WritableAPI:
        import threading

        self._lock_for_writes = threading.RLock()
        super().__enter__()
        return self

    def _stored_answer(self, path: str, namespace: str, name: str, request: Request) -> Answer:
        kept = self.store.setdefault(path, {})
        key = (namespace, name)
        if self.refuse and request.method != "GET" and self.refuse in request.path + request.body.decode():
            return status(500, "etcd is having a bad day", "InternalError", details={})
        match request.method:
            case "GET" if not name:
                items = [i for (ns, _), i in sorted(kept.items()) if namespace in ("", ns)]
                if wanted := request.query.get("labelSelector"):
                    pairs = [p.split("=") for p in wanted.split(",")]
                    items = [i for i in items if all((i["metadata"].get("labels") or {}).get(k) == v for k, v in pairs)]
                return Answer.json({"kind": "List", "items": items})
            case "GET":
                return Answer.json(kept[key]) if key in kept else _absent(name)
            case "POST":
                item = json.loads(request.body)
                key = (namespace, item["metadata"]["name"])
                if key in kept:
                    return status(409, f"{key[1]} already exists", "AlreadyExists", details={})
                kept[key] = self._new(item, namespace)
                self._after(path, key)
                return Answer.json(kept[key], 201)
            case "PUT":
                if key not in kept:
                    return _absent(name)
                kept[key] = self._new(json.loads(request.body), namespace) | {"status": kept[key].get("status", {})}
                return Answer.json(kept[key])
            case "PATCH":
                if key not in kept:
                    return _absent(name)
                change = json.loads(request.body)
                if request.headers["content-type"] == JSON:
                    kept[key] = _json_patched(kept[key], change)
                else:
                    kept[key] = merged(kept[key], change)
                return Answer.json(kept[key])
            case "DELETE":
                if key not in kept:
                    return _absent(name)
                gone = kept.pop(key)
                if path == "/api/v1/namespaces":
                    for inside in self.store.values():
                        for other in [k for k in inside if k[0] == name]:
                            del inside[other]
                return Answer.json(gone)
        return super().answer(request)

    def _new(self, item: dict[str, Any], namespace: str) -> dict[str, Any]:
        self._revision += 1
        meta = {**item["metadata"], "resourceVersion": str(self._revision), "uid": f"u-{self._revision}"}
        if namespace:
            meta["namespace"] = namespace
        return {**item, "metadata": meta}

    def _after(self, path: str, key: tuple[str, str]) -> None:
        """What a controller would do: a new namespace gets its default account, a workload its status."""
        if path == "/api/v1/namespaces":
            accounts = self.store.setdefault("/api/v1/serviceaccounts", {})
            accounts[(key[1], "default")] = {"metadata": {"name": "default", "namespace": key[1]}}
        item = self.store[path][key]
        if item.get("kind") == "Deployment":
            count = item["spec"].get("replicas", 1)
            item["metadata"]["generation"] = 1
            item["status"] = {
                "observedGeneration": 1,
                "replicas": count,
                "readyReplicas": count,
                "updatedReplicas": count,
            }

    def there(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object as it is stored, without what a write changes by itself."""
        item = self.store.get(KINDS[kind].path(""), {}).get((namespace, name))
        if item is None:
            return None
        meta = {k: v for k, v in item["metadata"].items() if k not in ("resourceVersion", "uid")}
        return {**item, "metadata": meta}

    def everything(self) -> dict[str, Any]:
        """All that is stored, to compare before and after."""
        return {
            f"{path} {ns}/{name}": {k: v for k, v in item.items() if k != "metadata"}
            for path, items in self.store.items()
            for (ns, name), item in items.items()
        }


def _absent(name: str) -> Answer:
    return status(404, f"{name} not found", "NotFound", details={})


def _json_patched(item: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    result = copy.deepcopy(item)
    for step in patch:
        *parents, last = [p.replace("~1", "/") for p in step["path"].strip("/").split("/")]
        here: Any = result
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here[part]
        place: Any = int(last) if isinstance(here, list) else last
        if step["op"] == "remove":
            del here[place]
        else:
            here[place] = step["value"]
    return result


class FolderHosts:
    """Nodes that are folders: paths of a script are moved below the folder, and programs of a host are noted."""

    def __init__(self, root: Path, nodes: tuple[str, ...]) -> None:
        self.root = root
        self.dead: set[str] = set()
        self.fails_after = -1
        self.ran: list[str] = []
        for node in nodes:
            for folder in ("etc/kubernetes/manifests", "var/lib/kubelet", "etc/cni/net.d", "tmp", "bin"):
                (root / node / folder).mkdir(parents=True)
            for program in ("systemctl", "iptables", "crictl", "sysctl"):
                self._program(root / node / "bin" / program, program, root / node)

    def _program(self, path: Path, name: str, node: Path) -> None:
        answers = (
            'case "$1" in is-enabled) echo enabled;; is-active) echo active;; esac\n' if name == "systemctl" else ""
        )
        stop = 'case "$*" in *" -D "*) exit 1;; esac\n' if name == "iptables" else ""
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{node}/asked"\n{answers}{stop}exit 0\n')
        path.chmod(0o755)

    def asked(self, node: str) -> list[str]:
        """The programs of the host that were run on a node."""
        log = self.root / node / "asked"
        return log.read_text().splitlines() if log.exists() else []

    def file(self, node: str, path: str) -> Path:
        """A file of a node."""
        return self.root / node / path.lstrip("/")

    def files(self, node: str) -> dict[str, str]:
        """All files below /etc and /var of a node, to compare before and after."""
        return {
            str(p.relative_to(self.root / node)): p.read_text()
            for top in ("etc", "var")
            for p in sorted((self.root / node / top).rglob("*"))
            if p.is_file()
        }

    def reaches(self, node: str) -> bool:
        """Whether there is a way to the node."""
        return (self.root / node).exists() and node not in self.dead

    def run(self, node: str, script: str, *, seconds: float = 60) -> str:
        """Run the script in the folder."""
        if node in self.dead:
            raise CollectError(f"{node}: no route to host")
        if self.fails_after == 0:
            raise KeyboardInterrupt  # the machine that runs kdiag is switched off at this very moment
        self.fails_after -= 1
        self.ran.append(script)
        here = str(self.root / node)
        moved = re.sub(r"(?<![\w.-])/(etc|var/lib|tmp)(?=/)", rf"{here}/\1", script)
        done = subprocess.run(
            ["sh", "-s"],
            input=moved,
            capture_output=True,
            text=True,
            env={"PATH": f"{here}/bin:/usr/bin:/bin"},
            timeout=60,
        )
        if done.returncode:
            raise LabError(f"{node}: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
        return done.stdout
