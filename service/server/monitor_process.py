"""`tidemark monitor`: one monitor worker."""

import asyncio
import logging
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine

from ..monitor.jobs import run
from ..settings import Settings, warn_of_unknown_variables
from ..store import engine as engines
from ..store import rights, schema
from .checks import await_database
from .container_health import HEARTBEAT_FILE
from .parent import exit_with_supervisor, has_supervisor

NICENESS = 10  # added to the scheduling priority: a monitor on a server's machine gives way to it
IDLE_TRANSACTION_TIMEOUT = 60  # seconds after which Postgres ends a hung monitor's transaction, with its locks
STOP_SECONDS = 9.0  # seconds from the signal to the end of the process, whatever still computes
HEARTBEAT_SECONDS = 10.0  # seconds between two heartbeats

logger = logging.getLogger(__name__)


def monitor() -> None:
    """Run a monitor worker until SIGTERM or SIGINT."""
    exit_with_supervisor()
    settings = Settings.load()
    if not has_supervisor():
        warn_of_unknown_variables()
    with engines.database(settings) as url:
        engine = engines.connect(url, hang_timeout=IDLE_TRANSACTION_TIMEOUT)
        await_database(engine)
        schema.check(engine)
        rights.check(engine)
        _give_way()
        asyncio.run(_run_until_stopped(settings, engine, url))


def _give_way() -> None:
    """Let a server on the same machine come first: where the system has it (Linux), a thread of this process that wakes
    up does not interrupt another process's, which would hold up all threads of a network that wait for that one."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _run_until_stopped(settings: Settings, engine: Engine, url: str) -> None:
    task = asyncio.create_task(run(settings, engine, url))
    heartbeat = asyncio.create_task(_beat(settings.data_dir / HEARTBEAT_FILE))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, task)
    try:
        await task
    except asyncio.CancelledError:
        logger.info("monitor stopped")
    finally:
        heartbeat.cancel()


def _stop(task: "asyncio.Task[None]") -> None:
    """Let the jobs end in good order, and end the process if they do not: each is one transaction, and is repeated."""
    task.cancel()
    timer = threading.Timer(STOP_SECONDS, _give_up)
    timer.daemon = True
    timer.start()


def _give_up() -> None:
    logger.warning("jobs still ran %.0f s after the signal: they are repeated by the next monitor", STOP_SECONDS)
    logging.shutdown()
    os._exit(0)


async def _beat(file: Path) -> None:
    """Show by a file's age that the event loop turns and that its threads take work."""
    while True:
        try:
            await asyncio.to_thread(_touch, file)
        except OSError as error:
            logger.warning("no heartbeat in %s: %s", file, error.strerror)
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
