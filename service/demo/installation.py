"""An installation for the demo: bundle, reference and processes in a folder that is deleted at the end."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ..errors import TidemarkError
from ..inference.bundle_builder import init_bundle
from ..polling import wait_until
from .scans import Scans, scan

MODEL = Path(__file__).parent / "digits.onnx"
REFERENCE_ROWS = 4000
READY_SECONDS = 180.0  # longest wait for the service to answer
READY_PAUSE = 0.1  # seconds between two requests to it


@contextmanager
def installation(port: int, held_out: Scans, seed: int, settings: dict[str, str]) -> Iterator[httpx.Client]:
    """Start `tidemark up` on the digit classifier and yield a client of it."""
    _check_port(port)
    folder = Path(tempfile.mkdtemp(prefix="tidemark-demo-"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    environment = inherited | {"TIDEMARK_DATA_DIR": str(folder / "data")} | settings
    bundle = folder / "bundle"
    process = None
    try:
        init_bundle(MODEL, bundle, name="digits")
        _write_reference(folder / "held_out.npz", held_out, seed)
        images = str(folder / "held_out.npz")
        _run(["reference", "build", "--bundle", str(bundle), "--images", images, "--thumbnails"], environment)
        with (folder / "up.log").open("wb") as log:
            command = [sys.executable, "-P", "-m", "tidemark.cli", "up", "--bundle", str(bundle), "--port", str(port)]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            _await_ready(client, process, folder / "up.log")
            yield client
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write_reference(path: Path, held_out: Scans, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    rows = rng.integers(0, len(held_out.labels), REFERENCE_ROWS)
    np.savez(path, images=scan(held_out.images[rows], rng), labels=held_out.labels[rows])


def _run(command: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-m", "tidemark.cli", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise TidemarkError(f"tidemark {' '.join(command[:2])} failed: {result.stderr.strip().splitlines()[-1]}")


def _await_ready(client: httpx.Client, process: subprocess.Popen[Any], log: Path) -> None:
    def is_ready_or_ended() -> bool:
        return _is_ready(client) or process.poll() is not None

    if not wait_until(is_ready_or_ended, READY_SECONDS, READY_PAUSE) or process.poll() is not None:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise TidemarkError(f"the service did not become ready: {lines[-1] if lines else 'no output'}")


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TidemarkError(f"cannot listen on port {port}: {error.strerror}; try another --port") from None
