"""The values that travel through kdiag; no I/O, no rules."""
