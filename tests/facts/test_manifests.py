"""Static pod manifests: what the kubelet takes, what it refuses and why, and where a container's files are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.engine.intake import sources
from kdiag.facts import Cluster, Containers, Manifest, Manifests, NodeManifests, component_standing, server_urls
from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, safe_path
from kdiag.facts.podyaml import Document, YamlFault, pod_problems, read_yaml
from kdiag.facts.runtime import HostContainer, NodeContainers

FOLDER = "/etc/kubernetes/manifests"
# GNU find 4.9 and grep 3.8 on Debian 12; the manifest is kubeadm 1.36's, cut short.
POD = """\
apiVersion: v1
kind: Pod
metadata:
  labels:
    component: kube-scheduler
  name: kube-scheduler
  namespace: kube-system
spec:
  containers:
  - command:
    - kube-scheduler
    - --authentication-kubeconfig=/etc/kubernetes/scheduler.conf
    - --kubeconfig
    - /etc/kubernetes/scheduler.conf
    - -v=2
    - --leader-elect
    image: registry.k8s.io/kube-scheduler:v1.36.3
    name: kube-scheduler
    volumeMounts:
    - mountPath: /etc/kubernetes/scheduler.conf
      name: kubeconfig
      readOnly: true
  hostNetwork: true
  volumes:
  - hostPath:
      path: /srv/conf/scheduler.conf
      type: FileOrCreate
    name: kubeconfig
