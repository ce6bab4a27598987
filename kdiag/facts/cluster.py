"""The run itself, and what the API server says of its own health."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from kdiag.facts.base import ApiGet, Builder, Fact, RunInfo
from kdiag.facts.meta import Time
from kdiag.facts.wire import clean_json, decoder
from kdiag.model.observation import Observation
from kdiag.model.result import Gap
from kdiag.model.text import clean, clean_line, shorten

#: The group of kubeadm's admin.conf since 1.29, and the binding of the same name that makes it administrators.
ADMINISTRATORS = "kubeadm:cluster-admins"

#: Seconds.
_FRESH = 6 * 3600.0


class _Run(msgspec.Struct, gc=False):
    taken: Time
    server: str = ""
    context: str = ""
    namespace: str = ""
    version: str = ""
    skew: float = 0.0
    dead: str = ""
    refused_user: str = ""
    refused_groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cluster(Fact):
    """When and of what this was taken.

    ``taken`` is the API server's own clock; ``skew`` is how many seconds ours is ahead of it. ``dead`` is why the API
    server could not be asked, when the nodes were read in its place. ``refused_user`` is who we are, with its groups,
    where the API server refuses us the pods of all namespaces and tells whom it takes us for.
    """

    sources = (RunInfo(),)
    taken: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    server: str = ""
    context: str = ""
    namespace: str = ""
    skew: float = 0.0
    dead: str = ""
    refused_user: str = ""
    refused_groups: tuple[str, ...] = ()

    @classmethod
    def builder(cls) -> Builder:
        """Read the run's own record."""
        return _ClusterBuilder()

    def age(self, moment: datetime | None) -> float:
        """Seconds from ``moment`` until this was taken; 0 when the moment is not known."""
        return (self.taken - moment).total_seconds() if moment else 0.0

    def fresh(self, moment: datetime | None) -> bool:
        """Whether what was made then is so new that what looks wrong in it is a mistake, and not something unused."""
        return self.age(moment) < _FRESH


class _ClusterBuilder:
    def __init__(self) -> None:
        self._fact: Cluster | None = None
        self._gaps: list[Gap] = []

    def feed(self, seen: Observation) -> None:
        if seen.error:
            self._gaps.append(Gap(seen.key, seen.error))
            return
        try:
            run: _Run = decoder(_Run).decode(clean_json(bytes(seen.body)))
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            self._gaps.append(Gap("run", f"the record of the run cannot be read: {clean_line(str(exc))}"))
            return
        self._fact = Cluster(
            taken=run.taken,
            server=run.server,
            context=run.context,
            namespace=run.namespace,
            skew=run.skew,
            dead=clean_line(run.dead),
            refused_user=clean_line(run.refused_user),
            refused_groups=tuple(clean_line(g) for g in run.refused_groups),
        )

    def finish(self) -> Fact:
        if self._fact is None:
            return Cluster(gaps=tuple(self._gaps) or (Gap("run", "when this was taken is not known"),))
        return self._fact


class _VersionInfo(msgspec.Struct, rename="camel", gc=False):
    git_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Version(Fact):
    """The API server's version: (1, 36) and ``v1.36.3``."""

    sources = (ApiGet("version", "/version"),)
    text: str = ""

    @property
    def minor(self) -> int | None:
        """The minor version; None when it does not say."""
        match = re.match(r"v?1\.(\d+)", self.text)
        return int(match[1]) if match else None

    @classmethod
    def builder(cls) -> Builder:
        """Read ``/version``."""
        return _VersionBuilder()


class _VersionBuilder:
    def __init__(self) -> None:
        self._text = ""
        self._gaps: list[Gap] = []

    def feed(self, seen: Observation) -> None:
        if seen.error:
            self._gaps.append(Gap(seen.key, seen.error))
            return
        try:
            self._text = decoder(_VersionInfo).decode(clean_json(bytes(seen.body))).git_version
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            self._gaps.append(Gap("version", f"the answer cannot be read: {clean_line(str(exc))}"))

    def finish(self) -> Fact:
        return Version(text=shorten(clean_line(self._text), 60), gaps=tuple(self._gaps))


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One line of ``/readyz?verbose``."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Health(Fact):
    """What the API server's ``/readyz?verbose`` says, check by check."""

    sources = (ApiGet("readyz", "/readyz?verbose"),)
    checks: tuple[HealthCheck, ...] = ()

    @classmethod
    def builder(cls) -> Builder:
        """Read ``/readyz?verbose``; it answers 500 with the same text when it is not ready."""
        return _HealthBuilder()


class _HealthBuilder:
    def __init__(self) -> None:
        self._checks: list[HealthCheck] = []
        self._gaps: list[Gap] = []

    def feed(self, seen: Observation) -> None:
        if seen.error:
            self._gaps.append(Gap(seen.key, seen.error))
            return
        for line in clean(bytes(seen.body).decode("utf-8", "replace")).splitlines():
            match = re.match(r"\[([+-])\](\S+)\s?(.*)", line)
            if match:
                self._checks.append(HealthCheck(match[2], match[1] == "+", match[3]))
        if not self._checks:
            self._gaps.append(Gap("readyz", "the answer names no check"))

    def finish(self) -> Fact:
        return Health(checks=tuple(self._checks), gaps=tuple(self._gaps))
