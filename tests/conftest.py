"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import signal

import pytest
from hypothesis import settings

if importlib.util.find_spec("kdiag.checks") is None:
    pytest.exit("kdiag is not installed: run  pip install -e '.[dev]'", returncode=4)

# Fixtures that the tests of several folders use.
from tests.sshd import keys as keys
from tests.sshd import place as place

# A run in a shell's background (make test &) is started with Ctrl-C ignored, and all that it starts would inherit that:
# programs that are tested for how they end at Ctrl-C would not end.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of what is tested. Each run tries the same ones:
# a commit is judged for what it changes. With KDIAG_FUZZ it tries others.
settings.register_profile("kdiag", deadline=None, derandomize="KDIAG_FUZZ" not in os.environ)
settings.load_profile("kdiag")
