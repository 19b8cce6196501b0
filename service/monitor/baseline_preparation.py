"""What a stream is compared with, from the database: a reference, traffic that was declared calm or accepted."""

from collections.abc import Callable, Mapping
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy import Connection, Engine

from ..drift import DetectorScores, Reference, StreamDetector, WindowTest
from ..drift.calm_null import smallest_calm
from ..drift.learnt_slopes import LearntContext
from ..settings import Settings
from ..store import baselines, calibrations, log_rows, references
from ..store.baselines import AcceptedTraffic
from ..store.log_batch import PredictionBatch
from ..store.prediction_id import times_of
from .budget import SECOND_SHARE, stream_budget
from .context_columns import ContextColumns
from .events import BaselineRequest
from .missing_properties import fill_missing
from .prepared_reference import LEVEL, SEED, BaselineKey, PreparedReference
from .state import SecondDetector


def prepare(engine: Engine, key: BaselineKey, settings: Settings) -> PreparedReference:
    """Load a baseline and calibrate the detector on it.

    An accepted baseline comes before traffic that was declared calm, which comes before the reference alone. The
    calibration is stored next to what it is of.
    """
    calm: Mapping[str, ArrayLike] | None = None
    calibration: Mapping[str, ArrayLike] | None
    context: ContextColumns | None = None
    with engine.connect() as connection:
        reference = load(connection, key.reference_id)
        calibration = references.load_calibration(connection, key.reference_id)
        thumbnails: tuple[int, ...] = tuple(references.load_thumbnails(connection, key.reference_id))
        if key.baseline_id is not None:
            accepted = baselines.load(connection, key.baseline_id)
            reference, calibration = accepted_reference(reference, accepted), accepted.calibration
            thumbnails = ()  # They show rows of the reference, not of the baseline.
            context = accepted_context(accepted)
        elif key.calibration_id is not None:
            calm, calibration = calibrations.load(connection, key.calibration_id)
            context = ContextColumns.from_arrays(calibration)
    scores = DetectorScores(reference)
    if key.baseline_id is not None and context is not None:
        calm = accepted_calm(reference, accepted, context)
    window_test = _window_test(reference, settings, calm)
    if calibration is None or not _fits(reference, calibration, scores):
        detector = StreamDetector(reference, stream_budget(settings).detector, SEED, calm, scores=scores)
        calibration = detector.calibration()
        with engine.begin() as connection:
            if key.baseline_id is not None:
                baselines.save_calibration(connection, key.baseline_id, calibration)
            elif calm is None:
                references.save_calibration(connection, key.reference_id, calibration)
    in_context = calm if context is not None else None
    return PreparedReference(key, reference, scores, calibration, window_test, thumbnails, context, in_context)


def second_detector(batch: PredictionBatch, prepared: PreparedReference, settings: Settings) -> SecondDetector:
    """Return a detector whose baseline is the traffic since the change of an incident.

    Where what is normal depends on the context, it is expected to go on depending on it as before the change.

    Parameters
    ----------
    batch : PredictionBatch
        The predictions since the change.
    prepared : PreparedReference
        The baseline that the incident is a change from.
    """
    reference = prepared.reference
    properties = fill_missing(reference, batch.ids, batch.properties)
    shifted = reference.accept(batch.embeddings, batch.probabilities, properties)
    scores = DetectorScores(shifted)
    learnt = None
    if prepared.context is not None and prepared.calm is not None:
        learnt = LearntContext(prepared.calm, prepared.context.of(batch.times, batch.tags))
    run_time = SECOND_SHARE * stream_budget(settings).detector
    detector = StreamDetector(shifted, run_time, SEED, scores=scores, learnt=learnt)
    shifted_baseline = PreparedReference(
        prepared.key, shifted, scores, detector.calibration(), _window_test(shifted, settings, None)
    )
    return SecondDetector(shifted_baseline, detector)


def rows_since_change(engine: Engine, model_id: int, request: BaselineRequest, reference: Reference) -> PredictionBatch:
    """Return the predictions that a second detector is to be compared with.

    Raises
    ------
    LookupError
        They are no longer in the database.
    """
    keys = [UUID(bytes=row.tobytes()) for row in request.ids]
    with engine.connect() as connection:
        batch = log_rows.of_ids(connection, model_id, keys, reference.embeddings.shape[1], reference.classes)
    if batch is None:
        raise LookupError("the predictions since the change are no longer in the database")
    return batch


def accepted_reference(reference: Reference, accepted: AcceptedTraffic) -> Reference:
    """Return the baseline that accepted traffic makes of a reference.

    Predictions of the traffic without image properties get those of rows of the reference, as in the monitor.
    """
    arrays = accepted.arrays
    properties = fill_missing(reference, arrays["ids"], arrays.get("properties"))
    return reference.accept(arrays["embeddings"], arrays["probabilities"], properties, accepted.what)


def accepted_context(accepted: AcceptedTraffic) -> ContextColumns | None:
    """Return the covariates on which depends what is normal in accepted traffic, or None.

    Only if all of it was accepted is the level of each hour normal; a mix or images alone keep a part of the
    reference.
    """
    if accepted.what != "all":
        return None
    return ContextColumns.of_traffic(times_of(accepted.arrays["ids"]), [], ())


def accepted_calm(reference: Reference, accepted: AcceptedTraffic, context: ContextColumns) -> dict[str, ArrayLike]:
    """Return accepted traffic with its covariates as the calm traffic that the detector is calibrated on."""
    arrays = accepted.arrays
    calm: dict[str, ArrayLike] = {
        "embeddings": arrays["embeddings"],
        "probabilities": arrays["probabilities"],
        "context": context.of(times_of(arrays["ids"]), [{}] * len(arrays["ids"])),
        "share": arrays.get("share", 1.0),
    }
    properties = fill_missing(reference, arrays["ids"], arrays.get("properties"))
    if properties is not None:
        calm["properties"] = properties
    return calm


def _window_test(
    reference: Reference, settings: Settings, calm: Mapping[str, ArrayLike] | None
) -> Callable[[], WindowTest]:
    smallest = smallest_calm(settings.window_size, calm is not None and "context" in calm)
    if calm is not None and len(np.asarray(calm["embeddings"])) < smallest:
        calm = None  # It was declared calm when windows were smaller.
    return lambda: WindowTest(reference, window_size=settings.window_size, seed=SEED, level=LEVEL, calm=calm)


def _fits(reference: Reference, calibration: Mapping[str, ArrayLike], scores: DetectorScores) -> bool:
    """Check whether this version can use a calibration; one that an earlier version made may be of other scores."""
    try:
        StreamDetector(reference, calibration=calibration, scores=scores)
    except ValueError:
        return False
    return True


def load(connection: Connection, reference_id: int) -> Reference:
    """Return a stored reference."""
    return Reference.of(references.load(connection, reference_id))
