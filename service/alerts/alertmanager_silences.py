"""Silences in Alertmanager: an incident that somebody takes care of stays there, but is not notified again.

Alertmanager resolves an alert that it does not hear of, and tells that as the end of the incident. An incident that is
acknowledged or muted is therefore repeated as before, under a silence of its labels. The silence is short and renewed,
so that it ends by itself if Tidemark does.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .webhook_network import WebhookNetwork
from .webhook_transport import HTTP_ERRORS, TIMEOUT, reason_of

ALERTS_PATH = "/api/v2/alerts"  # the end of the address that alerts are posted to
SILENCES_PATH = "/api/v2/silences"
SILENCE_PATH = "/api/v2/silence"
LENGTH = dt.timedelta(minutes=10)  # time that a silence holds from its last renewal on
AUTHOR = "Tidemark"

logger = logging.getLogger(__name__)


class Matcher(BaseModel):
    """A label and its value."""

    name: str
    value: str
    is_regex: Annotated[bool, Field(alias="isRegex")] = False
    is_equal: Annotated[bool, Field(alias="isEqual")] = True

    model_config = ConfigDict(populate_by_name=True)


class SilenceStatus(BaseModel):
    """Whether a silence holds."""

    state: Literal["active", "pending", "expired"]


class Silence(BaseModel):
    """A silence as Alertmanager returns it."""

    id: str
    matchers: list[Matcher]
    starts_at: Annotated[str, Field(alias="startsAt")]
    comment: str = ""
    status: SilenceStatus


SILENCES = TypeAdapter(list[Silence])


async def hold(
    url: str, alert_id: UUID, labels: Mapping[str, str], reason: str, at: dt.datetime, network: WebhookNetwork
) -> str | None:
    """Silence the alert with some labels for LENGTH from `at` on, or renew its silence.

    Return why that failed, or None.

    Parameters
    ----------
    url : str
        The address that alerts are posted to. One that does not end as Alertmanager's has no silences.
    reason : str
        Who takes care, for people that look at Alertmanager.
    """
    base = _base(url)
    if base is None:
        return None
    matchers = [Matcher(name=name, value=value) for name, value in sorted(labels.items())]
    try:
        async with asyncio.timeout(TIMEOUT), httpx.AsyncClient(**network.options(TIMEOUT)) as client:
            present = next(
                (item for item in await _present(client, base, alert_id) if _by_name(item.matchers) == matchers), None
            )
            body = {
                "matchers": [matcher.model_dump(by_alias=True) for matcher in matchers],
                "startsAt": at.isoformat() if present is None else present.starts_at,
                "endsAt": (at + LENGTH).isoformat(),
                "createdBy": AUTHOR,
                "comment": f"{_comment(alert_id)}: {reason}",
            }
            if present is not None:
                body["id"] = present.id
            (await client.post(base + SILENCES_PATH, json=body)).raise_for_status()
    except (*HTTP_ERRORS, ValidationError) as error:
        logger.warning("alert %s: Alertmanager did not silence it: %s", alert_id, reason_of(error))
        return f"Alertmanager did not silence it: {reason_of(error)}"
    return None


async def end(url: str, alert_id: UUID, network: WebhookNetwork) -> str | None:
    """End the silences of an incident; return why that failed, or None."""
    base = _base(url)
    if base is None:
        return None
    try:
        async with asyncio.timeout(TIMEOUT), httpx.AsyncClient(**network.options(TIMEOUT)) as client:
            for item in await _present(client, base, alert_id):
                (await client.delete(f"{base}{SILENCE_PATH}/{item.id}")).raise_for_status()
    except (*HTTP_ERRORS, ValidationError) as error:
        logger.warning("alert %s: Alertmanager did not end its silence: %s", alert_id, reason_of(error))
        return f"Alertmanager did not end its silence: {reason_of(error)}"
    return None


async def _present(client: httpx.AsyncClient, base: str, alert_id: UUID) -> list[Silence]:
    """Return the silences of an incident that hold."""
    answer = (await client.get(base + SILENCES_PATH)).raise_for_status()
    silences = SILENCES.validate_json(answer.content)
    return [item for item in silences if item.status.state != "expired" and item.comment.startswith(_comment(alert_id))]


def has_silences(url: str) -> bool:
    """Check whether an address that alerts are posted to is one of Alertmanager's API, below any prefix."""
    return _base(url) is not None


def _base(url: str) -> str | None:
    """Return the address of the API without its end, a slash after it and a query."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(ALERTS_PATH):
        return None
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix(ALERTS_PATH), "", ""))


def _by_name(matchers: list[Matcher]) -> list[Matcher]:
    return sorted(matchers, key=lambda matcher: matcher.name)


def _comment(alert_id: UUID) -> str:
    return f"Tidemark incident {alert_id}"
