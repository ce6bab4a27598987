"""From options to facts: what check, trace and record share."""

from __future__ import annotations

from kdiag.session.options import deadline as deadline
from kdiag.session.options import inventory_of as inventory_of
from kdiag.session.options import passphrase as passphrase
from kdiag.session.options import seconds as seconds
from kdiag.session.options import target as target
from kdiag.session.progress import Progress as Progress
from kdiag.session.progress import Watch as Watch
from kdiag.session.run import Seen as Seen
from kdiag.session.run import live as live
from kdiag.session.run import recorded as recorded
