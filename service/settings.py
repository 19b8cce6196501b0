"""Every setting of Tidemark: environment variables `TIDEMARK_*`, validated once at start-up."""

import base64
import datetime as dt
import difflib
import logging
import os
import re
import ssl
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .durations import parse_duration
from .errors import ConfigurationError

PREFIX = "TIDEMARK_"
INTERNAL_VARIABLES = {"TIDEMARK_PARENT", "TIDEMARK_SERVE_OPTIONS"}  # by which Tidemark's processes tell each other
WEBHOOK_FORMATS = ("standard", "slack", "alertmanager")
SECRET_BYTES = 24  # as Standard Webhooks recommends
SCOPES = ("predict", "feedback", "read", "admin")
API_KEY = re.compile(
    rf"(?P<scopes>(?:{'|'.join(SCOPES)})(?:\+(?:{'|'.join(SCOPES)}))*):(?P<sha256>[0-9a-f]{{64}})", re.I
)
TAG_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
MIN_RUN_TIME, MAX_RUN_TIME = 100, 1e12  # predictions between two false alarms, as the detector accepts them
SHORTEST_RUN_TIME = dt.timedelta(hours=1)  # shortest run time between two false alarms that can be asked
MAX_SLICE_TAGS = 8  # tag keys, each of which adds up to max_slices + 1 streams to a model

