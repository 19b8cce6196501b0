"""Whether receivers can be reached: asked without sending them an event."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from ..setting_types import WebhookReceiver
from .links import public_receiver_url
from .webhook_network import WebhookNetwork
from .webhook_transport import DEFAULT_NETWORK, reason_of

TIMEOUT = 5.0  # seconds that a receiver may take to answer
MAX_PARALLEL = 8  # receivers that are asked at a time


@dataclass(frozen=True)
class Reachability:
    """Whether a receiver answered.

    Parameters
    ----------
    url : str
        Its address without what may be a secret.
    error : str or None
        Why it did not answer.
    """

    url: str
    error: str | None

    @property
    def text(self) -> str:
        """The finding in words."""
        return "answers" if self.error is None else f"does not answer: {self.error}"


def reach_all(receivers: Sequence[WebhookReceiver], network: WebhookNetwork = DEFAULT_NETWORK) -> list[Reachability]:
    """Ask each receiver for its headers; any HTTP answer counts, since most take nothing but POST."""
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        return list(pool.map(lambda receiver: _reach(receiver, network), receivers))


def _reach(receiver: WebhookReceiver, network: WebhookNetwork) -> Reachability:
    public_url = public_receiver_url(receiver.url)
    try:
        with httpx.Client(**network.options(TIMEOUT)) as client:
            client.head(receiver.url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Reachability(public_url, reason_of(error))
    return Reachability(public_url, None)
