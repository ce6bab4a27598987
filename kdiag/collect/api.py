"""Read a cluster through its API: one list per kind, in pages, a few kinds at a time.

GET only. What cannot be read becomes an observation with the reason; the other kinds go on.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import msgspec

from kdiag.collect.deadline import Deadline
from kdiag.collect.http import REQUEST_SECONDS, Client, Response
from kdiag.collect.kubeconfig import Target
from kdiag.errors import AccessDenied, BadAnswer, CollectError, NoSuchNamespace, Unreachable
from kdiag.facts.base import ApiGet, ApiList, Source
from kdiag.facts.wire import ListMeta, decoder
from kdiag.model.observation import Observation
from kdiag.model.text import clean_line, nearest, shorten

Emit = Callable[[Observation], None]
Progress = Callable[[str], None]
#: Told of each thing that is read: its name, and whether it is over.
Step = Callable[[str, bool], None]

PAGE = 1000
#: A server that cannot name one pod within this time is of no use at present.
FIRST_SECONDS = 8.0
#: One that takes longer than this is asked whether it has its store, which it knows within some two seconds.
_PROMPT_SECONDS = 1.5
#: What it is then asked.
STORE_CHECK = "/readyz/etcd"
#: An API server that has just started refuses everybody everything until it has read its roles: some seconds.
_ROLES_SECONDS = 12.0
_ROLES_PAUSE = 1.5
WORKERS = 4
#: What a log may take: a kubelet that is well answers at once.
LOG_SECONDS = 10.0
#: Events beyond this many are not read, and that is said.
MOST_EVENTS = 50_000
_MOST_PAGES = 5_000
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


_CONTINUE = re.compile(rb'"continue"\s*:\s*("(?:[^"\\]|\\.)*")')
#: The kinds that take longest, first: everything else is read beside them.
_FIRST = ("pods", "events", "nodes", "replicasets", "configmaps")


class _List(msgspec.Struct):
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class ApiSource:
    """One API server. ``namespace`` restricts the namespaced kinds; empty means all."""

    def __init__(
        self,
        target: Target,
        *,
        deadline: Deadline,
        namespace: str = "",
        progress: Progress | None = None,
        step: Step | None = None,
        log_seconds: float = LOG_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.target = target
        self._pause = pause
        self._barred = False
        self._refused: tuple[str, tuple[str, ...]] = "", ()
        self._log_seconds = log_seconds
        self.namespace = namespace
        self.notes: list[str] = []
        self._deadline = deadline
        self._client = Client(target, deadline=deadline)
        self._progress = progress or (lambda _: None)
        self._step = step or (lambda _, __: None)
        self._first_answer: tuple[datetime, datetime] | None = None

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def probe(self, seconds: float = REQUEST_SECONDS) -> None:
        """Ask for the version. Raises CollectError when the API server cannot be used at all, or not in that time."""
        answer = self._client.get("/version", timeout=seconds)
        moment = self._met(answer)
        self._barred = answer.status == 403
        if answer.status == 401:
            end = self.target.credentials.expired(moment)
            why = f"the client certificate has expired on {end:%Y-%m-%d}; renew it" if end else "log in again"
            raise AccessDenied(
                f"{self.target.server} does not accept the credentials of user {self.target.user or '(none)'!r} (401 "
                f"Unauthorized): {why}, or choose another --context"
            )

    def narrow(self, fallback: str = "") -> None:
        """Read one namespace only (``fallback``, or the context's) where this user may not list pods in all of them.

        Raises CollectError for a server that has no store: it gives its version, and hangs or fails over the first pod;
        and NoSuchNamespace, for a list in a namespace that is not there is as empty as one in which all is well.
        """
        inside = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        path = f"/api/v1{inside}/pods?limit=1"
        answer = self._first(path)
        if answer.status == 403 and self._barred:
            answer = self._once_it_knows(path, answer)
        if answer.status >= 500 and b"etcd" in bytes(answer.body[:65536]):
            raise Unreachable(f"{self.target.server} answers, but not from its store: {_refusal(answer, 'list pods')}")
        if answer.status == 404 or (answer.status == 200 and _is_no_list(answer)):
            said = "404 Not Found" if answer.status == 404 else "something that is no list"
            raise BadAnswer(
                f"{self.target.server} is no Kubernetes API server: it answers {said} when asked for pods; is the "
                "server URL right, with its path?"
            )
        if answer.status == 403 and not self.namespace:
            self._refused = self._who()
            self.namespace = fallback or self.target.namespace or "default"
            self.notes.append(
                f"this user may not list pods in all namespaces: only namespace {self.namespace} is read "
                "(-n NAMESPACE for another)"
            )
        elif answer.status == 200 and _is_empty(answer):
            self._exists() if self.namespace else self._holds()

    def _once_it_knows(self, path: str, answer: Response) -> Response:
        """Ask again, for a server that refuses even its version may have started a moment ago."""
        until = self._deadline.within(_ROLES_SECONDS)
        for _ in range(int(_ROLES_SECONDS / _ROLES_PAUSE)):
            if answer.status != 403 or until.remaining() < _ROLES_PAUSE:
                break
            self._pause(_ROLES_PAUSE)
            answer = self._first(path)
            self._met(answer)
        return answer

    def _met(self, answer: Response) -> datetime:
        """Keep what time it is at the server, beside our own, and return it."""
        now = datetime.now(UTC)
        self._first_answer = (answer.date or now, now)
        return self._first_answer[0]

    def _first(self, path: str) -> Response:
        """The first answer out of the store. Raises CollectError, early where the server knows that it has none."""
        said: queue.SimpleQueue[Response | CollectError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                said.put(self._client.get(path, timeout=FIRST_SECONDS))
            except CollectError as exc:
                said.put(exc)

        def doubt() -> None:
            if self._fails(STORE_CHECK):
                place = f"{self.target.server} answers, but not from its store"
                said.put(Unreachable(f"{place}: its own check of etcd fails ({STORE_CHECK})"))

        threading.Thread(target=ask, daemon=True, name="kdiag-first").start()
        try:
            found = said.get(timeout=_PROMPT_SECONDS)
        except queue.Empty:
            threading.Thread(target=doubt, daemon=True, name="kdiag-ready").start()
            found = said.get()
        if isinstance(found, CollectError):
            raise found
        return found

    def _fails(self, path: str) -> bool:
        """Whether the server says that this check of its own fails; False when it says nothing of it."""
        try:
            return self._client.get(path, accept="*/*", timeout=FIRST_SECONDS).status == 500
        except CollectError:
            return False

    def _who(self) -> tuple[str, tuple[str, ...]]:
        """Who we are to the server, and in which groups; nobody where it does not say."""
        try:
            kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            answer = self._client.post_review(_WHO, kind, timeout=FIRST_SECONDS)
        except CollectError:
            return "", ()
        status = _told(answer).get("status")
        info = status.get("userInfo") if isinstance(status, dict) else None
        if answer.status not in (200, 201) or not isinstance(info, dict):
            return "", ()
        name, groups = info.get("username"), info.get("groups")
        return (
            clean_line(name) if isinstance(name, str) else "",
            tuple(clean_line(g) for g in groups[:50] if isinstance(g, str)) if isinstance(groups, list) else (),
        )

    def _holds(self) -> None:
        """Raises BadAnswer for a server without pods that has no namespace either; who may not ask goes on.

        An API server makes default and kube-system itself, when it starts.
        """
        answer = self._client.get("/api/v1/namespaces?limit=1", timeout=FIRST_SECONDS)
        if answer.status == 200 and _is_empty(answer):
            raise BadAnswer(
                f"{self.target.server} has no pod and no namespace, not even default: what answers there is no cluster "
                "that could be examined; is the server URL right?"
            )

    def _exists(self) -> None:
        """Raises NoSuchNamespace where the server says so; who may not ask goes on."""
        answer = self._client.get(f"/api/v1/namespaces/{quote(self.namespace, safe='')}", timeout=FIRST_SECONDS)
        if answer.status == 200 and "items" in _told(answer):
            raise BadAnswer(
                f"{self.target.server} answers with a list when asked for namespace {self.namespace}: it is no cluster "
                "that could be examined; is the server URL right?"
            )
        if answer.status != 404 or _told(answer).get("reason") != "NotFound":
            return
        everything = self._client.get(f"/api/v1/namespaces?limit={PAGE}", timeout=FIRST_SECONDS)
        close = nearest(self.namespace, _names(everything))
        hint = f"; did you mean {clean_line(close)}?" if close else ""
        raise NoSuchNamespace(f"namespace {self.namespace} does not exist on {self.target.server}{hint}")

    def run_record(self) -> Observation:
        """What is known of the run itself."""
        now = datetime.now(UTC)
        server, ours = self._first_answer or (now, now)
        skew = round((ours - server).total_seconds(), 1)
        record = {
            "taken": server.isoformat(),
            "server": self.target.server,
            "context": self.target.context,
            "namespace": self.namespace,
            "skew": skew if abs(skew) > 2 else 0.0,
        }
        user, groups = self._refused
        if user:
            record |= {"refused_user": user, "refused_groups": list(groups)}
        return Observation("api", "run", body=json.dumps(record).encode())

    def observe(self, sources: Iterable[Source], emit: Emit) -> None:
        """Read all of these, several at a time, and emit each page as it arrives, in the thread that read it."""
        jobs: list[Callable[[Emit], None]] = []
        wanted = sorted(
            (s for s in sources if isinstance(s, ApiList | ApiGet)),
            key=lambda s: (_FIRST.index(s.key) if s.key in _FIRST else len(_FIRST), s.key),
        )
        for source in wanted:
            if isinstance(source, ApiGet):
                jobs.append(lambda out, s=source: self._get(s, out))  # type: ignore[misc]
            else:
                jobs.append(lambda out, s=source: self._list(s, out))  # type: ignore[misc]
        unfinished = self._run(jobs, [s.key for s in wanted], emit)
        for key in unfinished:
            emit(Observation("api", key, scope=self.namespace, error=self._late()))

    def logs(self, requests: Iterable[tuple[str, str, str]], emit: Emit) -> None:
        """Read logs: each an observation's name, a URL and the node that has it, which is asked until it is silent."""
        wanted = list(requests)
        silent: set[str] = set()
        jobs: list[Callable[[Emit], None]] = [
            lambda out, n=name, u=url, host=node: self._log(n, u, host, silent, out)  # type: ignore[misc]
            for name, url, node in wanted
        ]
        for name in self._run(jobs, [name for name, _, _ in wanted], emit):
            emit(Observation("api", "log", name=name, error=self._late()))

    def _late(self) -> str:
        return f"not read within the {self._deadline.seconds:g} s of this run"

    def _run(self, jobs: list[Callable[[Emit], None]], names: list[str], emit: Emit) -> list[str]:
        """Run the jobs on a few daemon threads; give the names of those that the deadline cut."""
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(jobs)):
            todo.put(number)
        done: set[int] = set()
        failures: list[BaseException] = []
        lock = threading.Lock()
        finished = threading.Condition(lock)
        closed = False

        def guarded(seen: Observation) -> None:
            if not closed:
                emit(seen)

        def work() -> None:
            while True:
                try:
                    number = todo.get_nowait()
                except queue.Empty:
                    self._client.release()
                    return
                self._step(names[number], False)
                try:
                    jobs[number](guarded)
                except BaseException as exc:  # a bug in a parser must reach the user, not die in a thread
                    with lock:
                        failures.append(exc)
                self._step(names[number], True)
                with lock:
                    done.add(number)
                    self._progress(f"{len(done)} of {len(jobs)} read: {names[number]}")
                    finished.notify()

        for _ in range(min(WORKERS, len(jobs))):
            threading.Thread(target=work, daemon=True, name="kdiag-read").start()
        with lock:
            while len(done) < len(jobs) and self._deadline.remaining() > 0:
                # In slices, so that Ctrl-C is answered at once on every platform.
                finished.wait(min(0.2, self._deadline.remaining()))
            closed = True
            if failures:
                raise failures[0]
            return [name for number, name in enumerate(names) if number not in done]

    def _get(self, source: ApiGet, emit: Emit) -> None:
        try:
            answer = self._client.get(source.url, accept="*/*")
        except CollectError as exc:
            emit(Observation("api", source.key, error=str(exc)))
            return
        if answer.status == 200 or (answer.status == 500 and source.url.startswith("/readyz")):
            emit(Observation("api", source.key, body=bytes(answer.body)))
        else:
            emit(
                Observation("api", source.key, error=_refusal(answer, f"GET {source.url}"), absent=answer.status == 404)
            )

    def _log(self, name: str, url: str, node: str, silent: set[str], emit: Emit) -> None:
        if node and node in silent:
            emit(Observation("api", "log", name=name, error=f"not asked for: the kubelet of {node} gave no other log"))
            return
        bound = Deadline(self._log_seconds)
        try:
            answer = self._client.get(url, accept="*/*", limit_bytes=1 << 20, timeout=self._log_seconds)
        except CollectError as exc:
            if not bound.remaining():
                silent.add(node)
            emit(Observation("api", "log", name=name, error=str(exc)))
            return
        if answer.status == 200:
            emit(Observation("api", "log", name=name, body=bytes(answer.body)))
        elif answer.status not in (400, 404):
            # 400 and 404: the container has no such log (any more); nothing is hidden by that.
            emit(Observation("api", "log", name=name, error=_refusal(answer, "read the log")))

    def _list(self, source: ApiList, emit: Emit) -> None:
        for namespace in source.namespaces or (self.namespace,):
            self._list_in(source, namespace, emit)

    def _list_in(self, source: ApiList, namespace: str, emit: Emit) -> None:
        scope = namespace if source.namespaced and not source.namespaces else ""
        path = source.path(quote(namespace, safe=""))
        token, restarted, read = "", False, 0
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            query = {"limit": str(PAGE), **({"continue": token} if token else {})}
            try:
                answer = self._client.get(f"{path}?{urlencode(query)}")
            except CollectError as exc:
                part = f" after {read:,} objects" if read else ""
                emit(Observation("api", source.key, scope=scope, error=f"{exc}{part}"))
                return
            if answer.status == 410 and token:
                token, again = _after_expiry(answer), restarted
                if token:
                    continue
                if again:
                    emit(Observation("api", source.key, scope=scope, error="the list expired twice while it was read"))
                    return
                restarted, read = True, 0
                emit(Observation("api", source.key, scope=scope, restart=True))
                continue
            if answer.status != 200:
                where = f" in namespace {namespace}" if namespace and source.namespaced else ""
                reason = _refusal(answer, f"list {source.resource} of {source.group_version}{where}")
                emit(Observation("api", source.key, scope=scope, error=reason, absent=answer.status == 404))
                return
            token = continue_token(answer.body)
            emit(Observation("api", source.key, scope=scope, body=answer.body))
            read += PAGE
            if not token:
                return
            if source.key == "events" and read >= MOST_EVENTS:
                emit(Observation("api", source.key, scope=scope, error=f"only the first {read:,} events were read"))
                return
            if token in seen:
                emit(
                    Observation("api", source.key, scope=scope, error="the server gives the same page again and again")
                )
                return
            seen.add(token)
        emit(Observation("api", source.key, scope=scope, error=f"more than {_MOST_PAGES:,} pages"))


