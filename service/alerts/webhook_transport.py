"""Signs an event and tries once to send it over HTTP; queries run in threads, so that no receiver waits for them."""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from sqlalchemy import Connection, Engine
from standardwebhooks.webhooks import Webhook

from ..store.deliveries import DeliveryRow
from .webhook_network import WebhookNetwork

TIMEOUT = 10.0  # seconds of one attempt, from its first to its last byte
MAX_RETRY_AFTER = 3600.0  # seconds that a receiver may ask for

TEXT_IS_SAFE = (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)  # their texts hold no URL
HTTP_ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)

DEFAULT_NETWORK = WebhookNetwork()

T = TypeVar("T")

for chatty in ("httpx", "httpcore"):  # they log URLs, which may carry a receiver's token
    logging.getLogger(chatty).setLevel(logging.WARNING)
_database = ThreadPoolExecutor(2, thread_name_prefix="deliveries")  # queries only, never a receiver


async def run_query(engine: Engine, query: Callable[[Connection], T]) -> T:
    """Run a query in a transaction of its own, in a thread: the loop that waits for receivers never waits for it."""

    def run() -> T:
        with engine.begin() as connection:
            return query(connection)

    return await asyncio.get_running_loop().run_in_executor(_database, run)


async def post(
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
    except HTTP_ERRORS as error:
        return None, reason_of(error), None
    if response.is_success:
        return response.status_code, None, None
    return response.status_code, f"HTTP {response.status_code}", _retry_after(response)


def reason_of(error: Exception) -> str:
    """Return an error of a connection, or the status of an answer, without the receiver's address: it may hold a
    secret."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
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
