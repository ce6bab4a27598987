"""Steps of runbook pages, run: with a kubectl of the test's own, our own client, a real shell and a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from kdiag.collect.deadline import Deadline
from kdiag.collect.execute import MOST_LINES, Executor, shown
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.collect.kubectl import Live, StandIn
from kdiag.collect.replay import Replay
from kdiag.collect.shell import LocalShell, Shell
from kdiag.collect.snapshot import Recorder, Snapshot
from kdiag.engine.runbook import Kind, Outcome, Page, Step, fill, parse
from kdiag.errors import Unreachable
from kdiag.model.observation import Observation
from kdiag.model.result import Evidence, Finding, Ref
from tests.fakeapi import FakeAPI
from tests.sshd import Place, needs_sshd

KUBECTL = """#!/bin/sh
printf '%s\\n' "$*" >>@HERE@/asked
cat >>@HERE@/stdin
env >@HERE@/env
case "$*" in
*"get pods -o name"*) printf 'pod/api-1\\npod/web-1\\npod/web-2\\n' ;;
*"get bad"*) echo 'error: the server does not have a resource type "bad"' >&2; exit 1 ;;
*"get many"*) seq 1 100000 ;;
*"get slow"*) sleep 60 ;;
*"get evil"*) printf 'a\\033[31mred\\033[0m\\r\\n\\342\\200\\256x\\n' ;;
*"get odd -o name"*) printf 'pod/a; rm -rf /\\n' ;;
*"get env"*) printf 'DB_PASSWORD=hunter22\\n- name: API_KEY\\n  value: geheim9\\n' ;;
*) echo "NAME READY"; echo "web-1 1/1" ;;
esac
"""


class Tools:
    """A PATH with a kubectl of its own, and the filters of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for name in ("grep", "head", "tail", "sort", "uniq", "cut", "sed", "wc", "tr", "cat", "jq", "date"):
            if found := shutil.which(name):
                (folder / "bin" / name).symlink_to(found)
        self.write("kubectl", KUBECTL.replace("@HERE@", str(folder)))

    def write(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": f"{self.folder}/bin:/bin:/usr/bin", "HOME": str(self.folder), "TOKEN_OF_USER": "s3cret"}

    @property
    def asked(self) -> list[str]:
        log = self.folder / "asked"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path / "tools")


def executor(tools: Tools, **options: object) -> Executor:
    return Executor(environ=tools.environ, **options)  # type: ignore[arg-type]


def step_of(line: str, *, sets: tuple[str, ...] = ()) -> Step:
    return Step(number=1, kind=Kind.RUN, text=line, command=line, sets=sets)


def run(
    runs: Executor | Replay, line: str, values: Mapping[str, str] | None = None, sets: tuple[str, ...] = ()
) -> Outcome:
    try:
        return runs.run(step_of(line, sets=sets), values or {})
    finally:
        runs.close()


# kubectl


def test_runs_the_users_kubectl_with_the_flags_of_the_run(tools: Tools) -> None:
    done = run(executor(tools, flags=["--context=prod", "--as=ops"]), "kubectl -n shop get pods -o wide")
    assert (done.lines, done.status, done.via, done.error) == (("NAME READY", "web-1 1/1"), 0, "kubectl", "")
    assert tools.asked == ["--context=prod --as=ops -n shop get pods -o wide"]
    assert (tools.folder / "stdin").read_text() == ""
    assert "TOKEN_OF_USER=s3cret" in (tools.folder / "env").read_text()  # its login may need it
    assert "KUBERC=off" in (tools.folder / "env").read_text()


def test_pipes_what_it_prints_through_filters(tools: Tools) -> None:
    done = run(executor(tools), "kubectl get pods -o name | grep /web | sort -r | head -n 1 | cut -d/ -f2")
    assert done.lines == ("web-2",)
    done = run(executor(tools), "kubectl get pods | grep nothing")
    assert (done.lines, done.status) == ((), 1)


def test_gives_a_filter_nothing_of_the_users_environment(tools: Tools) -> None:
    (tools.folder / "bin" / "sort").unlink()
    tools.write("sort", f"#!/bin/sh\nenv >{tools.folder}/env\ncat\n")
    run(executor(tools), "kubectl get pods | sort")
    assert "s3cret" not in (tools.folder / "env").read_text()


