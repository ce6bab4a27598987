"""The exit codes that a script may rely on."""

import enum


class Exit(enum.IntEnum):
    """What a run of kdiag came to."""

    CLEAN = 0  # nothing at or above --fail-on
    FINDINGS = 1  # findings at or above --fail-on
    USAGE = 2  # the command line or the configuration makes no sense
    BLIND = 3  # could not examine; with --strict, any check that is unknown
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM
