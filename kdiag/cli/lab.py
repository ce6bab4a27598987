"""``kdiag lab``: practise on a cluster that may be broken."""

from __future__ import annotations

import argparse
import importlib

from kdiag.cli.output import emit, style


def run(options: argparse.Namespace) -> int:
    """Hand the command to the practice lab, a layer of its own beside this one."""
    return int(importlib.import_module("kdiag.lab.desk").run(options, emit, style(options)))
