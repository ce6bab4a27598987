"""What the options name: an API server, the nodes, the time that a run may take."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from kdiag.errors import UsageError

if TYPE_CHECKING:
    from kdiag.collect.deadline import Deadline
    from kdiag.collect.inventory import Inventory
    from kdiag.collect.kubeconfig import Target

_ADMIN = "/etc/kubernetes/admin.conf"


def seconds(text: str) -> float:
    """A duration as kubectl takes it: ``90``, ``90s``, ``1m30s``, ``1h``. Raises UsageError for anything else."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise UsageError(f"--timeout {text!r} is no duration: write 60s, 2m or 1m30s")
    hours, minutes, rest = (float(g or 0) for g in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if not 0.1 <= total <= 86400:
        raise UsageError(f"--timeout {text!r} is out of range: from 0.1s to 24h")
    return total


def target(options: argparse.Namespace, *, local: bool = False) -> Target:
    """The API server that the options and the environment name; ``local``: on a node, else the one that it serves."""
    from kdiag.errors import ConfigError

    try:
        return _target(options, options.kubeconfig)
    except ConfigError:
        # On a control-plane node, root has a kubeconfig that kubectl must be told of.
        if not local or options.kubeconfig or not os.access(_ADMIN, os.R_OK):
            raise
        return _target(options, _ADMIN)


def _target(options: argparse.Namespace, kubeconfig: str) -> Target:
    from kdiag.collect.kubeconfig import Overrides, load

    overrides = Overrides(
        kubeconfig=kubeconfig,
        context=options.context,
        cluster=options.cluster,
        user=options.user,
        namespace=getattr(options, "namespace", ""),
        server=options.server,
        tls_server_name=options.tls_server_name,
        insecure_skip_tls_verify=options.insecure_skip_tls_verify,
        certificate_authority=options.certificate_authority,
        client_certificate=options.client_certificate,
        client_key=options.client_key,
        token=options.token,
        as_user=options.as_user,
        as_groups=tuple(options.as_groups),
        as_uid=options.as_uid,
        as_user_extra=tuple(_extra(pair) for pair in options.as_user_extra),
    )
    return load(overrides, os.environ)


def _extra(pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise UsageError(f"--as-user-extra {pair!r} is not KEY=VALUE")
    return key, value


def deadline(options: argparse.Namespace) -> Deadline:
    """The bound on the whole run."""
    from kdiag.collect.deadline import Deadline

    return Deadline(seconds(options.timeout))


def inventory_of(options: argparse.Namespace) -> Inventory:
    """Where the options, the environment and kdiag's own configuration say that the nodes are."""
    from kdiag.collect.inventory import Inventory, on_a_node

    local = bool(getattr(options, "local", False)) or on_a_node()
    return Inventory(os.environ, ssh_config=getattr(options, "ssh_config", ""), local=local, ask=passphrase())


def passphrase() -> Callable[[str], str | None] | None:
    """Asks for a passphrase, where somebody sits at a terminal; never from cron."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import getpass

    return lambda prompt: getpass.getpass(prompt, stream=sys.stderr)