def test_sets_a_variable_to_what_commands_print(tools: Tools) -> None:
    done = run(
        executor(tools), 'POD=$(kubectl get pods -o name | grep "/$NAME" | head -n 1)', {"NAME": "web"}, ("POD",)
    )
    assert (done.sets, done.lines, done.status) == ({"POD": "pod/web-1"}, ("POD=pod/web-1",), 0)
    done = run(executor(tools), 'kubectl describe pod "$(kubectl get pods -o name | tail -n 1 | cut -d/ -f2)"')
    assert tools.asked[-1] == "describe pod web-2"


def test_a_substitution_that_prints_nothing_or_more_than_a_word_ends_the_step(tools: Tools) -> None:
    nothing = run(executor(tools), "POD=$(kubectl get pods | grep nothing)", sets=("POD",))
    assert (nothing.status, nothing.sets) == (None, {})
    assert "printed nothing" in nothing.error
    odd = run(executor(tools), "kubectl get pods $(kubectl get odd -o name)")
    assert "more than one plain word" in odd.error
    assert tools.asked == ["get pods", "get odd -o name"]


def test_what_a_substitution_makes_of_a_line_is_looked_at_again(tools: Tools) -> None:
    tools.write("kubectl", f'#!/bin/sh\necho "$*" >>{tools.folder}/asked\necho secret\n')
    done = run(executor(tools), "kubectl get $(kubectl get pods -o name) db -o yaml")
    assert tools.asked == ["get pods -o name"]
    assert "Secret" in done.error + done.refused
    done = run(executor(tools), "X=$(kubectl get pods -o name); kubectl get $X db -o json", sets=("X",))
    assert tools.asked == ["get pods -o name"] * 2
    assert "Secret" in done.error


def test_refuses_whatever_the_caller_thinks_of_it(tools: Tools) -> None:
    for line in ("kubectl delete pod web-1", "rm -rf /", "kubectl get secret db -o yaml", "kubectl get pods > /tmp/x"):
        done = run(executor(tools), line)
        assert (done.ran, done.lines) == (False, ())
        assert done.refused
    assert run(executor(tools), "kubectl get $X", {"X": "secret -o yaml"}).refused
    assert tools.asked == []


def test_a_variable_that_nobody_knows_is_no_command(tools: Tools) -> None:
    done = run(executor(tools), 'kubectl get pod "$POD"')
    assert (done.ran, tools.asked) == (False, [])
    assert "POD" in done.refused


def test_a_step_for_a_person_is_not_run(tools: Tools) -> None:
    page = parse("a/b", "# T\n\n## Diagnosis\n\n```sh\n# by hand: it is slow\nkubectl get pods\n```\n")
    (step,) = page.steps
    assert executor(tools).run(step, {}) == Outcome(refused="it is slow")


def test_keeps_the_exit_code_and_what_was_complained(tools: Tools) -> None:
    done = run(executor(tools), "kubectl get bad")
    assert (done.status, done.lines) == (1, ('error: the server does not have a resource type "bad"',))
    assert run(executor(tools), "kubectl get bad 2>/dev/null").lines == ()
    assert run(executor(tools), "kubectl get bad || kubectl get pods").lines[-1] == "web-1 1/1"
    assert "web-1 1/1" not in run(executor(tools), "kubectl get bad && kubectl get pods").lines


def test_bounds_what_is_kept_and_says_so(tools: Tools) -> None:
    done = run(executor(tools), "kubectl get many")
    assert len(done.lines) == MOST_LINES
    assert done.left == 100_000 - MOST_LINES
    assert run(executor(tools), "kubectl get many | wc -l").lines == ("100000",)


def test_stops_what_takes_too_long(tools: Tools) -> None:
    done = run(executor(tools, seconds=0.3), "kubectl get slow")
    assert done.status is None
    assert "did not finish within 0.3 s" in done.error


def test_shows_nothing_that_a_terminal_would_obey_and_no_credential(tools: Tools) -> None:
    done = run(executor(tools), "kubectl get evil")
    assert done.lines == ("a␛[31mred␛[0m", "<U+202E>x")
    text = "\n".join(run(executor(tools), "kubectl get env").lines)
    assert "hunter22" not in text
    assert "geheim9" not in text
    assert shown(b"\xff\xfe\n")[0] == ("��",)
    assert shown(b"") == ((), 0)


def test_a_filter_that_is_not_there_is_said(tools: Tools) -> None:
    (tools.folder / "bin" / "grep").unlink()
    done = Executor(environ={"PATH": f"{tools.folder}/bin"}).run(step_of("kubectl get pods | grep x"), {})
    assert "grep" in done.error


# Without kubectl


