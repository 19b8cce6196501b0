"""`tidemark calibrate`: declares a span of logged traffic calm, bursts and daily cycles included."""

import datetime as dt
from typing import Any

from ..drift import StreamDetector, WindowTest
from ..errors import TidemarkError
from ..monitor.baseline_preparation import load
from ..monitor.budget import detector_run_time
from ..monitor.missing_properties import fill_missing
from ..settings import Settings
from ..store import baselines, calibrations, streams, traffic
from ..store.opened import opened

MAX_ROWS = 20_000  # of the span, the newest
MIN_ROWS = 2_000
FEW_INDEPENDENT = 200  # predictions that the span counts for: below, its own error makes the detector slow


def calibrate(stream: str, since: dt.datetime, until: dt.datetime) -> dict[str, Any]:
    """Calibrate a stream's null distribution on its traffic between two times; the reference stays.

    Raises
    ------
    TidemarkError
        No such stream, no reference, or too few predictions in the span.
    """
    settings = Settings.load()
    with opened(settings) as engine:
        with engine.connect() as connection:
            row, reference_id = streams.with_reference(connection, stream)
            if baselines.current(connection, row.id) is not None:
                raise TidemarkError(
                    f"stream {stream} is compared with accepted traffic, whose bursts and cycles are part of its null "
                    "already: accept another span with `tidemark accept`, or undo the acceptance first"
                )
            reference = load(connection, reference_id)
            width = reference.embeddings.shape[1]
            batch = traffic.between(connection, row, since, until, MAX_ROWS, width)
        count = 0 if batch is None else len(batch)
        needed = max(MIN_ROWS, 10 * settings.window_size)
        if batch is None or count < needed:
            raise TidemarkError(f"{count} predictions of {stream} in that span; at least {needed} are needed")
        calm: dict[str, Any] = {"embeddings": batch.embeddings, "probabilities": batch.probabilities}
        if reference.properties is not None:
            calm["properties"] = fill_missing(reference, batch.ids, batch.properties)
        detector = StreamDetector(reference, detector_run_time(settings), calm=calm)
        report = WindowTest(reference, settings.window_size, calm=calm)(
            **{name: values[: settings.window_size] for name, values in calm.items()}
        )
        effect = report.design_effect or 1.0
        with engine.begin() as connection:
            calibrations.save(connection, row.id, reference_id, (since, until), effect, calm, detector.calibration())
    facts = {"stream": stream, "predictions": count, "design_effect": round(effect, 2), "threshold": detector.threshold}
    if count / effect < FEW_INDEPENDENT:
        facts["warning"] = (
            f"the span counts for {count / effect:.0f} independent predictions only: declare a longer one, "
            "or detection will be slow"
        )
    return facts
