"""The monitor as a worker of the job queue: streams to look at, alerts to deliver, old days to drop."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Coroutine
from typing import Any, cast

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ProcrastinateException
from procrastinate.jobs import Status
from psycopg import Connection as RawConnection
from psycopg import Error as DriverError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..alerts import delivery
from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..alerts.webhook_network import WebhookNetwork
from ..settings import Settings
from ..store import predictions, retention
from ..store.engine import conninfo, is_pooled
from .monitor import Monitor
from .self_test import run_due_self_tests

ADVANCE = "advance"
RETAIN = "retain"
SELF_TEST = "self_test"
STREAMS_QUEUE = "streams"
CONCURRENCY = 8  # stream jobs at a time, each in a thread; deliveries have a worker of their own
STALLED = 30.0  # seconds without a heartbeat after which a worker counts as dead
HOUSEKEEPING = 15.0  # seconds between looks for dead workers' jobs
LONGEST = 3 * delivery.TIMEOUT  # seconds, that a delivery can be in hand
GRACE = 6.0  # seconds for jobs to end; a delivery that is cut off is tried again
ASKED_AGAIN = GRACE + 3  # seconds after which a task that was to end is asked again
FIRST_BACKOFF = 0.5  # seconds
STABLE = 30.0  # seconds without an interruption, after which the next one is a first one
MAX_BACKOFF = 10.0  # seconds between attempts while the database is away
DAYS_AHEAD = 3

AWAY = (DBAPIError, PoolTimeout)

logger = logging.getLogger(__name__)


class WorkerStopped(Exception):
    """A worker ended that nobody stopped."""


def build(settings: Settings, engine: Engine, url: str, monitor: Monitor, pooled: bool) -> App:
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
        max_size=CONCURRENCY + 4,
    )
    app = App(connector=connector)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    delivery.register(app, engine, secret, WebhookNetwork.of(settings))

    @app.task(name=ADVANCE, queue=STREAMS_QUEUE)
    def advance(stream_id: int) -> None:
        try:
            monitor.advance(stream_id)
        except AWAY as error:  # the stream is found again as long as it waits
            logger.warning("stream %d not looked at, database away: %s", stream_id, _reason(error))

    @app.periodic(cron="7 * * * *")
    @app.task(name=RETAIN, queue=STREAMS_QUEUE, queueing_lock=RETAIN)
    def retain(timestamp: int) -> None:
        keep_days(engine, settings.retention_days)

    @app.periodic(cron="* * * * *")  # a reference is tested as soon as its detector is calibrated, then daily
    @app.task(name=SELF_TEST, queue=STREAMS_QUEUE, queueing_lock=SELF_TEST)
    def test_detectors(timestamp: int) -> None:
        run_due_self_tests(engine)

    return app


async def run(settings: Settings, engine: Engine, url: str) -> None:
    """Work until cancelled; a database that is away is waited for."""
    alerts = Alerts(open_queue(conninfo(url)), settings.webhook_urls, settings.public_url)
    monitor = Monitor(settings, engine, alerts)  # outlives interruptions, with the tests that it has prepared
    backoff = FIRST_BACKOFF
    while True:
        started = time.monotonic()
        try:
            pooled = await asyncio.to_thread(is_pooled, url)
            app = build(settings, engine, url, monitor, pooled)
            async with app.open_async():
                await _together(
                    _dispatch(app, monitor, settings.monitor_poll),
                    _clear_stalled(app),
                    _work(app, STREAMS_QUEUE, CONCURRENCY, listen=not pooled),
                    _work(app, delivery.QUEUE, delivery.CONCURRENCY, listen=not pooled),
                )
        except (*AWAY, DriverError, ProcrastinateException, OSError, WorkerStopped) as error:
            if time.monotonic() - started > STABLE:
                backoff = FIRST_BACKOFF
            logger.warning("monitor interrupted, again in %.1f s: %s", backoff, _reason(error))
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, MAX_BACKOFF)


def keep_days(engine: Engine, retention_days: int) -> None:
    """Make the next days' partitions and drop those that are older than the retention."""
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        raw = cast("RawConnection[Any]", connection.connection.driver_connection)
        predictions.ensure_partitions(raw, [today + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)])
    dropped, left = retention.drop_days(engine, today - dt.timedelta(days=retention_days))
    if dropped:
        logger.info("dropped %s", ", ".join(dropped))
    if left:
        logger.warning("somebody reads on in %s: dropped at the next look", ", ".join(left))


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Work on all until one ends; then end the others and raise what it raised.

    Those that go on are asked again, unlike by a TaskGroup: a cancellation that meets the end of what a task waits for
    can get lost (https://github.com/python/cpython/issues/86296, in `wait_for` before Python 3.12).
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        going_on = {task for task in tasks if not task.done()}
        while going_on:
            for task in going_on:
                task.cancel()
            _, going_on = await asyncio.wait(going_on, timeout=ASKED_AGAIN)
    for task in ended:
        task.result()


def _reason(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error.__cause__ or error).strip().partition("\n")[0]


async def _work(app: App, queue: str, concurrency: int, listen: bool) -> None:
    """Work on a queue until cancelled; a worker that loses its connection stops as if it had been asked to.

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


async def _dispatch(app: App, monitor: Monitor, poll: float) -> None:
    """Put a job into the queue for each stream that has something new; one that waits already is enough."""
    while True:
        for stream_id in await asyncio.to_thread(monitor.waiting):
            try:
                task = app.configure_task(ADVANCE, queue=STREAMS_QUEUE, queueing_lock=f"stream-{stream_id}")
                await task.defer_async(stream_id=stream_id)
            except AlreadyEnqueued:
                pass
        await asyncio.sleep(poll)


async def _clear_stalled(app: App) -> None:
    """Give the deliveries of dead workers to a living one; their stream jobs come again by themselves.

    So does a delivery whose worker lives, but lost the database just when it was to say what came of it.
    """
    since: dict[tuple[int | None, int], float] = {}
    while True:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED):
            if job.task_name == delivery.DELIVER:
                await app.job_manager.retry_job(job)
            else:
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
        jobs = await app.job_manager.list_jobs_async(task=delivery.DELIVER, status=Status.DOING.value)
        doing = {(job.id, job.attempts): job for job in jobs}
        since = {key: since.get(key, time.monotonic()) for key in doing}
        for key, first_seen in since.items():
            if time.monotonic() - first_seen > LONGEST:
                await app.job_manager.retry_job(doing[key])
        await asyncio.sleep(HOUSEKEEPING)
