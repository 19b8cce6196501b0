"""Real programs on free ports of this machine."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


@contextmanager
def running(command: list[str], log: Path, environment: Any) -> Iterator[None]:
    settings = {"TIDEMARK_SHUTDOWN_GRACE": "0"} | dict(environment)  # no load balancer is to be told
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=settings, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def client_of(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
