"""Checks whether receivers of webhooks can be reached, without sending them an event."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from ..setting_types import WebhookReceiver
from .alertmanager_silences import has_silences
from .links import public_receiver_url
from .webhook_network import WebhookNetwork
from .webhook_transport import DEFAULT_NETWORK, reason_of

TIMEOUT = 5.0  # seconds that a receiver may take to answer
MAX_PARALLEL = 8  # receivers that are asked at a time
NO_SILENCES = "it does not end in /api/v2/alerts, so that acknowledged and muted incidents are not silenced there"


@dataclass(frozen=True)
class Reachability:
    """Whether a receiver answered.

    Parameters
    ----------
    url : str
        Its address without what may be a secret.
    error : str or None
        Why it did not answer.
    keeps_silences : bool, default True
        False for an Alertmanager whose silences cannot be found from its address.
    """

    url: str
    error: str | None
    keeps_silences: bool = True

    @property
    def text(self) -> str:
        """The finding in words."""
        answer = "answers" if self.error is None else f"does not answer: {self.error}"
        return answer if self.keeps_silences else f"{answer}; {NO_SILENCES}"


def reach_all(receivers: Sequence[WebhookReceiver], network: WebhookNetwork = DEFAULT_NETWORK) -> list[Reachability]:
    """Ask each receiver for its headers; any HTTP answer counts, since most take nothing but POST."""
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        return list(pool.map(lambda receiver: _try_receiver(receiver, network), receivers))


def _try_receiver(receiver: WebhookReceiver, network: WebhookNetwork) -> Reachability:
    public_url = public_receiver_url(receiver.url)
    keeps_silences = receiver.format != "alertmanager" or has_silences(receiver.url)
    try:
        with httpx.Client(**network.options(TIMEOUT)) as client:
            client.head(receiver.url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Reachability(public_url, reason_of(error), keeps_silences)
    return Reachability(public_url, None, keeps_silences)
