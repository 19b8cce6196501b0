"""Every setting of Tidemark: environment variables `TIDEMARK_*`, validated once at start-up."""

import datetime as dt
import difflib
import logging
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigurationError
from .setting_types import (
    Addresses,
    ApiKeys,
    AuthoritiesFile,
    Duration,
    Providers,
    ProxyUrl,
    Receivers,
    RunTime,
    TagKeys,
    WebhookSecret,
)

PREFIX = "TIDEMARK_"
INTERNAL_VARIABLES = {"TIDEMARK_PARENT", "TIDEMARK_SERVE_OPTIONS"}  # set by Tidemark for the processes that it starts

logger = logging.getLogger(__name__)


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
    expected_run_time: RunTime = dt.timedelta(days=30)
    slice_tags: TagKeys = ()
    max_slices: int = Field(20, ge=1, le=1000)  # slices of a tag, without the one that pools the others
    resolve_after: int = Field(3, ge=1)  # strides without an alarm, at least, that end an incident
    page_below: float | None = Field(None, gt=0, le=1)  # accuracy below which an alert pages
    accuracy_tolerance: float = Field(0.05, ge=0, lt=1)  # loss of measured accuracy that is no harm
    monitor_poll: float = Field(1.0, gt=0)  # seconds
    retire_after: Duration = Field(dt.timedelta(days=7), gt=dt.timedelta(0))
    webhook_urls: Receivers = ()
    webhook_secret: WebhookSecret | None = None
    webhook_proxy: ProxyUrl | None = None  # may carry a password
    webhook_ca: AuthoritiesFile | None = None  # file of certificate authorities
    api_keys: ApiKeys = ()  # none: open to everybody
    public_url: str = "http://127.0.0.1:8000"
    max_image_bytes: int = Field(10_000_000, ge=1)
    max_image_pixels: int = Field(25_000_000, ge=1)
    max_batch: int = Field(32, ge=1)
    batch_wait_ms: float = Field(0.0, ge=0)
    max_request_bytes: int = Field(64_000_000, ge=1_000_000)  # bytes of a request with images, also after decompression
    max_request_memory: int = Field(128_000_000, ge=1_000_000)  # bytes that all request bodies of a process share
    root_path: str = Field("", pattern=r"^((/[A-Za-z0-9._~-]+)+/?)?$")  # path under which a proxy shows this server
    cors_origins: Addresses = ()  # origins whose pages may use the API; * for all
    allowed_hosts: Addresses = ()  # further Host names for requests over loopback; * for all
    queue_limit: int = Field(1024, ge=1)  # images waiting for the model
    request_timeout: float = Field(30.0, gt=0)  # seconds that they may wait
    keep_alive: int = Field(75, ge=1)  # seconds that an idle connection stays open; above the 60 of common proxies
    shutdown_grace: float = Field(3.0, ge=0, le=3600)  # seconds after SIGTERM in which new requests are still served
    grpc_port: int | None = Field(None, ge=1, le=65535)  # port of Open Inference over gRPC; None: not served
    log_level: str = Field("info", pattern="(?i)^(debug|info|warning|error)$")
    log_format: str = Field("text", pattern="(?i)^(text|json)$")
    inference_threads: int | None = Field(None, ge=1)
    providers: Providers = ()  # execution providers; none: the best that is installed
    spool_max_bytes: int = Field(2_000_000_000, ge=1_000_000)
    spool_sync: str = Field("normal", pattern="^(normal|full)$")
    retention_days: int = Field(30, ge=1, le=1000)  # predictions; each day is a table that reads of all days lock
    report_retention_days: int = Field(400, ge=1)  # windows, alerts, feedback and references out of use
    thumbnails: bool = False  # kept of what was sent: images may be private

    @field_validator("root_path")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

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
    """Warn of environment variables with our prefix that are no settings."""
    names = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in names | INTERNAL_VARIABLES:
            similar = difflib.get_close_matches(name.upper(), names, 1)
            hint = f", did you mean {similar[0]}?" if similar else ""
            logger.warning("%s is not a setting of Tidemark and has no effect%s", name, hint)
