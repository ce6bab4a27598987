"""The script in every shell that is there, its answers cut anywhere, and an attack on what may be run."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.collect import batch
from kdiag.collect.batch import PROGRAMS, Section, State, observe, parse, readable, refuse_writes, render
from kdiag.collect.deadline import Deadline
from kdiag.collect.shell import CutShort, LocalShell, Output, Shell
from kdiag.errors import BadAnswer, CheckDefinitionError
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation

NONCE = "0123456789abcdef" * 2
LONG = 60.0


def command(
    *argv: str, key: str = "key", sudo: bool = False, seconds: int = 5, limit: int = 1000, name: str = ""
) -> NodeCommand:
    return NodeCommand(key=key, argv=argv, sudo=sudo, seconds=seconds, limit=limit, name=name)


# What may be run

READS = """
systemctl show kubelet --no-pager -p ActiveState,SubState
systemctl --no-pager show kubelet.service containerd.service --property=Id --property=ActiveState
systemctl cat kubelet
ps -e -o pid=,stat=,wchan:24=,comm=
ps -ww -o pid=,stat=,wchan:24=,comm=,cgroup= -p 12,345
grep -rsHx --include=freezer.state FROZEN /sys/fs/cgroup/freezer
systemctl is-active kubelet
systemctl is-enabled --quiet kubelet
systemctl list-units --type=service --state=failed --no-legend --plain --all
journalctl --no-pager -q --utc -o json --output-fields=MESSAGE,PRIORITY --all -n 200 -u kubelet --since '2 hours ago'
journalctl -k -n100 --no-pager -g 'oom|Out of memory' -b
journalctl --list-boots
crictl -r unix:///run/containerd/containerd.sock --timeout=2s ps -a -o json
crictl ps -a -o json --name kube-apiserver
crictl logs --tail 50 1f0c5d
crictl logs --tail=50 -t 1f0c5d
crictl inspect 1f0c5d
crictl pods -o json
crictl info
crictl images -o json
cat /etc/kubernetes/manifests/etcd.yaml /var/lib/kubelet/config.yaml
cat /proc/meminfo /proc/sys/net/ipv4/ip_forward /proc/pressure/memory
cat /etc/kubernetes/pki/ca.crt
head -c 1000 /etc/hosts
head -n1 /etc/os-release
tail -n 100 /var/log/syslog
grep -n -- --etcd-servers /etc/kubernetes/manifests/kube-apiserver.yaml
grep -c processor /proc/cpuinfo
grep -hs server: /etc/kubernetes/kubelet.conf
grep -h '^ *server:' /etc/hosts
grep -r '' /etc/kubernetes/manifests
grep -r '' /etc/systemd/system --include=*.conf
grep -r '' /etc/cni/net.d --include=*.conflist --include=*.conf
grep -rsHn --include=*.conf '' /etc/kubernetes/kubelet.conf.d/
grep -rsHn --include=*.conf '' /etc/kubernetes/kubelet/config.json.d/
find /etc/kubernetes/manifests -maxdepth 1 -type f -name *.yaml -printf '%p %s %T@\\n'
find /var/log/pods -mmin -5 -size +100M
stat -c '%n %a %U' /etc/kubernetes/pki/apiserver.key
ls -la /etc/kubernetes/pki
openssl x509 -noout -enddate -subject -in /etc/kubernetes/pki/apiserver.crt
openssl pkey -pubout -in /etc/kubernetes/pki/apiserver.key
ss -ltnp
ss -tan state established
df -hPT
df -i --output=target,ipcent
ip -j addr show
ip -br link show dev eth0
ip route show table all
ip route get 10.0.0.1
ip netns list
iptables-save -c -t nat
nft -j list ruleset
nft list table ip filter
sysctl -n net.ipv4.ip_forward
sysctl -a
sysctl net.bridge.bridge-nf-call-iptables
lsmod
uname -r
date -u +%s
id
id -un
timedatectl show -p NTPSynchronized --value
etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/a --cert=/b --key=/c endpoint status -w json
etcdctl endpoint health --cluster
etcdctl member list
etcdctl alarm list
readlink -f /var/lib/kubelet
sha256sum /etc/kubernetes/manifests/etcd.yaml
mount
dmesg -T
dmesg --level=err,warn
getenforce
containerd --version
kubelet --version
crio --version
conntrack -C
nproc
free -b
"""

WRITES = """
ps e
ps -ef
ps -e
ps -e -o pid=,args=
ps -e -o pid=,environ=
ps -e -o pid= -p 1,x
grep -rsH --include=freezer.state FROZEN /sys/fs/cgroup
sh -c id
bash
/bin/cat /etc/hosts
sudo id
env cat /etc/hosts
timeout 5 id
xargs rm
tee /etc/hosts
rm -rf /
kubectl get pods
python3 -c 1
sort -o /etc/hosts /etc/passwd
systemctl
systemctl restart kubelet
systemctl stop kubelet
systemctl show kubelet --now
systemctl -p show stop kubelet
systemctl --property show restart kubelet
systemctl -H root@w1 show kubelet
systemctl --host=w1 show kubelet
systemctl -M c show kubelet
systemctl edit kubelet
systemctl kill kubelet
systemctl daemon-reload
systemctl set-property kubelet CPUQuota=1%
systemctl show '$(reboot)'
systemctl --root=/mnt show kubelet
systemctl isolate rescue
journalctl --vacuum-time=1s
journalctl --vacuum-size 1
journalctl --vac=1s
journalctl --rotate
journalctl --flush
journalctl --sync
journalctl --relinquish-var
journalctl --smart-relinquish-var
journalctl --setup-keys
journalctl --update-catalog
journalctl --cursor-file=/etc/passwd
journalctl --cursor-file /etc/passwd
journalctl -f
journalctl --follow -u kubelet
journalctl -fu kubelet
journalctl /dev/sda
journalctl --root=/x
crictl
crictl rm 1f0c
crictl rmi --prune
crictl stop 1f0c
crictl exec -it 1f0c sh
crictl run a b
crictl pull nginx
crictl config --set debug=true
crictl logs -f 1f0c
crictl logs --follow 1f0c
crictl logs -tf 1f0c
crictl -c /x ps
crictl -r a rm ps
crictl update 1f0c
crictl checkpoint 1f0c
cat
cat /etc/kubernetes/admin.conf
cat /etc/kubernetes/super-admin.conf
cat //etc//kubernetes/./admin.conf
cat /etc/kubernetes/manifests/../admin.conf
cat /etc/kubernetes/pki/ca.key
cat /etc/kubernetes/pki/etcd/server.key
cat /etc/shadow
cat /etc/shadow-
cat /proc/1/environ
cat /proc/self/root/etc/kubernetes/admin.conf
cat /proc/1/root/etc/shadow
cat /proc/kmsg
cat /dev/sda
cat /dev/watchdog
cat /sys/kernel/debug/tracing/trace_pipe
cat .kube/config
cat /root/.kube/config
cat ~/.ssh/id_rsa
cat /root/.ssh/id_ed25519
cat /home/x/.ssh/authorized_keys
cat /etc/ssh/ssh_host_ed25519_key
cat /var/lib/kubelet/pki/kubelet-client-current.pem
cat /var/lib/kubelet/pods/x/volumes/kubernetes.io~secret/a/b
cat /var/lib/kubelet/pods/x/volumes/kubernetes.io~projected/t/token
cat /var/run/secrets/kubernetes.io/serviceaccount/token
cat /etc/kubernetes/encryption-config.yaml
cat /etc/rancher/k3s/k3s.yaml
cat /var/lib/etcd/member/snap/db
cat /etc/kubernetes/bootstrap-kubelet.conf
cat /root/.bash_history
cat /etc/cni/net.d/calico-kubeconfig
head /etc/shadow
tail -f /var/log/syslog
tail -F /var/log/syslog
tail -n 1 --follow /var/log/syslog
tail -fn1 /var/log/syslog
tail --retry /var/log/syslog
tail --pid=1 /var/log/syslog
grep
grep x
grep -r . /etc/kubernetes
grep -r . /
grep -R . /etc/kubernetes/manifests
grep -r . /etc/cni/net.d
grep -r . /etc/cni/net.d --include=*kubeconfig
grep -r . /etc/kubernetes/kubelet.conf.d
grep -r . /etc/kubernetes --include=*.conf
grep -r . /var/lib/kubelet --include=*.conf
grep -r . /etc/kubernetes/manifests/..
grep -rh server: /etc/kubernetes
grep . /etc/kubernetes/admin.conf
grep -v server: /etc/kubernetes/admin.conf
grep -A 99 server: /etc/kubernetes/admin.conf
grep -e server: -e . /etc/kubernetes/admin.conf
grep 'server:\\|key' /etc/kubernetes/admin.conf
grep -h server: /root/.kube/config
grep -f /etc/shadow /etc/hosts
grep x -
find / -delete
find / -exec rm {} ;
find / -execdir rm {} +
find / -ok rm {} ;
find / -okdir rm {} ;
find / -fprint /etc/passwd
find / -fprint0 /etc/passwd
find / -fprintf /etc/passwd %p
find / -fls /etc/passwd
find / -name -delete
find / -files0-from /x
openssl
openssl x509 -in /a -out /b
openssl x509 -in /a -signkey /b
openssl x509 -req -in /a
openssl x509 -in /a -engine x
openssl x509 -in /a -passin file:/etc/shadow
openssl pkey -in /etc/kubernetes/pki/ca.key
openssl pkey -in /a -text
openssl pkey -in /a -pubout -out /b
openssl pkey -in /a -pubout -passout pass:x
openssl req -new
openssl rand 10
openssl s_client -connect a:1
ss -K
ss -tK
ss --kill
ss -D /x
ss -F /x
ss -E
df --sync
ip
ip addr
ip addr add 10.0.0.1/8 dev eth0
ip link set eth0 down
ip link delete eth0
ip route flush cache
ip neigh flush all
ip netns exec x sh
ip netns add x
ip -n x addr show
ip -batch /x
ip -force -b /x
ip monitor
ip a s
iptables-save -f /etc/passwd
iptables-save --file=/etc/passwd
iptables-save -M /tmp/evil
iptables-save --modprobe=/tmp/evil
iptables-save -t security_evil
iptables -F
nft flush ruleset
nft -f /x
nft -i
nft list ruleset ; flush ruleset
nft list ruleset;flush ruleset
nft list ruleset '{'
nft -c flush ruleset
nft -D a=b list ruleset
sysctl -w net.ipv4.ip_forward=0
sysctl net.ipv4.ip_forward=0
sysctl -n net.ipv4.ip_forward=0
sysctl -p
sysctl --system
sysctl --load=/x
sysctl -qw a=1
lsmod x
uname --x
date -s 2020-01-01
date --set=2020-01-01
date 010100002020
date -u 010100002020
date +%s 010100002020
date -f /etc/shadow
date -r /x
id --x
timedatectl
timedatectl set-ntp false
timedatectl set-time 2020-01-01
timedatectl -H x show
timedatectl show set-ntp
etcdctl
etcdctl get / --prefix
etcdctl del / --prefix
etcdctl put a b
etcdctl alarm disarm
etcdctl member remove 1
etcdctl member list remove
etcdctl endpoint hashkv
etcdctl snapshot save /x
etcdctl defrag
etcdctl move-leader 1
etcdctl --user root:x member list
mount /dev/sda /mnt
mount -o remount,rw /
mount -a
dmesg -c
dmesg -C
dmesg --clear
dmesg --read-clear
dmesg -n 1
dmesg -D
dmesg -E
dmesg -w
dmesg -Tc
dmesg --console-off
getenforce x
containerd
containerd config default
containerd --config x --version
kubelet
kubelet --config=x
kubelet --version --config=x
crio
crio wipe
conntrack
conntrack -D
conntrack -F
conntrack -C -D
conntrack -L
conntrack -E
nproc x
free -s 1
readlink --x /a
sha256sum -c /etc/shadow
sha256sum /etc/shadow
stat --x /a
ls --x
"""


@pytest.mark.parametrize("text", READS.strip().splitlines())
def test_what_only_reads_is_let_through(text: str) -> None:
    refuse_writes(shlex.split(text))


@pytest.mark.parametrize("text", WRITES.strip().splitlines())
def test_what_could_write_or_shows_a_credential_is_refused(text: str) -> None:
    argv = shlex.split(text)
    with pytest.raises(CheckDefinitionError, match="kdiag does not run") as caught:
        refuse_writes(argv)
    assert str(caught.value).isprintable()
    with pytest.raises(CheckDefinitionError):
        render([command(*argv)], NONCE)


@pytest.mark.parametrize("argv", [(), ("",), ("cat", "/a\nb"), ("cat", "/a\0b"), ("cat", "/\x1b[2J"), ("id\n",)])
def test_arguments_that_are_none_are_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(CheckDefinitionError):
        refuse_writes(argv)


def test_every_program_is_tried_from_both_sides() -> None:
    for texts in (READS, WRITES):
        assert {shlex.split(line)[0] for line in texts.strip().splitlines()} >= PROGRAMS


@given(st.lists(st.text(max_size=12), max_size=6), st.sampled_from(sorted(PROGRAMS)))
def test_whatever_is_let_through_is_free_of_the_options_that_write(words: list[str], program: str) -> None:
    try:
        refuse_writes([program, *words])
    except CheckDefinitionError:
        return
    assert not {"-delete", "-exec", "-w", "-f", "-F", "-K", "-D", "--follow", "-out", "-s", "--set"} & set(words) or (
        program in ("find", "grep", "stat", "ls", "uname", "sha256sum", "readlink", "free", "ss")
    )


def test_readable_gives_what_a_person_would_type() -> None:
    commands = [command("cat", "/a b"), command("id", sudo=True), command("id", sudo=True, key="again")]
    assert readable(commands) == ["cat '/a b'", "sudo id"]


@pytest.mark.parametrize("changes", [{"seconds": 0}, {"seconds": 1000}, {"limit": 0}, {"limit": 1 << 30}])
def test_limits_out_of_range_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(CheckDefinitionError, match="out of range"):
        render([command("id", **changes)], NONCE)  # type: ignore[arg-type]


# What the script makes of it


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that goes first in PATH: stand-ins for programs that are not here, or that misbehave."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = f"PATH={folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    monkeypatch.setattr("kdiag.collect.shell.ENVIRONMENT", ("LC_ALL=C", "TZ=UTC", path, "HOME=/"))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


SHELLS = [
    shell for shell in ("dash", "bash", "busybox sh", "zsh --emulate sh", "ksh") if shutil.which(shell.split()[0])
]


def run(commands: list[NodeCommand], shell: str = "sh", path: str = "", *, singly: bool = False) -> list[Section]:
    environ = {"LC_ALL": "C", "PATH": path or os.environ["PATH"]}
    done = subprocess.run(
        [*shell.split(), "-s", "--", "x"],
        input=render(commands, NONCE, singly=singly),
        capture_output=True,
        env=environ,
        timeout=LONG,
    )
    assert done.returncode == 0
    return parse(done.stdout, NONCE)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_answer_is_kept_with_its_exit_code(shell: str, tmp_path: Path) -> None:
    program(tmp_path, "kubelet", 'cat; printf "out\\n"; printf err >&2; exit 3')
    program(tmp_path, "crio", "printf 'a\\000\\377\\n\\n'")
    commands = [
        command("kubelet", "--version", key="one", name="a/b c"),
        command("crio", "--version", key="two"),
        command("nproc", key="three"),
        command("containerd", "--version", key="four"),
    ]
    program(tmp_path, "containerd", "exit 0")
    one, two, three, four = run(commands, shell, f"{tmp_path}:{os.environ['PATH']}")
    assert (one.key, one.name, one.status, one.body, one.state) == ("one", "a/b c", 3, b"out\nerr", State.ENDED)
    assert (two.key, two.name, two.status, two.body) == ("two", "", 0, b"a\0\xff\n\n")
    assert three.body.strip().isdigit()
    assert (four.status, four.body) == (0, b"")


@pytest.mark.parametrize("shell", SHELLS)
def test_an_answer_that_is_too_long_is_cut_and_the_next_one_is_whole(shell: str, tmp_path: Path) -> None:
    program(tmp_path, "kubelet", "cat /dev/zero")
    program(tmp_path, "crio", "printf 12345")
    long, exact, after = run(
        [
            command("kubelet", "--version", limit=100_000),
            command("crio", "--version", limit=5),
            command("crio", "--version", limit=4),
        ],
        shell,
        f"{tmp_path}:{os.environ['PATH']}",
        singly=True,
    )
    assert (long.cut, long.status, long.body) == (True, None, bytes(100_000))
    assert (exact.cut, exact.status, exact.body) == (False, 0, b"12345")
    assert (after.cut, after.body) == (True, b"1234")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_hangs_is_killed_and_the_next_one_runs(shell: str, tmp_path: Path) -> None:
    program(tmp_path, "kubelet", "echo begun; exec sleep 1000")
    late, after = run(
        [command("kubelet", "--version", seconds=1), command("id", "-u")],
        shell,
        f"{tmp_path}:{os.environ['PATH']}",
        singly=True,
    )
    assert late.state in (State.LATE, State.KILLED)
    assert late.body.removesuffix(b"Terminated\n") == b"begun\n"  # as some shells say of what was killed
    assert after.status == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_a_runtime_that_let_one_wait_in_vain_is_not_asked_again(shell: str, tmp_path: Path) -> None:
    """Each would wait as long, and together they cost the node all of its time."""
    program(tmp_path, "crictl", "echo asked >> $0.log; echo no answer; sleep 4; exit 1")
    path = f"{tmp_path}:{os.environ['PATH']}"
    commands = [command("crictl", "ps"), command("id", "-u"), command("crictl", "pods"), command("crictl", "info")]
    first, beside, second, third = run(commands, shell, path)
    assert (first.status, first.body, beside.status) == (1, b"no answer\n", 0)
    assert (second.state, third.state) == (State.SPARED, State.SPARED)
    assert (tmp_path / "crictl.log").read_text() == "asked\n"
    program(tmp_path, "crictl", "exit 1")
    assert [s.state for s in run(commands, shell, path)] == [State.ENDED] * 4  # who refuses at once is asked again


@pytest.mark.parametrize("shell", SHELLS)
def test_it_works_with_the_programs_of_busybox_and_with_hardly_any(shell: str, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    for name in ("timeout", "head", "id", "cat", "sleep", "sh"):
        (tmp_path / name).symlink_to(busybox)
    program(tmp_path, "kubelet", "echo begun; exec sleep 1000")
    shell = shlex.join([shutil.which(shell.split()[0]) or "", *shell.split()[1:]])
    late, missing, after = run(
        [command("kubelet", "--version", seconds=1), command("crictl", "info"), command("id", "-u")],
        shell,
        str(tmp_path),
        singly=True,
    )
    assert late.state in (State.LATE, State.KILLED)
    assert missing.state is State.MISSING
    assert after.status == 0
    for name in ("timeout", "head"):
        (tmp_path / name).unlink()
    missing, after = run([command("crictl", "info"), command("id", "-u")], shell, str(tmp_path))
    assert missing.state is State.MISSING
    assert after.status == 0


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("what", ["exec sleep 1000", "cat /dev/zero", "kill -9 $$", "kill -9 $PPID"])
def test_what_goes_wrong_with_a_quick_one_costs_itself_alone(shell: str, what: str, tmp_path: Path) -> None:
    """However it ends, and whatever ran with it: those before it, behind it and in other lanes have their answers."""
    program(tmp_path, "kubelet", f"printf begun; {what}")
    program(tmp_path, "crictl", "printf runtime")
    program(tmp_path, "openssl", "printf public")
    (tmp_path / "sh").symlink_to(shutil.which(shell.split()[0]) or "")
    argv = ("openssl", "pkey", "-in", "/k.key", "-pubout")
    commands = [
        *(
            command("id", "-u", key="a"),
            command("kubelet", "--version", key="b", seconds=1),
            command("id", "-g", key="c"),
        ),
        *(command("crictl", "info", key="d"), NodeCommand(key="e", argv=argv)),
    ]
    path = f"{tmp_path}:{os.environ['PATH']}"
    whole = run(commands, shell, path)
    again = run(
        [c for c, s in zip(commands, whole, strict=True) if s.state in (State.SHORT, State.UNREACHED)],
        shell,
        path,
        singly=True,
    )
    found = {s.key: s for s in (*whole, *again)}
    assert [found[key].body for key in "ade"] == [b"%d\n" % os.getuid(), b"runtime", b"public"]
    assert found["c"].body == b"%d\n" % os.getgid()
    assert found["b"].body.startswith(b"begun")
    assert found["b"].state in (State.LATE, State.KILLED, State.SHORT) or found["b"].cut


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    program(tmp_path, "cat", 'printf "<%s>" "$@"')
    words = ["/a b", "/$(id)", "/`id`", "/'\"", "/*", "/;id", "/\\", "/é", "/#", "/!x", "/&& id", "/-n"]
    (found,) = run([command("cat", *words)], "sh", f"{tmp_path}:{os.environ['PATH']}")
    assert found.body.decode() == "".join(f"<{word}>" for word in words)


def test_a_key_or_name_of_any_text_comes_back(tmp_path: Path) -> None:
    names = ["", "-", "a b", "%41", "x\ny", "'$(id)", "é\x1b"]
    assert [s.name for s in run([command("nproc", name=name) for name in names])] == ["", "", *names[2:]]


def test_a_hostile_answer_cannot_forge_a_frame(tmp_path: Path) -> None:
    forged = f"\\n{'f' * 32} end 0 0\\n{'f' * 32} begin 1\\n healthy\\n{'f' * 32} end 1 0\\n"
    program(tmp_path, "kubelet", f"printf '{forged}'; exit 3")
    program(tmp_path, "crio", "exit 1")
    # It looks for the nonce wherever a program of the same user could see it.
    program(tmp_path, "containerd", "cat /proc/*/cmdline /proc/*/environ 2>/dev/null; env; set")
    path = f"{tmp_path}:{os.environ['PATH']}"
    one, two, three = run(
        [
            command("kubelet", "--version"),
            command("crio", "--version"),
            command("containerd", "--version", limit=1 << 22),
        ],
        "sh",
        path,
    )
    assert (one.status, two.status, two.body) == (3, 1, b"")
    assert b"healthy" in one.body
    assert NONCE.encode() not in three.body


def test_nothing_runs_of_a_script_that_did_not_arrive_whole(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program(tmp_path, "kubelet", f"touch {mark}")
    script = render([command("kubelet", "--version")] * 3, NONCE)
    for size in range(0, len(script) - len(b"kdiag_all\nexit 0\n"), 7):
        subprocess.run(
            ["sh", "-s"], input=script[:size], capture_output=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        )
    assert not mark.exists()


def test_a_nonce_that_could_be_guessed_is_not_taken() -> None:
    for nonce in ("", "abc", "x" * 32, f"{NONCE}\n"):
        with pytest.raises(ValueError, match="hexadecimal"):
            render([command("id")], nonce)


# Cut anywhere


def whole(tmp_path: Path) -> tuple[bytes, list[NodeCommand]]:
    program(tmp_path, "kubelet", "printf 'line one\\nline two'")
    program(tmp_path, "crio", "printf '\\n\\n'; exit 1")
    commands = [
        command("kubelet", "--version", key="one"),
        command("crio", "--version", key="two"),
        command("kubelet", "--version", key="three"),
    ]
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    printed = subprocess.run(["sh", "-s"], input=render(commands, NONCE), capture_output=True, env=environ).stdout
    return b"Welcome!\n" + printed, commands


def test_an_output_that_is_cut_anywhere_never_shows_a_part_as_a_whole(tmp_path: Path) -> None:
    printed, commands = whole(tmp_path)
    bodies = {section.key: section.body for section in parse(printed, NONCE)}
    assert bodies == {"one": b"line one\nline two", "two": b"\n\n", "three": b"line one\nline two"}
    states: set[State] = set()
    for size in range(len(printed)):
        found = parse(printed[:size], NONCE)
        states |= {section.state for section in found}
        for section, wanted in zip(found, commands, strict=False):
            assert section.key == wanted.key
            if section.state is State.ENDED:
                assert section.body == bodies[section.key]
                assert section.status == (1 if section.key == "two" else 0)
            else:
                assert bodies[section.key].startswith(section.body[: len(bodies[section.key])])
    assert states == {State.ENDED, State.SHORT, State.UNREACHED}


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_no_answer(noise: bytes) -> None:
    assert parse(noise, secrets.token_hex(16)) == []


# sudo

REFUSALS = {
    "sudo: a password is required": "a password is required",
    "sudo: a terminal is required to read the password; either use the -S option to read from standard input or "
    "configure an askpass helper\nsudo: a password is required": "a password is required",
    "sudo: sorry, you must have a tty to run sudo": "it demands a terminal (requiretty)",
    "Sorry, user guest is not allowed to execute '/usr/bin/crictl ps' as root on w1.": "this command is not allowed",
    "guest is not in the sudoers file.\nThis incident has been reported to the administrator.": (
        "the user is not in the sudoers file"
    ),
    "guest is not allowed to run sudo on w1.  This incident will be reported.": "the user may not run sudo there",
    'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.': (
        "it has no right to change the user there"
    ),
    "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set or an NFS file "
    "system without root privileges?": "it has no right to change the user there",
    "sudo: account validation failure, is your account locked?": "the account is locked or has expired",
    'sudo: error in /etc/sudo.conf, line 0 while loading plugin "sudoers_policy"': "its configuration is broken",
    "sudo: something new": "sudo: something new",
}


@pytest.fixture
def as_guest(programs: Path) -> Path:
    """A node where the user is not root, and sudo says what the test has it say."""
    program(programs, "id", "case $1 in -u) echo 1000;; *) echo guest;; esac")
    return programs


def look(*commands: NodeCommand) -> list[Observation]:
    return observe(LocalShell(), "w1", commands, Deadline(LONG))


@pytest.mark.parametrize("said", REFUSALS)
def test_a_refusal_of_sudo_is_told_apart(as_guest: Path, said: str) -> None:
    (as_guest / "said").write_text(said + "\n")
    program(as_guest, "sudo", f"cat {as_guest}/said >&2; exit 1")
    (found,) = look(command("crictl", "ps", sudo=True))
    assert found.error == f"sudo is refused for user guest: {REFUSALS[said]}"
    assert found.body == b""
    assert not found.absent


def test_a_directory_of_users_that_hangs_costs_the_name_and_no_answer(as_guest: Path) -> None:
    program(as_guest, "id", "case $1 in -u) echo 1000;; *) exec sleep 1000;; esac")
    program(as_guest, "sudo", 'case "$*" in *ps) echo "sudo: a password is required" >&2; exit 1;; esac; echo fine')
    refused, after = look(command("crictl", "ps", sudo=True), command("crictl", "info", sudo=True))
    assert refused.error == "sudo is refused: a password is required"
    assert after.body == b"fine\n"


def test_what_needs_no_root_is_asked_before_a_sudo_that_may_hang() -> None:
    script = render([command("cat", "/etc/hosts", sudo=True), command("uname", "-n")], "ab" * 16).decode()
    assert script.index("kdiag_one 1 plain uname") < script.index("kdiag_one 0 sudo cat")


def test_sudo_is_asked_never_to_prompt_and_its_noise_is_dropped(as_guest: Path) -> None:
    program(
        as_guest, "sudo", 'echo "sudo: unable to resolve host w1: Name or service not known" >&2; printf "%s " "$@"'
    )
    (found,) = look(command("crictl", "ps", sudo=True))
    assert (found.body, found.error) == (b"-n -- crictl ps ", "")


def test_a_node_without_sudo_and_a_program_that_only_root_has_are_told(as_guest: Path) -> None:
    program(as_guest, "sudo", 'echo "sudo: crictl: command not found" >&2; exit 1')
    assert look(command("crictl", "ps", sudo=True))[0].error == "crictl: command not found"
    if shutil.which("sudo", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is None:
        (as_guest / "sudo").unlink()
        assert look(command("crictl", "ps", sudo=True))[0].error == "there is no sudo there"


def test_a_program_that_fails_as_sudo_would_is_no_refusal_when_it_says_more(as_guest: Path) -> None:
    program(as_guest, "sudo", 'echo "level=fatal msg=x"; echo "sudo: a password is required"; exit 1')
    (found,) = look(command("crictl", "ps", sudo=True))
    assert found.error == "level=fatal msg=x (exit code 1)"


def test_root_needs_no_sudo(programs: Path) -> None:
    program(programs, "id", "echo 0")
    program(programs, "sudo", "echo not this")
    program(programs, "crictl", "echo fine")
    assert look(command("crictl", "ps", sudo=True))[0].body == b"fine\n"


# Observations


def test_a_good_answer_is_a_body_without_an_error(programs: Path) -> None:
    program(programs, "crictl", "echo '{}'")
    assert look(command("crictl", "ps", key="containers", name="x")) == [
        Observation("node", "containers", host="w1", name="x", body=b"{}\n")
    ]


def test_what_is_not_there_is_knowledge_and_what_fails_is_a_gap(programs: Path, tmp_path: Path) -> None:
    program(programs, "crictl", "echo 'cannot connect' >&2; exit 1")
    program(programs, "crio", "kill -9 $$")
    (programs / "containerd").write_text("not a program")
    (programs / "containerd").chmod(0o755)
    there = tmp_path / "there"
    there.write_text("here\n")
    found = look(
        command("cat", f"{tmp_path}/nowhere"),
        command("cat", str(there), f"{tmp_path}/nowhere"),
        command("crictl", "ps"),
        command("kubelet", "--version"),
        command("crio", "--version"),
        command("cat", "/proc/cpuinfo", limit=10),
        command("grep", "nothing like it", str(there)),
    )
    errors = [observation.error for observation in found]
    assert errors == [
        f"cat: {tmp_path}/nowhere: No such file or directory (exit code 1)",
        "here (exit code 1)",
        "cannot connect (exit code 1)",
        "kubelet: command not found",
        "crio was killed: it did not finish within 5 s, or the node has no memory left",
        "output cut at 10 bytes",
        "",
    ]
    assert [observation.absent for observation in found] == [True, False, False, False, False, False, False]
    assert bytes(found[1].body).startswith(b"here\n")
    assert len(found[5].body) == 10


@pytest.mark.parametrize(
    ("argv", "script", "error"),
    [
        (("systemctl", "is-active", "kubelet"), "echo inactive; exit 3", ""),
        (("systemctl", "is-enabled", "kubelet"), "echo disabled; exit 1", ""),
        (
            ("systemctl", "is-active", "x"),
            "echo Failed to connect to bus; exit 1",
            "Failed to connect to bus (exit code 1)",
        ),
        (("systemctl", "show", "x"), "echo no; exit 1", "no (exit code 1)"),
        (("journalctl", "-g", "x"), "exit 1", ""),
        (("journalctl", "-g", "x"), "echo No data available; exit 1", "No data available (exit code 1)"),
        (("nproc",), "exit 7", "nproc (exit code 7)"),
        (("nproc",), "printf '\\033[2J\\n'; exit 7", "␛[2J (exit code 7)"),
    ],
)
def test_the_exit_codes_that_are_answers(programs: Path, argv: tuple[str, ...], script: str, error: str) -> None:
    program(programs, argv[0], script)
    assert look(command(*argv))[0].error == error
    seven = NodeCommand(key="x", argv=argv, answers=(0, 1, 3, 7))
    assert look(seven)[0].error == ""


class Broken(LocalShell):
    """A shell whose connection breaks after so many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        whole = super().run(script, argument=argument, deadline=deadline, limit=limit)
        raise CutShort("the connection was dropped", whole.stdout[: self._size])


