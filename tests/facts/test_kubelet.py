"""The kubelet's files, as kubeadm 1.36 and others lay them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts.hosts import Answer
from kdiag.facts.kubelet import BOOTSTRAP, CONFIG, FLAGS_ENV, KUBECONFIG, Kubelets, KubeletSetup, read_config

# systemctl cat kubelet, systemd 252
UNIT = """# /usr/lib/systemd/system/kubelet.service
[Unit]
Description=kubelet: The Kubernetes Node Agent
[Service]
ExecStart=/usr/bin/kubelet
Restart=always

# /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""  # noqa: E501  (as it stands there)
CONFIGURATION = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
evictionHard:
  memory.available: 100Mi
syncFrequency: 0s
"""


def setup(*answers: Answer, unit: str = UNIT) -> KubeletSetup:
    return Kubelets.parse("w1", (Answer("kubelet-unit", "", unit), *answers))


def test_puts_the_command_line_together_as_systemd_does() -> None:
    found = setup(
        Answer("kubelet-env", FLAGS_ENV, 'KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.2 --v 2"\n'),
        Answer("kubelet-env", "/etc/default/kubelet", "# comment\nKUBELET_EXTRA_ARGS=--node-ip=10.0.0.3\n"),
    )
    assert found.program == "/usr/bin/kubelet"
    assert (found.exec_path[-15:], found.exec_line) == ("10-kubeadm.conf", 8)
    flag = found.flag("node-ip")
    assert flag is not None
    assert (flag.value, flag.path, flag.line) == ("10.0.0.3", "/etc/default/kubelet", 2)
    verbosity = found.flag("v")
    assert verbosity is not None
    assert (verbosity.value, verbosity.path, verbosity.line) == ("2", FLAGS_ENV, 1)
    assert found.flag("config") is not None
    assert found.environment_files == ((FLAGS_ENV, True), ("/etc/default/kubelet", True))


FOLDER = "/etc/kubernetes/kubelet.conf.d"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def with_folder(*files: tuple[str, str], error: str = "") -> KubeletSetup:
    """As grep -rsHn prints them, in whatever order the folder has them."""
    lines = [f"{FOLDER}/{name}:{n}:{line}" for name, text in files for n, line in enumerate(text.splitlines(), 1)]
    return setup(
        Answer("kubelet-config", CONFIG, CONFIGURATION),
        Answer("kubelet-env", FLAGS_ENV, f'KUBELET_KUBEADM_ARGS="--config-dir={FOLDER}"\n'),
        Answer("kubelet-env", "/etc/default/kubelet", ""),
        Answer("kubelet-config-folder", f"{FOLDER}/", "\n".join(lines), error=error),
    )


def test_does_not_know_all_settings_where_their_folder_was_not_read() -> None:
    assert with_folder().settings_known
    assert not with_folder(error="a password is required").settings_known


def test_lays_the_files_of_the_folder_over_the_first_one_by_name() -> None:
    more = ("20-b.conf", HEAD + "evictionHard:\n  nodefs.available: 5%\nclusterDNS: [10.96.0.53]\n")
    config = with_folder(more, ("10-a.conf", HEAD + "clusterDNS: [10.9.9.9]\nsyncFrequency: null\n")).config
    assert config is not None
    assert config.get("clusterDNS") == ["10.96.0.53"]
    assert (config.file("clusterDNS").path, config.file("clusterDNS").line("clusterDNS")) == (f"{FOLDER}/20-b.conf", 5)
    assert config.file("cgroupDriver").path == CONFIG
    assert config.get("evictionHard") == {"memory.available": "100Mi", "nodefs.available": "5%"}
    assert config.get("syncFrequency") is None


def test_names_the_file_of_a_fault_and_not_what_a_later_file_overrules() -> None:
    bad = ("10-a.conf", "kind: KubeletConfiguration\nmaxPod: 3\ntlsMinVersion: VersionTLS14\n")
    config = with_folder(bad, ("20-b.conf", HEAD + "tlsMinVersion: VersionTLS12\n")).config
    assert config is not None
    assert [(file.path, fault.what) for file, fault in config.faulty] == [
        (f"{FOLDER}/10-a.conf", "apiVersion is missing, it is kubelet.config.k8s.io/v1beta1"),
        (f"{FOLDER}/10-a.conf", "there is no field maxPod, meant is maxPods"),
    ]


@pytest.mark.parametrize(
    "path", ["/etc/kubernetes", "/var/lib/kubelet", "/etc/kubernetes/kubelet.d/..", "/x.d", "/root"]
)
def test_reads_no_folder_that_may_hold_something_else(path: str) -> None:
    unit = UNIT.replace("--config=/var/lib/kubelet/config.yaml", f"--config-dir={path}")
    asked = [c for c in Kubelets.follow("w1", (Answer("kubelet-unit", "", unit),)) if c.argv[0] == "grep"]
    assert not [c for c in asked if "-rsHn" in c.argv]


def test_lets_a_later_drop_in_win_and_joins_continued_lines() -> None:
    more = (
        '\n# /etc/systemd/system/kubelet.service.d/20-own.conf\n[Service]\nEnvironment="KUBELET_CONFIG_ARGS='
        '--config=/etc/other.yaml"\nExecStart=\nExecStart=/opt/kubelet \\\n  $KUBELET_CONFIG_ARGS ${UNSET}\n'
    )
    found = setup(unit=UNIT + more)
    flag = found.flag("config")
    assert flag is not None
    assert (found.program, found.exec_line, flag.value, flag.line) == ("/opt/kubelet", 4, "/etc/other.yaml", 2)
    (command, *_) = Kubelets.follow("w1", (Answer("kubelet-unit", "", UNIT + more),))
    assert command.argv == ("cat", "/etc/other.yaml")


@pytest.mark.parametrize("path", ["/etc/kubernetes/admin.conf", "/root/secret.yaml", "../x", "/a;b", "/x/token.json"])
def test_asks_for_no_file_that_may_be_a_credential(path: str) -> None:
    unit = UNIT.replace("--config=/var/lib/kubelet/config.yaml", f"--config={path}")
    assert not [c for c in Kubelets.follow("w1", (Answer("kubelet-unit", "", unit),)) if c.argv[0] == "cat"]


def test_reads_a_configuration_with_its_lines() -> None:
    config = read_config(CONFIG, CONFIGURATION)
    assert config.faults == ()
    assert config.string("authentication.x509.clientCAFile") == "/etc/kubernetes/pki/ca.crt"
    assert config.line("authentication.x509.clientCAFile") == 5
    assert config.quoted(6) == "cgroupDriver: systemd"


@pytest.mark.parametrize(
    ("old", "new", "line", "fatal"),
    [
        ("clusterDNS:\n- 10.96.0.10", "clusterDNS: 10.96.0.10", 7, True),
        ("syncFrequency: 0s", "syncFrequency: 10", 11, True),
        ("cgroupDriver: systemd", "cgroupDriver: systmd", 6, False),
        ("kind: KubeletConfiguration", "kind: Kubelet", 2, True),
        ("cgroupDriver", "cgroupdriver", 6, False),
        ("    clientCAFile", "    clientCaFile", 5, False),
        ("cgroupDriver: systemd", "\tcgroupDriver: systemd", 6, True),
    ],
)
def test_says_what_the_kubelet_would_not_take(old: str, new: str, line: int, fatal: bool) -> None:
    (fault,) = read_config(CONFIG, CONFIGURATION.replace(old, new)).faults
    assert (fault.line, fault.fatal) == (line, fatal), fault


def test_says_nothing_of_fields_that_may_be_anything() -> None:
    text = CONFIGURATION + "evictionSoft:\nmaxPods: 110\nmemoryThrottlingFactor: 1\nfeatureGates: {A: true}\n"
    assert read_config(CONFIG, text).faults == ()


def test_tells_absent_from_unreadable() -> None:
    gone = Answer("kubelet-config", CONFIG, error="cat: No such file or directory", absent=True)
    denied = Answer("kubelet-config", CONFIG, error="a password is required")
    first, second = setup(gone).config, setup(denied).config
    assert first is not None
    assert first.absent
    assert second is None


def test_reads_where_a_kubeconfig_leads() -> None:
    text = "5:    server: https://API.example:6553\n18:    client-certificate: /var/lib/kubelet/pki/c.pem\n"
    access = setup(Answer("kubelet-kubeconfig", KUBECONFIG, text)).kubeconfig
    assert access is not None
    assert (access.host, access.port, access.server_line) == ("api.example", 6553, 5)
    assert access.client_certificate == "/var/lib/kubelet/pki/c.pem"


def test_knows_a_machine_that_has_not_joined() -> None:
    gone = [
        Answer("kubelet-kubeconfig", KUBECONFIG, error="gone", absent=True),
        Answer("kubelet-kubeconfig", BOOTSTRAP, error="gone", absent=True),
        Answer("kubelet-config", CONFIG, error="gone", absent=True),
    ]
    assert setup(*gone).unjoined
    assert not setup(*gone[:2], Answer("kubelet-config", CONFIG, CONFIGURATION)).unjoined


@pytest.mark.parametrize("server", ["https://h:644333", "https://[::1", "://", "https://h:x", ""])
def test_survives_a_server_that_is_no_address(server: str) -> None:
    access = setup(Answer("kubelet-kubeconfig", KUBECONFIG, f"5:    server: {server}\n")).kubeconfig
    assert access is not None
    assert access.port in (0, 443)


@given(st.text(max_size=300))
def test_survives_any_text(text: str) -> None:
    read_config(CONFIG, text)
    answers = (
        Answer("kubelet-unit", "", text),
        Answer("kubelet-env", FLAGS_ENV, text),
        Answer("kubelet-kubeconfig", KUBECONFIG, text),
        Answer("kubelet-files", "", text),
        Answer("swaps", "", text),
    )
    Kubelets.parse("w1", answers)
    tuple(Kubelets.follow("w1", answers))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("memory.available: 100Mi", "memory.available: 100MB", 'evictionHard.memory.available is "100MB"'),
        ("memory.available: 100Mi", "memory.available: 10 %", 'evictionHard.memory.available is "10 %"'),
        ("memory.available: 100Mi", "memory.avaliable: 100Mi", "has no signal memory.avaliable, meant is memory.avail"),
        ("syncFrequency: 0s", "evictionSoft:\n  pid.available: 10%", "evictionSoft.pid.available has no time in"),
        ("syncFrequency: 0s", "containerLogMaxSize: 10MB", 'containerLogMaxSize is "10MB"'),
        ("syncFrequency: 0s", "systemReserved:\n  cpu: half", 'systemReserved.cpu is "half"'),
        ("syncFrequency: 0s", "tlsMinVersion: VersionTLS14", "tlsMinVersion is VersionTLS14"),
    ],
)
def test_knows_which_amount_or_version_the_kubelet_cannot_read(old: str, new: str, what: str) -> None:
    (fault,) = read_config(CONFIG, CONFIGURATION.replace(old, new)).faults
    assert what in fault.what
    assert fault.fatal
    assert fault.line > 0


def test_takes_the_amounts_that_the_kubelet_takes() -> None:
    more = "  nodefs.available: 10%\n  pid.available: 1k\ncontainerLogMaxSize: 10Mi\nkubeReserved:\n  cpu: 200m\n"
    text = CONFIGURATION.replace("  memory.available: 100Mi\n", "  memory.available: 100Mi\n" + more)
    assert read_config(CONFIG, text).faults == ()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("unrecognized feature gate: NoSuchGate", "featureGates.NoSuchGate"),
        ('unknown policy: "statik"', "cpuManagerPolicy"),
        ("Cipher suite TLS_NULL not supported or doesn't exist", "tlsCipherSuites"),
        ('two of them: "statik" and "TLS_NULL"', ""),
        ("nothing of it", ""),
    ],
)
def test_finds_the_field_that_a_message_names_by_its_name_or_value(words: str, field: str) -> None:
    text = CONFIGURATION + "featureGates:\n  NoSuchGate: true\ncpuManagerPolicy: statik\ntlsCipherSuites: [TLS_NULL]\n"
    assert read_config(CONFIG, text).named(words) == field


def test_a_message_is_about_the_field_whose_path_it_names() -> None:
    text = "systemReserved:\n  memory: 100Mi\nsystemReservedCgroup: /sys.slice\n"
    said = (
        '"Failed to start ContainerManager" err="Failed to enforce System Reserved Cgroup Limits on \\"/sys.slice\\": '
        'cgroup [\\"sys.slice\\"] has some missing paths: /sys/fs/cgroup/memory/sys.slice"'
    )
    assert read_config("/var/lib/kubelet/config.yaml", text).named(said) == "systemReservedCgroup"


KUBEADM = """3:- cluster:
6:  name: lab
8:- context:
9:    cluster: lab
10:    user: system:node:w2
11:  name: system:node:w2@lab
12:current-context: system:node:w2@lab
15:- name: system:node:w2
16:  user:
"""


def references(text: str) -> list[str]:
    setup = Kubelets.parse("w1", (Answer("kubelet-kubeconfig", KUBECONFIG, text),))
    assert setup.kubeconfig is not None
    return [f"{fault.line}: {fault.what}" for fault in setup.kubeconfig.astray]


def test_the_parts_of_a_kubeconfig_refer_to_each_other() -> None:
    assert references(KUBEADM) == []
    assert references(KUBEADM.replace("12:current-context: system:node:w2@lab", "12:current-context: default")) == [
        "12: current-context is default, and there is no such context, meant is system:node:w2@lab"
    ]
    assert references(KUBEADM.replace("9:    cluster: lab", "9:    cluster: prod")) == [
        "9: the context's cluster is prod, and there is no such cluster, meant is lab"
    ]
    assert references(KUBEADM.replace("10:    user: system:node:w2", '10:    user: "system:node:w3"')) == [
        "10: the context's user is system:node:w3, and there is no such user, meant is system:node:w2"
    ]
    assert references("5:    server: https://10.0.0.1:6443\n12:current-context: default\n") == []
    assert references(KUBEADM + "20:  name: another\n21:current-context: other\n") == []
