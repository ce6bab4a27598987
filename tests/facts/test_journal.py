"""The journal as systemd 252 prints it in JSON, and what else may stand there."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts.hosts import Answer
from kdiag.facts.journal import JournalLog, KubeletJournal

# systemd 252 (252.39-1~deb12u2), kubelet v1.36.3
REAL = (
    r'{"MESSAGE":"E1122 10:31:37.728017   16688 file_linux.go:59] \"Unable to read config path\" err=\"path does not '
    r'exist, ignoring\" path=\"/etc/kubernetes/manifests\"","PRIORITY":"6","_BOOT_ID":"91c0f852572848ea8472ce7a172c3f35"'  # noqa: E501
    r',"SYSLOG_IDENTIFIER":"kubelet","_PID":"16688","_SYSTEMD_UNIT":"kubelet.service","__REALTIME_TIMESTAMP":'
    r'"1795343497728124"}'
)


def parsed(text: str) -> JournalLog:
    return KubeletJournal.parse("w1", (Answer("journal-kubelet", "", text),))


def line(message: object, pid: int = 10, source: str = "kubelet", when: int = 1795343497728124) -> str:
    record = {"MESSAGE": message, "_PID": str(pid), "SYSLOG_IDENTIFIER": source, "__REALTIME_TIMESTAMP": str(when)}
    return json.dumps(record)


def test_reads_a_real_line() -> None:
    (entry,) = parsed(REAL)
    assert entry.when is not None
    assert f"{entry.when:%F %T}" == "2026-11-22 10:31:37"
    assert (entry.pid, entry.priority, entry.source) == (16688, 6, "kubelet")
    assert entry.said.startswith('"Unable to read config path" err=')


def test_reads_bytes_that_are_no_text_several_values_and_missing_fields() -> None:
    log = parsed("\n".join((line([0xFF, 0x61]), line(["one", "two"]), '{"MESSAGE":"alone"}', line(None), line([]))))
    assert [e.text for e in log] == ["\N{REPLACEMENT CHARACTER}a", "two", "alone"]
    assert log.entries[-1].when is None


def test_passes_over_what_is_no_entry() -> None:
    text = "\n".join(("No journal files were found.", "-- No entries --", '{"MESSAGE":', "[]", "{}", "Hint: you are"))
    assert not parsed(text)


def test_the_last_words_of_a_program_that_was_killed_are_not_why() -> None:
    log = parsed(
        "\n".join(
            (
                line('E1122 10:57:52.1 11 kubelet.go:1] "Skipping pod synchronization" err="PLEG"', 11),
                line("kubelet.service: Main process exited, code=killed, status=9/KILL", 1, "systemd"),
                line("kubelet.service: Failed with result 'oom-kill'.", 1, "systemd"),
                line("I1122 10:57:53.1 12 server.go:500] starting", 12),
            )
        )
    )
    assert log.fatal() is None
    assert log.killed is not None
    assert log.killed[1:] == (9, "oom-kill")
    ended = line("kubelet.service: Main process exited, code=exited, status=1/FAILURE", 1, "systemd")
    assert parsed(ended).killed is None


def test_quotes_the_last_words_of_the_run_that_ended() -> None:
    fatal = 'E1122 10:57:52.1 {} run.go:72] "command failed" err="failed to run Kubelet: open /x: no such file"'
    log = parsed(
        "\n".join(
            (
                line(fatal.format(1).replace("/x", "/old"), 11),
                line("kubelet.service: Main process exited, code=exited, status=1/FAILURE", 1, "systemd"),
                line(fatal.format(2), 12),
                line("Started kubelet.service.", 1, "systemd"),
                line("I1122 10:57:53.1 13 server.go:500] starting", 13),
            )
        )
    )
    found = log.fatal()
    assert found is not None
    assert found.said == "failed to run Kubelet: open /x: no such file"
    assert len(log.runs) == 3
    assert log.systemd("Main process exited") is not None


def test_does_not_dig_out_words_of_older_runs() -> None:
    log = parsed("\n".join((line("panic: old", 1001), line("fine", 1002), line("fine", 1003))))
    assert log.fatal() is None


def test_takes_an_error_before_the_end_for_the_reason() -> None:
    ended = line("kubelet.service: Main process exited, code=exited, status=1/FAILURE", 1, "systemd")
    log = parsed("\n".join((line('E1122 11:06:44.3 7 server.go:209] "odd" err="taken"', 7), line("I1122 x", 7), ended)))
    found = log.fatal()
    assert found is not None
    assert found.said == '"odd" err="taken"'
    assert parsed(line('E1122 11:06:44.3 7 server.go:209] "odd" err="taken"', 7)).fatal() is None


def test_reads_what_containerd_says_of_itself() -> None:
    entry = parsed(line('time="2026-11-22T10:39:26Z" level=fatal msg="no \\"cri\\"" error="boom"')).entries[0]
    assert entry.said == 'no "cri": boom'


@given(st.text(max_size=200))
def test_survives_any_text(text: str) -> None:
    log = parsed(text)
    log.fatal()
    assert isinstance(log.runs, tuple)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c, max_size=3)))
def test_survives_any_field(value: object) -> None:
    record = dict.fromkeys(("MESSAGE", "_PID", "PRIORITY", "__REALTIME_TIMESTAMP", "SYSLOG_IDENTIFIER"), value)
    parsed(json.dumps(record))