@pytest.fixture
def api(tmp_path: Path) -> FakeAPI:
    meta = {"namespace": "shop", "creationTimestamp": "2026-11-22T08:00:00Z"}

    def pod(name: str, **labels: str) -> dict[str, object]:
        env = [{"name": "DB_PASSWORD", "value": "hunter22"}]
        return {
            "metadata": {"name": name, "labels": labels, "managedFields": [{"manager": "kubectl"}], **meta},
            "spec": {"nodeName": "w1", "containers": [{"name": "app", "image": "nginx:1.27", "env": env}]},
            "status": {"phase": "Running"},
        }

    return FakeAPI(
        {
            "/api/v1/pods": [pod("web-1", app="web"), pod("web-2", app="web"), pod("db-1", app="db")],
            "/api/v1/services": [{"metadata": {"name": "web", **meta}, "spec": {"selector": {"app": "web"}}}],
            "/apis/apps/v1/deployments": [
                {"metadata": {"name": "web", **meta}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}
            ],
            "/api/v1/nodes": [{"metadata": {"name": "w1", "labels": {"disk": "ssd"}}}],
        }
    )


def stand_in(api: FakeAPI, home: Path) -> Executor:
    where = load(Overrides(kubeconfig=str(api.kubeconfig(home / "config"))), {"HOME": str(home)})
    return Executor(environ=dict(os.environ), kubectl="", stand_in=lambda: StandIn(Live(where)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kubectl -n shop get pods -o name", ["pod/db-1", "pod/web-1", "pod/web-2"]),
        ("kubectl -nshop get po -l app=web -o name", ["pod/web-1", "pod/web-2"]),
        ("kubectl -n shop get pod/web-1 deployment/web -o name", ["pod/web-1", "deployment.apps/web"]),
        ("kubectl -n shop get deploy web -o name", ["deployment.apps/web"]),
        ("kubectl get pods -A -o name | wc -l", ["3"]),
        ("kubectl -n shop get pod web-1 -o jsonpath='{.spec.nodeName} {.status.phase}{\"\\n\"}'", ["w1 Running"]),
        ("kubectl -n shop get pods -o jsonpath='{range .items[*]}{.metadata.name},{end}'", ["db-1,web-1,web-2,"]),
        (
            "kubectl get nodes -o custom-columns=NAME:.metadata.name,DISK:.metadata.labels.disk",
            ["NAME   DISK", "w1     ssd"],
        ),
        ("kubectl -n shop get pod web-9 -o name --ignore-not-found", []),
    ],
)
def test_our_own_client_answers_in_its_place(api: FakeAPI, tmp_path: Path, line: str, expected: list[str]) -> None:
    with api:
        done = run(stand_in(api, tmp_path), line)
    assert (done.error, done.status) == ("", 0)
    assert list(done.lines) == expected
    assert done.via == "kdiag"


def test_our_own_client_prints_tables_as_the_server_has_them(api: FakeAPI, tmp_path: Path) -> None:
    with api:
        runs = stand_in(api, tmp_path)
        head, *rows = run(runs, "kubectl -n shop get pods --show-labels").lines
        assert head.split()[0] == "NAME"
        assert head.endswith("LABELS")
        assert [row.split()[0] for row in rows] == ["db-1", "web-1", "web-2"]
        assert rows[1].endswith("app=web")
        head, *rows = run(runs, "kubectl get pods,services -A").lines
        assert head.split()[:2] == ["NAMESPACE", "NAME"]
        assert rows[0].split()[:2] == ["shop", "pod/db-1"]
        assert run(runs, "kubectl -n other get pods").lines == ("No resources found in other namespace.",)
        assert run(runs, "kubectl get nodes --no-headers -L disk").lines[0].endswith("ssd")


def test_our_own_client_shows_objects_without_noise_and_without_credentials(api: FakeAPI, tmp_path: Path) -> None:
    with api:
        text = "\n".join(run(stand_in(api, tmp_path), "kubectl -n shop get pod web-1 -o yaml").lines)
        managed = run(stand_in(api, tmp_path), "kubectl -n shop get pod web-1 -o json --show-managed-fields").lines
    assert "nodeName: w1" in text
    assert "hunter22" not in text
    assert "managedFields" not in text
    assert any("managedFields" in line for line in managed)


def test_our_own_client_says_what_needs_kubectl(api: FakeAPI, tmp_path: Path) -> None:
    with api:
        for line in (
            "kubectl -n shop describe pod web-1",
            "kubectl top pods",
            "kubectl get pods -o go-template='{{.x}}'",
        ):
            done = run(stand_in(api, tmp_path), line)
            assert done.status is None
            assert "needs kubectl" in done.error


