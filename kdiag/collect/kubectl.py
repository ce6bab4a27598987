"""kubectl's reading commands where there is no kubectl: get, logs and events, asked of the API by our own client.

The server itself prints the tables (``as=Table``), so they look as kubectl's. What is not answered says so and names
kubectl; it never answers in part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from kdiag.collect.deadline import Deadline
from kdiag.collect.http import Client
from kdiag.collect.kubeconfig import Target
from kdiag.engine import guard, jsonpath
from kdiag.engine.readonly import readonly
from kdiag.errors import BadAnswer, CollectError
from kdiag.model.jsontext import read_json, read_object
from kdiag.model.text import clean_line, shorten

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_PAGE = 500
_MOST_PAGES = 400


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and where its list is."""

    resource: str
    root: str
    namespaced: bool
    kind: str


def _builtin() -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}

    def put(root: str, namespaced: bool, lines: str) -> None:
        for line in lines.split():
            resource, kind, *short = line.split(",")
            for name in (resource, kind.lower(), *short):
                found[name] = Kind(resource, root, namespaced, kind)

    put(
        "/api/v1",
        True,
        "pods,Pod,po services,Service,svc configmaps,ConfigMap,cm secrets,Secret events,Event,ev "
        "endpoints,Endpoints,ep "
        "persistentvolumeclaims,PersistentVolumeClaim,pvc serviceaccounts,ServiceAccount,sa "
        "limitranges,LimitRange,limits resourcequotas,ResourceQuota,quota "
        "replicationcontrollers,ReplicationController,rc",
    )
    put("/api/v1", False, "nodes,Node,no namespaces,Namespace,ns persistentvolumes,PersistentVolume,pv")
    put(
        "/apis/apps/v1",
        True,
        "deployments,Deployment,deploy replicasets,ReplicaSet,rs statefulsets,StatefulSet,sts daemonsets,DaemonSet,ds",
    )
    put("/apis/batch/v1", True, "jobs,Job cronjobs,CronJob,cj")
    put("/apis/networking.k8s.io/v1", True, "ingresses,Ingress,ing networkpolicies,NetworkPolicy,netpol")
    put("/apis/networking.k8s.io/v1", False, "ingressclasses,IngressClass")
    put("/apis/discovery.k8s.io/v1", True, "endpointslices,EndpointSlice")
    put("/apis/policy/v1", True, "poddisruptionbudgets,PodDisruptionBudget,pdb")
    put("/apis/autoscaling/v2", True, "horizontalpodautoscalers,HorizontalPodAutoscaler,hpa")
    put("/apis/coordination.k8s.io/v1", True, "leases,Lease")
    put("/apis/storage.k8s.io/v1", False, "storageclasses,StorageClass,sc csidrivers,CSIDriver csinodes,CSINode")
    put("/apis/storage.k8s.io/v1", False, "volumeattachments,VolumeAttachment")
    return found


_BUILTIN = _builtin()


class Ask(Protocol):
    """Answers a GET of the API."""

    def get(self, path: str, accept: str, deadline: Deadline) -> tuple[str, int]:
        """The body and the status. Raises KdiagError where there is no answer."""

    def close(self) -> None:
        """Let the connection go."""


