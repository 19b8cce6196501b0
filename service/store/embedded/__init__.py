"""The embedded Postgres: a real server in the data folder, which runs for as long as a process needs it."""

from .server import embedded

__all__ = ["embedded"]
