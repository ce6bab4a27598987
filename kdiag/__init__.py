"""kdiag says what is broken in a Kubernetes cluster, why, and what to do now."""

__version__ = "0.1.0"
