"""What ``find`` lists of a node is read line by line, whatever is in a line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kdiag.facts.filelist import FileInfo, listed


def test_reads_what_find_prints() -> None:
    text = (
        "d\td\t4096\t1790000000.5000000000\t700\troot\t/var/lib/etcd/\t\n"
        "l\tf\t12\t1790000000.0\t777\troot\t/etc/kubernetes/a.conf\tb.conf\n"
        "find: '/x': Permission denied\n"
    )
    folder, link = listed(text)
    assert folder == FileInfo(
        path="/var/lib/etcd",
        kind="d",
        size=4096,
        changed=datetime.fromtimestamp(1790000000.5, UTC),
        mode="700",
        owner="root",
    )
    assert (link.kind, link.link) == ("f", "b.conf")


@pytest.mark.parametrize("number", ["", "²", "-1", "nan", "inf", "1e400", "9" * 5000])
def test_a_number_that_is_none_costs_no_file(number: str) -> None:
    (found,) = listed(f"f\tf\t{number}\t{number}\t600\troot\t/etc/x\t\n")
    assert (found.path, found.size) == ("/etc/x", 0)