def test_a_connection_that_breaks_costs_the_commands_from_there_on(programs: Path) -> None:
    program(programs, "crictl", "echo $1")
    commands = [command("crictl", "ps"), command("crictl", "pods"), command("crictl", "info")]
    size = (
        LocalShell()
        .run(render(commands, NONCE), argument="x", deadline=Deadline(LONG), limit=10**6)
        .stdout.index(b"pods\n\n")
    )
    found = observe(Broken(size + 3), "w1", commands, Deadline(LONG), nonce=NONCE)
    assert [(o.body, o.error) for o in found] == [
        (b"ps\n", ""),
        (b"pod", "cut short: the connection was dropped"),
        (b"", "not asked: the connection was dropped"),
    ]
    with pytest.raises(CutShort, match="dropped"):
        observe(Broken(10), "w1", commands, Deadline(LONG))


def test_all_answers_together_have_a_limit(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "crictl", "head -c 3000000 /dev/zero")
    monkeypatch.setattr(batch, "_BATCH_LIMIT", 4 << 20)
    found = look(*(command("crictl", "ps", limit=1 << 22, name=name) for name in "abc"))
    assert [o.error for o in found] == [
        "",
        "cut short: all answers together are larger than 4 MiB",
        "not asked: all answers together are larger than 4 MiB",
    ]


class Other:
    """A shell in which something else runs."""

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        return Output(b"Hello\x1b[2J\n", 127)

    def close(self) -> None:
        pass


def test_what_is_no_answer_at_all_is_an_error() -> None:
    other: Shell = Other()
    with pytest.raises(BadAnswer, match=r"the shell of w1 did not run the commands \(exit code 127\): Hello␛\[2J"):
        observe(other, "w1", [command("id")], Deadline(LONG))
    assert observe(other, "w1", [], Deadline(LONG)) == []
