"""A runbook page as steps to walk: commands with the finding's own objects, what to look for, and where it leads.

Pure: nothing here runs a command. ``kdiag.collect.execute`` does, and only what the allow-list lets through.
"""

from __future__ import annotations

from kdiag.engine.runbook.filling import fill as fill
from kdiag.engine.runbook.page import Block as Block
from kdiag.engine.runbook.page import Branch as Branch
from kdiag.engine.runbook.page import Expect as Expect
from kdiag.engine.runbook.page import Kind as Kind
from kdiag.engine.runbook.page import Mark as Mark
from kdiag.engine.runbook.page import Marks as Marks
from kdiag.engine.runbook.page import Outcome as Outcome
from kdiag.engine.runbook.page import Page as Page
from kdiag.engine.runbook.page import Remedy as Remedy
from kdiag.engine.runbook.page import Runs as Runs
from kdiag.engine.runbook.page import Step as Step
from kdiag.engine.runbook.page import Walked as Walked
from kdiag.engine.runbook.reading import page as page
from kdiag.engine.runbook.reading import parse as parse
from kdiag.engine.runbook.reading import source as source
from kdiag.engine.runbook.search import Hit as Hit
from kdiag.engine.runbook.search import named as named
from kdiag.engine.runbook.search import search as search
from kdiag.engine.runbook.walking import mark as mark
from kdiag.engine.runbook.walking import walk as walk
