"""The legacy auth providers of a kubeconfig (OIDC): the official client logs in for them."""

from __future__ import annotations

import importlib
import ssl
import threading
from collections.abc import Mapping
from types import SimpleNamespace

from kdiag.collect.execplugin import Ticket
from kdiag.collect.fields import Fields, in_seconds, one_line
from kdiag.errors import AccessDenied, KdiagError

#: What took the place of a provider that only old kubectls know.
_REMOVED = {"gcp": "gke-gcloud-auth-plugin", "azure": "kubelogin"}


class Provider:
    """The auth-provider section of a user."""

    def __init__(self, section: Fields, user: str) -> None:
        self._section = section
        self._user = user
        # Its own copy: the client renews tokens in place, and a refresh token may be good for one use only.
        self._entry = _deep_copy(section.values)

    @property
    def _name(self) -> str:
        return f"{self._user}: auth-provider {one_line(self._section.text('name'), 40)}"

    def ask(self, seconds: float) -> Ticket:
        """Let the official client log in, on a thread that may hang alone: it sets no time limit of its own."""
        name = self._name
        answer: list[str | BaseException] = []

        def ask() -> None:
            try:
                answer.append(self._token())
            # Anything may come out of six libraries and an identity provider; it is told in one line below.
            except BaseException as exc:
                answer.append(exc)

        thread = threading.Thread(target=ask, name="kdiag-auth-provider", daemon=True)
        thread.start()
        thread.join(seconds)
        match answer:
            case []:
                raise AccessDenied(f"{name} did not answer within {in_seconds(seconds)}")
            case [str(token)] if token:
                return Ticket(token=token)
            case [str()]:
                raise AccessDenied(f"{name} gave no token; log in again, or use an exec plugin instead")
            case [KdiagError() as error]:
                raise error
            case [error]:
                reason = one_line(f"{type(error).__name__}: {error}")
                if plugin := _REMOVED.get(self._section.text("name")):
                    reason = f"kubectl knows it no more since 1.26; use the exec plugin {plugin}"
                raise AccessDenied(f"{name} failed: {reason}") from (error if isinstance(error, Exception) else None)
            case _:
                raise AccessDenied(f"{name} answered twice")

    def _token(self) -> str:
        entry = self._entry
        if not isinstance(entry, dict):
            return ""
        settings = entry.get("config")
        if isinstance(settings, dict) and entry.get("name") == "oidc":
            _trust_system_authorities(settings)
        configuration = SimpleNamespace(api_key={})
        importlib.import_module("kubernetes.config").load_kube_config_from_dict(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "kdiag",
                "contexts": [{"name": "kdiag", "context": {"cluster": "kdiag", "user": "kdiag"}}],
                "clusters": [{"name": "kdiag", "cluster": {"server": "https://127.0.0.1"}}],
                "users": [{"name": "kdiag", "user": {"auth-provider": entry}}],
            },
            client_configuration=configuration,
            persist_config=False,
        )
        keys = configuration.api_key
        header = str(keys.get("BearerToken") or keys.get("authorization") or "")
        return header.removeprefix("Bearer ").strip()


def _deep_copy(value: object) -> object:
    """Plain dicts and lists, to be changed by someone else; an alias that contains itself is cut at a depth of 20."""

    def copy(item: object, depth: int) -> object:
        if depth > 20:
            return None
        if isinstance(item, Mapping):
            return {str(key): copy(below, depth + 1) for key, below in item.items()}
        if isinstance(item, list | tuple):
            return [copy(below, depth + 1) for below in item]
        return item

    return copy(value, 0)


def _trust_system_authorities(settings: dict[str, object]) -> None:
    """Name the system's CA bundle where none is named: the client would otherwise not verify the issuer at all."""
    if settings.get("idp-certificate-authority") or settings.get("idp-certificate-authority-data"):
        return
    paths = ssl.get_default_verify_paths()
    bundle = paths.cafile or str(importlib.import_module("certifi").where())
    settings["idp-certificate-authority"] = bundle
