"""Wiring: the application factory, worker processes, and the supervisor of `tidemark up`."""
