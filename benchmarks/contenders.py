"""The servers that are compared: how each is started, and how it is asked."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from benchmarks import environments, load
from benchmarks.backlog import log_backlog
from benchmarks.load import Bodies

PEERS = Path(__file__).parent / "peers"
READY_SECONDS = 90.0
PACKAGES = {
    "LitServe": ["litserve", "python-multipart"],
    "BentoML": ["bentoml"],
    "MLServer": ["mlserver"],
}
COMMON = ["onnxruntime", "pillow", "numpy"]


@dataclass(frozen=True)
class Job:
    """The task of all contenders: a bundle, and images to predict."""

    bundle: Path
    output: str  # name of the model's output of probabilities
    mode: str
    side: int
    content_type: str
    images: list[bytes]
    reference: Path  # .npz of labelled images


@dataclass
class Contender:
    """A server that runs, paused unless it is being asked."""

    name: str
    url: str
    bodies: Bodies
    process: subprocess.Popen[bytes]

    @property
    def server(self) -> str:
        """The address without a path."""
        return str(httpx.URL(self.url).copy_with(path="")).rstrip("/")

    def resume(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def pause(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def memory(self) -> int:
        """Return the resident bytes of its largest process."""
        sizes = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
                group = os.getpgid(int(status.parent.name))
            except (OSError, ProcessLookupError):
                continue
            if group == self.process.pid and "VmRSS" in text:
                sizes.append(int(text.partition("VmRSS:")[2].split()[0]) * 1024)
        return max(sizes)


@contextmanager
def running_contender(name: str, job: Job, folder: Path) -> Iterator[Contender]:
    """Start a contender and wait until it answers.

    Raises
    ------
    Missing
        It cannot be installed, or does not answer.
    """
    port = _free_port()
    path, bodies, command, environment = MAKERS[name](job, folder, port)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    contender = Contender(name, f"http://127.0.0.1:{port}{path}", bodies, process)
    try:
        _await_answer(contender, folder)
        yield contender
    finally:
        if process.poll() is None:
            contender.resume()
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


Launch = tuple[str, Bodies, list[str], dict[str, str]]


def _tidemark(
    arguments: list[str], monitored: bool, module: str = "tidemark.cli"
) -> Callable[[Job, Path, int], Launch]:
    def make(job: Job, folder: Path, port: int) -> Launch:
        environment = os.environ | {"TIDEMARK_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(Path.cwd())}
        cli = [sys.executable, "-m", "tidemark.cli"]
        build = ["reference", "build", "--bundle", str(job.bundle), "--images", str(job.reference)]
        build += ["--power", "none", "--no-rehearsals"]
        subprocess.run([*cli, *(build if monitored else ["migrate"])], env=environment, check=True, capture_output=True)
        command = [sys.executable, "-m", module, *arguments, "--bundle", str(job.bundle), "--port", str(port)]
        return "/predict", load.raw(folder / "bodies", job.images, job.content_type), command, environment

    return make


def _with_backlog(job: Job, folder: Path, port: int) -> Launch:
    command = _tidemark(["up"], monitored=True)(job, folder, port)
    with np.load(job.reference) as arrays:
        log_backlog(folder / "data", job.bundle, arrays["images"])
    return command


def _empty(job: Job, folder: Path, port: int) -> Launch:
    command = [sys.executable, "-m", "uvicorn", "benchmarks.empty:app", "--port", str(port), "--no-access-log"]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return "/predict", load.raw(folder / "bodies", job.images, job.content_type), command, environment


def _litserve(job: Job, folder: Path, port: int) -> Launch:
    python = environments.python("litserve", [*PACKAGES["LitServe"], *COMMON])
    bodies = load.multipart(folder / "bodies", job.images, "file", job.content_type)
    return "/predict", bodies, [str(python), str(PEERS / "litserve_server.py"), str(port)], _peer(job)


def _bentoml(job: Job, folder: Path, port: int) -> Launch:
    python = environments.python("bentoml", [*PACKAGES["BentoML"], *COMMON])
    bodies = load.multipart(folder / "bodies", job.images, "images", job.content_type)
    command = [str(python), "-m", "bentoml", "serve", "bentoml_service:Classifier", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--working-dir", str(PEERS)]
    return "/classify", bodies, command, _peer(job) | {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}


def _mlserver(job: Job, folder: Path, port: int) -> Launch:
    python = environments.python("mlserver", [*PACKAGES["MLServer"], *COMMON])
    free = [_free_port(), _free_port()]
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free[0], "metrics_port": free[1]}
    model = {"name": "classifier", "implementation": "mlserver_model.Classifier", "max_batch_size": 32}
    settings |= {"parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model | {"max_batch_time": 0.002}))
    bodies = [
        {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [b64encode(image).decode()]}
        for image in job.images
    ]
    documents = load.documents(folder / "bodies", [json.dumps({"inputs": [body]}).encode() for body in bodies])
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    return "/v2/models/classifier/infer", documents, command, _peer(job)


def _peer(job: Job) -> dict[str, str]:
    environment = {"BENCH_MODEL": str(job.bundle / "model.onnx"), "BENCH_OUTPUT": job.output, "BENCH_MODE": job.mode}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | environment | {"BENCH_SIDE": str(job.side), "PYTHONPATH": str(PEERS)}


EMPTY, LOGGED, UNLOGGED = "empty endpoint", "Tidemark", "Tidemark, not logging"
MONITORED, BEHIND = "Tidemark with its monitor", "Tidemark with a backlog"
TIDEMARK_CONTENDERS = (LOGGED, UNLOGGED, MONITORED, BEHIND)
MAKERS: dict[str, Callable[[Job, Path, int], Launch]] = {
    EMPTY: _empty,
    LOGGED: _tidemark(["serve"], monitored=False),
    UNLOGGED: _tidemark(["serve"], monitored=False, module="benchmarks.unlogged"),
    MONITORED: _tidemark(["up"], monitored=True),
    BEHIND: _with_backlog,
    "LitServe": _litserve,
    "BentoML": _bentoml,
    "MLServer": _mlserver,
}


def _await_answer(contender: Contender, folder: Path) -> None:
    body = (contender.bodies.folder / "0").read_bytes()
    headers = {"Content-Type": contender.bodies.content_type}
    end = time.monotonic() + READY_SECONDS
    last = "no answer"
    while time.monotonic() < end and contender.process.poll() is None:
        try:
            answer = httpx.post(contender.url, content=body, headers=headers, timeout=10)
            if answer.status_code == 200:
                return
            last = f"HTTP {answer.status_code}: {answer.text[:200]}"
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    lines = (folder / "server.log").read_text(errors="replace").strip().splitlines()
    raise environments.Missing(f"does not answer ({last}): {lines[-1][:100] if lines else 'no output'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
