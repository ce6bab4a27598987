"""The commands: their names, arguments and help. What they do is imported when they run."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

_LEVELS = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line; ``module`` holds its function ``run``."""

    name: str
    help: str
    module: str
    arguments: Callable[[argparse.ArgumentParser], None]
    description: str = ""
    examples: str = ""

    def run(self, options: argparse.Namespace) -> int:
        """Import the command's module and run it."""
        return int(importlib.import_module(f"kdiag.cli.{self.module}").run(options))


def connection(sub: argparse.ArgumentParser) -> None:
    """The flags that say which cluster, as kubectl has them."""
    group = sub.add_argument_group("which cluster, as kubectl has it")
    group.add_argument("--kubeconfig", metavar="FILE", help="path of the kubeconfig")
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    group.add_argument("--cluster", metavar="NAME", help="cluster of the kubeconfig")
    group.add_argument("--user", metavar="NAME", help="user of the kubeconfig")
    group.add_argument("-s", "--server", metavar="URL", help="address of the API server")
    group.add_argument("--as", dest="as_user", metavar="USER", help="impersonate this user")
    group.add_argument(
        "--as-group", dest="as_groups", metavar="GROUP", action="append", default=[], help="and this group"
    )
    group.add_argument("--as-uid", dest="as_uid", metavar="UID", help="and this uid")
    group.add_argument("--token", help="bearer token (others can see it in the process list)")
    group.add_argument("--certificate-authority", metavar="FILE", help="CA of the API server")
    group.add_argument("--client-certificate", metavar="FILE", help="client certificate")
    group.add_argument("--client-key", metavar="FILE", help="client key")
    group.add_argument("--tls-server-name", metavar="NAME", help="name expected in the server's certificate")
    group.add_argument("--insecure-skip-tls-verify", action="store_true", help="do not check the server's certificate")


def scope(sub: argparse.ArgumentParser) -> None:
    """The flags that say which namespace."""
    group = sub.add_mutually_exclusive_group()
    group.add_argument("-n", "--namespace", metavar="NS", default="", help="only this namespace")
    group.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces (the default)")


def timing(sub: argparse.ArgumentParser) -> None:
    """The flag that bounds the run."""
    sub.add_argument(
        "--timeout",
        "--request-timeout",
        metavar="TIME",
        default="60s",
        help="bound on the whole run (60s, 2m; default 60s)",
    )


def _check(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checks", nargs="*", metavar="CHECK|GROUP|TAG", help="what to check; all when nothing is named")
    sub.add_argument("--all", action="store_true", help="all checks (the default)")
    sub.add_argument("--risks", action="store_true", help="also what may go wrong later (see: kdiag check rollout)")
    scope(sub)
    sub.add_argument(
        "-l", "--selector", metavar="LABELS", default="", help="only causes that touch objects with these labels"
    )
    sub.add_argument("--snapshot", metavar="DIR", help="read a recording instead of a cluster")
    sub.add_argument(
        "-o", "--output", choices=("text", "wide", "json", "yaml"), default="text", help="form of the report"
    )
    sub.add_argument("--fail-on", choices=_LEVELS, default="error", help="lowest severity that makes the exit code 1")
    sub.add_argument("--strict", action="store_true", help="exit code 3 when any check is unknown")
    sub.add_argument("-q", "--quiet", action="store_true", help="print nothing when nothing is wrong")
    timing(sub)
    sub.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="when to use colour")
    connection(sub)


def _record(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", metavar="DIR", help="a new folder")
    scope(sub)
    timing(sub)
    connection(sub)


def _list(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checks", nargs="*", metavar="CHECK|GROUP|TAG", help="only these")
    sub.add_argument(
        "-o", "--output", choices=("text", "wide", "json", "name", "markdown"), default="text", help="form of the list"
    )


COMMANDS: tuple[Command, ...] = (
    Command("check", "say what is broken, and why", "check", _check),
    Command("record", "write all observations to a folder, redacted", "record", _record),
    Command("list", "list the checks", "listing", _list),
)
