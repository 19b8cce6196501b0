"""The embedded server's life: started by the first process that needs it, ended by the last one."""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from ...errors import ConfigurationError, DatabaseError
from ...polling import wait_until
from . import data_files, postmaster, programs, server_log
from .account import Account, server_account
from .sharing import Membership, exclusive
from .socket_folder import choose_socket_folder

PORT = 5432  # names the socket, and is the port where the server listens on a network, which it does for tests only
START_SECONDS = 300.0  # seconds for a start, which replays the WAL after a crash
START_PAUSE = 0.05  # seconds between two checks whether the server is ready
ATTEMPTS = 40  # starts while processes of a killed server still end
ATTEMPT_PAUSE = 0.25  # seconds between them
OLD_PROCESSES = "shared memory block"  # part of Postgres' message while they do
VISIBLE_SECONDS = 20.0  # seconds in which another user of the server restarts it
WATCH_SECONDS = 0.5  # seconds between two checks whether the server lives

logger = logging.getLogger(__name__)


@contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Yield the URL of the server in `folder`, which other processes may use at the same time.

    Raises
    ------
    ConfigurationError
        The folder above cannot be written, or there is no embedded server in this installation.
    DatabaseError
        The server does not start.
    """
    folder = folder.absolute()
    _check_writable(folder.parent)
    server = EmbeddedServer(folder)
    watcher = threading.Thread(target=server.watch, name="embedded-postgres", daemon=True)
    try:
        server.enter()
        watcher.start()
        yield server.url()
    finally:
        server.leaving.set()
        if watcher.is_alive():
            watcher.join()
        server.leave()


class EmbeddedServer:
    """One process's hold on the server in a folder.

    Parameters
    ----------
    folder : Path
        Absolute path of the database's files.
    listen_addresses : str
        Listen addresses of this machine, at which the server also takes connections; none by default, so that only
        processes of this machine reach it.

    Attributes
    ----------
    leaving : Event
        Set once this process no longer needs the server; a start that is under way is given up then.
    """

    def __init__(self, folder: Path, listen_addresses: str = "") -> None:
        self.leaving = threading.Event()
        self._folder = folder
        self._listen_addresses = listen_addresses
        self._membership = Membership(folder)
        self._child: subprocess.Popen[bytes] | None = None

    def enter(self) -> None:
        """Become a user of the server, and start it if it does not run.

        Where others use it already, one of them restarts it: it could also run where this process cannot see it, in
        another container on the same volume.
        """
        if not wait_until(self._try_enter, VISIBLE_SECONDS, WATCH_SECONDS):
            raise DatabaseError(
                f"the embedded Postgres in {self._folder} is used by a process that this one cannot see, "
                "in another container or on another machine: set TIDEMARK_DATABASE_URL to share a database"
            )

    def _try_enter(self) -> bool:
        with exclusive(self._folder) as lock:
            if postmaster.find(self._folder) is None and not self._membership.is_alone():
                return False
            self._membership.join()
            self._ensure_running(lock)
            return True

    def leave(self) -> None:
        """Stop being a user of the server, and end it if nobody else is one."""
        try:
            with exclusive(self._folder):
                running = postmaster.find(self._folder)
                if self._membership.is_alone() and running is not None:
                    postmaster.stop(running)
        except (ConfigurationError, DatabaseError) as error:
            logger.warning("the embedded Postgres still runs: %s", error)
        finally:
            self._membership.close()
            self._reap()

    def watch(self) -> None:
        """Restart the server whenever it is gone, and bound its log, until `leaving` is set."""
        while not self.leaving.wait(WATCH_SECONDS):
            self._reap()
            try:
                if server_log.is_large(self._log):
                    with exclusive(self._folder):
                        server_log.bound(self._log)
                if postmaster.find(self._folder) is not None:
                    continue
                self.restart()
                logger.warning("the embedded Postgres in %s was gone and is running again", self._folder)
            except Exception as error:
                if not self.leaving.is_set():
                    logger.error("%s", error)

    def restart(self) -> None:
        """Start the server if it does not run, as one of its users.

        Raises
        ------
        DatabaseError
            It does not start.
        """
        with exclusive(self._folder) as lock:
            self._ensure_running(lock)

    def url(self) -> str:
        """Return the server's URL.

        Raises
        ------
        DatabaseError
            The server ended since.
        """
        running = postmaster.find(self._folder)
        if running is None:
            raise DatabaseError(f"the embedded Postgres in {self._folder} ended; see {self._log}")
        address = {"host": running.socket_folder, "port": str(PORT)}
        url = URL.create("postgresql", username=data_files.SUPERUSER, database=data_files.SUPERUSER, query=address)
        return url.render_as_string(hide_password=False)

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _ensure_running(self, lock: int) -> None:
        account = server_account(self._folder)
        if data_files.version(self._folder) is None:
            data_files.create(self._folder, account, lock)
        if postmaster.find(self._folder) is None:
            self._start(account)
        self._await_ready()

    def _start(self, account: Account) -> None:
        """Start the server, again while processes of one that was killed still hold its shared memory."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(ATTEMPT_PAUSE)
            socket_folder = choose_socket_folder(self._folder, account)
            postmaster.forget(self._folder, socket_folder / f".s.PGSQL.{PORT}.lock")
            self._launch(account, socket_folder)
            try:
                return self._await_ready()
            except DatabaseError as error:
                if OLD_PROCESSES not in str(error) or attempt == ATTEMPTS - 1:
                    raise

    def _launch(self, account: Account, socket_folder: Path) -> None:
        binaries = programs.program_folder(data_files.version(self._folder))
        programs.ensure_runnable(binaries, account)
        if self._folder.stat().st_uid != account.uid:
            account.give(self._folder)
        account.reach(self._folder)
        options = {
            "listen_addresses": self._listen_addresses,
            "port": str(PORT),
            "unix_socket_directories": str(socket_folder),
            "unix_socket_permissions": "0700",
        }
        command = [str(binaries / "postgres"), "-D", str(self._folder)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server_log.bound(self._log)
        with self._log.open("ab") as log:
            if not account.is_current:
                os.fchown(log.fileno(), account.uid, account.gid)  # so that other tools can start the server, too
            self._child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=programs.environment(),
                start_new_session=True,
                **account.popen_arguments(),
            )

    def _await_ready(self) -> None:
        if not wait_until(self._is_ready, START_SECONDS, START_PAUSE):
            raise self._start_error()

    def _is_ready(self) -> bool:
        """Check whether the server accepts connections; raise DatabaseError if it never will."""
        has_ended = self._child is not None and self._child.poll() is not None
        running = postmaster.find(self._folder)
        if running is not None and running.is_ready:
            return True
        if self.leaving.is_set():
            raise DatabaseError(f"the embedded Postgres in {self._folder} is no longer needed")
        if has_ended and running is None:
            raise self._start_error()
        return False

    def _start_error(self) -> DatabaseError:
        error = server_log.last_error(self._log)
        return DatabaseError(f"the embedded Postgres in {self._folder} does not start: {error}; see {self._log}")

    def _reap(self) -> None:
        """Collect the exit status of a server that this process started, so that no zombie stays."""
        if self._child is not None:
            self._child.poll()


def _check_writable(folder: Path) -> None:
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(f"TIDEMARK_DATA_DIR: cannot write to {folder}: {error.strerror}") from None
