"""The only I/O there is: API servers, recordings. Everything above it sees observations."""
