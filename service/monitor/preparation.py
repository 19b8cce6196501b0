"""Baselines prepared in the background, shared by all streams that are compared with them, in bounded memory."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from ..drift import DetectorScores, Reference, StreamDetector, WindowTest
from ..settings import Settings
from ..store import baselines, calibrations, log, references
from ..store.baselines import AcceptedTraffic
from .background import Background
from .budget import run_time
from .events import BaselineRequest
from .missing_properties import filled
from .prepared_reference import LEVEL, SEED, BaselineKey, PreparedReference
from .state import SecondDetector

MAX_BYTES = 1_000_000_000  # bytes of prepared baselines that no loaded stream uses
MAX_TESTS = 8  # window tests that are kept ready; each may need some hundred megabytes
SECOND_SHARE = 2.0  # expected run time of the detector of further shifts, over that of the stream: half its budget
RETRY_AFTER = 30.0  # seconds, after which a baseline whose preparation failed is prepared again

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A baseline that could not be prepared."""

    reason: str
    at: float


@dataclass(frozen=True)
class Prepared:
    """The result of one preparation: of a stored baseline, or of the second detector of an incident."""

    key: BaselineKey | None = None
    reference: PreparedReference | None = None
    failure: str | None = None
    second: tuple[int, str, UUID, SecondDetector] | None = None  # model, slice, incident


class PreparedReferences:
    """Prepares baselines and keeps those that were used last.

    Parameters
    ----------
    inline : bool, default False
        Whether baselines are prepared in the caller's thread.
    """

    def __init__(self, engine: Engine, settings: Settings, inline: bool = False) -> None:
        self._engine = engine
        self._settings = settings
        self._background: Background[Prepared] = Background("baselines", inline=inline)
        self._ready: dict[BaselineKey, PreparedReference] = {}  # in the order of their last use
        self._failures: dict[BaselineKey, Failure] = {}
        self._requested: set[BaselineKey] = set()
        self._seconds: list[tuple[int, str, UUID, SecondDetector]] = []

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
        """Have the detector of further shifts of an incident prepared."""
        self._background.submit(lambda: self._second(model_id, request, prepared), priority=1)

    def seconds(self) -> list[tuple[int, str, UUID, SecondDetector]]:
        """Return the detectors of further shifts that have become ready: model, slice, incident, detector."""
        self.collect()
        ready, self._seconds = self._seconds, []
        return ready

    def collect(self) -> None:
        """Take over what has been prepared."""
        for result in self._background.collect():
            if result.second is not None:
                self._seconds.append(result.second)
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

    def _prepare(self, key: BaselineKey) -> Prepared:
        started = time.perf_counter()
        try:
            prepared = prepare(self._engine, key, self._settings)
        except Exception as error:
            logger.exception("reference %d cannot be prepared", key.reference_id)
            return Prepared(key, failure=str(error).strip().partition("\n")[0] or type(error).__name__)
        logger.info("reference %d is ready after %.1f s", key.reference_id, time.perf_counter() - started)
        return Prepared(key, prepared)

    def _second(self, model_id: int, request: BaselineRequest, prepared: PreparedReference) -> Prepared:
        try:
            second = second_detector(self._engine, model_id, request, prepared, self._settings)
        except Exception:
            logger.exception("the second baseline of incident %s cannot be prepared", request.incident_id)
            return Prepared()
        return Prepared(second=(model_id, request.slice, request.incident_id, second))


def prepare(engine: Engine, key: BaselineKey, settings: Settings) -> PreparedReference:
    """Load a baseline and calibrate the detector on it.

    An accepted baseline comes before traffic that was declared calm, which comes before the reference alone. The
    calibration is stored next to what it is of.
    """
    calm: Mapping[str, Any] | None = None
    with engine.connect() as connection:
        reference = load(connection, key.reference_id)
        calibration = references.load_calibration(connection, key.reference_id)
        thumbnails: tuple[int, ...] = tuple(references.load_thumbnails(connection, key.reference_id))
        if key.baseline_id is not None:
            accepted = baselines.load(connection, key.baseline_id)
            reference, calibration = accepted_reference(reference, accepted), accepted.calibration
            thumbnails = ()  # They show rows of the reference, not of the baseline.
        elif key.calibration_id is not None:
            calm, calibration = calibrations.load(connection, key.calibration_id)
    scores = DetectorScores(reference)
    if calibration is None or not _fits(reference, calibration, scores):
        detector = StreamDetector(reference, run_time(settings), SEED, calm, scores=scores)
        calibration = detector.calibration()
        with engine.begin() as connection:
            if key.baseline_id is not None:
                baselines.save_calibration(connection, key.baseline_id, calibration)
            elif calm is None:
                references.save_calibration(connection, key.reference_id, calibration)
    return PreparedReference(key, reference, scores, calibration, _window_test(reference, settings, calm), thumbnails)


def second_detector(
    engine: Engine, model_id: int, request: BaselineRequest, prepared: PreparedReference, settings: Settings
) -> SecondDetector:
    """Return a detector whose baseline is the traffic since the change of an incident."""
    reference = prepared.reference
    keys = [UUID(bytes=row.tobytes()) for row in request.ids]
    with engine.connect() as connection:
        batch = log.by_ids(connection, model_id, keys, reference.embeddings.shape[1], reference.classes)
    if batch is None:
        raise LookupError("the predictions since the change are no longer in the database")
    properties = filled(reference, batch.ids, batch.properties)
    shifted = reference.accept(batch.embeddings, batch.probabilities, properties)
    scores = DetectorScores(shifted)
    detector = StreamDetector(shifted, SECOND_SHARE * run_time(settings), SEED, scores=scores)
    made = PreparedReference(
        prepared.key, shifted, scores, detector.calibration(), _window_test(shifted, settings, None)
    )
    return SecondDetector(made, detector)


def accepted_reference(reference: Reference, accepted: AcceptedTraffic) -> Reference:
    """Return the baseline that accepted traffic makes of a reference.

    Predictions of the traffic without image properties get those of rows of the reference, as in the monitor.
    """
    arrays = accepted.arrays
    properties = filled(reference, arrays["ids"], arrays.get("properties"))
    return reference.accept(arrays["embeddings"], arrays["probabilities"], properties, accepted.what)


def _window_test(reference: Reference, settings: Settings, calm: Mapping[str, Any] | None) -> Callable[[], WindowTest]:
    if calm is not None and len(calm["embeddings"]) < 10 * settings.window_size:
        calm = None  # It was declared calm when windows were smaller.
    return lambda: WindowTest(reference, window_size=settings.window_size, seed=SEED, level=LEVEL, calm=calm)


def _fits(reference: Reference, calibration: Mapping[str, Any], scores: DetectorScores) -> bool:
    """Check whether this version can use a calibration; one that an earlier version made may be of other scores."""
    try:
        StreamDetector(reference, calibration=calibration, scores=scores)
    except ValueError:
        return False
    return True


def load(connection: Connection, reference_id: int) -> Reference:
    """Return a stored reference."""
    return Reference.of(references.load(connection, reference_id))
