"""What kdiag said of each scenario, as a page: ``python -m tests.lab.accuracy RESULTS > docs/accuracy.md``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kdiag.lab.scenario import scenarios

HEAD = """\
# How often kdiag is right

Each practice scenario is made on a real kubeadm cluster (Kubernetes 1.36, one control-plane node, two workers),
`kdiag check` is run until it is right or 150 s are over, the scenario is mended, and kdiag must fall silent again. This
page is written by that run (`make lab-all`), never by hand. A row is the latest run of its scenario: what was missed
once and is named since was played again, and what is missed still stays here.

- **rank**: the place of the expected cause, with the expected object, among all causes; 1 is first.
- **wrong**: other causes of severity error or critical that are not true.
- **folded**: symptoms shown below the cause instead of beside it.
- **s**: seconds from the moment at which a user would notice until kdiag is right.
- **mended**, **silent**: the proof holds after the repair; kdiag finds nothing after the restore.
"""


@dataclass
class Row:
    """One scenario as a run saw it."""

    scenario: str
    cause: str
    rank: int
    right: bool
    wrong: list[str] = field(default_factory=list)
    folded: int = 0
    unknown: int = 0
    seconds: float = 0.0
    proof: bool = False
    silent: bool = False


def keep(row: Row) -> None:
    """Add what was seen to the results, when they are kept."""
    if path := os.environ.get("KDIAG_LAB_RESULTS"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(row)) + "\n")


def rows(path: Path) -> dict[str, Row]:
    """The last that was seen of each scenario."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = Row(**json.loads(line))
        found[row.scenario] = row
    return found


def page(found: dict[str, Row]) -> str:
    """The page: totals, a row a scenario, and those that were not run."""
    known = scenarios()
    ran = [found[i] for i in known if i in found]
    first = sum(r.rank == 1 for r in ran)
    right = sum(r.right for r in ran)
    wrong = sum(bool(r.wrong) for r in ran)
    seconds = sorted(r.seconds for r in ran if r.right)
    middle = seconds[len(seconds) // 2] if seconds else 0.0
    lines = [
        HEAD,
        "## Totals\n",
        f"{len(ran)} of {len(known)} scenarios run: **{first} named first**, {right} right in everything "
        f"(first, no wrong cause beside it), {wrong} with a wrong cause; half of them within {middle:g} s.",
        f"Mended: {sum(r.proof for r in ran)}. Silent afterwards: {sum(r.silent for r in ran)}.\n",
        "| scenario | right | rank | wrong | folded | unknown | s | mended | silent | what kdiag said first |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in ran:
        said = r.cause.replace("|", "\\|")[:110]
        cells = [r.scenario, _yes(r.right), r.rank or "–", len(r.wrong), r.folded, r.unknown, f"{r.seconds:g}"]
        lines.append(f"| {' | '.join(map(str, [*cells, _yes(r.proof), _yes(r.silent), said]))} |")
    missed = [r for r in ran if r.wrong]
    if missed:
        lines += ["", "## Wrong causes", ""]
        lines += [f"- {r.scenario}: {w}" for r in missed for w in r.wrong]
    if rest := [i for i in known if i not in found]:
        lines += ["", "## Not run", "", ", ".join(rest)]
    return "\n".join(lines) + "\n"


def _yes(fine: bool) -> str:
    return "yes" if fine else "**no**"


if __name__ == "__main__":
    print(page(rows(Path(sys.argv[1]))), end="")
