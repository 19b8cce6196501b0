"""Addresses that alerts carry: of their own page, and of receivers as far as they may be shown."""

from urllib.parse import urlsplit
from uuid import UUID


def page_url(public_url: str, alert_id: UUID) -> str:
    """Return the address of an alert's page."""
    return f"{public_url.rstrip('/')}/alerts/{alert_id}/page"


def public_receiver_url(url: str) -> str:
    """Return a receiver's address without what may be a secret: user and password, path (Slack's token) and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'/…' if parts.path.strip('/') or parts.query else ''}"
