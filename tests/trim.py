"""Make a fixture of a recording: what one check reads, of the namespaces and nodes that matter, without noise.

kdiag record /tmp/snap
python -m tests.trim /tmp/snap --check network/service_selects_nothing -n shop > broken.yaml
python -m tests.trim /tmp/snap --check control_plane/manifest_missing --node cp1 > broken.yaml
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from kdiag.collect.snapshot import Snapshot
from kdiag.engine.intake import needed, sources
from kdiag.engine.library import find
from kdiag.model.observation import Observation

_NOISE = {"managedFields", "selfLink", "resourceVersion"}
_NODE_NOISE = {"images", "volumesInUse", "volumesAttached", "features", "runtimeHandlers", "declaredFeatures"}


def main() -> None:
    """Print the fixture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("--check", required=True)
    parser.add_argument("-n", "--namespace", action="append", default=[], help="namespaces to keep (repeat)")
    parser.add_argument(
        "--name", action="append", default=[], help="keep only objects whose name contains this (repeat)"
    )
    parser.add_argument("--node", action="append", default=[], help="nodes to keep (repeat; all by default)")
    options = parser.parse_args()
    check = find(options.check)
    keys = {s.key for s in sources(needed([check]))}
    out: dict[str, Any] = {}
    for seen in Snapshot(options.snapshot).observations():
        if seen.key == "run":
            out["taken"] = json.loads(bytes(seen.body))["taken"]
            out.setdefault("expect", ["…"])
        elif seen.key not in keys:
            continue
        elif seen.source == "node":
            if not options.node or seen.host in options.node:
                name = f"{seen.key}/{seen.name}" if seen.name else seen.key
                out.setdefault("hosts", {}).setdefault(seen.host, {})[name] = _answer(seen)
        elif seen.key == "log" and not seen.error and not seen.absent:
            namespace, pod, *_ = seen.name.split("/")
            if namespace in options.namespace and (not options.name or any(n in pod for n in options.name)):
                out.setdefault("log", {})[seen.name] = bytes(seen.body).decode(errors="replace")
        elif not seen.error and not seen.absent:
            body = bytes(seen.body)
            document = json.loads(body) if body.lstrip()[:1] == b"{" else None
            if isinstance(document, dict) and "items" in document:
                kept = [_quiet(o) for o in document["items"] or [] if _wanted(o, options)]
                if kept:
                    out.setdefault(seen.key, []).extend(kept)
            elif seen.key != "version":
                out[seen.key] = body.decode(errors="replace")
    yaml.safe_dump(out, sys.stdout, sort_keys=False, width=200, allow_unicode=True)


def _answer(seen: Observation) -> Any:
    """What a node said: its text, with the error beside it where there is one."""
    text = bytes(seen.body).decode(errors="replace")
    if not seen.error:
        return text
    return {"error": seen.error, **({"text": text} if text else {}), **({"absent": True} if seen.absent else {})}


def _wanted(item: dict[str, Any], options: argparse.Namespace) -> bool:
    meta = item.get("metadata", {})
    namespace, name = meta.get("namespace", ""), meta.get("name", "")
    if namespace and namespace not in options.namespace:
        return False
    if name == "kube-root-ca.crt":
        return False
    return not options.name or not namespace or any(part in name for part in options.name)


def _quiet(value: Any) -> Any:
    if isinstance(value, dict):
        drop = _NOISE | (_NODE_NOISE if "nodeInfo" in value else set())
        return {k: _quiet(v) for k, v in value.items() if k not in drop}
    if isinstance(value, list):
        return [_quiet(v) for v in value]
    return value


if __name__ == "__main__":
    main()
