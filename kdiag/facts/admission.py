"""What stands in the way of API calls: webhooks, aggregated APIs, certificate requests."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, ClassVar

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.certificates import Certificate, parse_pem
from kdiag.facts.meta import Condition, LabelSelector, Lean, Object, TracedMeta, condition

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_MANY = 20  # certificates of one bundle that are looked at


class ServiceRef(Lean, frozen=True, gc=False):
    """A Service that the API server calls."""

    name: str = ""
    namespace: str = ""
    port: int = 443
    path: str = ""


class ClientConfig(Lean, frozen=True, gc=False):
    """How the API server reaches a webhook."""

    service: ServiceRef | None = None
    url: str = ""
    ca_bundle: str = ""

    @property
    def authorities(self) -> tuple[Certificate, ...]:
        """The certificates of its caBundle that can be read: they are public."""
        try:
            text = base64.b64decode(self.ca_bundle).decode(errors="replace")
        except (binascii.Error, ValueError):
            return ()
        found = (parse_pem(pem, "caBundle") for pem in _PEM.findall(text)[:_MANY])
        return tuple(c for c in found if isinstance(c, Certificate))


class MatchCondition(Lean, frozen=True, gc=False):
    """What a call has to be like for a webhook to be asked."""

    name: str = ""
    expression: str = ""


class WebhookRule(Lean, frozen=True, gc=False):
    """Which calls a webhook sees."""

    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    scope: str = "*"


class Webhook(Lean, frozen=True, gc=False):
    """One webhook of a configuration."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()
    failure_policy: str = "Fail"
    timeout_seconds: int = 10
    rules: tuple[WebhookRule, ...] = ()
    namespace_selector: LabelSelector | None = None
    match_conditions: tuple[MatchCondition, ...] = ()


class ValidatingWebhookConfiguration(Object, frozen=True, gc=False):
    """Webhooks that may refuse."""

    metadata: TracedMeta = TracedMeta()
    webhooks: tuple[Webhook, ...] = ()


class MutatingWebhookConfiguration(Object, frozen=True, gc=False):
    """Webhooks that may change."""

    metadata: TracedMeta = TracedMeta()
    webhooks: tuple[Webhook, ...] = ()


_GROUP = "admissionregistration.k8s.io/v1"


class ValidatingWebhooks(Objects[ValidatingWebhookConfiguration]):
    """Every ValidatingWebhookConfiguration."""

    item: ClassVar[type[Any]] = ValidatingWebhookConfiguration
    spare: ClassVar[bool] = True
    sources = (ApiList("validatingwebhookconfigurations", _GROUP, "validatingwebhookconfigurations", namespaced=False),)


class MutatingWebhooks(Objects[MutatingWebhookConfiguration]):
    """Every MutatingWebhookConfiguration."""

    item: ClassVar[type[Any]] = MutatingWebhookConfiguration
    spare: ClassVar[bool] = True
    sources = (ApiList("mutatingwebhookconfigurations", _GROUP, "mutatingwebhookconfigurations", namespaced=False),)


class _APIServiceSpec(Lean, frozen=True, gc=False):
    service: ServiceRef | None = None
    group: str = ""
    version: str = ""


class _Conditions(Lean, frozen=True, gc=False):
    conditions: tuple[Condition, ...] = ()


class APIService(Object, frozen=True, gc=False):
    """An API group that another server answers."""

    spec: _APIServiceSpec = _APIServiceSpec()
    status: _Conditions = _Conditions()

    @property
    def available(self) -> Condition | None:
        """Its Available condition."""
        return condition(self.status.conditions, "Available")


class APIServices(Objects[APIService]):
    """Every APIService."""

    item: ClassVar[type[Any]] = APIService
    sources = (ApiList("apiservices", "apiregistration.k8s.io/v1", "apiservices", namespaced=False),)


class _RequestSpec(Lean, frozen=True, gc=False):
    signer_name: str = ""
    username: str = ""


class CertificateSigningRequest(Object, frozen=True, gc=False):
    """A certificate request."""

    spec: _RequestSpec = _RequestSpec()
    status: _Conditions = _Conditions()

    @property
    def pending(self) -> bool:
        """Whether nobody has approved or denied it."""
        return not any(c.type in ("Approved", "Denied", "Failed") for c in self.status.conditions)


class CertificateRequests(Objects[CertificateSigningRequest]):
    """Every CertificateSigningRequest."""

    item: ClassVar[type[Any]] = CertificateSigningRequest
    sources = (
        ApiList("certificatesigningrequests", "certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False),
    )
