"""Baselines that come with a model: a remedy's bundle, or class proportions that serving corrects for."""

import datetime as dt
import logging

from sqlalchemy import Connection

from ..store import alerts as alert_rows
from ..store import baselines, streams
from ..store.baselines import Baseline, BaselineDraft
from ..store.streams import StreamRow
from .acceptance import has_accepted_images, undo
from .lifecycle import Alerts

CORRECTED_PRIORS = "--correct-priors"  # name under which a server accepts the mix of classes that it corrects for
WITHDRAWN_BY = "a server without --correct-priors"

logger = logging.getLogger(__name__)


def adopt(
    connection: Connection, alerts: Alerts, stream: StreamRow, draft: BaselineDraft, at: dt.datetime
) -> Baseline | None:
    """Make traffic that came with a model the baseline of a stream, once; its incidents end as accepted.

    One that was adopted before is left as it is, also where somebody has undone it since. A mix alone is not adopted
    while the stream is compared with accepted images, for it would take those back.

    Parameters
    ----------
    draft : BaselineDraft
        The traffic; its note identifies it.

    Returns
    -------
    Baseline or None
        None where nothing has changed.
    """
    if stream.reference_id is None or baselines.has_note(
        connection, stream.id, stream.reference_id, draft.note, WITHDRAWN_BY
    ):
        return None
    if draft.what == "mix" and has_accepted_images(connection, stream):
        logger.warning(
            "stream %s is compared with accepted images; accept the mix of its traffic by `tidemark accept`",
            stream.stream,
        )
        return None
    baseline = baselines.save(connection, stream.id, stream.reference_id, draft)
    for alert in alert_rows.firing(connection, stream.id):
        alerts.accept(connection, alert.id, at, draft.accepted_by, draft.note, draft.what)
    streams.restart(connection, stream.id)
    logger.info("stream %s is compared with %d predictions from %s", stream.stream, baseline.rows, draft.accepted_by)
    return baseline


def withdraw_corrected_priors(connection: Connection, stream: StreamRow, at: dt.datetime) -> Baseline | None:
    """Undo the class proportions that an earlier server corrected for, at the start of one that does not.

    They are adopted again when a server corrects for them again. A baseline that somebody accepted since stays.

    Returns
    -------
    Baseline or None
        What was undone; None if the stream is compared with something else.
    """
    current = baselines.current(connection, stream.id)
    if current is None or current.accepted_by != CORRECTED_PRIORS:
        return None
    logger.warning("stream %s is compared with its reference again: its priors are no longer corrected", stream.stream)
    return undo(connection, stream, WITHDRAWN_BY, at)