class Live:
    """Asks the API server."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client: Client | None = None
        self._deadline: Deadline | None = None

    def get(self, path: str, accept: str, deadline: Deadline) -> tuple[str, int]:
        """As ``Ask.get``; one connection a deadline."""
        if self._client is None or self._deadline is not deadline:
            self.close()
            self._client, self._deadline = Client(self._target, deadline=deadline), deadline
        answer = self._client.get(path, accept=accept, limit_bytes=32 << 20)
        return bytes(answer.body).decode("utf-8", "replace"), answer.status

    def close(self) -> None:
        """Close the connection."""
        if self._client:
            self._client.close()
            self._client = None


class StandIn:
    """Answers for kubectl. Raises CollectError for what it cannot answer, in words for the reader of a runbook.

    ``namespace`` is that of the context; ``lacking`` says why what cannot be answered needs something else.
    """

    def __init__(self, ask: Ask, namespace: str = "", lacking: str = "needs kubectl; there is none here") -> None:
        self._source = ask
        self._namespace = namespace
        self._lacking = lacking
        self._deadline = Deadline(0)
        self._known: dict[str, Kind] = dict(_BUILTIN)
        self._discovered = False

    def close(self) -> None:
        """Let the connection go."""
        self._source.close()

    def answer(self, argv: Sequence[str], deadline: Deadline) -> tuple[bytes, int]:
        """What ``kubectl ARGV`` would print, and its exit code."""
        why = readonly(["kubectl", *argv])
        if why is not None:
            raise BadAnswer(why)
        self._deadline = deadline
        words, namespace = _without_namespace(list(argv))
        namespace = namespace or self._namespace or "default"
        answers: dict[str, Callable[[list[str], str], tuple[str, int]]] = {
            "get": self._get,
            "logs": self._logs,
            "events": self._events,
        }
        verb = words[0]
        if verb not in answers:
            raise BadAnswer(f"kubectl {verb} {self._lacking}")
        try:
            text, status = answers[verb](words[1:], namespace)
        except (AttributeError, KeyError, TypeError, RecursionError):
            raise BadAnswer("the answer has not the form that such an answer has") from None
        return text.encode(), status

    # get

    def _get(self, words: list[str], namespace: str) -> tuple[str, int]:
        options, operands = _apart(words)
        if "--raw" in options:
            return self._ask(options["--raw"], accept="*/*")[0].rstrip("\n") + "\n", 0
        form = options.get("-o") or options.get("--output") or ""
        everywhere = bool({"-A", "--all-namespaces"} & options.keys())
        wanted = self._wanted(operands)
        query = self._query(options)
        if form in ("", "wide"):
            return self._tables(wanted, query, options, "" if everywhere else namespace, wide=form == "wide")
        objects, complaint = self._objects(wanted, query, "" if everywhere else namespace, options)
        if complaint:
            return complaint, 1
        named = len(wanted) == 1 and bool(wanted[0][1])
        value = objects[0] if named and len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
        try:
            return _formed(form, value, objects), 0
        except jsonpath.PathError as exc:
            raise BadAnswer(f"-o {form.partition('=')[0]} {self._lacking}: {exc}") from None

    def _wanted(self, operands: Sequence[str]) -> list[tuple[Kind, str]]:
        """The kinds and names that the operands ask for."""
        if any("/" in word for word in operands):
            pairs = [word.partition("/") for word in operands]
            if not all(slash for _, slash, _ in pairs):
                raise BadAnswer("kinds and names are mixed")
            return [(self._kind(kind), name) for kind, _, name in pairs]
        kinds = [self._kind(word) for word in operands[0].split(",")]
        names = operands[1:] or [""]
        return [(kind, name) for kind in kinds for name in names]

    def _kind(self, word: str) -> Kind:
        name = word.lower()
        found = self._known.get(name) or self._known.get(name.partition(".")[0] if "." in name else name)
        if found is None and not self._discovered:
            self._discover()
            return self._kind(word)
        if found is None:
            raise BadAnswer(f'the server doesn\'t have a resource type "{shorten(clean_line(word), 80)}"')
        return found

    def _discover(self) -> None:
        self._discovered = True
        for path in ("/api", "/apis"):
            text, _ = self._ask(path, accept=_DISCOVERY)
            for group in read_object(text).get("items", ()):
                name = group.get("metadata", {}).get("name", "")
                for version in group.get("versions", ())[:1]:
                    root = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
                    for one in version.get("resources", ()):
                        kind = Kind(
                            str(one["resource"]),
                            root,
                            one.get("scope") == "Namespaced",
                            str(one.get("responseKind", {}).get("kind", "")),
                        )
                        names = (kind.resource, kind.kind.lower(), one.get("singularResource", ""))
                        for short in (*names, *one.get("shortNames", ())):
                            self._known.setdefault(str(short), kind)

    def _query(self, options: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, flags in (("labelSelector", ("-l", "--selector")), ("fieldSelector", ("--field-selector",))):
            if value := next((options[flag] for flag in flags if flag in options), ""):
                found[name] = value
        return found

    def _path(self, kind: Kind, name: str, namespace: str) -> str:
        inside = f"/namespaces/{quote(namespace, safe='')}" if kind.namespaced and namespace else ""
        return f"{kind.root}{inside}/{kind.resource}" + (f"/{quote(name, safe='')}" if name else "")

    def _objects(
        self, wanted: Sequence[tuple[Kind, str]], query: Mapping[str, str], namespace: str, options: Mapping[str, str]
    ) -> tuple[list[Any], str]:
        found: list[Any] = []
        for kind, name in wanted:
            for document in self._pages(self._path(kind, name, namespace), {} if name else query):
                if isinstance(document, str):
                    if "--ignore-not-found" in options and "NotFound" in document:
                        continue
                    return found, document
                items = [document] if name else document.get("items") or []
                for item in items:
                    item.setdefault("kind", kind.kind)
                    if "--show-managed-fields" not in options:
                        item.get("metadata", {}).pop("managedFields", None)
                found += items
        if key := options.get("--sort-by"):
            path = key.strip("{}")
            found.sort(key=lambda item: str((jsonpath.find(path, item) or [""])[0]))
        return found, ""

    def _pages(self, path: str, query: Mapping[str, str], accept: str = "application/json") -> Any:
        """Each page of a list, or the one object; a refusal is a string."""
        token = ""
        for _ in range(_MOST_PAGES):
            words = {**query, **({"limit": str(_PAGE)} if accept == _TABLE or "limit" not in query else {})}
            if token:
                words["continue"] = token
            text, status = self._ask(f"{path}?{urlencode(words)}", accept=accept)
            try:
                document = read_json(text)
            except ValueError:
                raise BadAnswer(f"{path}: the answer is not JSON") from None
            if status != 200:
                said = document.get("message", text) if isinstance(document, dict) else text
                reason = document.get("reason", "") if isinstance(document, dict) else ""
                yield f"Error from server ({reason or status}): {shorten(clean_line(str(said)), 300)}\n"
                return
            yield document
            token = str((document.get("metadata") or {}).get("continue") or "")
            if not token:
                return
        raise BadAnswer(f"{path}: the list does not end")

    def _tables(
        self,
        wanted: Sequence[tuple[Kind, str]],
        query: Mapping[str, str],
        options: Mapping[str, str],
        namespace: str,
        *,
        wide: bool,
    ) -> tuple[str, int]:
        text, status = "", 0
        kinds = dict.fromkeys(kind for kind, _ in wanted)
        for kind in kinds:
            columns: list[tuple[str, bool]] = []
            rows: list[list[str]] = []
            for name in [name for k, name in wanted if k == kind]:
                for document in self._pages(self._path(kind, name, namespace), {} if name else query, _TABLE):
                    if isinstance(document, str):
                        if "--ignore-not-found" not in options or "NotFound" not in document:
                            text, status = text + document, 1
                        continue
                    if document.get("kind") != "Table":
                        raise BadAnswer(f"this table {self._lacking}")
                    columns = [(c["name"].upper(), not c.get("priority")) for c in document["columnDefinitions"]]
                    rows += self._rows(document, kind, options, everywhere=not namespace, prefix=len(kinds) > 1)
            if rows:
                keep = [i for i, (_, plain) in enumerate(columns) if plain or wide]
                lead = ["NAMESPACE"] if not namespace and kind.namespaced else []
                more = [*_label_columns(options), *(["LABELS"] if "--show-labels" in options else [])]
                table = [[*lead, *(columns[i][0] for i in keep), *more]]
                table += [
                    [*r[: len(lead)], *(r[len(lead) + i] for i in keep), *r[len(lead) + len(columns) :]] for r in rows
                ]
                text += ("\n" if text else "") + _aligned(table[1:] if "--no-headers" in options else table)
        if not text and not status:
            inside = namespace and any(kind.namespaced for kind in kinds)
            return f"No resources found{f' in {namespace} namespace.' if inside else ''}\n", 0
        return text, status

    def _rows(
        self, table: Mapping[str, Any], kind: Kind, options: Mapping[str, str], *, everywhere: bool, prefix: bool
    ) -> list[list[str]]:
        found: list[tuple[str, list[str]]] = []
        path = options.get("--sort-by", "").strip("{}")
        for row in table.get("rows") or ():
            meta = (row.get("object") or {}).get("metadata") or {}
            cells = [_cell(cell) for cell in row.get("cells", ())]
            if cells and (prefix or "--show-kind" in options):
                cells[0] = f"{_typed({'kind': kind.kind})}/{cells[0]}"
            labels = meta.get("labels") or {}
            lead = [str(meta.get("namespace", ""))] if everywhere and kind.namespaced else []
            more = [str(labels.get(name, "")) for name in _labels(options)]
            if "--show-labels" in options:
                more.append(",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>")
            key = str((jsonpath.find(path, {"metadata": meta}) or [""])[0]) if path else ""
            found.append((key, [*lead, *cells, *more]))
        if path:
            if not path.startswith(".metadata"):
                raise BadAnswer("it cannot be sorted by that without kubectl")
            found.sort(key=lambda item: item[0])
        return [cells for _, cells in found]

    # logs and events

    def _logs(self, words: list[str], namespace: str) -> tuple[str, int]:
        options, operands = _apart(words)
        selector = options.get("-l") or options.get("--selector") or ""
        tail = options.get("--tail", "10" if selector else "")
        text, status = "", 0
        for pod, containers in self._log_places(operands, selector, namespace, options):
            for container in containers:
                query = {"container": container}
                if tail and tail != "-1":
                    query["tailLines"] = tail
                if {"-p", "--previous"} & options.keys():
                    query["previous"] = "true"
                if "--timestamps" in options:
                    query["timestamps"] = "true"
                if since := options.get("--since"):
                    query["sinceSeconds"] = str(_seconds(since))
                path = f"{self._path(_BUILTIN['pods'], pod, namespace)}/log?{urlencode(query)}"
                said, code = self._ask(path, accept="*/*")
                if code != 200:
                    status = 1
                    said = f"Error from server: {_message(said)}\n"
                elif "--prefix" in options:
                    said = "".join(f"[pod/{pod}/{container}] {line}\n" for line in said.splitlines())
                text += said if said.endswith("\n") or not said else f"{said}\n"
        return text, status

    def _log_places(
        self, operands: Sequence[str], selector: str, namespace: str, options: Mapping[str, str]
    ) -> list[tuple[str, list[str]]]:
        if selector:
            pods, complaint = self._objects([(_BUILTIN["pods"], "")], {"labelSelector": selector}, namespace, {})
        else:
            if not operands:
                raise BadAnswer("it names no pod")
            kind, slash, name = operands[0].partition("/")
            one = self._kind(kind) if slash else _BUILTIN["pods"]
            found, complaint = self._objects([(one, name if slash else kind)], {}, namespace, {})
            pods = found
            if not complaint and one.resource != "pods":
                labels = ((found[0].get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
                if not labels:
                    raise BadAnswer(f"kubectl logs of a {one.kind} {self._lacking}")
                query = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())}
                pods, complaint = self._objects([(_BUILTIN["pods"], "")], query, namespace, {})
                pods = pods[:1]
        if complaint:
            raise CollectError(complaint.strip())
        wanted = options.get("-c") or options.get("--container") or (operands[1] if len(operands) > 1 else "")
        places = []
        for pod in pods:
            spec = pod.get("spec") or {}
            names = [str(c.get("name", "")) for c in spec.get("containers") or ()]
            if "--all-containers" in options:
                names = [str(c.get("name", "")) for c in spec.get("initContainers") or ()] + names
            else:
                names = [wanted] if wanted else names[:1]
            places.append((str(pod["metadata"]["name"]), names))
        return places

    def _events(self, words: list[str], namespace: str) -> tuple[str, int]:
        options, _ = _apart(words)
        query = {}
        if about := options.get("--for"):
            kind, _, name = about.partition("/")
            query["fieldSelector"] = f"involvedObject.kind={self._kind(kind).kind},involvedObject.name={name}"
        everywhere = bool({"-A", "--all-namespaces"} & options.keys())
        return self._tables([(_BUILTIN["events"], "")], query, options, "" if everywhere else namespace, wide=False)

    def _ask(self, path: str, *, accept: str) -> tuple[str, int]:
        return self._source.get(path, accept, self._deadline)


def _without_namespace(words: list[str]) -> tuple[list[str], str]:
    """The words with the verb first, and the namespace that stood among them."""
    rest: list[str] = []
    namespace = ""
    while words:
        word = words.pop(0)
        if word in ("-n", "--namespace"):
            namespace = words.pop(0)
        elif (
            match := re.fullmatch(r"(?:-n|--namespace)=?(.+)", word)
            if word.startswith(("-n", "--namespace="))
            else None
        ):
            namespace = match[1]
        else:
            rest.append(word)
    return rest, namespace


_VALUED = guard.wordset(
    "-l --selector -o --output --field-selector --sort-by -L --label-columns --raw -c --container --tail --since "
    "--since-time --limit-bytes --max-log-requests --for --types --chunk-size"
)


def _apart(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options and operands; what may stand there the allow-list has said before."""
    options: dict[str, str] = {}
    operands: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            operands.append(word)
        elif equals and (name.startswith("--") or name in _VALUED):
            options[name] = value
        elif word in _VALUED and rest:
            options[word] = rest.pop(0)
        elif not word.startswith("--") and word[:2] in _VALUED and len(word) > 2:
            options[word[:2]] = word[2:]
        else:
            options[word] = ""
    return options, operands


