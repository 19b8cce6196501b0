"""Stored references: the predictions of each model on held-out training data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import Connection, func, insert, select, update

from .arrays import pack, unpack
from .raw_connection import raw
from .report_json import SurvivalJson
from .streams import lock_model
from .tables import log_ends, models, references, streams


def save(
    connection: Connection,
    model_id: int,
    arrays: Mapping[str, NDArray[Any]],
    thumbnails: Mapping[int, bytes] | None = None,
    survival: SurvivalJson | None = None,
) -> int:
    """Store a reference and put the model's streams on it from their next prediction; return its id.

    The streams' detectors start again, for evidence against the old reference says nothing of the new one. A model
    that had no reference is watched from now on, not from its first prediction on: what was logged since may be of
    another model file, and may take days to process. Of a model that is served elsewhere the reference also says how
    wide its embeddings are, whatever the first client sent.

    Parameters
    ----------
    thumbnails : Mapping[int, bytes] or None
        Encoded images by the row that they show.
    survival : SurvivalJson or None
        The model's accuracy under rehearsed operations.
    """
    rows = len(arrays["embeddings"])
    pictures = _pack_thumbnails(thumbnails) if thumbnails else None
    statement = insert(references).values(model_id=model_id, rows=rows, arrays=pack(arrays), thumbnails=pictures)
    statement = statement.values(survival=survival)
    reference_id = int(connection.execute(statement.returning(references.c.id)).scalar_one())
    lock_model(connection, model_id)  # after the arrays were sent, for monitors wait for it
    of_model = streams.c.model_id == model_id
    ends = {"predictions": "position", "labels": "label_position"}
    places = {
        column: func.coalesce(
            select(log_ends.c.position).where(log_ends.c.model_id == model_id, log_ends.c.log == log).scalar_subquery(),
            streams.c[column],
        )
        for log, column in ends.items()
    }
    connection.execute(update(streams).where(of_model, streams.c.reference_id.is_(None)).values(places))
    connection.execute(update(streams).where(of_model).values(reference_id=reference_id))
    observed = (models.c.id == model_id) & models.c.embedding_size.is_not(None)
    connection.execute(update(models).where(observed).values(embedding_size=arrays["embeddings"].shape[1]))
    return reference_id


def load(connection: Connection, reference_id: int) -> dict[str, NDArray[Any]]:
    """Return a reference's arrays: embeddings, probabilities, and where known labels and properties.

    Raises
    ------
    LookupError
        No such reference.
    """
    with raw(connection).cursor(binary=True) as cursor:  # as text it would be twice as long, and 1 GB is the limit
        row = cursor.execute('SELECT arrays FROM "references" WHERE id = %s', (reference_id,)).fetchone()
    if row is None:
        raise LookupError(f"no reference {reference_id}")
    return unpack(row[0])


def load_thumbnails(connection: Connection, reference_id: int) -> dict[int, bytes]:
    """Return the encoded thumbnails of a reference by row; none if it has none, or if there is no reference."""
    query = select(references.c.thumbnails).where(references.c.id == reference_id)
    packed = connection.execute(query).scalar_one_or_none()
    if packed is None:
        return {}
    arrays = unpack(packed)
    data, ends = arrays["data"].tobytes(), np.cumsum(arrays["sizes"]).tolist()
    return {row: data[start:end] for row, start, end in zip(arrays["rows"].tolist(), [0, *ends], ends, strict=False)}


def load_survival(connection: Connection, reference_id: int) -> SurvivalJson | None:
    """Return a model's accuracy under the rehearsed operations of a reference; None without rehearsals."""
    query = select(references.c.survival).where(references.c.id == reference_id)
    values: SurvivalJson | None = connection.execute(query).scalar_one_or_none()
    return values


def load_calibration(connection: Connection, reference_id: int) -> dict[str, NDArray[Any]] | None:
    """Return the cached calibration of the sequential detector, or None."""
    query = select(references.c.calibration).where(references.c.id == reference_id)
    data = connection.execute(query).scalar_one()
    return unpack(data) if data else None


def save_calibration(connection: Connection, reference_id: int, calibration: Mapping[str, ArrayLike]) -> None:
    """Store the sequential detector's calibration with its reference."""
    statement = update(references).where(references.c.id == reference_id)
    connection.execute(statement.values(calibration=pack(calibration)))


def newest(connection: Connection, model_id: int) -> int | None:
    """Return the id of a model's newest reference, or None."""
    query = select(references.c.id).where(references.c.model_id == model_id).order_by(references.c.id.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _pack_thumbnails(thumbnails: Mapping[int, bytes]) -> bytes:
    return pack(
        {
            "rows": np.array(list(thumbnails), dtype=np.int64),
            "sizes": np.array([len(image) for image in thumbnails.values()], dtype=np.int64),
            "data": np.frombuffer(b"".join(thumbnails.values()), dtype=np.uint8),
        }
    )