def continue_token(body: memoryview | bytes) -> str:
    """The token of the next page; it stands before the objects in what an API server writes."""
    head = bytes(body[:4096])
    start = head.find(b'"items"')
    usual = start >= 0 and b'"metadata"' in head[:start]
    match = _CONTINUE.search(head if start < 0 else head[:start])
    if match is None and start >= 0 and not usual:
        # Not an API server's own order: the metadata comes after the objects.
        match = _CONTINUE.search(bytes(body[-4096:]))
    try:
        if match is not None:
            return str(json.loads(match[1]))
        # Neither at the one end nor at the other: it is longer, or it stands between.
        return "" if usual or len(body) <= len(head) else decoder(_List).decode(body).metadata.continue_
    except (ValueError, RecursionError):
        return ""


def _after_expiry(answer: Response) -> str:
    """The token with which an expired list goes on, from the newest state; empty when there is none."""
    try:
        status = json.loads(bytes(answer.body))
        token = status["metadata"]["continue"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return token if isinstance(token, str) else ""


_ASKED = re.compile(r'\b(?:Get|Post) "https?://[^"]*": ')


def _told(answer: Response) -> dict[str, object]:
    """The object that was answered; empty for what is none."""
    try:
        told = json.loads(bytes(answer.body))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _names(answer: Response) -> list[str]:
    """The names of the objects of a list."""
    items = _told(answer).get("items")
    found = (one.get("metadata") for one in items if isinstance(one, dict)) if isinstance(items, list) else ()
    return [meta["name"] for meta in found if isinstance(meta, dict) and isinstance(meta.get("name"), str)]


def _is_no_list(answer: Response) -> bool:
    try:
        told = json.loads(bytes(answer.body))
    except (ValueError, RecursionError):
        return False  # cut short or garbled, which the reader of the list says better
    return not isinstance(told, dict) or ("items" not in told and told.get("kind") != "PodList")


def _is_empty(answer: Response) -> bool:
    return len(answer.body) < 4096 and not _told(answer).get("items")


def _refusal(answer: Response, what: str) -> str:
    """Why a request was refused, in a line."""
    message = ""
    try:
        status = json.loads(bytes(answer.body[:65536]))
        if isinstance(status, dict) and isinstance(status.get("message"), str):
            message = status["message"]
    except (ValueError, RecursionError):
        message = bytes(answer.body[:200]).decode("utf-8", "replace")
    # Of a request that the server makes in its turn, the URL is as long as it tells nothing.
    text = shorten(_ASKED.sub("", clean_line(message)), 200)
    match answer.status:
        case 401:
            return f"401 Unauthorized: may not {what} with these credentials"
        case 403:
            return f"403 Forbidden: may not {what}"
        case 404:
            return f"404 Not Found: cannot {what}"
    return f"{answer.status}: cannot {what}{f': {text}' if text else ''}"


__all__ = ["AccessDenied", "ApiSource", "BadAnswer", "Unreachable", "continue_token"]
