"""Decoders may be asked for by several threads at once: each of them must be whole when it is used."""

import subprocess
import sys

_RACE = """
import sys, threading
import kdiag.facts as f
from kdiag.facts.wire import Page, decoder

sys.setswitchinterval(1e-6)
shapes = [Page[t] for t in (f.Deployment, f.StatefulSet, f.DaemonSet, f.Job, f.CronJob, f.ReplicaSet)] + [f.PodSpec]
pod = '{"containers":[{"name":"a","livenessProbe":{"httpGet":{"port":1}}}]}'
template = '{"template":{"spec":%s}}' % pod
body = '{"items":[{"spec":{"template":{"spec":%s},"jobTemplate":{"spec":%s}}}],"containers":[]}' % (pod, template)
start = threading.Barrier(len(shapes))

def read(shape):
    start.wait()
    decoder(shape).decode(body)

threads = [threading.Thread(target=read, args=(s,)) for s in shapes]
for t in threads: t.start()
for t in threads: t.join()
"""


def test_threads_never_meet_a_decoder_that_is_still_being_made() -> None:
    # A crash of the interpreter in nearly every run, where decoders are made side by side.
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", _RACE], capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
