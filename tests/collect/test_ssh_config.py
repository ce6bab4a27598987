"""Our reading of ssh_config beside that of OpenSSH itself, where there is one."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from kdiag.collect.ssh_config import HostEntry, SshConfig, load
from kdiag.errors import ConfigError

# OpenSSH takes the home from the password database; so do these tests, to compare with it.
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
USER = pwd.getpwuid(os.getuid()).pw_name
needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client to compare with")


def config(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> SshConfig:
    path = tmp_path / "config"
    path.write_text(text)
    return load(path, {"HOME": str(HOME), **(environ or {})})


def lookup(tmp_path: Path, text: str, name: str = "w1") -> HostEntry:
    return config(tmp_path, text).lookup(name)


def oracle(path: Path, name: str) -> dict[str, list[str]]:
    """What ``ssh -G`` says."""
    printed = subprocess.run(
        ["ssh", "-G", "-F", str(path), name], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout
    found: dict[str, list[str]] = {}
    for line in printed.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


CONFIGS = {
    "patterns": "Host w*\n  Port 1\nHost !w1 *\n  Port 2\n  User late\nHost *\n  Port 3\n  User last\n",
    "negated last": "Host * !w1\n  User no\nHost *\n  User yes\n",
    "question mark": "Host w?\n  User one\nHost w??\n  User two\n",
    "first value wins": "User early\nHost w1\n  User late\n  Port 2\n  Port 3\n",
    "hostname token": "Host w1\n  HostName %h.example.org\n",
    "hostname percent": "Host w1\n  HostName a%%b\n",
    "equals": "Host=w1\nPort = 22022\nUser= joe\nHostName =h\n",
    "quotes": 'Host "w1"\n  User "joe"\n  IdentityFile "/a b/key"\n  IdentityFile \'/c d/key\'\n',
    "comments": "# one\nHost w1 # two\n  # three\n  User joe # four\n  Port 23 #five\n\n",
    "tabs and case": "\thOsT\tw1\n\t\tUSER\tjoe\n  hostNAME  H\n",
    "carriage returns": "Host w1\r\n  User joe\r\n  Port 24\r\n",
    "identities": "IdentityFile ~/.ssh/a\nHost w1\n IdentityFile ~/.ssh/b\n IdentityFile ~/.ssh/a\n",
    "tokens": "Host w1\n IdentityFile /%h/%r/%u/%n/%p\n",
    "identity none": "Host w1\n IdentityFile none\n",
    "known hosts": "Host w1\n UserKnownHostsFile /a ~/b /%h\n GlobalKnownHostsFile /c /d\n",
    "known hosts none": "Host w1\n UserKnownHostsFile none\n",
    "jump": "Host w1\n ProxyJump ops@bastion:2222\n",
    "jumps": "Host w1\n ProxyJump a,b@c,[::1]:3\n",
    "jump none": "Host w1\n ProxyJump none\nHost *\n ProxyJump bastion\n",
    "jump after command": "Host w1\n ProxyCommand nc %h %p\nHost *\n ProxyJump bastion\n",
    "agent": "Host w1\n IdentityAgent ~/agent.sock\n IdentitiesOnly yes\n HostKeyAlias node\n",
    "agent none": "Host w1\n IdentityAgent none\n",
    "certificates": "CertificateFile ~/a-cert.pub\nHost w1\n CertificateFile /b/%h\n",
    "match host": "Host w1\n HostName h1.example.org\nMatch host *.example.org\n User matched\n",
    "match originalhost": "Host w1\n HostName h1\nMatch originalhost w*,x*\n User matched\nMatch host w1\n Port 9\n",
    "match user": "Host w1\n User joe\nMatch user joe\n Port 77\nMatch user ann,!joe\n Port 78\n",
    "match negated": "Match !host w2\n User one\nMatch !originalhost w1\n User two\n",
    "match all": "Match all\n User everyone\n",
    "match decided once": "Match host w1\n HostName elsewhere\n Port 5\nMatch host w1\n User no\n",
    "match and": "Match originalhost w1 user nobody-of-that-name\n Port 5\nMatch originalhost w1 host w1\n Port 6\n",
    "unknown keywords": "Host w1\n ServerAliveInterval 5\n ForwardAgent yes\n ControlPath ~/%r@%h:%p\n User joe\n",
    "upper case name": "Host w1\n HostName W1.Example.ORG\n",
}


@needs_ssh
@pytest.mark.parametrize("label", CONFIGS)
@pytest.mark.parametrize("name", ["w1", "w12", "other"])
def test_agrees_with_openssh(tmp_path: Path, label: str, name: str) -> None:
    agrees(config(tmp_path, CONFIGS[label]), tmp_path / "config", name)


def agrees(ours: SshConfig, path: Path, name: str) -> None:
    entry, theirs = ours.lookup(name), oracle(path, name)

    def paths(keyword: str) -> list[Path]:
        return [
            Path(re.sub("^~", str(HOME), _expanded(word, entry)))
            for value in theirs.get(keyword, [])
            for word in (value.split() if "known" in keyword else [value])
            if word != "none"
        ]

    assert entry.hostname == theirs["hostname"][0].lower()
    assert entry.user == theirs["user"][0]
    assert str(entry.port) == theirs["port"][0]
    if entry.identities_named:
        assert list(entry.identity_files) == paths("identityfile")
    else:
        assert set(entry.identity_files) <= set(paths("identityfile"))
    assert list(entry.certificate_files) == paths("certificatefile")
    assert list(entry.user_known_hosts_files) == paths("userknownhostsfile")
    assert list(entry.global_known_hosts_files) == paths("globalknownhostsfile")
    assert ",".join(entry.proxy_jump) == ",".join(theirs.get("proxyjump", []))
    assert bool(entry.proxy_command) == ("proxycommand" in theirs)
    assert entry.identities_only == (theirs["identitiesonly"] == ["yes"])
    assert entry.host_key_alias == theirs.get("hostkeyalias", [""])[0]
    agent = [re.sub("^~", str(HOME), value) for value in theirs.get("identityagent", [""])]
    assert [entry.identity_agent] == agent


def _expanded(text: str, entry: HostEntry) -> str:
    """ssh -G prints some file names before their tokens are replaced."""
    for token, value in {
        "%h": entry.hostname,
        "%r": entry.user,
        "%u": USER,
        "%n": entry.alias,
        "%p": str(entry.port),
        "%d": str(HOME),
    }.items():
        text = text.replace(token, value)
    return text


@needs_ssh
def test_agrees_with_openssh_on_includes(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "10-a").write_text("User inner\nHost w1\n  Port 10\nHost w2\n  Port 20\n")
    (folder / "20-b").write_text("Host *\n  HostName from-b\n")
    (folder / "nested").write_text(f"Include {folder}/20-b\n")
    for text in (
        f"Include {folder}/??-*\nHost *\n Port 99\n",
        f"Host w1\n Include {folder}/*\n User outer\nHost *\n Port 99\n",
        f"Host w1\n Include {folder}/10-a\n Port 11\nHost w2\n User two\n",
        f"Match host w2\n Include {folder}/nested {folder}/10-a\n",
        f"Include {folder}/nothing*\nUser joe\n",
    ):
        ours = config(tmp_path, text)
        for name in ("w1", "w2", "w3"):
            agrees(ours, tmp_path / "config", name)


def test_a_relative_include_is_below_the_ssh_folder_of_the_user(tmp_path: Path) -> None:
    ssh = tmp_path / ".ssh"
    (ssh / "conf.d").mkdir(parents=True)
    (ssh / "conf.d" / "lab").write_text("Host w1\n  User lab\n")
    (ssh / "config").write_text("Include conf.d/*\nInclude ~/.ssh/conf.d/lab\n")
    assert load(None, {"HOME": str(tmp_path)}).lookup("w1").user == "lab"


def test_an_include_that_includes_itself_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config:1: files include each other"):
        config(tmp_path, f"Include {tmp_path}/config\n")


def test_includes_that_multiply_are_told(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"f{number}").write_text(f"Include {tmp_path}/f{number + 1}\n" * 3)
    (tmp_path / "f12").write_text("User joe\n")
    with pytest.raises(ConfigError, match="more than 1,000 files"):
        config(tmp_path, f"Include {tmp_path}/f0\n")


def test_match_exec_is_never_run_and_noted(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    entry = lookup(
        tmp_path,
        f'Match exec "touch {mark}"\n  User pwned\nMatch !exec "touch {mark}"\n  Port 1\nMatch all\n  User joe\n',
    )
    assert not mark.exists()
    assert (entry.user, entry.port) == ("joe", 22)
    assert entry.notes == (
        f"{tmp_path}/config:1: Match exec is not evaluated",
        f"{tmp_path}/config:3: Match exec is not evaluated",
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("ConnectTimeout 5", 5), ("ConnectTimeout=1m30s", 90), ("ConnectTimeout none", 0), ("", 0)]
)
def test_the_time_that_a_connection_may_take(tmp_path: Path, text: str, seconds: int) -> None:
    assert lookup(tmp_path, f"Host w1\n  {text}\n").connect_seconds == seconds


@pytest.mark.parametrize("criterion", ["final", "canonical", "localuser root", "localnetwork 10.0.0.0/8", "tagged x"])
def test_other_criteria_do_not_match_and_are_noted(tmp_path: Path, criterion: str) -> None:
    entry = lookup(tmp_path, f"Match {criterion}\n  User other\nHost *\n  User joe\n")
    assert entry.user == "joe"
    assert "is not evaluated" in entry.notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Host w1\n  Port ssh\n", "config:2: ssh is no port"),
        ("Port 0\n", "config:1: 0 is no port"),
        ("ConnectTimeout soon\n", "config:1: soon is no time"),
        ("Port 70000\n", "config:1: 70000 is no port"),
        ("Host w1\n\n  User\n", "config:3: user has no value"),
        ("Host\n", "config:1: Host has no value"),
        ("Match\n", "config:1: Match has no criterion"),
        ("Match host\n", "config:1: Match host has no value"),
        ("Match all user x\n", "config:1: Match all stands alone"),
        ("IdentityFile 'a\n", "config:1: a quote is not closed"),
        ("IdentityFile a b\n", "config:1: identityfile takes one value, not 2"),
        ("IdentityFile ~/%Q\n", "config:1: %Q in ~/%Q is not understood"),
        ("IdentityFile ${NOT_SET_HERE}/a\n", "config:1: the variable NOT_SET_HERE is not set"),
        ("IdentitiesOnly maybe\n", "config:1: identitiesonly is yes or no, not maybe"),
        ("ProxyJump a:b:c\n", "config:1: ProxyJump a:b:c is not [USER@]HOST[:PORT]"),
        ("ProxyJump a:99999\n", "config:1: ProxyJump a:99999 has no valid port"),
        ("HostName $(id)\n", "config:1: $(id) is no host name"),
        ("HostName -oProxyCommand=x\n", "is no host name"),
        ("User a\x1b[31mb\n", "config:1: a␛[31mb is no user name"),
        ("*&^%\n", "config:1: *&^% is no line of an SSH configuration"),
        ("\x1b[2J\n", "config:1: ␛[2J is no line of an SSH configuration"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lookup(tmp_path, text)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_named_must_exist_and_the_usual_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "nowhere", {})
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, {})
    assert load(None, {"HOME": str(tmp_path)}).lookup("w1").hostname == "w1"
    assert load(Path("none"), {"HOME": str(HOME)}).hosts() == []


def test_the_variable_names_the_file_and_the_argument_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("User a\n")
    (tmp_path / "b").write_text("User b\n")
    environ = {"HOME": str(tmp_path), "KDIAG_SSH_CONFIG": str(tmp_path / "a")}
    assert load(None, environ).lookup("w1").user == "a"
    assert load(tmp_path / "b", environ).lookup("w1").user == "b"


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"# \xff\xfe\nHost w1\n  User joe\n")
    assert load(tmp_path / "config", {"HOME": str(HOME)}).lookup("w1").user == "joe"


def test_variables_and_the_agent_of_a_variable_are_replaced(tmp_path: Path) -> None:
    environ = {"KEYS": "/keys", "MY_AGENT": "/run/agent"}
    found = config(tmp_path, "IdentityFile ${KEYS}/%h\nIdentityAgent $MY_AGENT\n", environ).lookup("w1")
    assert found.identity_files == (Path("/keys/w1"),)
    assert found.identity_agent == "/run/agent"
    assert config(tmp_path, "IdentityAgent $NO_AGENT\n").lookup("w1").identity_agent == "none"
    assert config(tmp_path, "IdentityAgent SSH_AUTH_SOCK\n").lookup("w1").identity_agent == ""


NODES = """
Host cp1
  HostName 10.0.0.1
