"""How programs end: an exit code in words, how long a run lived, and the line of its log that tells most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from kdiag.facts.logs import LogLine
from kdiag.facts.pods import Terminated
from kdiag.model.jsontext import read_object
from kdiag.model.text import duration, shorten

#: Words that a line which tells why a program ended has in it.
_STRONG = re.compile(
    r"(?i)panic:|fatal|\berror\b|[a-z]error\b|exception|traceback|caused by"
    r"|\bfailed\b|failure|cannot|can't|could not|couldn't"
    r"|unable to|denied|refused|not (?:set|found|defined)|missing|required|invalid|no such|unknown|undefined"
    r"|timed? ?out|abort|usage:|killed|segmentation|crit|emerg"
)
_HEADER = re.compile(r"^(?:[IWEF]\d{4} [\d:.]+\s+\d+ [^\]]+\] |\d{4}[-/]\d\d[-/]\d\d[T ][\d:.,]+(?:Z|[+-][\d:]+)? )")
#: What a program says of itself when it starts, well or not.
_START_UP = re.compile(r"maxprocs: (?:Leaving|Updating|Honoring) GOMAXPROCS")
_USAGE = re.compile(r"(?i)\s*usage(?: of \S{1,200})?:")
_FRAME = re.compile(
    r"^\s+at |^goroutine \d|^\t|^\s+File \"|^\s*\^+\s*$|^node:internal|^Node\.js v|^\s*\.\.\. \d+ more|^\s{4,}\S"
)


def telling(lines: tuple[LogLine, ...] | list[LogLine], width: int = 200) -> str:
    """The line of a log's end that says most about why the program ended; empty when there is none."""
    texts = _without_usage(
        [line.text.rstrip() for line in lines[-40:] if line.text.strip() and not _START_UP.search(line.text)]
    )
    strong = [t for t in texts if _STRONG.search(t) and not _FRAME.search(t)]
    panics = [t for t in strong if "panic:" in t]
    plain = [t for t in texts if not _FRAME.search(t)]
    chosen = (panics[:1] or _quoted(texts) or strong[-1:] or plain[-1:] or [""])[0]
    return shorten(_HEADER.sub("", _message(chosen.strip())), width)


def _without_usage(texts: list[str]) -> list[str]:
    """Many programs complain of an argument and then print all that they know; some complain after it."""
    start = next((i for i, text in enumerate(texts) if _USAGE.match(text)), 0)
    below = [t for t in texts[start + 1 :] if _STRONG.search(t) and not t[:1].isspace() and not t.startswith("-")]
    above = any(_STRONG.search(t) for t in texts[:start])
    return texts[:start] if above and not below else texts


def _quoted(texts: list[str]) -> list[str]:
    """Redis heads its complaint, quotes the line of its configuration below it, and says last what is wrong with it."""
    for heading, quote, why in zip(texts, texts[1:], texts[2:], strict=False):
        if quote.startswith(">>> '") and not _FRAME.search(why):
            return [f"{heading}: {quote.removeprefix('>>> ')}: {why}"]
    return []


#: Where the loggers in use put what they say, and what it is about.
_SAYS = ("msg", "message", "event", "@message", "textPayload")
_ABOUT = ("error", "err", "exception", "error.message", "stack_trace")


def _message(line: str) -> str:
    """What a line of JSON says, without its fields; another line as it is."""
    if not line.startswith("{"):
        return line
    record = read_object(line)
    said = _field(record, _SAYS)
    about = _field(record, _ABOUT)
    return f"{said}: {about}" if said and about and about not in said else said or line


def _field(record: Mapping[str, object], names: tuple[str, ...]) -> str:
    found = (record.get(name) for name in names)
    return next((" ".join(text.split()) for text in found if isinstance(text, str) and text.strip()), "")


_SIGNALS = {1: "SIGHUP", 2: "SIGINT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL"}
_SIGNALS |= {11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 31: "SIGSYS"}
_MEANING = {
    9: "killed from outside: memory, a probe, or it ignored SIGTERM",
    11: "a fault in its own code or libraries",
    6: "it gave up itself",
    15: "it was asked to stop",
    4: "an instruction that this processor does not have",
}
_CODES = {
    0: "it was asked to stop, or had no more to do",
    1: "an error of the program",
    2: "an error of the program, often its arguments",
    126: "a command that may not be executed",
    127: "a command that is not found",
    128: "it could not be started",
    255: "an error without a code of its own",
}


def exit_text(end: Terminated) -> str:
    """An exit code in words: ``exit code 1 (an error of the program)``, ``exit code 139 (SIGSEGV: …)``."""
    code = end.exit_code
    signal = end.signal or (code - 128 if 128 < code < 160 else 0)
    if signal:
        name = _SIGNALS.get(signal, f"signal {signal}")
        meaning = _MEANING.get(signal)
        return f"exit code {code} ({name}: {meaning})" if meaning else f"exit code {code} ({name})"
    return f"exit code {code} ({_CODES[code]})" if code in _CODES else f"exit code {code}"


def lived(end: Terminated) -> float:
    """For how many seconds a container ran; 0 for one that never began, of which the runtime gives the year 1970."""
    span = _span(end)
    return span.total_seconds() if span else 0.0


def lifetime(end: Terminated | None) -> str:
    """How long that run lived; empty when it never started."""
    span = _span(end) if end else None
    return "" if span is None else duration(span)


def _span(end: Terminated) -> timedelta | None:
    if end.started_at is None or end.finished_at is None or end.started_at.year < 2000:
        return None
    return end.finished_at - end.started_at
