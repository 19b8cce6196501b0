"""`tidemark calibrate`: declares a span of logged traffic calm, bursts and daily cycles included."""

import datetime as dt
from collections.abc import Mapping
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from ..drift import Reference, StreamDetector, WindowTest
from ..errors import ConfigurationError, TidemarkError
from ..monitor.baseline_preparation import load
from ..monitor.budget import pace_of, stream_budget
from ..monitor.context_columns import MIN_CYCLES, ContextColumns
from ..monitor.missing_properties import fill_missing
from ..settings import Settings
from ..store import baselines, calibrations, streams, traffic
from ..store.open_database import open_database
from ..store.stream_status import StreamStatus

MAX_ROWS = 20_000  # predictions that are used; of a longer span, runs of 200 spread over all of it
MIN_ROWS = 2_000
FEW_INDEPENDENT = 200  # predictions that the span counts for: below, its own error makes the detector slow
CONTEXTS = ("auto", "none")


class CalibratedStream(TypedDict):
    """The printed content of `tidemark calibrate`."""

    stream: str
    predictions: int
    share: float  # share of the span's predictions that were used
    context: str | None
    design_effect: float
    threshold: float  # nats
    warning: NotRequired[str]


def calibrate(stream: str, since: dt.datetime, until: dt.datetime, context: str = "auto") -> CalibratedStream:
    """Calibrate a stream's null distribution on its traffic between two times; the reference stays.

    Parameters
    ----------
    context : {"auto", "none"}
        Whether what is normal for each frequent value of the slice tags, and from a span of at least two days at each
        hour, is learnt. The level of the traffic in each context is then accepted with it.

    Raises
    ------
    TidemarkError
        No such stream, no reference, or too few predictions in the span.
    """
    if context not in CONTEXTS:
        raise ConfigurationError(f"--context: expected one of {', '.join(CONTEXTS)}, got {context!r}")
    settings = Settings.load()
    with open_database(settings) as engine:
        with engine.connect() as connection:
            row, reference_id = streams.with_reference(connection, stream)
            if baselines.current(connection, row.id) is not None:
                raise TidemarkError(
                    f"stream {stream} is compared with accepted traffic, whose bursts and cycles are part of its null "
                    "already: accept another span with `tidemark accept`, or undo the acceptance first"
                )
            reference = load(connection, reference_id)
            spread = traffic.spread(connection, row, since, until, MAX_ROWS, reference.embeddings.shape[1])
        count = 0 if spread is None else len(spread.batch)
        needed = max(MIN_ROWS, 10 * settings.window_size)
        if spread is None or count < needed:
            raise TidemarkError(f"{count} predictions of {stream} in that span; at least {needed} are needed")
        batch = spread.batch
        calm: dict[str, ArrayLike] = {"embeddings": batch.embeddings, "probabilities": batch.probabilities}
        properties = fill_missing(reference, batch.ids, batch.properties)
        if properties is not None:
            calm["properties"] = properties
        pace = pace_of(StreamStatus.from_json(row.status))
        calm["share"] = min(spread.share / pace.watched_share, 1.0)
        columns = ContextColumns.of_traffic(batch.times, batch.tags, settings.slice_tags) if context == "auto" else None
        if columns is not None:
            calm["context"] = columns.values(batch.times, batch.tags)
        detector = StreamDetector(reference, stream_budget(settings, pace).detector, calm=calm)
        effect = _design_effect(reference, settings.window_size, calm)
        calibration = detector.calibration() | ({} if columns is None else columns.to_arrays())
        with engine.begin() as connection:
            calibrations.save(connection, row.id, reference_id, (since, until), effect, calm, calibration)
    facts: CalibratedStream = {
        "stream": stream,
        "predictions": count,
        "share": round(spread.share, 6),
        "context": None if columns is None else columns.text,
        "design_effect": round(effect, 2),
        "threshold": detector.threshold,
    }
    is_short = context == "auto" and (columns is None or not columns.harmonics)
    warning = _warning(count / effect, is_short)
    if warning:
        facts["warning"] = warning
    return facts


def _design_effect(reference: Reference, window_size: int, calm: Mapping[str, ArrayLike]) -> float:
    names = ("embeddings", "probabilities", "properties")
    arrays = {name: np.asarray(values) for name, values in calm.items() if name in names}
    window = {name: values[:window_size] for name, values in arrays.items()}
    return WindowTest(reference, window_size, calm=arrays)(**window).design_effect or 1.0


def _warning(independent: float, is_short: bool) -> str:
    """Return why a span is weak, or an empty text."""
    texts = []
    if independent < FEW_INDEPENDENT:
        texts.append(
            f"the span counts for {independent:.0f} independent predictions only: declare a longer one, or detection "
            "will be slow"
        )
    if is_short:
        texts.append(
            f"the span is shorter than {MIN_CYCLES} days: what is normal at each hour of the day is not learnt; the "
            f"day of the week needs {MIN_CYCLES} weeks"
        )
    return "; ".join(texts)
