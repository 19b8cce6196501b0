"""Real programs on free ports of this machine."""

import itertools
import os
import socket
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import httpx

from tests.support.wait import PATIENCE

# Linux gives the ports from 32,768 on, macOS those from 49,152 on, to connections of clients, at any moment.
FIRST_PORT, LAST_PORT = 12_000, 32_000
MAX_WORKERS = 16
PORTS_OF_A_WORKER = (LAST_PORT - FIRST_PORT) // MAX_WORKERS


class ProcessAccount(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that name the account of a process; empty for the account of the tests."""

    user: int
    group: int
    extra_groups: Collection[int]


@contextmanager
def running(command: list[str], log: Path, environment: Any) -> Iterator[None]:
    settings = {"TIDEMARK_SHUTDOWN_GRACE": "0"} | dict(environment)  # no load balancer has to learn of the end
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=settings, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def client_of(port: int, address: str = "127.0.0.1") -> httpx.Client:
    return httpx.Client(base_url=f"http://{address}:{port}", timeout=PATIENCE, trust_env=False)


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    """Return a port of this machine on which nothing listens, and which this run of the tests gets once."""
    return next(port for port in PORTS if _is_free(port))


def _ports_of_worker() -> Iterator[int]:
    """Yield ports that the operating system gives to no client, those of each worker of pytest-xdist apart."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    block = range(FIRST_PORT + worker % MAX_WORKERS * PORTS_OF_A_WORKER, LAST_PORT)[:PORTS_OF_A_WORKER]
    start = os.getpid() % PORTS_OF_A_WORKER  # another one in each run: several may share a machine
    return itertools.chain(block[start:], block[:start])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


PORTS = _ports_of_worker()
