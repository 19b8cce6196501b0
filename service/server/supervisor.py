"""`tidemark up`: keeps a server and a monitor alive together with their database."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType

from ..settings import Settings, warn_of_unknown_variables
from ..store import engine as engines
from ..store.open_database import open_database
from .checks import check
from .listening import bind, link, reserve_grpc_port, warn_if_open
from .parent import VARIABLE as PARENT_VARIABLE
from .serve_options import ServeOptions

POLL_SECONDS = 0.2  # seconds between two checks of the children
STABLE_SECONDS = 60.0  # seconds after which a child that ends is restarted at once
FIRST_BACKOFF = 0.5  # seconds until a child is restarted; doubled with each restart
MAX_BACKOFF = 30.0  # seconds
STOP_SECONDS = 9.5  # seconds for the children to end, in addition to the server's time of grace
EXIT_CONFIGURATION_ERROR = 2  # exit code of an error that a restart does not fix

logger = logging.getLogger(__name__)


def up(options: ServeOptions) -> int:
    """Run database, server and monitor until SIGTERM or SIGINT; return the exit code."""
    settings = Settings.load()
    options = options.completed(settings)
    warn_of_unknown_variables()
    warn_if_open(settings, options.host)
    with engines.database(settings) as url, open_database(settings):
        check(options, url)
        stop = _StopSignal()
        for listener in [*bind(options.host, options.port), *reserve_grpc_port(options)]:
            listener.close()
        environment = os.environ | {"TIDEMARK_DATABASE_URL": url, PARENT_VARIABLE: str(os.getpid())}
        environment.setdefault("TIDEMARK_PUBLIC_URL", link(options.host, options.port))
        children = [
            Child("serve", options.arguments(), environment),
            Child("monitor", ["monitor"], environment),
        ]
        try:
            while not stop.event.wait(POLL_SECONDS):
                for child in children:
                    if child.keep_alive() == EXIT_CONFIGURATION_ERROR and not child.restarted:
                        return EXIT_CONFIGURATION_ERROR
        finally:
            _stop(children, stop.number, settings.shutdown_grace + STOP_SECONDS)
    return 0


class _StopSignal:
    """The signal that has ended `up`, which its children get as well: SIGINT leaves them no time of grace."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = signal.SIGTERM
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.number = signal.Signals(number)
        self.event.set()


class Child:
    """A process of `tidemark` that is restarted when it ends.

    Parameters
    ----------
    name : str
        Name for messages.
    arguments : list of str
        Arguments of `tidemark`.
    environment : Mapping[str, str]
        Environment of the process.
    """

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._command = [sys.executable, "-P", "-m", "tidemark.cli", *arguments]
        self._environment = environment
        self._backoff = FIRST_BACKOFF
        self._restart_at: float | None = None
        self.restarted = False
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603
        self._started = time.monotonic()
        self._restart_at = None

    def keep_alive(self) -> int | None:
        """Restart the process if it ended, and return its exit code in that case.

        A process that cannot even be started the first time is left as it is; later the reason is the database.
        """
        code = self.process.poll()
        now = time.monotonic()
        if code is None or (code == EXIT_CONFIGURATION_ERROR and not self.restarted):
            return code
        if self._restart_at is None:
            is_stable = now - self._started > STABLE_SECONDS
            self._backoff = FIRST_BACKOFF if is_stable else min(2 * self._backoff, MAX_BACKOFF)
            self._restart_at = now + self._backoff
            logger.error("%s ended with code %d, restarted in %.1f s", self._name, code, self._backoff)
        elif now >= self._restart_at:
            self.restarted = True
            self._start()
        return code


def _stop(children: list[Child], number: signal.Signals, seconds: float) -> None:
    """Send a signal to all children and wait until they have ended, at most so many seconds."""
    for child in children:
        child.process.send_signal(number)
    end = time.monotonic() + seconds
    for child in children:
        try:
            child.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
