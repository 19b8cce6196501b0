"""The labels of a step: those whose predictions have been processed, so that it is known which slices these are of."""

from sqlalchemy import Connection

from ..store import label_log
from ..store.label_log import LabelBatch
from ..store.position_lookup import positions_of
from .labels import MAX_LABELS


def read_labels(
    connection: Connection,
    model_id: int,
    after: int,
    written: int,
    processed: int,
    has_backlog: bool,
    sizes: tuple[int, int],
) -> LabelBatch | None:
    """Return the next labels of a model up to the first one whose prediction is still to be processed, or None.

    Parameters
    ----------
    after, written : int
        The position of the last label that was processed, and of the last one that came back.
    processed : int
        The position of the last prediction that is processed by the end of the step.
    has_backlog : bool
        Whether predictions with later positions were logged before the last one of these labels came back.
    sizes : pair of int
        The width of the embeddings and the number of classes.
    """
    limit = min(written - after, MAX_LABELS)
    if limit <= 0:
        return None
    batch = label_log.read(connection, model_id, after, limit, *sizes)
    if batch is None or not has_backlog:
        return batch
    positions = positions_of(connection, model_id, list(dict.fromkeys(batch.ids)))
    for label_position, key in zip(batch.positions.tolist(), batch.ids, strict=True):
        if positions.get(key, 0) > processed:
            limit = label_position - 1 - after
            return label_log.read(connection, model_id, after, limit, *sizes) if limit else None
    return batch
