"""One delivery of one event to one receiver: a job that is retried with back-off for a day."""

import asyncio
import contextlib
import datetime as dt
import logging
import math
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from uuid import UUID

import httpx
from procrastinate import App, JobContext, RetryDecision
from procrastinate.exceptions import AlreadyEnqueued, JobAborted
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy
from sqlalchemy import Connection, Engine
from standardwebhooks.webhooks import Webhook

from ..store import alerts
from ..store.alerts import DeliveryRow
from ..store.errors import DATABASE_ERRORS
from . import outbox
from .alert_draft import CHANGED
from .outbox import DELIVER as DELIVER
from .outbox import QUEUE as QUEUE
from .outbox import UNMUTE, delivery_lock
from .queue import open_queue
from .webhook_network import WebhookNetwork

TIMEOUT = 10.0  # seconds of one attempt, from its first to its last byte
FIRST_RETRY = 1.0  # seconds before the second attempt
MAX_RETRY = 900.0  # seconds between two attempts at the most
MAX_RETRY_AFTER = 3600.0  # seconds that a receiver may ask for
JITTER = 0.1  # share of a receiver's Retry-After that is added, so that deliveries do not all come back at once
CONCURRENCY = 64  # deliveries at a time: they wait for their receivers and hold no thread
REMIND_ALL = "remind"
REMIND = "remind_of_alert"
REMINDED = "alertmanager"  # the format of the receivers that forget an alert which is not repeated

STOPPED = (asyncio.CancelledError, JobAborted)  # the monitor ends in the middle of an attempt
TEXT_IS_SAFE = (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)  # their texts do not hold the URL

DEFAULT_NETWORK = WebhookNetwork()

T = TypeVar("T")

logger = logging.getLogger(__name__)
for chatty in ("httpx", "httpcore"):  # they log URLs, which may carry a receiver's token
    logging.getLogger(chatty).setLevel(logging.WARNING)
_database = ThreadPoolExecutor(2, thread_name_prefix="deliveries")  # queries only, never a receiver


class DeliveryFailed(Exception):
    """The receiver did not take the alert; it may ask for a pause of `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackOff(BaseRetryStrategy):
    """Exponential back-off with jitter; a receiver's Retry-After is honoured, up to an hour."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if not isinstance(exception, (DeliveryFailed, *DATABASE_ERRORS, *STOPPED)):
            return None
        delay = min(FIRST_RETRY * 2.0 ** min(job.attempts, 20), MAX_RETRY) * random.uniform(0.5, 1.0)
        if isinstance(exception, DeliveryFailed) and exception.retry_after:
            delay = exception.retry_after * random.uniform(1.0, 1.0 + JITTER)
        return RetryDecision(retry_in={"seconds": math.ceil(delay)})


def register(app: App, engine: Engine, secret: str | None, network: WebhookNetwork = DEFAULT_NETWORK) -> None:
    """Add the tasks of deliveries to a job queue, with one that reminds Alertmanager every minute of what is firing.

    Parameters
    ----------
    secret : str or None
        `whsec_...`, signs every body as Standard Webhooks says; unsigned where it is None.
    network : WebhookNetwork
        Proxy and certificate authorities.
    """
    signer = Webhook(secret) if secret else None
    queue = open_queue("")  # each job is put into it over a connection of the engine

    @app.task(name=DELIVER, queue=QUEUE, retry=BackOff(), pass_context=True)
    async def deliver(_: JobContext, delivery_id: str) -> None:
        await attempt(engine, UUID(delivery_id), signer, network)

    @app.task(name=UNMUTE, queue=QUEUE, retry=BackOff())
    async def unmute(alert_id: str) -> None:
        now = dt.datetime.now(dt.UTC)
        await _query(engine, lambda connection: outbox.release(connection, queue, UUID(alert_id), now))

    @app.task(name=REMIND, queue=QUEUE)
    async def remind_of_alert(alert_id: str) -> None:
        await remind(engine, UUID(alert_id), network)

    @app.periodic(cron="* * * * *")
    @app.task(name=REMIND_ALL, queue=QUEUE, queueing_lock=REMIND_ALL)
    async def remind_of_firing(timestamp: int) -> None:
        for row in await _query(engine, lambda connection: alerts.due_reminders(connection, REMINDED)):
            if row.alert_id is None:
                continue
            lock = delivery_lock(row.alert_id, row.url)
            task = app.configure_task(REMIND, queue=QUEUE, lock=lock, queueing_lock=f"{REMIND}-{lock}")
            with contextlib.suppress(AlreadyEnqueued):
                await task.defer_async(alert_id=str(row.alert_id))


