"""Which command lines of a runbook page kdiag runs by itself: those that can only read, and show no credential.

An allow-list throughout: a program, a subcommand, an option or a sign of the shell's language that is not named here is
refused. A refusal is half a sentence that says why, and the line is then one for a person to copy.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from kdiag.engine import guard
from kdiag.engine.guard import Refusal, Rule, wordset
from kdiag.engine.shell import Argument, Command, Script, ShellError, expand, expand_value, parse

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
#: What a substitution is taken for until it has run; its real value is looked at again.
UNKNOWN = "unknown"


class Place(enum.Enum):
    """Where a command runs."""

    HERE = "here"
    NODE = "node"


def readonly(argv: Sequence[str], place: Place = Place.HERE, *, fed: bool = False) -> str | None:
    """Why one command is not run; None when it may be. ``fed`` says that it reads what another one printed."""
    try:
        _examine([Argument(word, "") for word in argv], place, fed=fed, globs=False)
    except Refusal as exc:
        return str(exc)
    return None


def refused(text: str, values: Mapping[str, str] | None = None, *, place: Place = Place.HERE) -> str | None:
    """Why a whole line is not run: its pipes, what it runs on nodes and its substitutions included; None if it may be.

    A variable without a value is no reason yet: it is taken for a word that harms nobody.
    """
    known = dict(values or {})
    try:
        script = parse(text)
        # A node has no variables of ours.
        for name in script.variables() if place is Place.HERE else ():
            known.setdefault(name, UNKNOWN)
        examine(script, known, place)
    except (Refusal, ShellError) as exc:
        return str(exc)
    return None


def examine(
    script: Script, values: Mapping[str, str], place: Place, ask: Callable[[Script], str] | None = None
) -> None:
    """Raise Refusal or ShellError unless every command of the script may run.

    Without ``ask`` a substitution is looked at as well, and taken for a word.
    """

    def taken(inner: Script) -> str:
        if ask is not None:
            return ask(inner)
        examine(inner, known, place)
        return UNKNOWN

    known = dict(values)
    for pipeline in script.pipelines:
        for number, command in enumerate(pipeline.commands):
            if command.sets:
                if len(pipeline.commands) > 1 or place is Place.NODE:
                    raise Refusal("a setting stands alone, and on this machine")
                for name, word in command.sets:
                    known[name] = expand_value(word, known, taken)
                continue
            arguments = expand(command, known, taken)
            _examine(arguments, place, fed=number > 0, globs=place is Place.NODE)
            for inner, where in inside([a.text for a in arguments], arguments, place):
                examine(inner, {}, where)


def inside(argv: Sequence[str], arguments: Sequence[Argument], place: Place) -> Iterator[tuple[Script, Place]]:
    """The script that a command carries: what ``ssh NODE`` or ``sh -c`` is to run."""
    words = list(argv)
    if place is Place.HERE and words[:1] == ["ssh"]:
        yield parse(" ".join(words[2:])), Place.NODE
    if place is Place.NODE:
        rest = words[1:] if words[:1] == ["sudo"] else words
        if len(rest) == 3 and rest[:2] == ["sh", "-c"]:
            yield parse(rest[2]), Place.NODE


def _examine(arguments: Sequence[Argument], place: Place, *, fed: bool, globs: bool) -> None:
    argv = [a.text for a in arguments]
    if not argv:
        raise Refusal("there is nothing to run")
    for word in argv:
        if not word.isprintable() and not set(word) <= {"\n", "\t"}:
            raise Refusal("an argument holds a control character")
    if globs:
        _check_globs(argv, [a for a in arguments if a.shell and a.glob])
    if fed:
        _filter(argv)
    elif place is Place.HERE:
        _here(argv)
    else:
        _node(argv, [a.text for a in arguments if a.shell and a.glob])


# On this machine


def _here(argv: list[str]) -> None:
    match argv[0]:
        case "kubectl":
            _kubectl(argv[1:])
        case "ssh":
            _ssh(argv[1:])
        case "sudo":
            raise Refusal("on this machine nothing runs as root")
        case _:
            guard.examine(argv, _LOCAL)
            _ask_network(argv)


def _ask_network(argv: Sequence[str]) -> None:
    """Without these words the programs listen, or wait for what is typed."""
    if argv[0] == "nc" and not any(w.startswith("-") and "z" in w for w in argv):
        raise Refusal("nc only tries a port: -z")
    if argv[0] in ("nslookup", "dig") and not any(re.match(r"[A-Za-z0-9]", w) for w in argv[1:]):
        raise Refusal("it names nothing to look up")


def _ssh(words: list[str]) -> None:
    if not words or not _HOST.fullmatch(words[0]):
        raise Refusal("ssh takes a node and what to run there, and no options")
    if len(words) < 2:
        raise Refusal("a login is for a person")
    try:
        parse(" ".join(words[1:]))
    except ShellError as exc:
        raise Refusal(str(exc)) from None


# kubectl

_NS = wordset("-n --namespace")
_ALL = wordset("-A --all-namespaces")
_LABELS = wordset("-l --selector")
_OBJECT = r"[A-Za-z0-9][A-Za-z0-9.,/:_-]{0,300}"
_RAW = re.compile(r"/(?:healthz|livez|readyz|version|metrics)(?:/[a-z0-9-]+)*(?:\?(?:verbose|exclude=[a-z0-9-]+|&)*)?")
_KUBECTL: guard.Rules = {
    "get": Rule(
        flags=_ALL | wordset("--show-labels --show-managed-fields --show-kind --no-headers --ignore-not-found"),
        valued=_NS | _LABELS | wordset("-o --output --field-selector --sort-by -L --label-columns --raw --chunk-size"),
        operand=_OBJECT,
    ),
    "describe": Rule(flags=_ALL, valued=_NS | _LABELS | wordset("--show-events --chunk-size"), operand=_OBJECT),
    "logs": Rule(
        flags=wordset("-p --previous --prefix --all-containers --timestamps --ignore-errors --all-pods"),
        valued=_NS | _LABELS | wordset("-c --container --tail --since --since-time --limit-bytes --max-log-requests"),
        operand=_OBJECT,
        most=2,
    ),
    "top": {
        (noun,): Rule(
            flags=_ALL | wordset("--containers --no-headers --sum"),
            valued=_NS | _LABELS | wordset("--sort-by --field-selector"),
            operand=_OBJECT,
        )
        for noun in ("pod", "pods", "po", "node", "nodes", "no")
    },
    "explain": Rule(flags=wordset("--recursive"), valued=wordset("--api-version --output"), operand=_OBJECT, most=1),
    "api-resources": Rule(
        flags=wordset("--namespaced --no-headers"),
        valued=wordset("--verbs --api-group -o --output --sort-by --namespaced"),
        most=0,
    ),
    "api-versions": Rule(most=0),
    "version": Rule(flags=wordset("--client"), valued=wordset("-o --output"), most=0),
    "cluster-info": Rule(most=0),
    "auth": {
        ("can-i",): Rule(
            flags=_ALL | wordset("--list --quiet -q --no-headers"),
            valued=_NS | wordset("--as --as-group --subresource"),
            operand=r"[A-Za-z0-9*][A-Za-z0-9*.,/:_-]{0,300}",
            most=3,
        ),
        ("whoami",): Rule(most=0),
    },
    "config": {
        ("view",): Rule(flags=wordset("--minify"), valued=wordset("-o --output"), most=0),
        ("current-context",): Rule(most=0),
        ("get-contexts",): Rule(flags=wordset("--no-headers"), valued=wordset("-o --output"), operand=_OBJECT, most=1),
    },
    "rollout": {
        ("status",): Rule(
            flags=wordset("-w --watch"),
            valued=_NS | _LABELS | wordset("--timeout --revision --watch"),
            operand=_OBJECT,
            most=2,
        ),
        ("history",): Rule(valued=_NS | _LABELS | wordset("--revision"), operand=_OBJECT, most=2),
    },
    "events": Rule(flags=_ALL | wordset("--no-headers"), valued=_NS | wordset("--for --types -o --output"), most=0),
    "set": {
        ("env",): Rule(
            flags=wordset("--list"),
            valued=_NS,
            operand=r"[A-Za-z0-9][A-Za-z0-9./-]{0,300}",
            most=2,
            needs=wordset("--list"),
        )
    },
}
#: Why what people reach for most is not run.
_KUBECTL_WHY: Mapping[str, str] = {
    "exec": "it runs a program in a container",
    "attach": "it goes into a container",
    "cp": "it runs a program in a container",
    "debug": "it makes a container",
    "run": "it makes a pod",
    "port-forward": "it opens a way into the cluster",
    "proxy": "it opens a way into the cluster",
    "apply": "it sends objects to the cluster",
    "create": "it makes objects",
    "delete": "it deletes",
    "edit": "it changes objects",
    "patch": "it changes objects",
    "replace": "it changes objects",
    "scale": "it changes objects",
    "autoscale": "it makes objects",
    "label": "it changes objects",
    "annotate": "it changes objects",
    "taint": "it changes a node",
    "cordon": "it changes a node",
    "uncordon": "it changes a node",
    "drain": "it takes pods off a node",
    "expose": "it makes a Service",
}
#: The forms of ``-o``; those that name a file are not among them.
_FORMS = re.compile(r"(?:wide|name|yaml|json)|(?:jsonpath|custom-columns|go-template)=[\s\S]+")
#: What of a kubeconfig is shown: its users may hold credentials, and the settings of a login program do.
_PLACES = re.compile(r'jsonpath=(?:\{\.(?:clusters|contexts|current-context)[A-Za-z0-9\[\]*.-]*\}|\{"\\n"\}| )+')
_TABLES = re.compile(r"(?:wide|name)?")


def _kubectl(words: list[str]) -> None:
    rest = list(words)
    lead: list[str] = []
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if re.fullmatch(r"(?:-n|--namespace)=?[a-z0-9][a-z0-9-]{0,62}", word) and (
            not word.startswith("--") or "=" in word
        ):
            lead.append(word)
            continue
        if word not in _NS or not rest:
            raise Refusal(f"kubectl {_name(word)} is not among the options that kdiag passes on")
        lead += [word, rest.pop(0)]
    if not rest:
        raise Refusal("kubectl is told nothing to do")
    verb = rest[0]
    if verb not in _KUBECTL:
        raise Refusal(f"kubectl {_name(verb)}: {_KUBECTL_WHY.get(verb, 'not among the commands that only read')}")
    guard.examine([verb, *rest[1:]], _KUBECTL)
    options, operands = guard.taken_apart(rest[1:], *_all_options(verb))
    for flag in _NS & options.keys():
        _name_like(options[flag], "namespace")
    _name_like([lead[i + 1] for i, word in enumerate(lead[:-1]) if word in _NS], "namespace")
    match verb:
        case "get":
            _get(options, operands)
        case "describe" if _secret(operands):
            raise Refusal("describing a Secret may show a token")
        case "config" if rest[1:2] == ["view"] and not all(map(_PLACES.fullmatch, _forms(options) or [""])):
            raise Refusal("of a kubeconfig only where it leads is shown")
        case "config" | "events" | "explain" | "version" | "api-resources":
            for form in _forms(options):
                if not re.fullmatch(_FORMS, form) and form not in ("plaintext", "plaintext-openapiv2"):
                    raise Refusal(f"the output {_name(form)} is not one that kdiag asks for")
        case "rollout" if options.keys() & {"-w", "--watch"} and options.get("--watch") != ["false"]:
            raise Refusal("it watches without an end")
        case "set" if any("=" in word or word == "-" or word.endswith("-") for word in operands):
            raise Refusal("it changes the environment")


def _all_options(verb: str) -> tuple[frozenset[str], frozenset[str], str]:
    rule = _KUBECTL[verb]
    rules = [rule] if isinstance(rule, Rule) else list(rule.values())
    return frozenset().union(*(r.flags for r in rules)), frozenset().union(*(r.valued for r in rules)), ""


def _forms(options: Mapping[str, list[str]]) -> list[str]:
    return [*options.get("-o", []), *options.get("--output", [])]


def _get(options: Mapping[str, list[str]], operands: list[str]) -> None:
    forms = [form.removeprefix("=") for form in _forms(options)]
    if "--raw" in options:
        (path, *more) = options["--raw"]
        if more or operands or len(options) > 1 or not _RAW.fullmatch(path):
            raise Refusal("of --raw only /livez, /readyz, /healthz, /version and /metrics are asked")
        return
    if not operands:
        raise Refusal("it names no kind")
    for form in forms:
        if not _FORMS.fullmatch(form):
            raise Refusal(f"the output {_name(form)} is not one that kdiag asks for")
    shows = any(not _TABLES.fullmatch(form) for form in forms) or "--show-managed-fields" in options
    sorts = [value for value in options.get("--sort-by", []) if "metadata" not in value]
    if _secret(operands) and (shows or sorts):
        raise Refusal("the content of a Secret is not shown")


def _secret(operands: Sequence[str]) -> bool:
    """Whether any of these words may be the kind Secret."""
    kinds = {part.partition("/")[0].partition(".")[0].lower() for word in operands for part in word.split(",")}
    return bool(kinds & {"secret", "secrets"})


def _name_like(values: Sequence[str], what: str) -> None:
    for value in values:
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", value):
            raise Refusal(f"{_name(value)} is no {what}")


def _name(word: str) -> str:
    return word if re.fullmatch(r"[\w./=:@-]{1,40}", word) else "…"


# Filters: they read what another command printed, and name no file.

_SED_ADDRESS = r"(?:[0-9]+|\$|/(?:[^/\\\n]|\\[^\n])*/)"
_SED = re.compile(
    rf"(?:{_SED_ADDRESS}(?:,{_SED_ADDRESS})?)?(?:[pd]|s/(?:[^/\\\n]|\\[^\n])*/(?:[^/\\\n]|\\[^\n])*/[gpI0-9]*)"
)
_JQ_WORDS = re.compile(
    r"\b(?:env|ENV|import|include|input|inputs|input_filename|debug|stderr|halt\w*|\$__\w+|getpath)\b|\$ENV"
)
_FILTERS: guard.Rules = {
    "grep": Rule(
        flags=wordset("--count --quiet --no-messages --line-number --invert-match --ignore-case --only-matching"),
        valued=wordset("-e --regexp -m --max-count -A -B -C"),
        letters="hEFGPivwxcsqonaz",
        most=1,
        count=True,
    ),
    "head": Rule(flags=wordset("-q"), valued=wordset("-n -c --lines --bytes"), most=0, count=True),
    "tail": Rule(flags=wordset("-q"), valued=wordset("-n -c --lines --bytes"), most=0, count=True),
    "sort": Rule(letters="bdfghiMnRruVz", valued=wordset("-k -t --key"), most=0),
    "uniq": Rule(letters="cdiuz", valued=wordset("-f -s -w"), most=0),
    "wc": Rule(letters="clmwL", most=0),
    "cut": Rule(valued=wordset("-d -f -c -b --delimiter --fields"), letters="sz", most=0),
    "tr": Rule(letters="cCdst", most=2),
    "cat": Rule(letters="nAbsvetET", most=0),
    "sha256sum": Rule(most=0),
    "sed": Rule(letters="nEr", valued=wordset("-e"), most=1),
    "jq": Rule(letters="rcnSMe", most=1),
    "openssl": {
        ("x509",): Rule(
            flags=wordset("-noout -text -subject -issuer -enddate -startdate -dates -serial -fingerprint -sha256"),
            valued=wordset("-ext -nameopt -dateopt -checkend"),
            most=0,
        )
    },
}


def _filter(argv: list[str]) -> None:
    program = argv[0]
    if program not in _FILTERS:
        raise Refusal(f"{_name(program)} is not among the filters that only read")
    guard.examine(argv, _FILTERS)
    rule = _FILTERS[program]
    if not isinstance(rule, Rule):
        return
    options, operands = guard.taken_apart(
        [w for w in argv[1:] if not (rule.count and re.fullmatch(r"-[0-9]{1,6}", w))],
        rule.flags,
        rule.valued,
        rule.letters,
    )
    match program:
        case "grep" if operands and options.keys() & {"-e", "--regexp"}:
            raise Refusal("it reads what it is fed, and no file beside")
        case "head" | "tail" if any(not re.fullmatch(r"[+-]?[0-9]{1,9}", v) for vs in options.values() for v in vs):
            raise Refusal("a count is a number")
        case "sed":
            scripts = [*options.get("-e", []), *(operands if "-e" not in options else [])]
            if not scripts or (operands and "-e" in options) or not all(map(_SED.fullmatch, scripts)):
                raise Refusal("of sed only lines are printed, deleted or replaced")
        case "jq" if not operands or _JQ_WORDS.search(operands[0]):
            raise Refusal("of jq only what it is fed is shown")


# On a node

_UNIT = r"[A-Za-z0-9@:_.\\-]{1,256}"
_PLACE = r"/[A-Za-z0-9._/@:+=*-]{0,300}"
_CALM = Rule(most=0)
_SHOWN = Rule(
    flags=wordset("--no-pager --value --all -a --plain --no-legend --full -l --quiet -q --failed"),
    valued=wordset("-p --property -t --type --state -n --lines"),
    operand=_UNIT,
)


def _with(name: str, **more: Rule) -> Mapping[tuple[str, ...], Rule]:
    known = guard.RULES[name]
    if isinstance(known, Rule):
        raise TypeError(f"{name} has no subcommands")
    return {**known, **{tuple(verb.split("_")): rule for verb, rule in more.items()}}


#: What a page may run on a node, beyond what the checks themselves run there.
_NODE: guard.Rules = {
    **guard.RULES,
    "systemctl": {**_with("systemctl"), ("status",): _SHOWN, ("is-failed",): _SHOWN, ("list-timers",): _SHOWN},
    "timedatectl": {**_with("timedatectl"), ("status",): _CALM},
    "cat": Rule(letters="nAbsvetET", reads_content=True),
    "head": Rule(flags=wordset("-q -v"), valued=wordset("-n -c --lines --bytes"), reads_content=True, count=True),
    "tail": Rule(flags=wordset("-q -v"), valued=wordset("-n -c --lines --bytes"), reads_content=True, count=True),
    "iptables": Rule(
        flags=wordset("-n -v"),
        valued=wordset("-t --table -S -L --list --list-rules"),
        value=r"filter|nat|mangle|raw|INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING|KUBE-[A-Z0-9-]{1,40}|CNI-[A-Z0-9-]{1,40}",
        most=0,
        needs=wordset("-S -L --list --list-rules"),
    ),
    "openssl": {
        **_with("openssl"),
        ("verify",): Rule(valued=wordset("-CAfile"), operand=_PLACE, value=_PLACE, most=3, needs=wordset("-CAfile")),
    },
    "ps": Rule(
        flags=wordset("--no-headers"),
        valued=wordset("-o -eo -eLo --sort -p -C"),
        most=0,
        needs=wordset("-o -eo -eLo"),
    ),
    "du": Rule(
        flags=wordset("--inodes --apparent-size --all"),
        valued=wordset("--max-depth -d"),
        letters="xhskmc",
        operand=_PLACE,
        value=r"[0-4]",
    ),
    "findmnt": Rule(letters="lnr", valued=wordset("-T --target -o --output"), operand=_PLACE, most=1),
    "uptime": Rule(letters="ps", most=0),
    "hostname": Rule(letters="fsI", most=0),
    "chronyc": {(verb,): _CALM for verb in ("tracking", "sources", "activity")},
    "last": Rule(valued=wordset("-n"), letters="x", value=r"[0-9]{1,4}", most=0, count=True),
    "pgrep": Rule(letters="axolnf", operand=r"[A-Za-z0-9_.-]{1,64}", most=1),
    "getent": {(what,): Rule(operand=r"[A-Za-z0-9._:-]{1,253}", most=1) for what in ("hosts", "ahosts", "ahostsv4")},
    "dig": Rule(
        letters="",
        operand=r"@[A-Za-z0-9.:-]{1,253}|[A-Za-z0-9._-]{1,253}|\+(?:short|tcp|time=[0-9]{1,2}|tries=[0-9])",
        most=6,
    ),
    "nslookup": Rule(operand=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", most=2),
    "nc": Rule(
        valued=wordset("-w"), letters="zvu", value=r"[0-9]{1,2}", operand=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", most=2
    ),
    "curl": Rule(
        flags=wordset("--silent --insecure --show-error --fail"),
        valued=wordset("--max-time -m --connect-timeout"),
        letters="skSf",
        value=r"[0-9]{1,3}",
        most=1,
        operand=r"https?://(?:127\.0\.0\.1|localhost|\[::1\]|10(?:\.[0-9]{1,3}){3}|192\.168(?:\.[0-9]{1,3}){2}"
        r"|172\.(?:1[6-9]|2[0-9]|3[01])(?:\.[0-9]{1,3}){2})(?::[0-9]{1,5})?"
        r"/(?:healthz|livez|readyz|version|metrics)(?:\?verbose)?",
    ),
    "ctr": {("plugins", "ls"): _CALM, ("version",): _CALM},
    "kubeadm": {("certs", "check-expiration"): _CALM, ("version",): Rule(valued=wordset("-o --output"), most=0)},
    "smartctl": Rule(letters="HiA", operand=r"/dev/[A-Za-z0-9]{1,20}", most=1, needs=wordset("-H -i -A")),
    "command": Rule(flags=wordset("-v"), operand=r"[A-Za-z0-9_.-]{1,64}", most=1, needs=wordset("-v")),
    "true": _CALM,
    "ss": Rule(letters="atunlpeomisxw460HO", operand=r"[A-Za-z0-9:.,()\[\]*=<>!_/ -]{1,128}", most=30),
    "conntrack": Rule(flags=wordset("-C --count -S --stats -L"), most=0, needs=wordset("-C --count -S --stats -L")),
    "sed": Rule(letters="nE", most=20),
    "lsblk": Rule(letters="fnlpo", most=0),
    "swapon": Rule(flags=wordset("--show"), most=0, needs=wordset("--show")),
    "iptables-legacy-save": guard.RULES["iptables-save"],
}
_LOCAL: guard.Rules = {name: _NODE[name] for name in ("date", "getent", "dig", "nslookup", "nc", "true")}
#: Where signs for file names may stand: folders in which no file holds a credential.
_GLOB_PLACES = re.compile(
    r"/var/log/pods/[A-Za-z0-9_.*-]+(?:/[A-Za-z0-9_.*-]+){1,2}"
    r"|/etc/kubernetes/manifests/[A-Za-z0-9_.*-]*"
    r"|/etc/cni/net\.d/[A-Za-z0-9_-]*\*\.conf(?:list|\*)?"
)
_KUBECONFIGS = "/etc/kubernetes/*.conf"


def _check_globs(argv: Sequence[str], globs: Sequence[Argument]) -> None:
    for argument in globs:
        text = argument.text
        if _GLOB_PLACES.fullmatch(text) and "/../" not in text and "?" not in text and "[" not in text:
            continue
        if text == _KUBECONFIGS and "grep" in argv[:2]:
            continue
        raise Refusal(f"not every file like {_name(text)} may be read")


def _node(argv: list[str], globs: Sequence[str]) -> None:
    rest = argv
    if rest[0] == "sudo":
        rest = rest[1:]
        if not rest or rest[0].startswith("-"):
            raise Refusal("sudo takes a command, and no options")
    if rest[0] == "sh":
        if len(rest) != 3 or rest[1] != "-c":
            raise Refusal("of sh only 'sh -c' with one text is understood")
        return  # what it is to run is looked at on its own
    if rest[0] in ("getent", "command", "true", "hostname", "uptime") and argv[0] == "sudo":
        raise Refusal(f"{rest[0]} needs no root")
    if rest == ["timedatectl"] or rest == ["systemctl", "--failed"]:
        return
    if rest[:3] == ["containerd", "config", "dump"] and len(rest) == 3:
        return
    if rest[0] == "openssl" and len(rest) > 1 and rest[1] == "x509" and "-in" not in rest:
        raise Refusal("it names no certificate")
    if rest[0] == "sed":
        _sed_file(rest[1:])
        return
    if rest[0] == "diff":
        guard.examine(["cat", *(word for word in rest[1:] if word != "-u")], _NODE)
        return
    if rest[0] == "iptables" and rest[1:] == ["--version"]:
        return
    if rest[0] == "ip":
        rest = _ip(rest)
    # A kubeconfig that stands for several is one kubeconfig to the rules.
    named = [_KUBECONFIGS.replace("*", "any") if word in globs and word == _KUBECONFIGS else word for word in rest]
    if named[0] in ("grep", "cat", "head", "tail", "sha256sum"):
        named = [word.replace("*", "x") if word in globs else word for word in named]
    guard.examine(named, _NODE)
    _ask_network(rest)
    if rest[0] == "ps":
        _columns(rest[1:])


_COLUMNS = re.compile(
    r"(?:pid|ppid|comm|rss|vsz|nlwp|etime|stat|user|pcpu|pmem|%cpu|%mem|lwp|start|time|wchan(?::[0-9]{1,2})?|,)+"
)


def _columns(words: list[str]) -> None:
    """Neither the arguments nor the environment of processes: both may hold passwords."""
    options, _ = guard.taken_apart(words, wordset("--no-headers"), wordset("-o -eo -eLo --sort -p -C"), "")
    for name, values in options.items():
        shape = {"-p": r"[0-9,]+", "-C": r"[A-Za-z0-9_.-]+", "--sort": r"-?[a-z]+"}.get(name)
        if not all(re.fullmatch(shape, value) if shape else _COLUMNS.fullmatch(value) for value in values):
            raise Refusal("of processes only their names and sizes are shown")


def _ip(argv: list[str]) -> list[str]:
    """``ip -4 route`` means ``show``: the word is put in, so that no other verb is taken for it."""
    nouns = [i for i, word in enumerate(argv) if i and not word.startswith("-")]
    return [*argv, "show"] if len(nouns) == 1 else argv


def _sed_file(words: list[str]) -> None:
    """``sed -n '/x/p' FILE``: the file is judged as for cat."""
    options, operands = guard.taken_apart(words, frozenset(), frozenset(), "nE")
    if "-n" not in options or len(operands) < 2 or not _SED.fullmatch(operands[0]) or not operands[0].endswith("p"):
        raise Refusal("of sed only lines are printed")
    guard.examine(["cat", *operands[1:]], _NODE)


def placed(command: Command, values: Mapping[str, str]) -> str:
    """The node that an ``ssh`` line names; empty for what runs here, or where it is not known yet."""
    try:
        argv = [a.text for a in expand(command, values, lambda _: UNKNOWN)]
    except ShellError:
        return ""
    return argv[1] if argv[:1] == ["ssh"] and len(argv) > 1 and _HOST.fullmatch(argv[1]) else ""
