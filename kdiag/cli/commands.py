"""The commands: their names, arguments and help. What they do is imported when they run."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable
from typing import Any

_LEVELS = ("info", "warning", "error", "critical")


class Command:
    """One command of the command line; ``module`` holds its function ``run``.

    No dataclass and no NamedTuple: the help would wait for their modules (6 and 3 ms).
    """

    def __init__(
        self,
        *,
        name: str,
        help: str,
        module: str,
        arguments: Callable[[argparse.ArgumentParser], None] = lambda sub: None,
        description: str = "",
        examples: str = "",
    ) -> None:
        self.name, self.help, self.module, self.arguments = name, help, module, arguments
        self.description, self.examples = description, examples

    def run(self, options: argparse.Namespace) -> int:
        """Import the command's module and run it."""
        return int(importlib.import_module(f"kdiag.cli.{self.module}").run(options))


def connection(sub: argparse.ArgumentParser) -> None:
    """The flags that say which cluster, as kubectl has them."""
    group = sub.add_argument_group("which cluster, as kubectl has it")
    group.add_argument("--kubeconfig", metavar="FILE", default="", help="path of the kubeconfig")
    group.add_argument("--context", metavar="NAME", default="", help="context of the kubeconfig")
    group.add_argument("--cluster", metavar="NAME", default="", help="cluster of the kubeconfig")
    group.add_argument("--user", metavar="NAME", default="", help="user of the kubeconfig")
    group.add_argument("-s", "--server", metavar="URL", default="", help="address of the API server")
    group.add_argument("--as", dest="as_user", metavar="USER", default="", help="impersonate this user")
    group.add_argument(
        "--as-group", dest="as_groups", metavar="GROUP", action="append", default=[], help="and this group"
    )
    group.add_argument(
        "--as-user-extra",
        dest="as_user_extra",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="and this extra field",
    )
    group.add_argument("--as-uid", dest="as_uid", metavar="UID", default="", help="and this uid")
    group.add_argument("--token", default="", help="bearer token (others can see it in the process list)")
    group.add_argument("--certificate-authority", metavar="FILE", default="", help="CA of the API server")
    group.add_argument("--client-certificate", metavar="FILE", default="", help="client certificate")
    group.add_argument("--client-key", metavar="FILE", default="", help="client key")
    group.add_argument(
        "--tls-server-name", metavar="NAME", default="", help="name expected in the server's certificate"
    )
    group.add_argument(
        "--insecure-skip-tls-verify",
        action="store_const",
        const=True,
        default=None,
        help="do not check the server's certificate",
    )


def nodes(sub: argparse.ArgumentParser) -> None:
    """The flags that say how to reach the nodes."""
    group = sub.add_argument_group("the nodes, when the API alone cannot tell")
    group.add_argument(
        "--ssh-config",
        metavar="FILE",
        default="",
        help="SSH configuration with an entry for each node, by name or address (default: KDIAG_SSH_CONFIG, "
        "~/.config/kdiag/config.yaml, ~/.ssh/config)",
    )
    group.add_argument("--local", action="store_true", help="read this very machine, without SSH (root on a node)")
    group.add_argument("--no-nodes", action="store_true", help="read the API only")


def scope(sub: argparse.ArgumentParser) -> None:
    """The flags that say which namespace."""
    group = sub.add_mutually_exclusive_group()
    group.add_argument("-n", "--namespace", metavar="NS", default="", type=_namespace, help="only this namespace")
    group.add_argument(
        "-A", "--all-namespaces", action="store_true", default=False, help="all namespaces (the default)"
    )


def timing(sub: argparse.ArgumentParser) -> None:
    """The flag that bounds the run."""
    sub.add_argument(
        "--timeout",
        "--request-timeout",
        metavar="TIME",
        default="60s",
        help="bound on the whole run (60s, 2m; default 60s)",
    )


def _color(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="when to use colour")


class _Folder(argparse.Action):
    """A folder that is named: with an empty variable of a shell, the cluster must not be read in its place."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _: Any = None
    ) -> None:
        if not values:
            raise argparse.ArgumentError(self, "an empty word names no folder")
        setattr(namespace, self.dest, values)


def _namespace(text: str) -> str:
    """What may be a namespace; empty for all."""
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a namespace")
    return text


def _count(text: str) -> int:
    """A number from 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _snapshot(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--snapshot", metavar="DIR", default="", action=_Folder, help="read a recording instead of a cluster"
    )


