"""Words looked for in all runbook pages."""

from __future__ import annotations

import pytest

from kdiag.engine.runbook import named, page, search
from kdiag.engine.runbook.search import pages
from kdiag.errors import UsageError


def test_every_page_is_found_by_its_own_name() -> None:
    for check_id, text in pages().items():
        title = page(check_id).title
        assert text.startswith(f"# {title}")
        assert (search(check_id)[0].check_id, search(check_id)[0].title) == (check_id, title)
        assert check_id in {hit.check_id for hit in search(title)}


def test_words_are_found_across_the_ends_of_lines_and_whatever_their_case() -> None:
    text = pages()["application/disk_full_in_container"]
    first, second = text.partition("## Meaning\n")[2].strip().split("\n")[:2]
    across = f"{first.split()[-1]}   {second.split()[0]}".upper()
    assert "application/disk_full_in_container" in {hit.check_id for hit in search(across)}
    hits = search("No SPACE   left on device")
    assert {"application/disk_full_in_container", "worker_node/disk_full"} <= {hit.check_id for hit in hits}
    assert all(any(word in line.lower() for word in ("no", "space", "left")) for hit in hits for line in hit.lines)


def test_a_page_that_has_the_words_in_its_title_comes_first() -> None:
    assert search("configmap does not exist")[0].check_id == "application/configmap_missing"


def test_a_word_comes_before_what_has_it_inside() -> None:
    first = search("oom")[0]
    assert "OOM" in " ".join(first.lines), first
    assert "room" in " ".join(" ".join(hit.lines) for hit in search("oom")), "what is inside of words is found, too"


def test_all_words_must_be_there_and_no_words_are_all_pages() -> None:
    assert search("kubelet zzzzzz") == []
    assert len(search("")) == len(pages())
    assert search("")[0].lines == ()


def test_a_page_is_named_as_a_check_is() -> None:
    assert named("network/service_selects_nothing") == named("service-selects-nothing")
    with pytest.raises(UsageError, match="did you mean 'etcd_not_running'"):
        named("etcd_not_runing")


def test_a_link_is_shown_by_what_it_says() -> None:
    (hit,) = (h for h in search("no endpoint") if h.check_id == "network/ingress_backend_unavailable")
    assert any("see service_selects_nothing, or" in text for text in hit.lines)