def test_our_own_client_hands_on_what_the_server_refuses(api: FakeAPI, tmp_path: Path) -> None:
    with api:
        done = run(stand_in(api, tmp_path), "kubectl -n shop get pod web-9 -o yaml")
        assert done.status == 1
        assert done.lines[0].startswith("Error from server (NotFound)")
        done = run(stand_in(api, tmp_path), "kubectl get nonsense")
        assert 'resource type "nonsense"' in done.error
    done = run(stand_in(api, tmp_path), "kubectl get pods")
    assert "refused" in done.error


def test_our_own_client_sends_only_gets(api: FakeAPI, tmp_path: Path) -> None:
    with api:
        runs = stand_in(api, tmp_path)
        for line in ("kubectl get pods", "kubectl get --raw /livez", "kubectl -n shop logs web-1", "kubectl events -A"):
            run(runs, line)
        assert {request.method for request in api.requests} == {"GET"}


class Says:
    """An API server that answers the same to everything."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get(self, path: str, accept: str, deadline: Deadline) -> tuple[str, int]:
        return self._text, 200

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        '"x"',
        "null",
        '{"items": 5}',
        '{"items": ["x"]}',
        '{"items": [{"metadata": 5}]}',
        '{"items": [{"versions": [{}]}]}',
        '{"kind": "Table"}',
        pytest.param("[" * 100_000, id="deep"),
        pytest.param('{"items": [{"spec": ' + '{"a":' * 900 + "1" + "}" * 900 + "}]}", id="just not too deep"),
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "kubectl get pods",
        "kubectl get pods -A -o yaml --sort-by=.metadata.name",
        "kubectl get pods -o jsonpath='{.items[*].metadata.name}'",
        "kubectl get pods -o custom-columns=NAME:.metadata.name",
        "kubectl get pod web -o name",
        "kubectl get widgets",
        "kubectl logs deployment/web",
        "kubectl logs -l app=web",
        "kubectl events",
    ],
)
def test_an_answer_of_another_form_is_a_line(text: str, line: str) -> None:
    done = run(Executor(environ={}, kubectl="", stand_in=lambda: StandIn(Says(text))), line)
    assert (done.status is None) == bool(done.error)


# On nodes


@pytest.fixture
def local() -> Executor:
    def node(host: str) -> Shell:
        if host == "w9":
            raise Unreachable("w9: connection refused")
        return LocalShell()

    return Executor(environ=dict(os.environ), node=node)


def test_runs_on_a_node(local: Executor) -> None:
    done = run(local, "ssh w1 'cat /proc/loadavg; command -v cat' | wc -l")
    assert (done.lines, done.status, done.via) == (("2",), 0, "w1")


def test_quotes_and_pipes_and_file_names_arrive_as_the_page_means_them(local: Executor, tmp_path: Path) -> None:
    odd = tmp_path / "a b"
    odd.mkdir()
    (odd / "it's").write_text("one\ntwo $HOME `id`\n")
    line = f"""ssh w1 "cat \\"{odd}/it's\\" | grep -e 'two \\$HOME'" """
    assert run(local, line).lines == ("two $HOME `id`",)
    assert run(local, "ssh w1 sudo sh -c \"'ls -d /etc/hosts'\"").lines[-1:] != ()


def test_sequences_keep_their_meaning_and_the_last_exit_code(local: Executor) -> None:
    done = run(local, "ssh w1 'grep -c nothing /proc/loadavg || cat /proc/loadavg | wc -l'")
    assert done.lines == ("0", "1")
    assert run(local, "ssh w1 'cat /nothing/there'").status == 1
    assert run(local, "ssh w1 'cat /nothing/there 2>/dev/null'").lines == ()


def test_a_substitution_on_a_node_is_one_plain_word(local: Executor) -> None:
    done = run(local, "ssh w1 'cat /proc/$(pgrep -o -x no-such-one)/cmdline'")
    assert done.status is None
    assert "printed nothing" in done.error


def test_a_node_that_cannot_be_reached_is_said(local: Executor) -> None:
    assert run(local, "ssh w9 uptime").error == "w9: connection refused"
    assert "no way to w1" in run(Executor(environ={}), "ssh w1 uptime").error