status: {}
"""


def row(path: str, kind: str = "f", size: int = 100, link: str = "", own: str = "") -> str:
    return f"{own or kind}\t{kind}\t{size}\t1795337828.98\t600\t0\t{path}\t{link}\n"


def numbered(path: str, text: str) -> str:
    return "".join(f"{path}:{at}:{line}\n" for at, line in enumerate(text.splitlines(), 1))


def answers(files: dict[str, str], more: str = "") -> tuple[Answer, ...]:
    listing = row("/etc/kubernetes/", "d") + row(FOLDER, "d") + more
    listing += "".join(row(f"{FOLDER}/{name}", size=len(text)) for name, text in files.items())
    lines = "".join(numbered(f"{FOLDER}/{name}", text) for name, text in files.items())
    return (Answer("manifest-files", "", listing), Answer("manifests", "", lines))


def parse(files: dict[str, str], more: str = "") -> NodeManifests:
    return Manifests.parse("cp1", answers(files, more))


def only(files: dict[str, str]) -> Manifest:
    (found,) = parse(files).files
    return found


def test_flags_with_equals_and_without() -> None:
    found = only({"kube-scheduler.yaml": POD})
    assert [(f.name, f.value, f.line) for f in found.flags] == [
        ("authentication-kubeconfig", "/etc/kubernetes/scheduler.conf", 12),
        ("kubeconfig", "/etc/kubernetes/scheduler.conf", 13),
        ("v", "2", 15),
        ("leader-elect", "", 16),
    ]
    assert found.component == "kube-scheduler"
    assert {(u.flag.name, u.volume, u.host) for u in found.uses} == {
        ("authentication-kubeconfig", "kubeconfig", "/srv/conf/scheduler.conf"),
        ("kubeconfig", "kubeconfig", "/srv/conf/scheduler.conf"),
    }


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("leaseDuration must be greater than renewDeadline", "leader-elect-lease-duration"),
        ("invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0", "max-requests-inflight"),
        ("--max-requests-inflight cannot be zero, leaseDuration may", "max-requests-inflight"),
        ("unknown verb OtherDuration", None),
        ("in fLight", None),
        ("", None),
    ],
)
def test_finds_the_flag_that_a_message_is_about(words: str, flag: str | None) -> None:
    more = "    - --leader-elect-lease-duration=5s\n    - --max-requests-inflight=0\n"
    found = only({"kube-scheduler.yaml": POD.replace("    - -v=2\n", more)}).named(words)
    assert (found.name if found else None) == flag


def test_the_kubelet_reads_what_has_no_dot_in_front() -> None:
    found = parse(
        {"a.bak": POD, ".b.yaml": POD, "sub/c.yaml": POD, "d:1:.yaml": POD},
        row(f"{FOLDER}/sub", "d") + row(f"{FOLDER}/pipe", "p") + row(f"{FOLDER}/gone", "N", link="/x", own="l"),
    )
    assert [m.file for m in found.files] == ["a.bak", "d:1:.yaml", "gone", "pipe"]
    assert {i.path.rpartition("/")[2] for i in found.ignored} == {".b.yaml", "c.yaml"}
    assert [m.taken for m in found.files] == [True, True, False, False]


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (("metadata:", "metadata;"), 3, "could not find expected ':'"),
        (("  name: kube-scheduler\n", "\tname: kube-scheduler\n"), 6, "found character '\\t'"),
        (("    - -v=2", "   - -v=2"), 15, "expected <block end>"),
        (("    - -v=2", '    - "-v=2'), 15, ""),
    ],
)
def test_where_yaml_breaks(change: tuple[str, str], line: int, what: str) -> None:
    fault = read_yaml(POD.replace(*change))
    assert isinstance(fault, YamlFault)
    assert what in fault.what.replace("\\\\", "\\")
    if what:
        assert fault.line == line


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (("apiVersion: v1", "apiersion: v1"), 1, "apiVersion is missing: the file has apiersion"),
        (("kind: Pod", "kind: Deployment"), 2, "kind is Deployment"),
        (("  containers:", "  contianers:"), 9, "spec.containers is missing: the file has spec.contianers"),
        (("    - -v=2", "    - v: 2"), 15, "spec.containers[0].command[4] is an object (v: 2) and must be a string"),
        (("    - -v=2", "    - 2"), 15, "spec.containers[0].command[4] is the number 2 and must be a string"),
        (("hostNetwork: true", "hostNetwork: 'true'"), 23, 'spec.hostNetwork is the text "true"'),
        (("      name: kubeconfig", "      name: kubeconf"), 21, "no volume is called so"),
        (("type: FileOrCreate", "type: fileorcreate"), 27, "spec.volumes[0].hostPath.type is fileorcreate"),
        (("  name: kube-scheduler\n", "  name: kube_scheduler\n"), 6, "metadata.name is kube_scheduler"),
    ],
)
def test_what_is_no_pod(change: tuple[str, str], line: int, what: str) -> None:
    found = read_yaml(POD.replace(*change, 1))
    assert isinstance(found, Document)
    problem = pod_problems(found)[0]
    assert problem.fatal
    assert what in problem.what
    assert problem.line == line


def test_an_unknown_field_is_passed_over_and_a_near_miss_told() -> None:
    found = read_yaml(POD.replace("hostNetwork", "hostnetwork").replace("status: {}", "xyz: 1"))
    assert isinstance(found, Document)
    assert [(p.fatal, p.meant) for p in pod_problems(found)] == [(False, "hostNetwork")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "# nothing\n",
        "[]",
        "- a",
        "a",
        "42",
        "null",
        "\ufeff",
        "%YAML 1.1",
        "a: *b",
        "&a [*a]",
        "!!python/name:os.system x",
    ],
)
def test_odd_documents_are_no_pods(text: str) -> None:
    found = read_yaml(text)
    assert isinstance(found, YamlFault) or any(p.fatal for p in pod_problems(found))


def test_first_document_counts_and_a_bomb_does_not_go_off() -> None:
    assert only({"x.yaml": POD + "---\n: : :\n"}).taken
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
    )
    assert not only({"x.yaml": bomb}).taken
    assert not only({"x.yaml": "[" * 5000}).taken


def test_binary_and_empty() -> None:
    listing = (
        row("/etc/kubernetes/", "d")
        + row(f"{FOLDER}/x", size=9)
        + row(f"{FOLDER}/y", size=0)
        + row(f"{FOLDER}/z", size=9)
    )
    said = f"grep: {FOLDER}/x: binary file matches\n"
    found = Manifests.parse("cp1", (Answer("manifest-files", "", listing), Answer("manifests", "", said)))
    binary, empty, unread = found.files
    assert binary.binary
    assert empty.refused[0].what == "it is empty"
    assert not unread.read
    assert not unread.refused


def test_a_node_without_the_folder() -> None:
    gone = "No such file or directory"
    found = Manifests.parse("w1", tuple(Answer(k, "", "", gone, absent=True) for k in ("manifest-files", "manifests")))
    assert not found.there
    assert not found.control_plane
    assert found.declared is None


def test_follow_asks_for_safe_paths_and_all_their_folders() -> None:
    pod = POD.replace("/srv/conf/scheduler.conf", "/srv/../etc/shadow")
    commands = tuple(Manifests.follow("cp1", answers({"kube-scheduler.yaml": pod})))
    find = next(c for c in commands if c.key == "manifest-paths")
    asked = {b for a, b in zip(find.argv, find.argv[1:], strict=False) if a == "-path"}
    assert asked == {"/", "/etc", "/etc/kubernetes", "/etc/kubernetes/scheduler.conf"}
    assert all(safe_path(p) or p == "/" for p in asked)
    declared = {s.key for s in sources((Manifests,))}
    assert {c.key for c in commands} <= declared


def test_every_command_may_be_run() -> None:
    from kdiag.collect.batch import refuse_writes

    first = answers({"etcd.yaml": POD}, row("/etc/kubernetes/scheduler.conf"))
    commands = [c for c in Manifests.sources if isinstance(c, NodeCommand)]
    for command in (*commands, *Manifests.follow("cp1", first)):
        refuse_writes(command.argv)


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "began", "runs", "proven"),
    [
        (3600, 3500, True, True),  # started from the file as it is
        (3600, 7200, True, False),  # the kubelet has not taken up the change
        (30, 7200, False, False),  # it is about to be ended
        (3600, 20, False, False),  # it was just started, and may end at once
        (3600, None, False, False),
    ],
)
def test_how_a_component_stands(changed: int, began: int | None, runs: bool, proven: bool) -> None:
    manifest = only({"kube-scheduler.yaml": POD})
    info = type(manifest.info)(path=manifest.path, changed=NOW - timedelta(seconds=changed))
    manifest = Manifest(info=info, document=manifest.document, spec=manifest.spec)
    live = HostContainer(
        id="1",
        name="kube-scheduler",
        pod="kube-scheduler-cp1",
        namespace="kube-system",
        state="running" if began else "exited",
        started=NOW - timedelta(seconds=began or 0),
    )
    containers = Containers.of({"cp1": NodeContainers(containers=(live,))})
    found = component_standing(manifest, "cp1", containers, None, Cluster(taken=NOW))
    assert (found.runs, found.proven) == (runs, proven)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("https://127.0.0.1:2379", ""),
        ("https://[::1]:2379", ""),
        ("unix:///run/etcd.sock", ""),
        ("this-is-very-wrong", "it is no URL"),
        ("hhttps://127.0.0.1:2379", "hhttps is no scheme"),
        ("https://127.0.0.1", "it names no port"),
        ("https://127.0.0.1:237900", "is no port"),
        ("https://127.0.0.256:2379", "is no address"),
    ],
)
def test_urls_of_flags(text: str, fault: str) -> None:
    (found,) = server_urls(text)
    assert fault in found.fault
    assert bool(fault) == bool(found.fault)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    found = read_yaml(text)
    if isinstance(found, Document):
        pod_problems(found)


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_answer_is_parsed(listing: str, lines: str) -> None:
    said = (Answer("manifest-files", "", listing), Answer("manifests", "", lines))
    Manifests.parse("x", said)
    tuple(Manifests.follow("x", said))


@given(st.integers(0, len(POD) - 1), st.sampled_from("\t:;{}[]#&*!|>'\"%@`- \n\u00a0"))
def test_a_pod_with_one_character_changed_is_still_judged(at: int, char: str) -> None:
    found = only({"kube-scheduler.yaml": POD[:at] + char + POD[at + 1 :]})
    assert found.taken != bool(found.fault or found.refused)
    assert len(found.flags) <= 6


def other_folder(folder: str, listed: str = "", shown: str = "") -> tuple[Answer, ...]:
    config = f"apiVersion: kubelet.config.k8s.io/v1beta1\nstaticPodPath: {folder}  # ours\n"
    first = (*answers({}), Answer("kubelet-config", "/var/lib/kubelet/config.yaml", config))
    if not listed:
        return first
    return (*first, Answer("manifest-other-files", folder.rstrip("/"), listed), Answer("manifest-other", "", shown))


def test_another_folder_that_the_kubelet_is_told_of_is_read() -> None:
    asked = {c.key: c.argv for c in Manifests.follow("cp1", other_folder("/srv/static/"))}
    assert asked["manifest-other-files"][:2] == ("find", "/srv/static/")
    assert asked["manifest-other"][3:] == tuple(
        f"/srv/static/{p}.yaml" for p in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    )
    listed = row("/srv/static/", "d") + row("/srv/static/kube-scheduler.yaml") + row("/srv/static/notes.txt")
    shown = (
        numbered("/srv/static/kube-scheduler.yaml", POD) + "grep: /srv/static/etcd.yaml: No such file or directory\n"
    )
    found = Manifests.parse("cp1", other_folder("/srv/static/", listed, shown))
    assert (found.folder, found.used, found.there) == ("/srv/static", True, True)
    scheduler = found.of("kube-scheduler")
    assert scheduler
    assert scheduler.where(12) == "/srv/static/kube-scheduler.yaml:12"
    assert [(m.file, m.read) for m in found.files] == [("kube-scheduler.yaml", True), ("notes.txt", False)]


@pytest.mark.parametrize("folder", ["/etc/kubernetes/manifests/", "/srv/../etc", "/with space", "relative"])
def test_no_other_folder_is_asked_for(folder: str) -> None:
    keys = {c.key for c in Manifests.follow("cp1", other_folder(folder))}
    assert not keys & {"manifest-other", "manifest-other-files"}


def test_another_folder_without_manifests_is_not_the_one_that_counts() -> None:
    found = Manifests.parse("cp1", other_folder("/srv/static", row("/srv/static/", "d"), "grep: x: No such file\n"))
    assert (found.folder, found.used) == (FOLDER, False)


def test_a_kubeconfig_outside_of_the_usual_folder_is_asked_for_its_public_parts() -> None:
    config = {"kube-scheduler.yaml": POD}
    (asked,) = [c for c in Manifests.follow("cp1", answers(config)) if c.key == "manifest-servers"]
    assert asked.argv[-1] == "/srv/conf/scheduler.conf"
    assert asked.argv[:4] == ("grep", "-Hn", "-o", "-E")
    told = Answer("manifest-servers", "others", "/srv/conf/scheduler.conf:5:server: https://10.0.0.1:6443\n")
    found = Manifests.parse("cp1", (*answers(config), told))
    assert found.servers == {"/srv/conf/scheduler.conf": ("https://10.0.0.1:6443", 5)}


@pytest.mark.parametrize(("online", "cpus"), [("0", 1), ("0-1", 2), ("0-3,8-11", 8), ("", 0), ("x", 0)])
def test_what_the_node_has_comes_from_the_kernel(online: str, cpus: int) -> None:
    text = f"/proc/meminfo:MemTotal:        8039004 kB\n/sys/devices/system/cpu/online:{online}\n"
    found = Manifests.parse("cp1", (*answers({}), Answer("kernel", "", text)))
    assert (found.cpus, found.memory) == (cpus, 8039004 * 1024)