async def remind(engine: Engine, alert_id: UUID, network: WebhookNetwork = DEFAULT_NETWORK) -> None:
    """Send Alertmanager an alert again that it took and that is still firing: it resolves an alert that it does not
    hear of. An alert that is acknowledged or muted is not repeated."""
    rows = await _query(engine, lambda connection: alerts.due_reminders(connection, REMINDED, alert_id))
    for row, (_, error, _) in zip(
        rows, await asyncio.gather(*(_post(row, None, network) for row in rows)), strict=True
    ):
        if error is not None:
            logger.warning("alert %s: Alertmanager was not reminded: %s", row.alert_id, error)


async def attempt(
    engine: Engine, delivery_id: UUID, signer: Webhook | None, network: WebhookNetwork = DEFAULT_NETWORK
) -> None:
    """Send a delivery once and record the outcome; one that a later event supersedes is dropped.

    Raises
    ------
    DeliveryFailed
        It was not taken, and there is time left to try again.
    """
    row = await _query(engine, lambda connection: _next(connection, delivery_id))
    if row is None:
        return
    status, error, retry_after = await _post(row, signer, network)
    now = dt.datetime.now(dt.UTC)
    given_up = error is not None and now >= row.give_up_at
    values: dict[str, Any] = {"attempts": row.attempts + 1, "last_status": status, "last_error": error}
    if error is None:
        values |= {"outcome": "delivered", "delivered_at": now}
    elif given_up:
        values["outcome"] = "failed"
    await _query(engine, lambda connection: alerts.update_delivery(connection, delivery_id, **values))
    if error is None:
        logger.info("alert %s delivered, event %s, attempt %d", row.alert_id, row.event, row.attempts + 1)
    elif given_up:
        logger.error("alert %s not delivered: %s; given up", row.alert_id, error)
    else:
        raise DeliveryFailed(error, retry_after)


def _next(connection: Connection, delivery_id: UUID) -> DeliveryRow | None:
    """Return a delivery that is to be attempted, or None where it is done, muted or superseded."""
    row = alerts.get_delivery(connection, delivery_id)
    if row is None or row.outcome in ("delivered", "superseded", "muted"):
        return None
    if row.alert_id is not None and alerts.is_superseded(connection, row, skippable=CHANGED):
        alerts.update_delivery(connection, delivery_id, outcome="superseded")
        logger.info("alert %s: event %s is superseded before it was delivered", row.alert_id, row.event)
        return None
    return row


async def _query(engine: Engine, query: Callable[[Connection], T]) -> T:
    """Run a query in a transaction of its own, in a thread: the loop that waits for receivers never waits for it."""

    def run() -> T:
        with engine.begin() as connection:
            return query(connection)

    return await asyncio.get_running_loop().run_in_executor(_database, run)


async def _post(
    row: DeliveryRow, signer: Webhook | None, network: WebhookNetwork
) -> tuple[int | None, str | None, float | None]:
    now = dt.datetime.now(dt.UTC)
    headers = {"content-type": "application/json", "user-agent": "tidemark", "webhook-id": str(row.id)}
    headers["webhook-timestamp"] = str(int(now.timestamp()))
    if signer is not None:
        headers["webhook-signature"] = signer.sign(str(row.id), now, row.body)
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(**network.options(TIMEOUT)) as client,
            client.stream("POST", row.url, content=row.body, headers=headers) as response,  # its body is never read
        ):
            pass
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return None, reason_of(error), None
    if response.is_success:
        return response.status_code, None, None
    return response.status_code, f"HTTP {response.status_code}", _retry_after(response)


def reason_of(error: Exception) -> str:
    """Return an error of a connection without the receiver's address, which may hold a secret."""
    name = type(error).__name__
    return f"{name}: {error}"[:500] if isinstance(error, TEXT_IS_SAFE) else name


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    if value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(value) - dt.datetime.now(dt.UTC)
    except (TypeError, ValueError):
        return None
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER)
