"""Baselines prepared in the background, shared by all streams that are compared with them, in bounded memory."""

import datetime as dt
import logging
import time
from dataclasses import dataclass

from sqlalchemy import Engine

from ..settings import Settings
from ..store.errors import is_unavailable, reason
from .background import Background
from .baseline_preparation import prepare, rows_since_change, second_baseline
from .events import BaselineRequest, WatchKey
from .further_shift_watch import PreparationFailure
from .prepared_reference import BaselineKey, PreparedReference
from .second_baselines import SecondBaseline

MAX_BYTES = 1_000_000_000  # bytes of prepared baselines that no loaded stream uses
MAX_TESTS = 8  # window tests that are kept ready; each may need some hundred megabytes
RETRY_AFTER = 30.0  # seconds, after which a baseline whose preparation failed is prepared again

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A baseline that could not be prepared."""

    reason: str
    at: float


@dataclass(frozen=True)
class PreparationResult:
    """The result of one preparation: of a stored baseline, or of that of a watch for further shifts."""

    key: BaselineKey | None = None
    reference: PreparedReference | None = None
    failure: str | None = None
    second: SecondBaseline | None = None
    postponed: tuple[int, BaselineRequest, PreparedReference] | None = None  # while the database is unavailable


class BaselineCache:
    """Prepares baselines and keeps those that were used last.

    Parameters
    ----------
    inline : bool, default False
        Whether baselines are prepared in the caller's thread.
    """

    def __init__(self, engine: Engine, settings: Settings, inline: bool = False) -> None:
        self._engine = engine
        self._settings = settings
        self._background: Background[PreparationResult] = Background("baselines", inline=inline)
        self._ready: dict[BaselineKey, PreparedReference] = {}  # the least recently used comes first
        self._failures: dict[BaselineKey, Failure] = {}
        self._requested: set[BaselineKey] = set()
        self._seconds: list[SecondBaseline] = []
        self._requested_seconds: set[tuple[int, str, WatchKey]] = set()  # models, slices and watches

    def get(self, key: BaselineKey) -> PreparedReference | None:
        """Return a baseline that is ready; have others prepared."""
        self.collect()
        if key not in self._ready:
            self._request(key)
            self.collect()
        if (prepared := self._ready.pop(key, None)) is not None:
            self._ready[key] = prepared
        return prepared

    def failure(self, key: BaselineKey) -> str | None:
        """Return why a baseline could not be prepared, or None."""
        failure = self._failures.get(key)
        return failure.reason if failure else None

    def request_second(self, model_id: int, request: BaselineRequest, prepared: PreparedReference) -> None:
        """Have the baseline of a watch for further shifts prepared, unless that is being done already."""
        key = model_id, request.slice, request.key
        if key not in self._requested_seconds:
            self._requested_seconds.add(key)
            self._background.submit(lambda: self._second(model_id, request, prepared), priority=1)

    def seconds(self) -> list[SecondBaseline]:
        """Return the baselines of watches for further shifts that have become ready since the last call."""
        self.collect()
        ready, self._seconds = self._seconds, []
        return ready

    def collect(self) -> None:
        """Take over what has been prepared."""
        for result in self._background.collect():
            if result.second is not None:
                self._requested_seconds.discard(result.second[:3])
                self._seconds.append(result.second)
            if result.postponed is not None:
                model_id, request, prepared = result.postponed
                self._requested_seconds.discard((model_id, request.slice, request.key))
                self.request_second(model_id, request, prepared)
            if result.key is not None:
                self._requested.discard(result.key)
                if result.reference is not None:
                    self._failures.pop(result.key, None)
                    self._ready[result.key] = result.reference
                else:
                    self._failures[result.key] = Failure(result.failure or "unknown", time.monotonic())

    @property
    def idle(self) -> bool:
        """Whether nothing is being prepared."""
        return self._background.idle

    def size_of(self, keys: set[BaselineKey]) -> int:
        """Return the memory that those of the baselines that are ready need, in bytes."""
        return sum(self._ready[key].nbytes for key in keys if key in self._ready)

    def trim(self, used: set[BaselineKey]) -> None:
        """Forget the baselines beyond MAX_BYTES and the window tests beyond MAX_TESTS that were used longest ago.

        Parameters
        ----------
        used : set of BaselineKey
            The baselines of loaded streams, which are kept.
        """
        unused = [key for key in self._ready if key not in used]
        size = sum(self._ready[key].nbytes for key in unused)
        for key in unused:
            if size <= MAX_BYTES:
                break
            size -= self._ready.pop(key).nbytes
        tests = [prepared for prepared in self._ready.values() if prepared.has_test]
        for prepared in sorted(tests, key=lambda item: item.test_used_at)[: max(len(tests) - MAX_TESTS, 0)]:
            prepared.forget_test()
        for key in [key for key, failure in self._failures.items() if key not in used]:
            del self._failures[key]

    def _request(self, key: BaselineKey) -> None:
        failure = self._failures.get(key)
        is_recent = failure is not None and time.monotonic() - failure.at < RETRY_AFTER
        if key in self._requested or is_recent:
            return
        self._requested.add(key)
        self._background.submit(lambda: self._prepare(key))

    def _prepare(self, key: BaselineKey) -> PreparationResult:
        started = time.perf_counter()
        try:
            prepared = prepare(self._engine, key, self._settings)
        except Exception as error:
            logger.exception("reference %d cannot be prepared", key.reference_id)
            return PreparationResult(key, failure=reason(error))
        logger.info("reference %d is ready after %.1f s", key.reference_id, time.perf_counter() - started)
        return PreparationResult(key, prepared)

    def _second(self, model_id: int, request: BaselineRequest, prepared: PreparedReference) -> PreparationResult:
        baseline: PreparedReference | PreparationFailure
        try:
            batch = rows_since_change(self._engine, model_id, request, prepared.reference)
            self._background.rest()
            baseline = second_baseline(batch, prepared, self._settings, request.calibration, self._background.rest)
        except Exception as error:
            if is_unavailable(error):
                return PreparationResult(postponed=(model_id, request, prepared))
            logger.exception("the second baseline of incident %s cannot be prepared", request.key.incident_id)
            baseline = PreparationFailure(reason(error), dt.datetime.now(dt.UTC))
        return PreparationResult(second=SecondBaseline(model_id, request.slice, request.key, baseline))
