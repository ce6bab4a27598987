"""What crictl and the runtimes' files say, in the forms of several versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts.hosts import Answer
from kdiag.facts.runtime import (
    Containers,
    Program,
    RuntimeAnswers,
    RuntimeConfig,
    RuntimeConfigs,
    RuntimePrograms,
    log_lines,
    moment,
)

ID = "3afa783399d43d766ebc5ec6f0c286cc5945c90b567e4260b5f0910ac91575c9"
LOG = "/var/log/pods/kube-system_etcd-cp1_d48f73cea7aa7990dd205a4d8901345d/etcd/0.log"
# crictl 1.36 over containerd 1.6, cut to what is read
PS = f"""{{"containers": [{{"id": "{ID}", "podSandboxId": "72", "metadata": {{"name": "etcd", "attempt": 3}},
 "image": {{"image": "sha256:6ecf"}}, "state": "CONTAINER_EXITED", "createdAt": "1795337830158941006",
 "labels": {{"io.kubernetes.container.name": "etcd", "io.kubernetes.pod.name": "etcd-cp1",
 "io.kubernetes.pod.namespace": "kube-system", "io.kubernetes.pod.uid": "d48f"}}}}]}}"""
INSPECT = """{"status": {"state": "CONTAINER_EXITED", "startedAt": "2026-11-22T08:57:10.623941453Z",
 "finishedAt": "2026-11-22T08:57:12Z", "exitCode": 1, "reason": "Error", "message": ""}, "info": {"pid": 1}}"""


def test_reads_containers_their_end_and_their_log() -> None:
    first = (Answer("containers", "", PS), Answer("pod-logs", "", f"1795342542.4645815860 26358 {LOG}\n"))
    asked = list(Containers.follow("cp1", first))
    assert [c.argv[0] for c in asked] == ["tail", "crictl"]
    found = Containers.parse(
        "cp1",
        (
            *first,
            Answer("pod-log", LOG, "2026-11-22T10:32:11.993342959Z stderr F last words\n"),
            Answer("container", ID, INSPECT),
        ),
    )
    (etcd,) = found.of("etcd")
    assert (etcd.attempt, etcd.exit_code, etcd.state, etcd.reason) == (3, 1, "exited", "Error")
    assert etcd.finished is not None
    assert found.log("etcd")[0].lines[0].text == "last words"
    assert found.listed


@pytest.mark.parametrize(
    "said",
    [
        'time="2026-11-22T10:48:29Z" level=fatal msg="validate service connection: dial unix /run/x.sock"',
        "FATA[0000] validate service connection: dial unix /run/x.sock",
        "E1122 10:48:29.1 1 remote_runtime.go:193] rpc error\nFATA[0002] failed to connect: dial unix /run/x.sock",
    ],
)
def test_takes_a_refusal_for_no_list(said: str) -> None:
    found = Containers.parse("w1", (Answer("containers", "", said), Answer("sandboxes", "", said)))
    assert not found.listed
    assert "dial unix /run/x.sock" in found.error


def test_takes_what_tail_says_of_a_file_that_went_away_for_no_line_of_it() -> None:
    listed = (Answer("containers", "", PS), Answer("pod-logs", "", f"1795342542.4645815860 26358 {LOG}\n"))
    said = f"tail: cannot open '{LOG}' for reading: No such file or directory\n"
    seen = Containers.parse("cp1", (*listed, Answer("pod-log", LOG, said, error=said.strip(), absent=True)))
    assert [log.lines for log in seen.logs] == [()]


def test_takes_an_empty_list_for_one() -> None:
    found = Containers.parse("w1", (Answer("containers", "", '{"containers": []}'), Answer("sandboxes", "", "{}")))
    assert found.listed


def test_asks_for_no_log_whose_name_may_be_a_credential() -> None:
    text = "1795342542.4 10 /var/log/pods/kube-system_a_b/secret/0.log\n1 1 /var/log/pods/kube-system_a_b/../0.log\n"
    assert not list(Containers.follow("w1", (Answer("pod-logs", "", text),)))


def test_joins_parts_of_a_line_and_reads_other_formats() -> None:
    text = (
        "2026-11-22T10:00:00.1Z stdout P one \n2026-11-22T10:00:00.2Z stdout F two\n"
        '{"log":"docker\\n","stream":"stderr","time":"2026-11-22T10:00:01.5Z"}\nplain\n{"log"\n'
    )
    assert [line.text for line in log_lines(text)] == ["one two", "docker", "plain", '{"log"']


def test_reads_times_of_both_kinds() -> None:
    assert str(moment("1795337830158941006")) == "2026-11-22 08:57:10.158941+00:00"
    assert str(moment("2026-11-22T10:57:10.5+02:00")) == "2026-11-22 08:57:10.500000+00:00"
    assert moment("0") is None
    assert moment("0001-01-01T00:00:00Z") is None
    assert moment("9" * 22) is None


def configuration(text: str, **more: str) -> RuntimeConfig:
    answers = [Answer("containerd-config", "", text), *(Answer(k.replace("_", "-"), "", v) for k, v in more.items())]
    return RuntimeConfigs.parse("w1", tuple(answers))


def test_reads_version_1_2_and_3_of_containerd() -> None:
    one = configuration('[plugins.cri]\nsystemd_cgroup = true\nsandbox_image = "p:1"\n')
    two = configuration(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "p:2"\n'
        '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\nSystemdCgroup = true\n'
    )
    three = configuration(
        "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'p:3'\n"
        "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\nSystemdCgroup = true\n"
        "[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/opt/cni/bin']\nconf_dir = '/etc/cni/net.d'\n"
    )
    assert [c.systemd_cgroup for c in (one, two, three)] == [True, True, True]
    assert [c.sandbox_image for c in (one, two, three)] == ["p:1", "p:2", "p:3"]
    assert (three.cni_bin, three.cni_conf, two.systemd_cgroup_line) == ("/opt/cni/bin", "/etc/cni/net.d", 5)


def test_says_where_a_configuration_breaks_and_what_it_switches_off() -> None:
    broken = configuration('version = 2\n[plugins\nx = "y"\n')
    assert (broken.containerd, broken.fault_line) == (True, 2)
    off = configuration('disabled_plugins = ["cri", "aufs"]\n')
    assert (off.cri_disabled, off.disabled_line) == (("cri",), 1)
    assert configuration("# disabled_plugins = ['cri']\n").cri_disabled == ()


def test_reads_imports_and_the_other_files() -> None:
    text = 'imports = ["/etc/containerd/conf.d/*.toml", "/etc/containerd/more.toml"]\n'
    asked = list(RuntimeConfigs.follow("w1", (Answer("containerd-config", "", text),)))
    assert [c.argv[1] for c in asked] == ["/etc/containerd/more.toml"]
    found = configuration(
        text,
        containerd_import='disabled_plugins = ["cri"]\n',
        crictl_config='runtime-endpoint: "unix:///run/crio/crio.sock"\n',
        cri_sockets="socket|/run/crio/crio.sock\nstat: cannot statx '/x': No such file or directory\n",
    )
    assert found.cri_disabled == ("cri",)
    assert (found.crictl_endpoint, found.sockets) == ("unix:///run/crio/crio.sock", ("/run/crio/crio.sock",))


def test_reads_a_version_as_a_table_and_as_json() -> None:
    table = "Version:  0.1.0\nRuntimeName:  containerd\nRuntimeVersion:  v1.7.24\nRuntimeApiVersion:  v1\n"
    info = '{"status": {"conditions": [{"type": "RuntimeReady", "status": true}]}, "config": {"sandboxImage": "p"}}'
    found = RuntimeAnswers.parse("w1", (Answer("cri-version", "", table), Answer("cri-info", "", info)))
    assert (found.name, found.version, found.error, found.sandbox_image) == ("containerd", "v1.7.24", "", "p")


def test_knows_what_offers_no_cri() -> None:
    said = 'level=fatal msg="rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService"'
    found = RuntimeAnswers.parse("w1", (Answer("cri-version", "", said), Answer("cri-info", "", said)))
    assert found.unimplemented


@given(st.text(max_size=300))
def test_survives_any_text(text: str) -> None:
    keys = ("containers", "sandboxes", "pod-logs", "pod-log", "container")
    answers = tuple(Answer(key, ID, text) for key in keys)
    Containers.parse("w1", answers)
    tuple(Containers.follow("w1", answers))
    configuration(text)
    tuple(RuntimeConfigs.follow("w1", (Answer("containerd-config", "", text),)))
    RuntimeAnswers.parse("w1", (Answer("cri-version", "", text), Answer("cri-info", "", text)))
    log_lines(text)


def test_reads_which_programs_are_there() -> None:
    text = "1795374743.0779397540 755 8752456 /usr/sbin/runc\n1795374000.1 644 0 /usr/bin/crun\nfind: '/opt': no\n"
    runc, crun = RuntimePrograms.parse("w1", (Answer("runtime-programs", "", text),))
    assert runc == Program(path="/usr/sbin/runc", executable=True, size=8752456, changed=moment("1795374743"))
    assert (crun.name, crun.executable, crun.size) == ("crun", False, 0)
