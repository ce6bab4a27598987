"""What all tests share."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("kdiag.checks") is None:
    pytest.exit("kdiag is not installed: run  pip install -e '.[dev]'", returncode=4)