Host w1
  HostName 10.0.0.2
  Port 2222
Host second-worker
  HostName 10.0.0.3
Host gpu-*
  User gpu
Host *
  User everyone
"""


def test_hosts_are_the_names_that_are_no_patterns(tmp_path: Path) -> None:
    assert config(tmp_path, NODES).hosts() == ["cp1", "w1", "second-worker"]
    assert config(tmp_path, "Host a b !c d* a\nHost e\n").hosts() == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("names", "addresses", "found"),
    [
        (["w1"], [], ("w1", "10.0.0.2", 2222)),
        (["W1"], [], ("w1", "10.0.0.2", 2222)),
        (["w1.example.org"], ["10.9.9.9"], ("w1", "10.0.0.2", 2222)),
        (["ip-10-0-0-3"], ["172.16.0.3", "10.0.0.3"], ("second-worker", "10.0.0.3", 22)),
        (["w1"], ["10.0.0.3"], ("w1", "10.0.0.2", 2222)),
        (["gpu-7"], [], ("gpu-7", "gpu-7", 22)),
        (["unheard-of"], ["10.8.8.8"], None),
        ([], [], None),
    ],
)
def test_a_node_finds_its_entry(
    tmp_path: Path, names: list[str], addresses: list[str], found: tuple[str, str, int] | None
) -> None:
    entry = config(tmp_path, NODES).for_node(names, addresses)
    assert (entry and (entry.alias, entry.hostname, entry.port)) == found


def route(tmp_path: Path, text: str, name: str = "w1") -> list[str]:
    ours = config(tmp_path, text)
    return [f"{hop.user}@{hop.endpoint}" for hop in ours.route(ours.lookup(name))]


def test_a_route_goes_through_all_jump_hosts_and_theirs(tmp_path: Path) -> None:
    text = (
        "Host w1\n User w\n ProxyJump ops@inner:2200\nHost inner\n HostName in.example.org\n ProxyJump outer\n"
        "Host outer\n User out\n HostName out.example.org\n"
    )
    assert route(tmp_path, text) == ["out@out.example.org:22", "ops@in.example.org:2200", "w@w1:22"]
    # With a chain given, only the first hop follows its own.
    text = "Host w1\n User w\n ProxyJump a,b\nHost b\n User b\n ProxyJump elsewhere\nHost a\n User a\n"
    assert route(tmp_path, text) == ["a@a:22", "b@b:22", "w@w1:22"]


def test_a_jump_host_does_not_jump_through_itself(tmp_path: Path) -> None:
    text = "Host *\n User u\n ProxyJump bastion\n"
    assert route(tmp_path, text) == ["u@bastion:22", "u@w1:22"]
    assert route(tmp_path, text, "bastion") == ["u@bastion:22"]


def test_jump_hosts_in_a_circle_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="goes in a circle: w1 -> a -> b -> a"):
        route(tmp_path, "Host w1\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n")


def test_of_thousands_of_hosts_each_is_looked_up_by_its_name(tmp_path: Path) -> None:
    blocks = (f"Host h{n} alias{n}\n  HostName 10.0.{n // 250}.{n % 250}\n  User u{n}\n" for n in range(3000))
    found = config(
        tmp_path, "Port 22\n" + "".join(blocks) + "Host h* !h7\n  Port 2222\nMatch host 10.0.0.8\n  User no\n"
    )
    start = time.process_time()
    assert found.for_node(["w1"], ["10.9.9.9"]) is None
    entries = {n: found.for_node([name], ["10.0.11.249"]) for n, name in ((7, "h7"), (8, "alias8"), (2999, "w1"))}
    assert time.process_time() - start < 4
    assert {n: (e.alias, e.user, e.port) for n, e in entries.items() if e} == {
        7: ("h7", "u7", 22), 8: ("alias8", "u8", 22), 2999: ("h2999", "u2999", 22),
    }  # fmt: skip
