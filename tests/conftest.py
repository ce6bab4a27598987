"""What all tests share."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import settings

if importlib.util.find_spec("kdiag.checks") is None:
    pytest.exit("kdiag is not installed: run  pip install -e '.[dev]'", returncode=4)

# Fixtures that the tests of several folders use.
from tests.sshd import keys as keys
from tests.sshd import place as place

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("kdiag", deadline=None)
settings.load_profile("kdiag")
