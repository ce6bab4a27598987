"""Where a walk begins, as a user writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kdiag.engine.intake import Facts
from kdiag.errors import UsageError
from kdiag.facts import Namespaces
from kdiag.model.result import Ref

_KINDS = {
    "service": "Service",
    "services": "Service",
    "svc": "Service",
    "ingress": "Ingress",
    "ingresses": "Ingress",
    "ing": "Ingress",
    "pod": "Pod",
    "pods": "Pod",
    "po": "Pod",
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a walk begins. ``port`` is a Service's port by number or name, ``path`` an Ingress's ``host/path``."""

    kind: str
    namespace: str
    name: str
    port: str = ""
    path: str = ""
    default: str = "default"

    @property
    def ref(self) -> Ref:
        """The object."""
        return Ref(self.kind, self.name, self.namespace)

    def meant(self, facts: Facts) -> Start:
        """The same; of ``svc/web``, where no namespace has that name, the Service in the namespace that is default."""
        kind = _KINDS.get(self.namespace)
        namespaces = facts.get(Namespaces)
        if not kind or self.kind != "Service" or not namespaces or namespaces.gaps or namespaces.get(self.namespace):
            return self
        return replace(self, kind=kind, namespace=self.default)

    @classmethod
    def parse(cls, text: str, namespace: str = "", default: str = "default") -> Start:
        """Read ``shop/web:80``, ``web`` with a namespace, ``ingress/shop/web/host/path`` or ``pod/shop/web-1``.

        Raises UsageError for anything else.
        """
        words = text.split("/")
        kind = "Service"
        # A namespace may be called as a kind is: two words are a kind only where the namespace is known.
        if words[0].lower() in _KINDS and (len(words) > 2 or namespace):
            kind = _KINDS[words.pop(0).lower()]
        if namespace:
            inside = namespace
            if len(words) > 1 and words[0] == namespace:
                words.pop(0)
        else:
            inside = words.pop(0) if len(words) > 1 else default
        name, *path = words
        port = ""
        if kind == "Service":
            name, _, port = name.partition(":")
        if path and kind != "Ingress":
            raise UsageError(f"{text!r} names no {kind}: write NAMESPACE/NAME, or NAME with -n NAMESPACE")
        for word in (inside, name):
            if not _NAME.fullmatch(word) or len(word) > 253:
                raise UsageError(
                    f"{text!r} is nothing to trace ({word!r} cannot be a name): write NAMESPACE/SERVICE[:PORT], "
                    "ingress/NAMESPACE/NAME or pod/NAMESPACE/NAME"
                )
        if port and not re.fullmatch(r"[a-zA-Z0-9-]{1,63}", port):
            raise UsageError(f"{port!r} is no port: write a number or the name of a port of the Service")
        return cls(kind=kind, namespace=inside, name=name, port=port, path="/".join(path), default=namespace or default)
