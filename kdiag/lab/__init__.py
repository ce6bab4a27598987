"""Practice labs: the one part of kdiag that changes a cluster, and only one that is marked for it."""
