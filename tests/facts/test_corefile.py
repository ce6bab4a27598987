"""The Corefile parser, on files as clusters have them."""

from __future__ import annotations

import pytest

from kdiag.facts import parse_corefile

KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
}
"""


def test_names_the_plugins_of_a_block_and_not_their_options() -> None:
    (block,) = parse_corefile(KUBEADM).blocks
    assert block.zones == (".:53",)
    assert [d.name for d in block.directives] == [
        "errors",
        "health",
        "ready",
        "kubernetes",
        "forward",
        "cache",
        "loop",
    ]
    assert block.all("forward")[0].args == (".", "/etc/resolv.conf")
    assert block.all("forward")[0].line == 12


def test_reads_several_blocks_comments_snippets_and_templates() -> None:
    text = (
        KUBEADM
        + "# a stub\n(snip) {\n  errors\n}\nconsul.local:53, example.org {\n  import snip\n"
        + '  template ANY A {\n    answer "{{ .Name }} 60 IN A 10.0.0.1"\n  }\n}\n'
    )
    corefile = parse_corefile(text)
    assert not corefile.error
    assert [b.zones for b in corefile.blocks] == [(".:53",), ("consul.local:53", "example.org")]
    assert [d.name for d in corefile.blocks[1].directives] == ["import", "template"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (KUBEADM.rstrip()[:-1], "line 1: a { is not closed"),
        (KUBEADM + "}\n", "line 18: a } closes nothing"),
        ('.:53 {\n  log "x\n}\n', "line 2: a quote is not closed"),
    ],
)
def test_says_what_does_not_match(text: str, error: str) -> None:
    assert parse_corefile(text).error == error


@pytest.mark.parametrize("text", ["", "}", "{", "{{{", '"', ".:53", "a {\n}\n}\n}", "\x00{\x00}"])
def test_never_raises(text: str) -> None:
    parse_corefile(text)


def test_what_stands_in_the_braces_of_a_plugin() -> None:
    text = ".:53 {\n    hosts {\n        10.1.2.3 a.example\n        fallthrough\n    }\n    cache 30\n}\n"
    (block,) = parse_corefile(text).blocks
    hosts, cache = block.directives
    assert hosts.body == (("10.1.2.3", "a.example"), ("fallthrough",))
    assert (hosts.option("fallthrough"), hosts.option("ttl"), cache.body) == ((), None, ())
