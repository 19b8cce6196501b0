"""Baselines that come with a model: a remedy's bundle, or class proportions that serving corrects for."""

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Connection

from ..store import alerts as alert_rows
from ..store import baselines, streams
from ..store.baselines import Baseline, What
from ..store.streams import StreamRow
from .lifecycle import Alerts

logger = logging.getLogger(__name__)


def adopt(
    connection: Connection,
    alerts: Alerts,
    stream: StreamRow,
    what: What,
    arrays: Mapping[str, NDArray[Any]],
    span: tuple[dt.datetime, dt.datetime],
    *,
    by: str,
    note: str,
    at: dt.datetime,
) -> Baseline | None:
    """Make traffic that came with a model the baseline of a stream, once; its incidents end as accepted.

    One that was adopted before is left as it is, also where somebody has undone it since. A mix alone is not adopted
    while the stream is compared with accepted images, for it would take those back.

    Parameters
    ----------
    arrays : mapping
        ids (n, 16), embeddings (n, d), probabilities (n, k), and where known properties (n, p).
    by, note : str
        Where it comes from; the note identifies it.

    Returns
    -------
    Baseline or None
        None where nothing has changed.
    """
    if stream.reference_id is None or baselines.has_note(connection, stream.id, stream.reference_id, note):
        return None
    current = baselines.current(connection, stream.id)
    if what == "mix" and current is not None and current.what != "mix":
        logger.warning(
            "stream %s is compared with accepted images; accept the mix of its traffic by `tidemark accept`",
            stream.stream,
        )
        return None
    baseline = baselines.save(
        connection,
        stream_id=stream.id,
        reference_id=stream.reference_id,
        what=what,
        span=span,
        arrays=dict(arrays),
        accepted_by=by,
        note=note,
    )
    for alert in alert_rows.firing(connection, stream.id):
        alerts.accept(connection, alert.id, at, by, note, what)
    streams.restart(connection, stream.id)
    logger.info("stream %s is compared with %d predictions from %s", stream.stream, baseline.rows, by)
    return baseline