logger = logging.getLogger(__name__)


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _run_time(value: Any) -> Any:
    """Return a duration, or a number of predictions as a float."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = parse_duration(value)
    if isinstance(value, int):
        value = float(value)
    if isinstance(value, float) and not MIN_RUN_TIME <= value <= MAX_RUN_TIME:
        raise ValueError(f"expected {MIN_RUN_TIME} to {MAX_RUN_TIME:.0e} predictions, or a duration such as 30d")
    if isinstance(value, dt.timedelta) and value < SHORTEST_RUN_TIME:
        raise ValueError("expected a duration of at least 1h, or a number of predictions")
    return value


class WebhookReceiver(BaseModel, frozen=True):
    """Where alerts go: a URL and the format that its program reads."""

    url: str = Field(repr=False)  # may carry a token
    format: str = "standard"


class ApiKey(BaseModel, frozen=True):
    """A key that clients may use: what for, and the SHA-256 of its text in lower-case hexadecimal."""

    scopes: frozenset[str]
    sha256: str


class Settings(BaseSettings):
    """Settings of one installation; the README's table explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    database_url: SecretStr | None = None
    data_dir: Path = Path(".tidemark")
    window_size: int = Field(500, ge=50, le=100_000)
    window_stride: int | None = Field(None, ge=1)
    window_min_size: int = Field(100, ge=20)
    window_max_age: float = Field(3600, gt=0)  # seconds
    window_interval: float = Field(600, ge=0)  # seconds between the tests of two windows of a calm stream
    expected_run_time: Annotated[dt.timedelta | float, BeforeValidator(_run_time)] = dt.timedelta(days=30)
    slice_tags: Annotated[tuple[str, ...], NoDecode] = ()
    max_slices: int = Field(20, ge=1, le=1000)  # of a tag, without the one that pools the others
    resolve_after: int = Field(3, ge=1)  # strides without an alarm, at least, that end an incident
    page_below: float | None = Field(None, gt=0, le=1)  # accuracy below which an alert pages
    accuracy_tolerance: float = Field(0.05, ge=0, lt=1)  # loss of measured accuracy that is no harm
    monitor_poll: float = Field(1.0, gt=0)  # seconds
    retire_after: Annotated[dt.timedelta, BeforeValidator(_duration)] = Field(dt.timedelta(days=7), gt=dt.timedelta(0))
    webhook_urls: Annotated[tuple[WebhookReceiver, ...], NoDecode] = ()
    webhook_secret: SecretStr | None = None
    webhook_proxy: SecretStr | None = None  # may carry a password
    webhook_ca: Path | None = None  # file of certificate authorities
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = ()  # none: open to everybody
    public_url: str = "http://127.0.0.1:8000"
    max_image_bytes: int = Field(10_000_000, ge=1)
    max_image_pixels: int = Field(25_000_000, ge=1)
    max_batch: int = Field(32, ge=1)
    batch_wait_ms: float = Field(0.0, ge=0)
    max_request_bytes: int = Field(64_000_000, ge=1_000_000)  # bytes of a request with images, also after decompression
    max_request_memory: int = Field(128_000_000, ge=1_000_000)  # bytes that all request bodies of a process share
    root_path: str = Field("", pattern=r"^((/[A-Za-z0-9._~-]+)+/?)?$")  # path under which a proxy shows this server
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()  # origins whose pages may use the API; * for all
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()  # further Host names for requests over loopback; * for all
    queue_limit: int = Field(1024, ge=1)  # images waiting for the model
    request_timeout: float = Field(30.0, gt=0)  # seconds that they may wait
    keep_alive: int = Field(75, ge=1)  # seconds that an idle connection stays open; above the 60 of common proxies
    shutdown_grace: float = Field(3.0, ge=0, le=3600)  # seconds after SIGTERM in which new requests are still served
    grpc_port: int | None = Field(None, ge=1, le=65535)  # of the Open Inference Protocol over gRPC; none: not served
    log_level: str = Field("info", pattern="(?i)^(debug|info|warning|error)$")
    log_format: str = Field("text", pattern="(?i)^(text|json)$")
    inference_threads: int | None = Field(None, ge=1)
    providers: Annotated[tuple[str, ...], NoDecode] = ()  # execution providers; none: the best that is installed
    spool_max_bytes: int = Field(2_000_000_000, ge=1_000_000)
    spool_sync: str = Field("normal", pattern="^(normal|full)$")
    retention_days: int = Field(30, ge=1, le=1000)  # of predictions; each day is a table that reads of all days lock
    report_retention_days: int = Field(400, ge=1)  # of windows, alerts, feedback and references out of use
    thumbnails: bool = False  # kept of what was sent: images may be private

    @field_validator("slice_tags", mode="before")
    @classmethod
    def _split_tags(cls, value: Any) -> Any:
        keys = tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
        for number, key in enumerate(keys, start=1):
            if not TAG_KEY.fullmatch(key) or keys.index(key) != number - 1:
                raise ValueError(f"entry {number} is not a new tag key (letters, digits and ._-), got {key!r}")
        if len(keys) > MAX_SLICE_TAGS:
            raise ValueError(f"at most {MAX_SLICE_TAGS} tag keys, got {len(keys)}")
        return keys

    @field_validator("providers", mode="before")
    @classmethod
    def _split_providers(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())

    @field_validator("webhook_urls", mode="before")
    @classmethod
    def _split_receivers(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(_receiver(part.strip(), n) for n, part in enumerate(value.split(","), start=1) if part.strip())

    @field_validator("cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())

    @field_validator("root_path")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(_api_key(part.strip(), number) for number, part in enumerate(value.split(","), start=1))

    @field_validator("webhook_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        prefix, _, encoded = value.get_secret_value().partition("_") if value else ("whsec", "", "")
        try:
            short = value is not None and len(base64.b64decode(encoded, validate=True)) < SECRET_BYTES
        except ValueError:
            short = True
        if prefix != "whsec" or short:
            raise ValueError(f"must be whsec_ and base64 of at least {SECRET_BYTES} random bytes")
        return value

    @field_validator("webhook_proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_http(value.get_secret_value()):
            raise ValueError("expected http(s)://[user:password@]host:port")
        return value

    @field_validator("webhook_ca")
    @classmethod
    def _check_authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except OSError as error:
                raise ValueError(f"cannot read certificates in PEM form from {value}: {error.strerror}") from None
        return value

    @model_validator(mode="after")
    def _check_windows(self) -> "Settings":
        if self.stride > self.window_size:
            raise ValueError(f"window_stride ({self.stride}) must not exceed window_size ({self.window_size})")
        if self.window_min_size > self.window_size:
            raise ValueError(f"window_min_size ({self.window_min_size}) must not exceed window_size")
        return self

    @cached_property
    def stride(self) -> int:
        """Predictions between the starts of two windows: half a window unless set."""
        return self.window_stride or self.window_size // 2

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Read the environment; `overrides` win.

        Raises
        ------
        ConfigurationError
            A variable that cannot be used, by its name and the reason.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = "TIDEMARK_" + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else "settings"
            raise ConfigurationError(f"{name}: {first['msg']}") from None


def warn_of_unknown_variables() -> None:
    """Warn of variables of the environment that look like settings and are not."""
    names = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in names | INTERNAL_VARIABLES:
            similar = difflib.get_close_matches(name.upper(), names, 1)
            hint = f", did you mean {similar[0]}?" if similar else ""
            logger.warning("%s is not a setting of Tidemark and has no effect%s", name, hint)


def _receiver(text: str, number: int) -> WebhookReceiver:
    """Read an entry; its text is kept out of the error, for it may carry a token."""
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


def _api_key(text: str, number: int) -> ApiKey:
    """Read an entry; its text is kept out of the error, for it may be a key itself."""
    match = API_KEY.fullmatch(text)
    if match is None:
        raise ValueError(
            f"entry {number} is not scope[+scope]:sha256, with scopes of {', '.join(SCOPES)} and 64 hex digits"
        )
    return ApiKey(scopes=frozenset(match["scopes"].lower().split("+")), sha256=match["sha256"].lower())
