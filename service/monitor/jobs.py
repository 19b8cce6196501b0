"""The monitor's process: the loop that watches streams in a thread, deliveries and retention as jobs of the queue."""

import asyncio
import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status
from sqlalchemy import Engine

from ..alerts import delivery
from ..alerts.lifecycle import Alerts
from ..alerts.outbox import UNMUTE
from ..alerts.queue import open_queue
from ..alerts.retirement import retire_idle
from ..alerts.webhook_network import WebhookNetwork
from ..settings import Settings
from ..store import cleanup, predictions, retention
from ..store.engine import conninfo, is_pooled
from ..store.errors import DATABASE_ERRORS, reason
from ..store.raw_connection import raw
from .daily_self_tests import run_due_self_tests
from .monitor import Monitor

RETAIN = "retain"
SELF_TEST = "self_test"
RETIRE = "retire"
MAINTENANCE_QUEUE = "maintenance"  # queue of its own, so that neither streams nor deliveries hold it up
STALLED = 30.0  # seconds without a heartbeat after which a worker counts as dead
HOUSEKEEPING = 15.0  # seconds between searches for dead workers' jobs
LONGEST = 3 * delivery.TIMEOUT  # seconds that a delivery can be in hand
GRACE = 5.0  # seconds for jobs to end; a delivery that takes longer is repeated
REPEAT_CANCEL = GRACE + 2  # seconds after which a task that was to end is cancelled again
LOOP_GRACE = 8.0  # seconds for the loop to end; its last checkpoints take 5 of them
HUNG = 300.0  # seconds without a turn of the loop, after which the process ends, to be started again
FIRST_BACKOFF = 0.5  # seconds
STABLE = 30.0  # seconds without an interruption, after which the next one is a first one
MAX_BACKOFF = 10.0  # seconds between attempts while the database is unavailable
DAYS_AHEAD = 3  # days whose partitions are made in advance

logger = logging.getLogger(__name__)


class WorkerStopped(Exception):
    """A worker ended that nobody stopped."""


def build(settings: Settings, engine: Engine, url: str, pooled: bool) -> App:
    """Return a worker's application with its tasks.

    Parameters
    ----------
    pooled : bool
        Whether a pooler is between this process and Postgres: it refuses settings of the server in `options`.
    """
    connector = PsycopgConnector(
        conninfo=conninfo(url, for_server=not pooled),
        kwargs={"prepare_threshold": None},  # a prepared statement belongs to one connection of a pooler
        min_size=2,
        max_size=6,
    )
    app = App(connector=connector)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    delivery.register(app, engine, secret, WebhookNetwork.from_settings(settings))

    @app.periodic(cron="7 * * * *")
    @app.task(name=RETAIN, queue=MAINTENANCE_QUEUE, queueing_lock=RETAIN)
    def retain(timestamp: int) -> None:
        keep_days(engine, settings.retention_days)
        days = settings.retention_days, settings.report_retention_days
        if deleted := cleanup.delete_old(engine, dt.datetime.now(dt.UTC), *days):
            logger.info("deleted %s", ", ".join(f"{count} rows of {table}" for table, count in deleted.items()))

    @app.periodic(cron="* * * * *")  # a reference is tested as soon as its detector is calibrated, then daily
    @app.task(name=SELF_TEST, queue=MAINTENANCE_QUEUE, queueing_lock=SELF_TEST)
    def test_detectors(timestamp: int) -> None:
        run_due_self_tests(engine)

    @app.periodic(cron="* * * * *")
    @app.task(name=RETIRE, queue=MAINTENANCE_QUEUE, queueing_lock=RETIRE)
    def retire_streams(timestamp: int) -> None:
        alerts = Alerts(open_queue(""), settings.webhook_urls, settings.public_url)
        retired = retire_idle(engine, alerts, settings.retire_after, dt.datetime.now(dt.UTC))
        if retired:
            logger.info("retired without traffic: %s", ", ".join(retired))

    return app


async def run(settings: Settings, engine: Engine, url: str) -> None:
    """Work until cancelled; a database that is unavailable is waited for."""
    alerts = Alerts(open_queue(conninfo(url)), settings.webhook_urls, settings.public_url)
    loop = MonitorThread(Monitor(settings, engine, alerts))
    loop.start()
    jobs = asyncio.create_task(_work_on_jobs(settings, engine, url, loop))
    try:
        await asyncio.wait({jobs})
    finally:
        loop.request_stop()
        jobs.cancel()
        await asyncio.wait({jobs})
        await loop.join()
    jobs.result()


