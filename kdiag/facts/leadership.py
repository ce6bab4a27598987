"""Programs of which one works and the others wait their turn, and which say so by their readiness."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kdiag.facts.logs import LogLine, Logs
from kdiag.facts.pods import Pod

#: What such a program says last while it waits; what comes after that, an error above all, is another matter.
_WAITS = re.compile(
    r"(?i)attempting to acquire leader lease"
    r"|waiting (?:to become|for|to acquire) (?:the |a )?(?:new )?(?:leader|primary|master|active|lock\b)"
    r"|\b(?:in|entering|as|into) (?:hot |warm )?stand-?by\b|standing by\b"
    r"|\bi am (?:a )?(?:follower|stand-?by|secondary|not (?:the )?leader)"
)


def waits_for_lead(lines: Sequence[LogLine]) -> bool:
    """Whether the last thing that a program said is that another one leads."""
    last = next((line.text for line in reversed(lines) if line.text.strip()), "")
    return bool(_WAITS.search(last))


def stands_by(pod: Pod, logs: Logs | None) -> bool:
    """Whether every container of a pod that is not ready waits for the lead; false where its log was not read."""
    unready = [s.name for s in pod.statuses if not s.ready]
    if logs is None or not unready or any(s.restart_count or not s.state.running for s in pod.statuses):
        return False
    return all(
        any(waits_for_lead(log.lines) for log in logs.of(pod.namespace, pod.name, name) if not log.previous)
        for name in unready
    )
