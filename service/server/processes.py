"""The processes of an installation: a server, a monitor, and `up`, which keeps both alive with their database."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from sqlalchemy import Engine

from ..api.endpoints.metrics import SHARED
from ..errors import ConfigurationError, DatabaseError
from ..inference import bundle as bundles
from ..inference.bundle import AnyBundle, Bundle
from ..inference.session import cores
from ..remedy.label_shift.priors_file import corrections
from ..settings import Settings
from ..spool.spool import Spool
from ..store import engine as engines
from ..store import models, schema
from .uvicorn_protocol import PatientProtocol
from .worker import BUNDLE_VARIABLE, PRIORS_VARIABLE, SHADOW_VARIABLE, follow

PARENT_VARIABLE = "TIDEMARK_PARENT"  # a child of `up` ends when this process is gone
MONITOR_NICENESS = 10  # a monitor on the machine of a server gives way to it
MONITOR_BLAS = {"OPENBLAS_NUM_THREADS": "1"}  # so that it leaves the server a core, unless the environment says other
HANG_SECONDS = 60  # in a transaction, after which a monitor loses its stream to another
GRACE = 10  # seconds for open requests to end
STABLE = 60.0  # seconds after which a child that dies is restarted at once
DATABASE_PAUSE = 0.5  # seconds between attempts to reach it
FAILED_TO_START = 2  # exit code of an error that a restart does not mend

logger = logging.getLogger(__name__)


def serve(
    folders: Sequence[Path],
    host: str,
    port: int,
    workers: int,
    priors: Sequence[Path] = (),
    shadows: Sequence[Path] = (),
) -> None:
    """Run the API until SIGTERM or SIGINT; start-up errors are raised before a port is opened."""
    _follow_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what uvicorn raises again once it has stopped
    settings = Settings.load()
    with engines.database(settings) as url:
        os.environ["TIDEMARK_DATABASE_URL"] = url
        os.environ[BUNDLE_VARIABLE] = json.dumps([str(folder) for folder in folders])
        os.environ[SHADOW_VARIABLE] = json.dumps([str(folder) for folder in shadows])
        os.environ[PRIORS_VARIABLE] = json.dumps([str(file) for file in priors])
        _check(folders, url, priors, shadows)
        _check_port(host, port)
        Spool.create(settings.data_dir / "spool").close()
        if workers > 1:
            os.environ.setdefault("TIDEMARK_INFERENCE_THREADS", str(max(1, cores() // workers)))
        with _shared_metrics(workers):
            uvicorn.run(
                "tidemark.server.worker:worker",
                factory=True,
                http=PatientProtocol,
                host=host,
                port=port,
                workers=workers,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Give several workers a folder where prometheus_client adds up what they count."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tidemark-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[SHARED] = folder
        yield


def monitor() -> None:
    """Run a monitor worker until SIGTERM or SIGINT."""
    from ..monitor.jobs import run

    _follow_parent()
    settings = Settings.load()

    async def until_stopped(url: str) -> None:
        task = asyncio.create_task(run(settings, engine, url))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            logger.info("monitor stopped")

    with engines.database(settings) as url:
        engine = engines.connect(url, hang_timeout=HANG_SECONDS)
        _reach(engine)
        schema.check(engine)
        os.nice(MONITOR_NICENESS)
        asyncio.run(until_stopped(url))


def up(folders: Sequence[Path], host: str, port: int, priors: Sequence[Path] = (), shadows: Sequence[Path] = ()) -> int:
    """Run database, server and monitor until SIGTERM or SIGINT; return the exit code."""
    settings = Settings.load()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with engines.database(settings) as url:
        engine = engines.connect(url)
        engines.check(engine)
        schema.migrate(engine)
        engine.dispose()
        _check(folders, url, priors, shadows)
        _check_port(host, port)
        environment = os.environ | {"TIDEMARK_DATABASE_URL": url, PARENT_VARIABLE: str(os.getpid())}
        environment.setdefault("TIDEMARK_PUBLIC_URL", f"http://{host}:{port}")
        named = [word for folder in folders for word in ("--bundle", str(folder))]
        named += [word for folder in shadows for word in ("--shadow", str(folder))]
        named += [word for file in priors for word in ("--correct-priors", str(file))]
        server = ["serve", *named, "--host", host, "--port", str(port)]
        children = [_Child(server, environment), _Child(["monitor"], MONITOR_BLAS | environment)]
        try:
            while not stopping.wait(0.2):
                for child in children:
                    if child.keep_alive() == FAILED_TO_START and not child.restarted:
                        return FAILED_TO_START
        finally:
            for child in children:
                child.process.terminate()
            for child in children:
                child.wait()
    return 0


class _Child:
    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-P", "-m", "tidemark.cli", *command]
        self._environment = environment
        self._backoff = 0.5
        self._restart_at: float | None = None
        self.restarted = False
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603
        self._started = time.monotonic()
        self._restart_at = None

    def keep_alive(self) -> int | None:
        """Restart the process if it died; return its exit code when it did.

        One that cannot even be started the first time is left as it is; later it is the database that is away.
        """
        code = self.process.poll()
        now = time.monotonic()
        if code is None or (code == FAILED_TO_START and not self.restarted):
            return code
        if self._restart_at is None:
            self._backoff = 0.5 if now - self._started > STABLE else min(2 * self._backoff, 30.0)
            self._restart_at = now + self._backoff
            logger.error("%s ended with code %d, again in %.1f s", self._command[4], code, self._backoff)
        elif now >= self._restart_at:
            self.restarted = True
            self._start()
        return code

    def wait(self) -> None:
        try:
            self.process.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _check(folders: Sequence[Path], url: str, priors: Sequence[Path] = (), shadows: Sequence[Path] = ()) -> None:
    """Raise what would make every worker fail: a broken bundle, an old schema, a reference or priors of another
    model."""
    served: dict[str, AnyBundle] = {}
    loaded = [("--bundle", bundles.load_any(folder)) for folder in folders]
    answering = [bundle for _, bundle in loaded if isinstance(bundle, Bundle)]
    if shadows and not answering:
        raise ConfigurationError("--shadow: no --bundle has a model that answers, whose images could be shown")
    for option, bundle in [*loaded, *(("--shadow", bundles.load(folder)) for folder in shadows)]:
        name = f"{bundle.name}:{bundle.version}"
        if name in served:
            raise ConfigurationError(
                f"{option}: {served[name].folder} and {bundle.folder} are both {name}; change a version"
            )
        if not isinstance(bundle, Bundle):
            logger.info("%s is served elsewhere: there is no %s in %s", name, bundles.MODEL_FILE, bundle.folder)
        served[name] = bundle
    corrections(priors, answering)
    engine = engines.connect(url)
    _reach(engine)
    schema.check(engine)
    with engine.begin() as connection:
        for bundle in served.values():
            models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
    engine.dispose()


def _reach(engine: Engine) -> None:
    """Raise where the database cannot be used; a child of `up`, which has used it just now, waits until it is back."""
    while True:
        try:
            return engines.check(engine)
        except DatabaseError:
            if PARENT_VARIABLE not in os.environ:
                raise
            time.sleep(DATABASE_PAUSE)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; try another --port") from None


def _follow_parent() -> None:
    """End this process when the `up` that started it is gone, even by kill -9."""
    if (parent := os.environ.get(PARENT_VARIABLE)) is not None:
        follow(int(parent))
