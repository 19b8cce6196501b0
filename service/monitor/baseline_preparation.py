"""What a stream is compared with, from the database: a reference, traffic that was declared calm or accepted."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy import Connection, Engine

from ..drift import DetectorScores, LearntContext, Reference, StreamDetector, WindowTest
from ..drift.calm_null import smallest_calm
from ..settings import Settings
from ..store import baselines, calibrations, references
from ..store.log_batch import PredictionBatch
from .accepted_traffic import BaselineContext, accepted_reference, baseline_context
from .budget import SECOND_SHARE, stream_budget
from .context_columns import ContextColumns
from .events import BaselineRequest
from .missing_properties import fill_missing
from .prepared_reference import LEVEL, SEED, BaselineKey, PreparedReference
from .rows_in_order import read_in_order


def prepare(engine: Engine, key: BaselineKey, settings: Settings) -> PreparedReference:
    """Load a baseline and calibrate the detector on it.

    An accepted baseline comes before traffic that was declared calm, which comes before the reference alone. The
    calibration is stored next to what it is of.
    """
    calm: Mapping[str, ArrayLike] | None = None
    calibration: Mapping[str, ArrayLike] | None
    context = BaselineContext()
    with engine.connect() as connection:
        reference = load(connection, key.reference_id)
        calibration = references.load_calibration(connection, key.reference_id)
        thumbnails: tuple[int, ...] = tuple(references.load_thumbnails(connection, key.reference_id))
        before = None if key.calibration_id is None else calibrations.load(connection, key.calibration_id)
        accepted = None if key.baseline_id is None else baselines.load(connection, key.baseline_id)
    if accepted is not None:
        context = baseline_context(reference, accepted, before, settings.slice_tags)
        reference, calibration, calm = accepted_reference(reference, accepted), accepted.calibration, context.calm
        thumbnails = ()  # They show rows of the reference, not of the baseline.
    elif before is not None:
        columns = ContextColumns.from_arrays(before.calibration)
        calm, calibration = before.traffic, before.calibration
        context = BaselineContext(columns, dict(before.traffic))
    scores = DetectorScores(reference)
    window_test = _window_test(reference, settings, calm)
    if calibration is None or not _fits(reference, calibration, scores):
        detector = StreamDetector(
            reference, stream_budget(settings).detector, SEED, calm, scores=scores, learnt=context.learnt
        )
        calibration = detector.calibration() | ({} if context.columns is None else context.columns.to_arrays())
        with engine.begin() as connection:
            if key.baseline_id is not None:
                baselines.save_calibration(connection, key.baseline_id, calibration)
            elif calm is None:
                references.save_calibration(connection, key.reference_id, calibration)
    return PreparedReference(
        key,
        reference,
        scores,
        calibration,
        window_test,
        thumbnails,
        context.columns,
        context.traffic_in_context,
    )


def second_baseline(
    batch: PredictionBatch,
    prepared: PreparedReference,
    settings: Settings,
    calibration: Mapping[str, ArrayLike] | None = None,
    rest: Callable[[], None] | None = None,
) -> PreparedReference:
    """Return the traffic since the change of an incident as the baseline of a detector of further shifts.

    Where what is normal depends on the context, it is expected to go on depending on it as before the change.

    Parameters
    ----------
    batch : PredictionBatch
        The predictions since the change, in the order of the stream.
    prepared : PreparedReference
        The baseline that the incident is a change from.
    calibration : mapping, optional
        What the calibration of a detector on the same traffic gave; it is made without it.
    rest : callable, optional
        Called between parts of the work, to let other processes have the processor.
    """
    reference = prepared.reference
    properties = fill_missing(reference, batch.ids, batch.properties)
    shifted = reference.accept(batch.embeddings, batch.probabilities, properties)
    scores = DetectorScores(shifted)
    if rest is not None:
        rest()
    if calibration is None:
        learnt = None
        if prepared.context is not None and prepared.calm is not None:
            learnt = LearntContext(prepared.calm, prepared.context.values(batch.times, batch.tags))
        run_time = SECOND_SHARE * stream_budget(settings).detector
        detector = StreamDetector(shifted, run_time, SEED, scores=scores, learnt=learnt, between_parts=rest)
        calibration = detector.calibration()
    return PreparedReference(prepared.key, shifted, scores, calibration, _window_test(shifted, settings, None))


def rows_since_change(engine: Engine, model_id: int, request: BaselineRequest, reference: Reference) -> PredictionBatch:
    """Return the predictions that a second detector is to be compared with, in the order of the stream.

    Raises
    ------
    LookupError
        Some of them are no longer in the database.
    """
    with engine.connect() as connection:
        batch = read_in_order(connection, model_id, request.ids, reference)
    if batch is None or len(batch) < len(request.ids):
        raise LookupError("predictions since the change are no longer in the database")
    return batch


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
    return Reference.from_arrays(references.load(connection, reference_id))
