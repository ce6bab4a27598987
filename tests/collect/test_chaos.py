"""An API server, or what stands between, that answers anything at all: an error in one line, or a verdict with gaps.

A run takes some seeds, always the same; ``KDIAG_FUZZ=2000`` takes so many.
"""

from __future__ import annotations

import json
import os
import random
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdiag.collect.api import ApiSource
from kdiag.collect.deadline import Deadline
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.engine.intake import Intake, known, sources
from kdiag.engine.library import checks
from kdiag.engine.verdict import judge
from kdiag.errors import KdiagError
from kdiag.model.result import Status
from kdiag.report.document import render_json
from kdiag.report.style import Style
from kdiag.report.text import render
from tests.cli.runner import healthy_api, lost_service
from tests.fakeapi import Answer, FakeAPI, Fault
from tests.fuzz import LONG, NASTY, bend

ROUNDS = int(os.environ.get("KDIAG_FUZZ", "24"))
PATHS = (
    *("/", "/api/v1/", "/api/v1/pods", "/api/v1/nodes", "/api/v1/events", "/api/v1/namespaces", "/api/v1/services"),
    *("/apis/", "/apis/apps", "/apis/discovery", "/apis/coordination", "/version", "/readyz"),
)
STATUS = (199, 204, 206, 299, 300, 304, 307, 400, 403, 404, 405, 410, 413, 418, 422, 431, 500, 502, 503, 504, 511, 999)
HEADERS = (
    *({"Content-Type": ""}, {"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}),
    *({"Date": "x"}, {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}, {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    *({"Date": "Mon, 22 Nov 2027 09:00:00 GMT"}, {"Date": "Sun, 31 Feb 2026 25:61:61 GMT"}, {"Connection": "close"}),
    *({"Retry-After": "-5"}, {"Retry-After": "nan"}, {"Retry-After": "9" * 40}, {"Warning": f'299 - "{"x" * 9000}"'}),
    *({"Content-Length": "5"}, {"Content-Length": "-1"}, {"Content-Length": "9" * 15}, {"Content-Length": "abc"}),
    *({"Transfer-Encoding": "gzip, chunked"}, {"Location": "http://169.254.169.254/"}, {"Set-Cookie": "a=b"}),
)
TOKENS = ("x", "\x1b[2J", "a" * 100_000, "../../x", "&limit=1", "%00", "é", 5, None, {"a": 1}, ["x"])
ANSWERS: tuple[Any, ...] = (
    *([], None, 5, "x", {}, True, {"items": None}, {"items": {}}, {"items": [None] * 5}, {"items": [[]]}),
    *({"kind": "Status"}, {"kind": "Status", "code": 410, "message": NASTY}, {"kind": NASTY, "items": []}),
)
BYTES = (b"\x1b[2J", b"null", b"[[[[", b'"', b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"\xef\xbb\xbf", b"9" * 400)


def scrambled(rng: random.Random, body: bytes) -> bytes:
    found = bytearray(body)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0:
                found[at:at] = rng.randbytes(rng.choice((1, 4, 300)))
            case 1:
                del found[at : at + rng.choice((1, 10, 1000))]
            case 2:
                del found[at:]
            case 3:
                found[at:at] = rng.choice(BYTES)
            case _:
                found[0:0] = b"[" * rng.choice((1, 5000, 200_000))
    return bytes(found)


def edited(change: Callable[[Any], Any]) -> Fault:
    """The right document with something changed in it; what is no document stays as it is."""

    def edit(answer: Answer) -> Answer:
        try:
            document = json.loads(answer.body)
        except ValueError:
            return answer
        return replace(answer, body=json.dumps(change(document)).encode())

    return Fault.edit(edit)


def fault(rng: random.Random) -> Fault:
    """Anything that ends by itself; what never does has its tests in test_api.py."""

    def bent(document: Any) -> Any:
        items = document.get("items") if isinstance(document, dict) else None
        for _ in range(rng.choice((1, 5, 20))):
            bend(rng, rng.choice(items) if isinstance(items, list) and items else document)
        return document

    def lost(document: Any) -> Any:
        return {**document, "metadata": {"continue": rng.choice(TOKENS)}} if isinstance(document, dict) else document

    made: tuple[Callable[[], Fault], ...] = (
        *[lambda: edited(bent)] * 6,
        lambda: edited(lost),
        lambda: edited(lambda _: rng.choice(ANSWERS)),
        *[lambda: Fault.edit(lambda a: replace(a, body=scrambled(rng, a.body)))] * 2,
        lambda: Fault.edit(lambda a: replace(a, headers=rng.choice(HEADERS))),
        lambda: Fault.edit(lambda a: replace(a, status=rng.choice(STATUS), headers=rng.choice(({}, *HEADERS)))),
        lambda: rng.choice((Fault.close(), Fault.reset(), Fault.reset(after=rng.randrange(1, 4000)))),
        lambda: rng.choice(
            (Fault.truncated_json(rng.random()), Fault.short_body(rng.randrange(1, 99)), Fault.cut_chunk())
        ),
        lambda: Fault.html(rng.choice((200, 302, 403, 502))),
        lambda: rng.choice((Fault.gzip(), Fault.content_type(rng.choice(("", "x" * 5000))))),
        lambda: Fault.redirect(rng.choice(("/", "http://127.0.0.1:1/", "//x", "\\\\x", "file:///etc/passwd"))),
        lambda: Fault.not_json(rng.randbytes(rng.choice((0, 1, 100, 70_000)))),
        lambda: Fault.status(rng.choice((401, 403, 404, 410, 500, 504)), NASTY + LONG),
    )
    return rng.choice(made)()


def said(api: FakeAPI, home: Path) -> tuple[str, list[tuple[str, str]]]:
    """What a run over this server prints, and the checks that broke."""
    target = load(Overrides(kubeconfig=str(api.kubeconfig(home / "config"))), {}, home=home)
    source, intake = ApiSource(target, deadline=Deadline(20)), Intake(known())
    try:
        source.probe()
        source.narrow()
        intake.feed(source.run_record())
        source.observe(sources(known()), intake.feed)
    except KdiagError as exc:
        text = str(exc)
        assert "\n" not in text
        assert len(text) < 1500
        return text, []
    finally:
        source.close()
    found = judge(list(checks().values()), intake.finish(), checks())
    json.loads(render_json(found))
    return render(found, Style(), wide=True) + render_json(found), [
        (r.check_id, r.reason) for r in found.of(Status.ERROR)
    ]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_server_that_answers_anything_breaks_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(f"server {seed}")
    with healthy_api(lost_service()) as api:
        for _ in range(rng.choice((1, 2, 6))):
            api.fault(rng.choice(PATHS), fault(rng), nth=rng.choice((None, None, 1, 2, 3)))
        text, broken = said(api, tmp_path)
        api.errors.clear()  # of the server's own making: it had to send what cannot be sent
    assert broken == []
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co")}
    assert not bad, sorted(map(hex, map(ord, bad)))
