"""Types of settings that are more than a number or a word, and how each is read from the text of its variable.

An entry of a list that cannot be read is named by its number: its text is kept out of the error, because it may hold
a key or a token.
"""

import base64
import datetime as dt
import re
import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from .durations import parse_duration

WEBHOOK_FORMATS = ("standard", "slack", "alertmanager")
SECRET_BYTES = 24  # fewest random bytes of a webhook's secret, as Standard Webhooks recommends
SCOPES = ("predict", "feedback", "read", "admin")
API_KEY = re.compile(
    rf"(?P<scopes>(?:{'|'.join(SCOPES)})(?:\+(?:{'|'.join(SCOPES)}))*):(?P<sha256>[0-9a-f]{{64}})", re.I
)
TAG_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
MIN_RUN_TIME, MAX_RUN_TIME = 100, 1e12  # predictions between two false alarms, as the detector accepts them
SHORTEST_RUN_TIME = dt.timedelta(hours=1)  # shortest run time between two false alarms that can be requested
MAX_SLICE_TAGS = 8  # tag keys, each of which adds up to max_slices + 1 streams to a model


class WebhookReceiver(BaseModel, frozen=True):
    """A receiver of alerts: a URL and the format that its program reads."""

    url: str = Field(repr=False)  # may carry a token
    format: str = "standard"


class ApiKey(BaseModel, frozen=True):
    """A key that clients may use: its scopes, and the SHA-256 of its text in lower-case hexadecimal."""

    scopes: frozenset[str]
    sha256: str


def _read_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _read_run_time(value: object) -> object:
    """Return a duration, or a number of predictions as a float."""
    if isinstance(value, str):
        value = _number_or_duration(value)
    if isinstance(value, int):
        value = float(value)
    if isinstance(value, float) and not MIN_RUN_TIME <= value <= MAX_RUN_TIME:
        raise ValueError(f"expected {MIN_RUN_TIME} to {MAX_RUN_TIME:.0e} predictions, or a duration such as 30d")
    if isinstance(value, dt.timedelta) and value < SHORTEST_RUN_TIME:
        raise ValueError("expected a duration of at least 1h, or a number of predictions")
    return value


def _number_or_duration(text: str) -> float | dt.timedelta:
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)


def _entries(value: object) -> list[str] | None:
    """Return the entries of a comma-separated text; None for a value that is not a text."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else None


def _split_addresses(value: object) -> object:
    entries = _entries(value)
    return value if entries is None else tuple(entry.rstrip("/") for entry in entries if entry)


def _split_providers(value: object) -> object:
    entries = _entries(value)
    return value if entries is None else tuple(entry.lower() for entry in entries if entry)


def _split_tag_keys(value: object) -> object:
    entries = _entries(value)
    return value if entries is None else tuple(entry for entry in entries if entry)


def _check_tag_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    for number, key in enumerate(keys, start=1):
        if not TAG_KEY.fullmatch(key) or keys.index(key) != number - 1:
            raise ValueError(f"entry {number} is not a new tag key (letters, digits and ._-), got {key!r}")
    if len(keys) > MAX_SLICE_TAGS:
        raise ValueError(f"at most {MAX_SLICE_TAGS} tag keys, got {len(keys)}")
    return keys


def _split_receivers(value: object) -> object:
    entries = _entries(value)
    if entries is None:
        return value
    return tuple(_receiver(entry, number) for number, entry in enumerate(entries, start=1) if entry)


def _receiver(text: str, number: int) -> WebhookReceiver:
    prefix, plus, rest = text.partition("+")
    is_format = plus and prefix in WEBHOOK_FORMATS
    url = rest if is_format else text
    if not _is_http(url):
        raise ValueError(f"entry {number} is not [{'|'.join(WEBHOOK_FORMATS)}+]http(s)://...")
    return WebhookReceiver(url=url, format=prefix if is_format else "standard")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _split_api_keys(value: object) -> object:
    entries = _entries(value)
    return value if entries is None else tuple(_api_key(entry, number) for number, entry in enumerate(entries, start=1))


def _api_key(text: str, number: int) -> ApiKey:
    match = API_KEY.fullmatch(text)
    if match is None:
        raise ValueError(
            f"entry {number} is not scope[+scope]:sha256, with scopes of {', '.join(SCOPES)} and 64 hex digits"
        )
    return ApiKey(scopes=frozenset(match["scopes"].lower().split("+")), sha256=match["sha256"].lower())


def _check_secret(value: SecretStr) -> SecretStr:
    prefix, _, encoded = value.get_secret_value().partition("_")
    try:
        is_long_enough = len(base64.b64decode(encoded, validate=True)) >= SECRET_BYTES
    except ValueError:
        is_long_enough = False
    if prefix != "whsec" or not is_long_enough:
        raise ValueError(f"must be whsec_ and base64 of at least {SECRET_BYTES} random bytes")
    return value


def _check_proxy(value: SecretStr) -> SecretStr:
    if not _is_http(value.get_secret_value()):
        raise ValueError("expected http(s)://[user:password@]host:port")
    return value


def _check_authorities(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=value)
    except OSError as error:
        raise ValueError(f"cannot read certificates in PEM form from {value}: {error.strerror}") from None
    return value


Duration = Annotated[dt.timedelta, BeforeValidator(_read_duration)]
RunTime = Annotated[dt.timedelta | float, BeforeValidator(_read_run_time)]
TagKeys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_tag_keys), AfterValidator(_check_tag_keys)]
Providers = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_providers)]
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_addresses)]
Receivers = Annotated[tuple[WebhookReceiver, ...], NoDecode, BeforeValidator(_split_receivers)]
ApiKeys = Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_split_api_keys)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_check_proxy)]
AuthoritiesFile = Annotated[Path, AfterValidator(_check_authorities)]
