"""Lists that are broken, hostile or strange: what can be read is read, what cannot is a gap with a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.facts import ConfigMaps, CronJobs, EndpointSlices, Events, Nodes, Pods, Services
from kdiag.facts.base import Objects
from kdiag.facts.wire import clean_json, unmanaged
from kdiag.model.observation import Observation


def built(fact: type[Objects[Any]], body: bytes) -> Any:
    builder = fact.builder()
    builder.feed(Observation("api", fact.sources[0].key, body=body))
    return builder.finish()


def listed(*items: Any) -> bytes:
    return json.dumps({"kind": "List", "items": list(items)}).encode()


POD: dict[str, Any] = {
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "nginx"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {"name": "odd", "namespace": "shop", "labels": None, "ownerReferences": None}},
        {"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"containers": None, "volumes": None}},
        {"metadata": {"name": "odd", "namespace": "shop"}, "spec": None, "status": None},
        {"metadata": {"name": "odd", "namespace": "shop"}, "status": {"phase": "Dreaming", "containerStatuses": None}},
        {
            "metadata": {"name": "odd", "namespace": "shop"},
            "spec": {"containers": [{"name": "c", "env": None, "ports": None}]},
        },
    ],
)
def test_nulls_and_unknown_words_are_read(odd: Any) -> None:
    pods = built(Pods, listed(POD, odd))
    assert [p.name for p in pods.items] == ["web-1", "odd"]
    assert pods.gaps == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"metadata": {"name": "bad", "namespace": "shop", "creationTimestamp": "yesterday"}},
        {"metadata": {"name": "bad", "namespace": "shop"}, "spec": {"containers": {"not": "a list"}}},
        {
            "metadata": {"name": "bad", "namespace": "shop"},
            "spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]},
        },
        {"metadata": {"name": "bad", "namespace": "shop", "creationTimestamp": "2026-11-22T10:00:00"}},
        {"metadata": {"name": "bad", "namespace": "shop", "labels": ["a"]}},
    ],
)
def test_one_bad_object_is_a_gap_that_names_it_and_the_others_stay(bad: Any) -> None:
    pods = built(Pods, listed(POD, bad))
    assert [p.name for p in pods.items] == ["web-1"]
    assert len(pods.gaps) == 1
    assert "shop/bad" in str(pods.gaps[0])


@pytest.mark.parametrize("bad", [None, 7, "text", [], {"metadata": 3}])
def test_what_is_no_object_at_all_is_a_gap(bad: Any) -> None:
    for fact in (Pods, Services, Nodes):
        found = built(fact, listed(bad))
        assert len(found.items) + len(found.gaps) >= 1 or bad is None
        assert "traceback" not in str(found.gaps).lower()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"items": [',
        b"[]",
        b"null",
        b'"x"',
        b'{"items": 5}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"items":' * 3000,
    ],
)
@pytest.mark.parametrize("fact", [Pods, Services, Events, ConfigMaps])
def test_what_is_no_list_is_a_gap(fact: type[Objects[Any]], body: bytes) -> None:
    found = built(fact, body)
    assert found.items == ()
    assert found.gaps or body in (b'{"items": 5}',)


def test_many_bad_objects_are_counted_and_not_all_told() -> None:
    bad = [{"metadata": {"name": f"b{i}", "creationTimestamp": "x"}} for i in range(50)]
    gaps = built(Pods, listed(*bad)).gaps
    assert len(gaps) == 5
    assert "46 more" in gaps[-1].reason


def test_an_empty_slice_of_a_real_server_is_no_gap() -> None:
    body = listed(
        {"metadata": {"name": "a", "namespace": "b"}, "addressType": "IPv4", "endpoints": None, "ports": None}
    )
    slices = built(EndpointSlices, body)
    assert slices.gaps == ()
    assert slices.items[0].endpoints in ((), None)


def test_escapes_are_made_visible_wherever_they_stand() -> None:
    service = {"metadata": {"name": "a\x1b[31m", "namespace": "b\u202e"}, "spec": {"selector": {"k\x07": "v\x9b"}}}
    found = built(Services, listed(service)).items[0]
    shown = f"{found.name}{found.namespace}{found.spec.selector}"
    assert not any(c in shown for c in "\x1b\u202e\x07\x9b")
    raw = json.dumps({"items": [service]}, ensure_ascii=False).replace("\x1b", "\\u001b").encode()
    assert b"\\u001b" not in clean_json(raw)


def test_escaped_backslashes_are_no_escapes() -> None:
    body = json.dumps({"items": [{"metadata": {"name": "x"}, "data": {"a": "C:\\u001b\\nothing \\\\u202e"}}]}).encode()
    assert json.loads(clean_json(body)) == json.loads(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
@settings(max_examples=150)
def test_any_document_in_the_place_of_an_object_is_read_or_a_gap(value: Any) -> None:
    for fact in (Pods, Services, Nodes, Events):
        built(fact, listed(POD, value))
        built(fact, listed({"metadata": value, "spec": value, "status": value}))


@given(st.text())
def test_cleaning_json_keeps_it_json(text: str) -> None:
    for ascii_only in (True, False):
        body = json.dumps({"a": text}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        json.loads(clean_json(body))


WORDS = st.text(st.sampled_from('a]},[{":\\/'), max_size=12)


@given(st.lists(st.tuples(st.booleans(), WORDS, WORDS), max_size=6), st.booleans())
@settings(max_examples=300)
def test_who_wrote_a_field_is_left_out_or_the_page_is_no_json_and_read_whole(
    pods: list[tuple[bool, str, str]], last: bool
) -> None:
    """Whatever the words hold: never is something else left out."""
    items: list[dict[str, Any]] = []
    for number, (managed, manager, key) in enumerate(pods):
        fields = {"managedFields": [{"manager": manager, "fieldsV1": {key: {}}}, {"manager": "m"}]} if managed else {}
        name = {"name": f"web-{number}", "namespace": "shop"}
        meta = {**name, **fields} if last else {"name": f"web-{number}", **fields, "namespace": "shop"}
        items.append({"metadata": meta, "spec": {"nodeName": key}})
    body = json.dumps({"items": items}, separators=(",", ":")).encode()
    for page in (body, memoryview(body), memoryview(bytearray(b"," + body))[1:].toreadonly()):
        text = bytes(unmanaged(page))
        try:
            left = json.loads(text)
        except ValueError:
            pass
        else:
            for item, found in zip(items, left["items"], strict=True):
                found["metadata"].setdefault("managedFields", item["metadata"].get("managedFields"))
                item["metadata"].setdefault("managedFields", None)
            assert left["items"] == items
        assert [p.name for p in built(Pods, bytes(page)).items] == [f"web-{n}" for n in range(len(items))]


def test_what_says_who_wrote_a_field_is_left_out_of_a_page() -> None:
    meta = {"name": "a", "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {".": {}}}}]}
    item = {"metadata": meta, "spec": {"x": "y" * 50}}
    text = json.dumps({"items": [item] * 4}, separators=(",", ":")).encode()
    body = memoryview(bytearray(text + b"of an earlier answer"))[: len(text)].toreadonly()
    assert json.loads(bytes(unmanaged(body))) == {"items": [{**item, "metadata": {"name": "a"}}] * 4}


def test_a_cron_job_keeps_no_password_either() -> None:
    container = {"name": "c", "image": "x", "env": [{"name": "DB_PASSWORD", "value": "hunter22x"}]}
    template = {"spec": {"containers": [container]}}
    job = {"metadata": {"name": "a", "namespace": "b"}, "spec": {"jobTemplate": {"spec": {"template": template}}}}
    fact = built(CronJobs, listed(job))
    assert len(fact.items) == 1
    assert "hunter22x" not in repr(fact)


@pytest.mark.parametrize("char", ["\U000e0041", "\U000f0000", "\U0010fffd", "\U0001d173", "\ue000", "\u202e", "\ufeff"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_nobody_sees_is_made_visible_also_beyond_the_first_plane(char: str, ascii_only: bool) -> None:
    text = json.loads(clean_json(json.dumps({"a": f"x{char}y"}, ensure_ascii=ascii_only).encode()))["a"]
    assert char not in text
    assert text.isprintable()
    assert (text[0], text[-1]) == ("x", "y")


@pytest.mark.parametrize("text", ["🚀", "👩‍💻"[:1], "𝔘", "日本語", "é", "\\udb40", "a\\\\ud83d\\\\ude80"])
def test_what_is_seen_stays(text: str) -> None:
    for ascii_only in (True, False):
        assert json.loads(clean_json(json.dumps({"a": text}, ensure_ascii=ascii_only).encode()))["a"] == text


def test_an_object_that_comes_twice_is_one_as_it_came_last() -> None:
    later = {**POD, "spec": {**POD["spec"], "nodeName": "w2"}}
    other = {**POD, "metadata": {**POD["metadata"], "name": "web-2"}}
    pods = built(Pods, listed(POD, other, later))
    assert [(p.name, p.node) for p in pods.items] == [("web-1", "w2"), ("web-2", "w1")]
    assert sorted(p.name for group in pods.templates for p in group) == ["web-1", "web-2"]
    node = {"metadata": {"name": "w1"}}
    assert len(built(Nodes, listed(node, node)).items) == 1


def test_objects_without_a_name_are_as_many_as_came() -> None:
    assert len(built(Events, listed({"reason": "A"}, {"reason": "A"})).items) == 2
