"""What could not be seen, and what is not there."""

from __future__ import annotations

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.facts import EndpointSlices, Ingresses, Namespaces, Pods, Services
from kdiag.model.result import Ref
from kdiag.model.step import State, Step
from kdiag.model.text import listing, nearest


class Sight:
    """Tells an object that does not exist from one that nobody could see."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def blind(self, kind: type[Services | EndpointSlices | Pods | Ingresses], namespace: str) -> str:
        """Why objects of a kind in a namespace could not be seen; empty when they could."""
        fact = self._facts.get(kind)
        if fact is None:
            return f"{kind.__name__} were not collected"
        if fact.gaps:
            return str(fact.gaps[0])
        if fact.scope and fact.scope != namespace:
            return f"only namespace {fact.scope} was read"
        return ""

    def absent(self, ref: Ref, kind: type[Services | Pods | Ingresses], level: int) -> Step:
        """The hop of an object that was not found: not there, or not seen."""
        command = kubectl("get", ref.kind.lower(), ref.name, namespace=ref.namespace)
        if reason := self.blind(kind, ref.namespace):
            return Step(state=State.UNKNOWN, title=str(ref), detail=reason, command=command, ref=ref, level=level)
        return Step(
            state=State.BROKEN,
            title=str(ref),
            detail=f"does not exist{self.near(ref, kind)}",
            command=kubectl("get", f"{ref.kind.lower()}s" if ref.kind != "Ingress" else "ingresses", "-A"),
            ref=ref,
            level=level,
        )

    def near(self, ref: Ref, kind: type[Services | Pods | Ingresses]) -> str:
        """What was probably meant: the name in another namespace, a near name, a near namespace."""
        namespaces = self._facts.get(Namespaces)
        fact = self._facts.get(kind)
        if fact is None:
            return ""
        where = ""
        if namespaces is not None and not namespaces.gaps and not namespaces.get(ref.namespace):
            close = nearest(ref.namespace, [n.name for n in namespaces.items])
            where = f": there is no namespace {ref.namespace}" + (f" ({close}?)" if close else "")
        elsewhere = sorted(item.namespace for item in fact.items if item.name == ref.name)
        if elsewhere:
            return f"{where}; {ref.kind} {ref.name} is in namespace {listing(elsewhere)}"
        close = nearest(ref.name, [item.name for item in fact.within(ref.namespace)])
        return where + (f"; did you mean {ref.kind} {ref.namespace}/{close}?" if close else "")
