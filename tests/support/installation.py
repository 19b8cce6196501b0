"""A Tidemark of real processes, each of which may be killed and started again, with all that is needed to check it."""

import base64
import contextlib
import datetime as dt
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import OperationalError
from standardwebhooks.webhooks import Webhook

from tests.support.assets import RUN_TIME, Assets
from tests.support.processes import answers, client_of, free_port
from tests.support.receiver import Receiver
from tests.support.wait import until
from tidemark.inference import bundle as bundles
from tidemark.settings import Settings
from tidemark.spool.inspection import pending_predictions
from tidemark.store import engine as engines
from tidemark.store import models, references, schema, streams

WINDOW = 100
PATIENCE = 180.0  # seconds, on a machine that does much else
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


class Installation:
    """Processes of `tidemark serve` and `tidemark monitor` on one database, and a webhook receiver.

    Parameters
    ----------
    folder : Path
        Folder of data folders and logs.
    url : str
        Url of an empty database.
    address : str
        Address at which the processes reach the webhook receiver.
    settings : object
        Further `TIDEMARK_*` variables, without the prefix.
    """

    def __init__(
        self, folder: Path, url: str, assets: Assets, address: str = "127.0.0.1", /, **settings: object
    ) -> None:
        self.folder, self.url, self.assets = folder, url, assets
        self.receiver = Receiver(204, address=address)
        self.engine: Engine = engines.connect(url)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
        defaults = {
            "DATABASE_URL": url,
            "DATA_DIR": folder / "data",
            "WINDOW_SIZE": WINDOW,
            "WINDOW_MIN_SIZE": 50,
            "EXPECTED_RUN_TIME": RUN_TIME,
            "MONITOR_POLL": 0.1,
            "SHUTDOWN_GRACE": 0,  # no load balancer has to learn of the end
            "WINDOW_INTERVAL": 0,
            "WEBHOOK_URLS": self.receiver.url,
            "WEBHOOK_SECRET": SECRET,
        } | settings
        self.environment |= {f"TIDEMARK_{name}": str(value) for name, value in defaults.items()}
        self.settings = Settings(window_size=WINDOW, window_min_size=50, expected_run_time=RUN_TIME)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self.numbers = itertools.count()  # of all requests: images that repeat would be a finding of their own
        self._commands: dict[str, tuple[list[str], dict[str, str]]] = {}
        schema.migrate(self.engine)
        with self.engine.begin() as connection:
            for path in assets.bundles:
                bundle = bundles.load(path)
                key = models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
                reference_id = references.save(connection, key, assets.reference)
                references.save_calibration(connection, reference_id, assets.calibration)

    def start(
        self,
        name: str,
        *,
        prefix: tuple[str, ...] = (),
        workers: int = 1,
        code: str = "",
        address: str = "127.0.0.1",
        **settings: object,
    ) -> None:
        """Start a process called `serve…` or `monitor…`, or one that runs `code`; a server keeps its port."""
        self.addresses[name] = address
        command = [*prefix, sys.executable, "-m", "tidemark.cli"]
        if name.startswith("serve"):
            port = self.ports.setdefault(name, free_port())
            named = [word for path in self.assets.bundles for word in ("--bundle", str(path))]
            command += ["serve", *named, "--host", address, "--port", str(port), "--workers", str(workers)]
        else:
            command = [*prefix, sys.executable, "-c", code] if code else [*command, "monitor"]
        environment = self.environment | {f"TIDEMARK_{key}": str(value) for key, value in settings.items()}
        self._commands[name] = command, environment
        self._run(name)

    def _run(self, name: str) -> None:
        command, environment = self._commands[name]
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def revive(self) -> None:
        """Start again what ended by itself, as an operator's supervisor does: the database was away when it began."""
        for name, process in self.processes.items():
            if process.poll() == 2:
                self._run(name)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def client(self, name: str = "serve") -> httpx.Client:
        return client_of(self.ports[name], self.addresses[name])

    def ready(self, name: str = "serve") -> None:
        with self.client(name) as client:
            self.until(lambda: answers(client, "/readyz"), f"{name} to be ready, see {self.log(name)}")

    def kill(self, name: str) -> None:
        """End a process and its children by SIGKILL."""
        process = self.processes[name]
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        """End a process by SIGTERM; return its exit code."""
        process = self.processes[name]
        process.send_signal(signal.SIGCONT)
        process.terminate()
        return process.wait(PATIENCE)

    def workers(self, name: str = "serve") -> list[int]:
        """Return the process ids of a server's workers."""
        pids = []
        for child in psutil.Process(self.processes[name].pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if "spawn_main" in " ".join(child.cmdline()):
                    pids.append(child.pid)
        return pids

    def close(self) -> None:
        for name in self.processes:
            self.kill(name)
        self.receiver.close()
        self.engine.dispose()

    def one(self, query: str) -> Any:
        """Return the single value that a query gives."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def rows(self, query: str) -> Sequence[Row[Any]]:
        """Return the rows that a query gives."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).all()

    def stored(self) -> int:
        return int(self.one("SELECT count(*) FROM predictions"))

    def stream(self, name: str) -> Any:
        with self.engine.connect() as connection:
            return streams.find(connection, name)

    def spooled(self, data: str = "data") -> int:
        """Count what waits in the spools of a data folder."""
        return sum(map(pending_predictions, (self.folder / data / "spool").glob("*.sqlite")))

    def monitored(self) -> bool:
        """Check whether every stored prediction has been processed, and every alert delivered."""
        seen = self.one("SELECT coalesce(sum(seen), 0) FROM streams WHERE slice = ''")
        pending = self.one("SELECT count(*) FROM deliveries WHERE outcome <> 'delivered'")
        return bool(seen == self.stored() and pending == 0)

    def settle(self, data: str = "data") -> None:
        """Wait until spools are empty, streams caught up with and alerts delivered."""
        self.until(lambda: self.spooled(data) == 0, "the spools to drain")
        self.until(self.monitored, "the monitor to catch up")

    def state(self) -> str:
        """Describe how far everything is, for a test that fails."""
        with self.engine.connect() as connection:
            query = text("SELECT status, task_name, queueing_lock, count(*) FROM procrastinate_jobs GROUP BY 1, 2, 3")
            jobs = connection.execute(query).all()
            deliveries = connection.execute(text("SELECT outcome, count(*) FROM deliveries GROUP BY 1")).all()
            seen = connection.execute(text("SELECT seen, status->>'evidence' FROM streams ORDER BY id")).all()
        running = {name: process.poll() for name, process in self.processes.items()}
        return f"stored {self.stored()}, streams {seen}, deliveries {deliveries}, jobs {jobs}, processes {running}"

    def until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait for a condition; while the database is unavailable it does not hold yet."""

        def holds() -> object:
            self.revive()
            return condition()

        until(holds, lambda: f"{what}: {self.state()}", seconds, not_yet=OperationalError)

    def webhooks(self) -> list[tuple[str, dict[str, Any]]]:
        """Return id and body of all that the receiver was sent, signatures checked, however long ago it came."""
        received = []
        for headers, content in self.receiver.requests:
            key, at = headers["webhook-id"], dt.datetime.fromtimestamp(int(headers["webhook-timestamp"]), dt.UTC)
            assert Webhook(SECRET).sign(key, at, content.decode()) in headers["webhook-signature"].split()
            received.append((key, json.loads(content)))
        return received