def test_what_a_node_must_not_run_is_refused_before_anything(local: Executor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for text in (f"touch {mark}", f"cat /etc/hosts > {mark}", f"true; touch {mark}", f"cat $(touch {mark})"):
        done = run(local, f"ssh w1 '{text}'")
        assert done.refused
        assert not mark.exists()


@needs_sshd
def test_runs_over_a_real_sshd(place: Place) -> None:
    port = place.serve()
    place.known(port)
    place.node(port)
    runs = Executor(environ=dict(os.environ), node=lambda _: place.shell())
    try:
        for _ in range(2):  # one connection for both
            done = runs.run(step_of('ssh "$NODE" "grep -c . $FILE" | cat -n'), {"NODE": "w1", "FILE": "/proc/loadavg"})
            assert (done.error, done.via) == ("", "w1")
            assert done.lines[0].split() == ["1", "1"]
    finally:
        runs.close()


@needs_sshd
def test_a_node_whose_sudo_refuses_says_so(place: Place, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    port = place.serve(f"ForceCommand exec env -i PATH={tools}:/usr/bin:/bin sh -s -- kdiag")
    place.known(port)
    place.node(port)
    done = run(Executor(environ={}, node=lambda _: place.shell()), "ssh w1 sudo cat /etc/hosts")
    assert (done.status, done.lines) == (1, ("sudo: a password is required",))


# From a recording


def recording(folder: Path) -> Snapshot:
    pods = [
        {"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}}, "spec": {"nodeName": "w1"}},
        {"metadata": {"namespace": "ops", "name": "job-1", "labels": {"app": "job"}}, "spec": {"nodeName": "w2"}},
    ]
    recorder = Recorder(folder)
    recorder.take(Observation("api", "run", body=json.dumps({"taken": "2026-11-22T08:00:00Z"}).encode()))
    recorder.take(Observation("api", "pods", body=json.dumps({"items": pods}).encode()))
    log = b"2026-11-22T08:00:00.1Z panic: no database\n"
    recorder.take(Observation("api", "log", name="shop/web-1/app/previous", body=log))
    recorder.take(Observation("api", "services", error="403 Forbidden: may not list services"))
    recorder.finish([])
    return Snapshot(folder)


def test_a_recording_answers_what_it_holds(tmp_path: Path) -> None:
    finding = Finding(
        Ref("Service", "web", "shop"),
        "x",
        (
            Evidence("kubectl -n shop get service web -o wide", "SELECTOR app=webb"),
            Evidence("systemctl show kubelet -p ActiveState", "ActiveState=failed", "w1"),
        ),
    )
    runs = Replay(recording(tmp_path / "snap"), finding)

    def lines(text: str) -> tuple[str, ...]:
        done = run(runs, text)
        assert (done.error, done.via) == ("", "recording"), text
        return done.lines

    assert lines("kubectl -n shop get service web -o wide") == ("SELECTOR app=webb",)
    assert lines("ssh w1 sudo systemctl show kubelet -p ActiveState --no-pager") == ("ActiveState=failed",)
    assert lines("kubectl -n shop get pods -o name") == ("pod/web-1",)
    assert lines("kubectl get pods -A --field-selector=spec.nodeName=w2 -o name") == ("pod/job-1",)
    assert lines("kubectl get pods -A -l app=web -o jsonpath='{.items[*].metadata.name}'") == ("web-1",)
    assert lines("kubectl -n shop logs web-1 -c app --previous") == ("panic: no database",)


def test_a_recording_says_what_it_does_not_hold(tmp_path: Path) -> None:
    runs = Replay(recording(tmp_path / "snap"), None)
    for text, why in (
        ("kubectl -n shop get pods", "needs the cluster"),
        ("kubectl -n shop describe pod web-1", "needs the cluster"),
        ("kubectl -n shop get services -o name", "may not list services"),
        ("kubectl get nodes -o name", "nodes needs the cluster"),
        ("kubectl -n shop logs web-1 -c app", "needs the cluster"),
        ("ssh w1 uptime", "needs node w1"),
        ("kubectl get pods -A -l 'app in (web)' -o name", "needs the cluster"),
    ):
        done = run(runs, text)
        assert done.status is None, text
        assert why in done.error, text


def test_a_page_is_walked_from_a_recording(tmp_path: Path) -> None:
    from kdiag.engine.runbook import page, walk

    book: Page = fill(page("application/container_crashes"), Finding(Ref("Pod", "web-1", "shop"), "x"))
    walked = walk(book, Replay(recording(tmp_path / "snap"), book.finding))
    assert walked.outcomes
    assert not any(o.refused for o in walked.outcomes.values())