class MonitorThread:
    """The monitor's loop in a daemon thread, which does not hold up the end of the process."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=monitor.run, args=(self._stopping,), name="monitor", daemon=True)

    def start(self) -> None:
        """Start the loop."""
        self._thread.start()

    def request_stop(self) -> None:
        """Let the loop end after the step that it is at."""
        self._stopping.set()

    async def join(self) -> None:
        """Wait for the end of the loop, but not for ever."""
        await asyncio.to_thread(self._thread.join, LOOP_GRACE)
        if self._thread.is_alive():
            logger.warning("the monitor's loop is left in the middle of a step")

    async def supervise(self) -> None:
        """End the process where the loop has ended or hangs: its supervisor starts it again."""
        while True:
            idle = time.monotonic() - self._monitor.turned_at
            if not self._thread.is_alive() or idle > HUNG:
                logger.critical("the monitor's loop has made no turn for %.0f s: the process ends", idle)
                os._exit(1)
            await asyncio.sleep(1)


async def _work_on_jobs(settings: Settings, engine: Engine, url: str, loop: MonitorThread) -> None:
    backoff = FIRST_BACKOFF
    while True:
        started = time.monotonic()
        try:
            pooled = await asyncio.to_thread(is_pooled, url)
            app = build(settings, engine, url, pooled)
            async with app.open_async():
                await _run_until_one_ends(
                    loop.supervise(),
                    _clear_stalled(app),
                    _work(app, MAINTENANCE_QUEUE, 1, listen=not pooled),
                    _work(app, delivery.QUEUE, delivery.CONCURRENCY, listen=not pooled),
                )
        except (*DATABASE_ERRORS, ProcrastinateException, OSError, WorkerStopped) as error:
            if time.monotonic() - started > STABLE:
                backoff = FIRST_BACKOFF
            logger.warning("jobs interrupted, again in %.1f s: %s", backoff, reason(error.__cause__ or error))
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, MAX_BACKOFF)


def keep_days(engine: Engine, retention_days: int) -> None:
    """Make the next days' partitions and drop those that are older than the retention."""
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        predictions.ensure_partitions(raw(connection), [today + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)])
    dropped, busy_days = retention.drop_days(engine, today - dt.timedelta(days=retention_days))
    if dropped:
        logger.info("dropped %s", ", ".join(dropped))
    if busy_days:
        logger.warning("%s is still read: dropped an hour later", ", ".join(busy_days))


async def _run_until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Work on all until one ends; then end the others and raise what it raised.

    Those that continue are cancelled again, unlike by a TaskGroup: a cancellation that meets the end of what a task
    waits for can get lost (https://github.com/python/cpython/issues/86296, in `wait_for` before Python 3.12).
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        remaining = {task for task in tasks if not task.done()}
        while remaining:
            for task in remaining:
                task.cancel()
            _, remaining = await asyncio.wait(remaining, timeout=REPEAT_CANCEL)
    for task in ended:
        task.result()


async def _work(app: App, queue: str, concurrency: int, listen: bool) -> None:
    """Work on a queue until cancelled; a worker that loses its connection stops as if it was cancelled.

    Without `listen` the queue is only polled: notifications do not pass through a pooler.
    """
    await app.run_worker_async(
        queues=[queue],
        concurrency=concurrency,
        fetch_job_polling_interval=1.0,
        listen_notify=listen,
        delete_jobs="always",
        install_signal_handlers=False,
        stalled_worker_timeout=STALLED,
        shutdown_graceful_timeout=GRACE,
    )
    raise WorkerStopped(f"the worker of {queue} lost its connection")


async def _clear_stalled(app: App) -> None:
    """Give the deliveries of dead workers to a living one, and those of a worker that lost the database just when it
    was to record their outcome; periodic jobs come again by themselves."""
    since: dict[tuple[int | None, int], float] = {}
    while True:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED):
            if job.task_name in (delivery.DELIVER, UNMUTE):
                await app.job_manager.retry_job(job)
            else:
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
        jobs = await app.job_manager.list_jobs_async(task=delivery.DELIVER, status=Status.DOING.value)
        running_jobs = {(job.id, job.attempts): job for job in jobs}
        since = {key: since.get(key, time.monotonic()) for key in running_jobs}
        for key, first_noticed in since.items():
            if time.monotonic() - first_noticed > LONGEST:
                await app.job_manager.retry_job(running_jobs[key])
        await asyncio.sleep(HOUSEKEEPING)