def _labels(options: Mapping[str, str]) -> list[str]:
    text = options.get("-L") or options.get("--label-columns") or ""
    return [name for name in text.split(",") if name]


def _label_columns(options: Mapping[str, str]) -> list[str]:
    return [name.rpartition("/")[2].upper() for name in _labels(options)]


def _cell(value: Any) -> str:
    return "<none>" if value is None else clean_line(value if isinstance(value, str) else json.dumps(value))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(max(map(len, rows)))]
    lines = ("   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _formed(form: str, value: Any, objects: Sequence[Any]) -> str:
    kind, _, template = form.partition("=")
    match kind:
        case "json":
            return json.dumps(value, indent=4, ensure_ascii=False) + "\n"
        case "yaml":
            import yaml

            return str(yaml.safe_dump(value, sort_keys=True, allow_unicode=True))
        case "name":
            return "".join(f"{_typed(o)}/{o.get('metadata', {}).get('name', '')}\n" for o in objects)
        case "jsonpath":
            return jsonpath.render(template, value)
        case "custom-columns":
            return _columns(template, objects)
    raise jsonpath.PathError("that form is kubectl's own")


def _typed(item: Mapping[str, Any]) -> str:
    """``pod``, ``deployment.apps``: as ``-o name`` writes the kind."""
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    known = _BUILTIN.get(str(item.get("kind", "")).lower())
    root = known.root.split("/")[2] if known and known.root.startswith("/apis/") else ""
    group = group or root
    return str(item.get("kind", "")).lower() + (f".{group}" if group else "")


def _columns(template: str, objects: Sequence[Any]) -> str:
    heads, paths = [], []
    for part in re.split(r",(?=[A-Za-z_-]+:)", template):
        head, _, path = part.partition(":")
        heads.append(head)
        paths.append(path.strip("{}"))
    rows = [heads]
    for item in objects:
        rows.append([",".join(map(_cell, jsonpath.find(path, item))) or "<none>" for path in paths])
    return _aligned(rows)


def _seconds(text: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"([0-9]+)([hms])", text)
    return max(1, sum(int(count) * units[unit] for count, unit in parts))


def _message(text: str) -> str:
    try:
        document = read_json(text)
    except ValueError:
        return shorten(clean_line(text), 200)
    return shorten(clean_line(str(document.get("message", ""))), 300) if isinstance(document, dict) else ""
