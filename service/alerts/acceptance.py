"""Accepting a change: a span of traffic becomes what a stream is compared with, and its incidents end."""

import datetime as dt
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..errors import NotAcceptable
from ..store import alerts as alert_rows
from ..store import baselines, calibrations, references, streams, traffic
from ..store.alerts import AlertRow
from ..store.baselines import AcceptedPart, Baseline, BaselineDraft
from ..store.logged import HALF
from ..store.streams import StreamRow
from ..store.tag_codes import encode_tags
from .alert_draft import CHANGED
from .lifecycle import Alerts

MIX_IS_ALL = "the mix was requested, but other images than the reference's are normal here: images and mix are accepted"
MIN_ROWS = 500  # predictions since the change: fewer leave the baseline's own error too large to watch against
MAX_ROWS = 20_000  # predictions that a baseline keeps; of a longer span, runs of 200 spread over all of it
MAX_BYTES = 50_000_000  # bytes of a baseline's stored embeddings and probabilities, so that a wide model has fewer rows


def accept(
    connection: Connection,
    alerts: Alerts,
    stream: StreamRow,
    what: AcceptedPart,
    span: tuple[dt.datetime, dt.datetime],
    *,
    by: str,
    note: str,
    at: dt.datetime,
) -> Baseline:
    """Make the traffic of a span the baseline of a stream and end its incidents as accepted.

    Incidents of slices that are part of them are accepted with the traffic of their slices.

    Parameters
    ----------
    what : {"mix", "images", "all"}
        Which part of the change is normal from now on; "all" instead of "mix" where other images are already.
    by, note : str
        The person or key that accepts, and why.
    at : datetime
        The time of the decision.

    Raises
    ------
    NotAcceptable
        The stream has no reference, or the span has fewer than MIN_ROWS predictions.
    """
    if stream.reference_id is None:
        raise NotAcceptable(f"stream {stream.stream} has no reference; run `tidemark reference build` first")
    width = references.load(connection, stream.reference_id)["embeddings"].shape[1]
    first = traffic.between(connection, stream, *span, MIN_ROWS, width)
    available = 0 if first is None else len(first)
    if first is None or available < MIN_ROWS:
        raise NotAcceptable(
            f"{available} predictions of {stream.stream} since {span[0].isoformat(timespec='seconds')}; accepting "
            f"needs {MIN_ROWS}, {MIN_ROWS - available} more"
        )
    limit = rows_within(width + first.probabilities.shape[1])
    spread = traffic.spread(connection, stream, *span, limit, width)
    batch, share = (first, 1.0) if spread is None else spread
    streams.lock_model(connection, stream.model_id)
    if what == "mix" and has_accepted_images(connection, stream):
        what = "all"  # a mix alone is one of the reference's images: it would take the accepted images back
        note = f"{note}; {MIX_IS_ALL}" if note else MIX_IS_ALL
    arrays: dict[str, NDArray[Any]] = {
        "ids": batch.ids,
        "embeddings": batch.embeddings.astype(HALF),
        "probabilities": batch.probabilities.astype(HALF),
        "share": np.array(share),
    }
    arrays |= encode_tags(batch.tags)
    if batch.properties is not None:
        arrays["properties"] = batch.properties
    draft = BaselineDraft(what, batch.span, arrays, accepted_by=by, note=note)
    baseline = baselines.save(connection, stream.id, stream.reference_id, draft)
    for alert in alert_rows.firing(connection, stream.id):
        for part in alert_rows.children(connection, alert.id):
            if part.state == "firing":
                with suppress(NotAcceptable):  # a slice with too little traffic has alerts of its own from now on
                    part_stream = streams.get(connection, part.stream_id)
                    accept(connection, alerts, part_stream, what, span, by=by, note=note, at=at)
        alerts.accept(connection, alert.id, at, by, note, what)
    streams.restart(connection, stream.id)
    return baseline


def has_accepted_images(connection: Connection, stream: StreamRow) -> bool:
    """Check whether other images than the reference's are normal for a stream: those of an accepted baseline, or of
    calm traffic whose level in each context was accepted with it."""
    baseline = baselines.current(connection, stream.id)
    if baseline is not None:
        return baseline.what != "mix"
    if stream.reference_id is None:
        return False
    calibration = calibrations.newest(connection, stream.id, stream.reference_id)
    return calibration is not None and calibrations.has_context(connection, calibration)


def rows_within(columns: int) -> int:
    """Return the number of predictions with so many values each that a baseline keeps."""
    return max(MIN_ROWS, min(MAX_ROWS, MAX_BYTES // (HALF.itemsize * columns)))


def undo(connection: Connection, stream: StreamRow, by: str, at: dt.datetime) -> Baseline:
    """Compare a stream again with the baseline before its current one, else with its reference.

    Raises
    ------
    NotAcceptable
        The stream has no accepted baseline.
    """
    streams.lock_model(connection, stream.model_id)
    baseline = baselines.undo(connection, stream.id, by, at)
    if baseline is None:
        raise NotAcceptable(f"stream {stream.stream} has no accepted baseline that could be undone")
    streams.restart(connection, stream.id)
    return baseline


def start_of_change(alert: AlertRow) -> dt.datetime:
    """Return the time from which on the traffic of an incident is what would be accepted: its last further shift."""
    shifts = [
        entry["at"] for entry in alert.history if entry["event"] == CHANGED and entry.get("reason") == "further_shift"
    ]
    return dt.datetime.fromisoformat(shifts[-1]) if shifts else alert.since
