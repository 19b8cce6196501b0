"""One delivery of one event to one receiver: a job that is retried with back-off for a day."""

import asyncio
import datetime as dt
import logging
import math
import random
from uuid import UUID

from procrastinate import App, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy
from sqlalchemy import Connection, Engine
from standardwebhooks.webhooks import Webhook

from ..store import deliveries
from ..store.deliveries import DeliveryRow, DeliveryValues
from ..store.errors import DATABASE_ERRORS
from . import alertmanager_silences, outbox, reminders
from .alert_draft import CHANGED, RESOLVED
from .outbox import DELIVER, QUEUE, REMINDED, UNMUTE
from .queue import open_queue
from .webhook_network import WebhookNetwork
from .webhook_transport import DEFAULT_NETWORK, TIMEOUT, post, run_query

__all__ = ["DELIVER", "QUEUE", "TIMEOUT", "DeliveryFailed", "attempt", "register"]  # names that workers use

FIRST_RETRY = 1.0  # seconds before the second attempt
MAX_RETRY = 900.0  # seconds between two attempts at the most
JITTER = 0.1  # share of a receiver's Retry-After that is added, so that deliveries do not all come back at once
CONCURRENCY = 64  # deliveries at a time: they wait for their receivers and hold no thread

STOPPED = (asyncio.CancelledError, JobAborted)  # the monitor ends in the middle of an attempt

logger = logging.getLogger(__name__)


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
        await run_query(engine, lambda connection: outbox.release(connection, queue, UUID(alert_id), now))

    reminders.register(app, engine, network)


async def attempt(
    engine: Engine, delivery_id: UUID, signer: Webhook | None, network: WebhookNetwork = DEFAULT_NETWORK
) -> None:
    """Send a delivery once and record the outcome; one that a later event supersedes is dropped.

    Raises
    ------
    DeliveryFailed
        It was not taken, and there is time left to try again.
    """
    row = await run_query(engine, lambda connection: _next_delivery(connection, delivery_id))
    if row is None:
        return
    silence_error = None
    if row.format == REMINDED and row.event == RESOLVED and row.alert_id is not None:
        silence_error = await alertmanager_silences.end(row.url, row.alert_id, network)  # so that it tells the end
    status, error, retry_after = await post(row, signer, network)
    now = dt.datetime.now(dt.UTC)
    is_given_up = error is not None and now >= row.give_up_at
    values = DeliveryValues(attempts=row.attempts + 1, last_status=status, last_error=error or silence_error)
    if error is None:
        values["outcome"] = "delivered"
        values["delivered_at"] = now
    elif is_given_up:
        values["outcome"] = "failed"
    await run_query(engine, lambda connection: deliveries.change(connection, delivery_id, **values))
    if error is None:
        logger.info("alert %s delivered, event %s, attempt %d", row.alert_id, row.event, row.attempts + 1)
    elif is_given_up:
        logger.error("alert %s not delivered: %s; given up", row.alert_id, error)
    else:
        raise DeliveryFailed(error, retry_after)


def _next_delivery(connection: Connection, delivery_id: UUID) -> DeliveryRow | None:
    """Return a delivery that is to be attempted, or None where it is done, muted or superseded."""
    row = deliveries.get(connection, delivery_id)
    if row is None or row.outcome in ("delivered", "superseded", "muted"):
        return None
    if row.alert_id is not None and deliveries.is_superseded(connection, row, skippable=CHANGED):
        deliveries.change(connection, delivery_id, outcome="superseded")
        logger.info("alert %s: event %s is superseded before it was delivered", row.alert_id, row.event)
        return None
    return row
