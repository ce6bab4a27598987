"""Follow a request hop by hop, from the entrance to the last thing that is known."""

from __future__ import annotations

from kdiag.engine.trace.start import Start as Start
from kdiag.engine.trace.walk import READS as READS
from kdiag.engine.trace.walk import trace as trace
