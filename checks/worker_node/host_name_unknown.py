"""A machine finds no address for its own name, so each sudo on it waits for a DNS server that does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import HOSTS, HostNames, HostResolvers, KubeletJournal

_LATE = re.compile(r"did not finish within|cut short")


@check(
    title="Machine does not know its own name",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    tags=("node", "hostname", "dns", "sudo"),
)
def host_name_unknown(names: HostNames, resolvers: HostResolvers, journal: KubeletJournal) -> Iterator[Finding]:
    """Many machines do well without such a line. It counts where kdiag's own commands came too late for it."""
    late = {gap.source.partition(" ")[0] for gap in journal.gaps if _LATE.search(gap.reason)}
    for node, name in names:
        told = resolvers.get(node)
        short = name.partition(".")[0].lower()
        if node not in late or told is None or {name.lower(), short} & told.names.keys():
            continue
        yield Finding(
            Ref("Node", node),
            f"sudo hangs on {node}, so little was seen of it: {HOSTS} has no line for its own name {name}, and its DNS "
            "does not answer",
            evidence=(
                Evidence("uname -n", name, node),
                Evidence(f"grep -w {name} {HOSTS}", "nothing", node),
                Evidence("cat /etc/resolv.conf", ", ".join(told.servers or ()) or "no server", node),
            ),
            next=(
                f'ssh {node} "echo 127.0.1.1 {name} | sudo tee -a {HOSTS}"    # waits once more; undo: take it out',
                f"ssh {node} hostname    # is {name} its name at all?",
                "kdiag check    # again: it sees more then",
            ),
        )
