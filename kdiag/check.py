"""All that a check file imports from the engine: the decorator and the values that a check yields."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kdiag.consequences import API_SERVER_FAILS as API_SERVER_FAILS
from kdiag.consequences import CLAIM_UNBOUND as CLAIM_UNBOUND
from kdiag.consequences import CLIENT_FAILS as CLIENT_FAILS
from kdiag.consequences import COMPONENT_FAILS as COMPONENT_FAILS
from kdiag.consequences import DEPENDENT_FAILS as DEPENDENT_FAILS
from kdiag.consequences import DISK_UNUSABLE as DISK_UNUSABLE
from kdiag.consequences import ETCD_FAILS as ETCD_FAILS
from kdiag.consequences import HOST_EXHAUSTED as HOST_EXHAUSTED
from kdiag.consequences import KUBELET_DOWN as KUBELET_DOWN
from kdiag.consequences import NO_POD_NETWORK as NO_POD_NETWORK
from kdiag.consequences import PODS_REFUSED as PODS_REFUSED
from kdiag.consequences import RUNTIME_DOWN as RUNTIME_DOWN
from kdiag.consequences import SERVICE_DEAD as SERVICE_DEAD
from kdiag.consequences import STATIC_POD_ABSENT as STATIC_POD_ABSENT
from kdiag.consequences import TRAFFIC_LOST as TRAFFIC_LOST
from kdiag.consequences import WEBHOOK_REFUSES as WEBHOOK_REFUSES
from kdiag.errors import CheckDefinitionError
from kdiag.facts.base import Fact
from kdiag.model.result import CLUSTER as CLUSTER
from kdiag.model.result import CONTROLLERS as CONTROLLERS
from kdiag.model.result import Evidence as Evidence
from kdiag.model.result import Finding as Finding
from kdiag.model.result import Gap as Gap
from kdiag.model.result import Ref as Ref
from kdiag.model.result import Severity as Severity
from kdiag.model.result import Shared as Shared
from kdiag.model.result import controller as controller
from kdiag.model.result import present as present
from kdiag.model.text import PLAIN
from kdiag.model.text import duration as duration
from kdiag.model.text import go_seconds as go_seconds
from kdiag.model.text import listing as listing
from kdiag.model.text import middle as middle
from kdiag.model.text import nearest as nearest
from kdiag.model.text import plural as plural
from kdiag.model.text import shorten as shorten
from kdiag.model.text import ssh as ssh
from kdiag.model.text import whole as whole


class Layer(enum.IntEnum):
    """Where a fault sits: what is lower breaks what is higher. Ranks causes where no edge decides."""

    HOST = 0
    ETCD = 1
    APISERVER = 2
    CONTROLLERS = 3
    NODE = 4
    CNI = 5
    PROXY = 6
    DNS = 7
    WEBHOOK = 8
    ADMISSION = 9
    VOLUME = 10
    SCHEDULING = 11
    POD = 12
    DEPENDENCY = 13
    ROLLOUT = 14
    ENDPOINTS = 15
    INGRESS = 16


@dataclass(frozen=True, slots=True)
class Skip:
    """Yielded by a check that does not apply to this cluster, and why."""

    reason: str


Yield = Finding | Gap | Skip
Run = Callable[..., Iterable[Yield]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check: its function and what there is to know about it. The id is the file's place in the library."""

    id: str
    title: str
    summary: str
    severity: Severity
    layer: Layer
    explains: tuple[str, ...]
    explains_here: tuple[str, ...]
    tags: tuple[str, ...]
    namespaces: tuple[str, ...]
    holds_deletion: bool = False
    run: Run
    needs: dict[str, type[Fact]]
    wants: dict[str, type[Fact]]

    @property
    def group(self) -> str:
        """The folder that it is in."""
        return self.id.partition("/")[0]

    @property
    def risk(self) -> bool:
        """Whether it finds what may go wrong, and not what is wrong."""
        return self.severity is Severity.RISK


def check(
    *,
    title: str,
    severity: Severity,
    layer: Layer,
    explains: Sequence[str] = (),
    explains_here: Sequence[str] = (),
    tags: Sequence[str] = (),
    namespaces: Sequence[str] = (),
    holds_deletion: bool = False,
) -> Callable[[Run], Check]:
    """Turn a pure function over facts into a check.

    The parameters' annotations say what the check reads: ``nodes: Nodes`` is required (without it, or with a gap in
    it, the check is unknown), ``events: Events | None`` is optional evidence.

    ``explains`` names the checks whose findings this one causes directly; what those explain follows.
    ``explains_here`` names those that it causes on its own object alone: a client that cannot reach its server crashes,
    and that says nothing of the server's crash. ``namespaces`` are those that it reads: when the user asked for another
    one it is skipped. ``holds_deletion``: it tells what keeps an object from being deleted. Only the findings of such a
    check are heard in a namespace that is being deleted: what else breaks there is not missed.

    Raises CheckDefinitionError for a malformed check.
    """

    def wrap(run: Run) -> Check:
        group, name = run.__module__.split(".")[-2:]
        needs: dict[str, type[Fact]] = {}
        wants: dict[str, type[Fact]] = {}
        hints = typing.get_type_hints(run)
        hints.pop("return", None)
        for param, hint in hints.items():
            options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            facts = [t for t in options if isinstance(t, type) and issubclass(t, Fact)]
            if len(facts) != 1:
                raise CheckDefinitionError(f"{run.__module__}: {param}: {hint} is not a fact")
            (wants if type(None) in options else needs)[param] = facts[0]
        if not needs:
            raise CheckDefinitionError(f"{run.__module__}: a check needs at least one fact")
        doc = inspect.getdoc(inspect.getmodule(run)) or ""
        return Check(
            id=f"{group}/{name}",
            title=title,
            summary=doc.partition("\n")[0],
            severity=severity,
            layer=layer,
            explains=tuple(explains),
            explains_here=tuple(explains_here),
            tags=tuple(tags),
            namespaces=tuple(namespaces),
            holds_deletion=holds_deletion,
            run=run,
            needs=needs,
            wants=wants,
        )

    return wrap


def kubectl(*words: str, namespace: str = "") -> str:
    """A kubectl command as a person types it, quoted for a shell."""
    parts = ("kubectl", "-n", namespace, *words) if namespace else ("kubectl", *words)
    line = " ".join(parts)
    if line.count(" ") == len(parts) - 1 and "" not in parts and PLAIN.fullmatch(line):
        return line  # as nearly all are: one look in place of one for each word
    import shlex

    return shlex.join(parts)
