"""How webhooks reach their receivers: through which proxy, and trusting which certificate authorities."""

import os
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import httpx

from ..settings import Settings

LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")  # never behind a proxy


class ClientOptions(TypedDict):
    """The arguments of httpx's clients that say how they reach a receiver."""

    timeout: float
    follow_redirects: bool
    verify: ssl.SSLContext
    proxy: str | None
    mounts: dict[str, None]


@dataclass(frozen=True)
class WebhookNetwork:
    """The way to the receivers.

    Without a proxy of its own it is that of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

    Attributes
    ----------
    proxy : str or None
        URL of a proxy for all receivers but those on this machine.
    ca : Path or None
        File of certificate authorities (PEM) that are trusted in addition.
    """

    proxy: str | None = None
    ca: Path | None = None

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """The trusted authorities: those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, or else of the system and of Mozilla."""
        context = httpx.create_ssl_context()
        if not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
            context.load_default_certs()
        if self.ca is not None:
            context.load_verify_locations(self.ca)
        return context

    @classmethod
    def from_settings(cls, settings: Settings) -> "WebhookNetwork":
        """Return what the settings say."""
        proxy = settings.webhook_proxy.get_secret_value() if settings.webhook_proxy else None
        return cls(proxy, settings.webhook_ca)

    def options(self, timeout: float) -> ClientOptions:
        """Return the arguments of httpx's clients for one delivery; no redirect leads to another receiver."""
        return {
            "timeout": timeout,
            "follow_redirects": False,
            "verify": self.ssl_context,
            "proxy": self.proxy,
            "mounts": dict.fromkeys(LOOPBACK),
        }
