"""Every exception that kdiag raises on purpose.

KdiagError
├── UsageError            the command line or a file named on it makes no sense
├── ConfigError           the kubeconfig or kdiag's own configuration cannot be used
├── NoSuchNamespace       the namespace that was asked for is not there
├── CollectError          a source could not be read
│   ├── Unreachable       nothing answered: refused, timed out, no such host
│   ├── AccessDenied      it answered, and said no: 401, 403, a certificate it does not take
│   ├── Untrusted         the server's certificate or host key is not the expected one
│   └── BadAnswer         it answered with something that is not an answer
├── LabError              the practice lab refuses, or cannot go on
├── SnapshotError         a recording is cut short, edited or of another kind
└── CheckDefinitionError  a file of the check library is malformed

The text of each is one line for a person: what failed, on what, what to try.
"""

from __future__ import annotations


class KdiagError(Exception):
    """The base of all of them; its text is fit to be printed as it is."""


class UsageError(KdiagError):
    """The command line, or a file named on it, makes no sense."""


class ConfigError(KdiagError):
    """The kubeconfig, or kdiag's own configuration, cannot be used."""


class NoSuchNamespace(KdiagError):
    """The namespace that was asked for is not there: that nothing is found in it says nothing."""


class CollectError(KdiagError):
    """A source could not be read."""


class Unreachable(CollectError):
    """Nothing answered: refused, timed out, no such host."""


class AccessDenied(CollectError):
    """It answered and said no: 401, 403, or a certificate that it does not take."""


class Untrusted(CollectError):
    """The server's certificate or host key is not the one expected."""


class BadAnswer(CollectError):
    """It answered with something that is not an answer."""


class LabError(KdiagError):
    """The practice lab refuses, or cannot go on."""


class SnapshotError(KdiagError):
    """A recording is cut short, edited, or of a kind that this version cannot read."""


class CheckDefinitionError(KdiagError):
    """A file of the check library is malformed; names the file and the reason."""
