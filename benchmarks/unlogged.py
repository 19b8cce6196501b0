"""Tidemark's server with a log that keeps nothing: what remains is all but the cost of logging."""

from fastapi import FastAPI

from tidemark.server import worker as server
from tidemark.spool.spool import Spool


def worker() -> FastAPI:
    """Return the server of `tidemark serve`, its spool a sink."""
    Spool.append = lambda self, batch: None  # type: ignore[method-assign]
    return server.worker()