def _check(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checks", nargs="*", metavar="CHECK|GROUP|TAG", help="what to check; all when nothing is named")
    sub.add_argument("--all", action="store_true", help="all checks (the default)")
    sub.add_argument("--risks", action="store_true", help="also what may go wrong later (see: kdiag check rollout)")
    scope(sub)
    sub.add_argument(
        "-l", "--selector", metavar="LABELS", default="", help="only causes that touch objects with these labels"
    )
    _snapshot(sub)
    sub.add_argument(
        "-o",
        "--output",
        choices=("text", "wide", "json", "yaml", "markdown", "html"),
        default="text",
        help="form of the report: wide leaves nothing out; markdown and html are for a ticket",
    )
    sub.add_argument("--fail-on", choices=_LEVELS, default="error", help="lowest severity that makes the exit code 1")
    sub.add_argument("--strict", action="store_true", help="exit code 3 when any check is unknown")
    sub.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing when nothing is wrong and everything was seen"
    )
    sub.add_argument(
        "--on-change", action="store_true", help="print only what differs from the last run with this flag (for cron)"
    )
    timing(sub)
    _color(sub)
    connection(sub)
    nodes(sub)


def _tui(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checks", nargs="*", metavar="CHECK|GROUP|TAG", help="what to check; all when nothing is named")
    sub.add_argument("--risks", action="store_true", help="also what may go wrong later")
    scope(sub)
    _snapshot(sub)
    timing(sub)
    connection(sub)
    nodes(sub)


def _demo(sub: argparse.ArgumentParser) -> None:
    _tui(sub)
    for action in sub._actions:
        if action.dest not in ("help", "checks", "risks", "namespace", "all_namespaces"):
            action.help = argparse.SUPPRESS  # it says which cluster or recording, and the demo has its own
    sub.add_argument(
        "--dead", dest="which", action="store_const", const="dead", default="night", help="with a dead API server"
    )


def _node(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("name", nargs="?", default="", metavar="NODE", help="w1, node/w1 or an address; without: --local")
    _snapshot(sub)
    sub.add_argument("-o", "--output", choices=("text", "wide", "json"), default="text", help="form of the answer")
    sub.add_argument(
        "--sudoers",
        nargs="?",
        const="kdiag",
        default="",
        metavar="USER",
        help="print the sudoers file for a user who may read a node with kdiag and nothing else",
    )
    timing(sub)
    _color(sub)
    connection(sub)
    nodes(sub)


def _explain(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("check", nargs="?", default="", metavar="CHECK", help="id or name; without it, all pages by group")
    sub.add_argument(
        "object", nargs="?", default="", metavar="OBJECT", help="shop/web, node/w1: its names go into the commands"
    )
    sub.add_argument("--search", default="", metavar="WORDS", help="the pages that hold all these words")
    sub.add_argument(
        "-o", "--output", choices=("text", "markdown"), default="text", help="for the terminal, or as it is written"
    )
    _color(sub)


def _runbook(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("check", metavar="CHECK", help="id or name of a check")
    sub.add_argument(
        "object",
        nargs="?",
        default="",
        metavar="OBJECT",
        help="shop/web, service/shop/web, node/w1; without: the first",
    )
    sub.add_argument(
        "--run", dest="walk", action="store_true", help="run what only reads, and put the answers below the commands"
    )
    scope(sub)
    _snapshot(sub)
    sub.add_argument(
        "-o", "--output", choices=("text", "markdown", "html"), default="text", help="for the terminal, or for a ticket"
    )
    timing(sub)
    _color(sub)
    connection(sub)
    nodes(sub)


def _verify(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("check", metavar="CHECK", help="id or name of a check")
    sub.add_argument(
        "object", nargs="?", default="", metavar="OBJECT", help="shop/web, service/shop/web, node/w1; without: any"
    )
    sub.add_argument(
        "--wait", metavar="TIME", default="2m", help="how long to wait for it to clear (default 2m; 0: once)"
    )
    sub.add_argument("--interval", metavar="TIME", default="2s", help="how often to look (default 2s)")
    scope(sub)
    timing(sub)
    _color(sub)
    connection(sub)
    nodes(sub)


def _trace(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "target", metavar="TARGET", help="NS/SERVICE[:PORT], ingress/NS/NAME[/host/path] or pod/NS/NAME; without NS: -n"
    )
    scope(sub)
    _snapshot(sub)
    sub.add_argument("-o", "--output", choices=("text", "wide", "json"), default="text", help="form of the answer")
    timing(sub)
    _color(sub)
    connection(sub)


def _doctor(sub: argparse.ArgumentParser) -> None:
    scope(sub)
    sub.add_argument("-o", "--output", choices=("text", "wide", "json"), default="text", help="form of the answer")
    timing(sub)
    _color(sub)
    connection(sub)
    nodes(sub)


def _record(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", metavar="DIR", help="a new folder")
    scope(sub)
    timing(sub)
    connection(sub)
    nodes(sub)


def _list(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checks", nargs="*", metavar="CHECK|GROUP|TAG", help="only these")
    sub.add_argument(
        "-o", "--output", choices=("text", "wide", "json", "name", "markdown"), default="text", help="form of the list"
    )


def _completion(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def _help(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("topic", nargs="*", metavar="COMMAND", help="a command, and a verb of it")


def _lab(sub: argparse.ArgumentParser) -> None:
    verbs = sub.add_subparsers(title="commands", dest="verb", metavar="VERB", parser_class=type(sub), required=False)
    sub.set_defaults(output="text", color="auto")
    # Made once for all verbs: every command waits for this parser to be built.
    where = type(sub)(add_help=False)
    connection(where)
    nodes(where)

    def verb(name: str, help: str, *, cluster: bool = True) -> argparse.ArgumentParser:
        text, parents = f"{help[:1].upper()}{help[1:]}.", [where] if cluster else []
        inner = verbs.add_parser(name, help=help, description=text, allow_abbrev=False, parents=parents)
        _color(inner)
        return inner

    enable = verb("enable", "mark this cluster as one that may be broken")
    enable.add_argument("--yes", action="store_true", help="do not ask")
    enable.add_argument(
        "--image",
        metavar="NAME=IMAGE",
        action="append",
        default=[],
        help="use this image for nginx, busybox, web, db …",
    )
    verb("disable", "take the mark away")
    show = verb("list", "list the scenarios", cluster=False)
    _which(show)
    show.add_argument(
        "-o", "--output", choices=("text", "wide", "json"), default="text", help="wide names what is broken, too"
    )
    start = verb("start", "break the cluster, and start the clock")
    start.add_argument("scenario", nargs="*", metavar="CODE", help="scenarios, by code or name")
    start.add_argument("--random", action="store_true", help="any one that fits this cluster")
    start.add_argument("--exam", type=_count, metavar="N", default=0, help="N scenarios, weighted as in the CKA")
    start.add_argument(
        "--minutes", type=_count, metavar="M", default=0, help="the time; by default that of the scenarios"
    )
    start.add_argument("--seed", type=int, metavar="S", default=None, help="the same seed gives the same names")
    _which(start)
    status = verb("status", "show the task and the clock")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the answer")
    for name, help in (("hint", "show the next hint of a task"), ("solve", "explain a task; its points are gone")):
        verb(name, help).add_argument("task", nargs="?", type=_count, default=1, metavar="TASK", help="its number")
    check = verb("check", "say what of a task still fails")
    check.add_argument("task", nargs="?", type=_count, default=0, metavar="TASK", help="its number; without: all")
    check.add_argument("--wait", type=int, default=20, metavar="S", help="seconds for what is on its way (default 20)")
    verb("stop", "end it, and put everything back as it was")
    past = verb("score", "show what was played, and how it went", cluster=False)
    past.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the answer")
    verb("up", "make a cluster to practise on, with kind", cluster=False)


def _which(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--group",
        choices=("application", "control_plane", "worker_node", "network"),
        default="",
        help="only this group",
    )
    sub.add_argument(
        "--domain",
        choices=("troubleshooting", "architecture", "services", "workloads", "storage"),
        default="",
        help="only this domain of the CKA",
    )
    sub.add_argument("--difficulty", choices=("easy", "medium", "hard"), default="", help="only this difficulty")


COMMANDS: tuple[Command, ...] = (
    Command(
        name="check",
        help="say what is broken, and why",
        module="check",
        arguments=_check,
        description="Examine the cluster, fold symptoms under their cause, and show the evidence and the next step.",
        examples="""\
examples:
  {prog} check                          everything, in all namespaces
  {prog} check -n shop                  one namespace
  {prog} check network dns              one group, one tag
  {prog} check service_selects_nothing  one check
  {prog} check -l app=web               only causes that touch these objects
  {prog} check -q --fail-on warning     for cron: silent when all is well
  {prog} check --ssh-config prod.ssh    the nodes by these entries; ~/.ssh/config is read by itself
  {prog} check --local                  on a node, as root, without SSH and without an API server
  {prog} check --no-nodes               the API only
  {prog} check --snapshot /tmp/night    a recording instead of a cluster
  {prog} check -o json | jq '.causes[] | .message'

exit codes: 0 nothing at or above --fail-on, 1 findings, 2 usage or configuration, 3 could not examine
""",
    ),
    Command(
        name="tui",
        help="the same on a screen that is walked by keys (kdiag alone)",
        module="tui",
        arguments=_tui,
        description="The verdict on a screen: causes with their evidence, runbooks that are run step by step, traces, "
        "nodes, a timeline. ? shows the keys. Looking changes nothing here either.",
        examples="""\
examples:
  {prog}                                the same
  {prog} tui -n shop
  {prog} tui --snapshot /tmp/night      a recording instead of a cluster
  KDIAG_THEME=light {prog} tui          dark, light or contrast

exit codes: 0 when left by a key, 2 usage or configuration, 3 a fault of kdiag's own, 129 the terminal was closed,
130 Ctrl-C, 143 terminated
""",
    ),
    Command(
        name="demo",
        help="the screen over an embedded recording: no cluster needed",
        module="tui",
        arguments=_demo,
        examples="""\
examples:
  {prog} demo                           a night with four faults at once
  {prog} demo --dead                    the API server is dead: the nodes tell why
""",
    ),
    Command(
        name="node",
        help="show everything about one node",
        module="node",
        arguments=_node,
        description="One node on one screen: what the API server says of it, its units, logs, disks, certificates, "
        "static pods and ports, the causes that touch it on top, and why the rest was not seen.",
        examples="""\
examples:
  {prog} node w1
  {prog} node w1 -o wide                 with every error of its logs
  {prog} node --local                    on the node itself, as root
  {prog} node cp1 --snapshot /tmp/night  a recording instead of a cluster
  {prog} node --sudoers ops              what user ops must be allowed to run there

exit codes: 0 nothing is wrong with it, 1 a cause touches it, 2 usage or configuration, 3 it could not be seen
""",
    ),
    Command(
        name="explain",
        help="show the runbook page of a check",
        module="explain",
        arguments=_explain,
        description="Show the runbook page of a check: what it means, how to look, how to mend. Asks no cluster.",
        examples="""\
examples:
  {prog} explain                                            all pages, by group
  {prog} explain service_selects_nothing
  {prog} explain service_selects_nothing shop/mysql         its commands for this object
  {prog} explain node_not_ready node/w1
  {prog} explain --search "no space left on device"         the pages that speak of it
  {prog} explain service_selects_nothing -o markdown > page.md
""",
    ),
    Command(
        name="runbook",
        help="walk a runbook page with the finding's own objects",
        module="runbook",
        arguments=_runbook,
        description="The page of a check, its commands filled in with what the check finds now. With --run those that "
        "only read are run, and what the page tells to look for is marked. Mitigation is quoted and never run.",
        examples="""\
examples:
  {prog} runbook service_selects_nothing             its first finding
  {prog} runbook service_selects_nothing shop/db     this one
  {prog} runbook kubelet_not_running node/w1 --run   with the answers, also from the node
  {prog} runbook rollout_stuck --run -o markdown     to paste into a ticket
  {prog} runbook rollout_stuck --run -o html > page.html

exit codes: 0 the check finds nothing now, 1 the fault is there, 2 usage or configuration, 3 it could not be seen
""",
    ),
    Command(
        name="verify",
        help="look again until a finding is gone",
        module="verify",
        arguments=_verify,
        description="Read what one check needs, again and again, until it no longer finds the fault: twice, for what "
        "crashes is well between two crashes. What cannot be seen is never cleared.",
        examples="""\
examples:
  {prog} verify service_selects_nothing shop/db
  {prog} verify kubelet_not_running node/w1 --wait 5m
  {prog} verify rollout_stuck shop/web --wait 0      one look

exit codes: 0 it is gone, 1 it is still there, 2 usage or configuration, 3 it cannot be seen
""",
    ),
    Command(
        name="trace",
        help="follow a request to the first hop that is broken",
        module="trace",
        arguments=_trace,
        description="Walk from the entrance over Ingress, Service and EndpointSlices to the pods, and on to what they "
        "talk to. What lies behind a broken hop is not judged; what only a connection could show is marked ?.",
        examples="""\
examples:
  {prog} trace shop/web                 a Service
  {prog} trace -n shop web:8080         one port of it
  {prog} trace ingress/shop/front       every rule of an Ingress
  {prog} trace ingress/shop/front/shop.example/cart
  {prog} trace pod/shop/web-7d9c        from a pod to what it talks to
  {prog} trace shop/web -o wide         with the command behind every hop

exit codes: 0 all hops are well, 1 a hop is broken, 2 usage or configuration, 3 a hop could not be seen
""",
    ),
    Command(
        name="doctor",
        help="say whether kdiag can see what it needs",
        module="doctor",
        arguments=_doctor,
        description="Which configuration, which server, who am I there, what may I read, what stays unknown without; "
        "and which nodes can be reached, as whom, and what they answer.",
        examples="""\
examples:
  {prog} doctor                         the current context
  {prog} doctor --context prod -n shop  as kdiag check would run there
  {prog} doctor --as system:serviceaccount:kdiag:kdiag
  {prog} doctor -o json

exit codes: 0 everything can be read, 2 configuration, 3 something cannot
""",
    ),
    Command(
        name="record",
        help="write all observations to a folder, redacted",
        module="record",
        arguments=_record,
        description="Write all that the checks read to a new folder, without credentials, to be checked elsewhere.",
        examples="""\
examples:
  {prog} record /tmp/night
  {prog} check --snapshot /tmp/night
""",
    ),
    Command(
        name="list",
        help="list the checks",
        module="listing",
        arguments=_list,
        examples="""\
examples:
  {prog} list                           every check
  {prog} list network                   one group
  {prog} list -o wide                   with tags
""",
    ),
    Command(
        name="lab",
        help="practise: break a cluster on purpose, and mend it",
        module="lab",
        arguments=_lab,
        description="Break a cluster that is marked for it, against the clock, with hints and proof; then restore it. "
        "Without a verb: what is under way.",
        examples="""\
examples:
  {prog} lab up                          a cluster with kind; any other that may be broken will do as well
  {prog} lab enable                      mark it; nothing else is ever broken
  {prog} lab list --group network
  {prog} lab start --random              or a code of the list
  {prog} lab start --exam 5 --minutes 60
  {prog} lab check                       what still fails
  {prog} lab hint                        costs points
  {prog} lab stop                        puts everything back, also after a crash

exit codes: 0 done, 1 something still fails, 2 refused, 3 could not be reached
""",
    ),
    Command(
        name="completion",
        help="print the completion script of a shell",
        module="completion",
        arguments=_completion,
        examples="""\
examples:
  source <(kdiag completion bash)   # in ~/.bashrc
  source <(kdiag completion zsh)    # in ~/.zshrc, after compinit
  kdiag completion fish > ~/.config/fish/completions/kdiag.fish
""",
    ),
    Command(
        name="man",
        help="print the manual page",
        module="manual",
        examples="""\
examples:
  kdiag man | man -l -
  kdiag man > ~/.local/share/man/man1/kdiag.1
""",
    ),
    Command(name="version", help="print the version", module="about"),
    Command(name="help", help="print the help of a command", module="about", arguments=_help),
)
