"""A model's logged predictions and labels, scored once and divided among the streams that they belong to."""

import hashlib
import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..store.label_log import NONE_REPLACED, LabelBatch
from ..store.log_batch import PredictionBatch
from .labels import FedBackLabels
from .missing_properties import fill_missing
from .model_state import WHOLE, baseline_of
from .prepared_reference import PreparedReference
from .slices import SliceAssigner
from .stream_state import StreamRows, StreamState

Members = Mapping[str, NDArray[np.int64] | slice]  # the rows of a batch that belong to each stream

logger = logging.getLogger(__name__)


class ScoredRows(NamedTuple):
    """The scored predictions of each stream, and the streams whose predictions could not be scored."""

    rows: dict[str, StreamRows]
    failures: list[str]


def score_rows(
    batch: PredictionBatch,
    members: Members,
    prepared: Mapping[str, PreparedReference],
    streams: Mapping[str, StreamState],
) -> ScoredRows:
    """Return the scored predictions of each stream. Streams with the same baseline share the scores of the batch."""
    rows: dict[str, StreamRows] = {}
    shared: dict[int, StreamRows | None] = {}
    failures: list[str] = []
    if not len(batch):
        return ScoredRows(rows, failures)
    for name, index in members.items():
        baseline = baseline_of(prepared, name)
        key = id(baseline.scores)
        if key not in shared:
            shared[key] = _score(batch, baseline, streams[name])
        whole = shared[key]
        if whole is None:
            failures.append(name)
        else:
            part = whole.part(index)
            if len(part):
                rows[name] = part
    return ScoredRows(rows, failures)


def labels_by_stream(
    batch: LabelBatch, assigner: SliceAssigner, streams: Mapping[str, StreamState]
) -> dict[str, FedBackLabels]:
    """Return the labels of each stream."""
    if not len(batch):
        return {}
    ids = np.frombuffer(b"".join(key.bytes for key in batch.ids), np.uint8).reshape(-1, 16)
    is_first = batch.replaced == NONE_REPLACED
    sources = np.array([_source(tags) for tags in batch.tags], dtype=np.int64)
    whole = FedBackLabels(ids, batch.predicted, batch.probabilities, batch.labels, is_first, batch.embeddings, sources)
    members: dict[str, list[int]] = {}
    for row, tags in enumerate(batch.tags):
        for name in assigner.names(tags):
            if name in streams:
                members.setdefault(name, []).append(row)
    parts = {name: whole.rows(np.array(index, dtype=np.int64)) for name, index in members.items()}
    return {WHOLE: whole, **parts}


def _score(batch: PredictionBatch, baseline: PreparedReference, stream: StreamState) -> StreamRows | None:
    properties = fill_missing(baseline.reference, batch.ids, batch.properties)
    try:
        scores = stream.detector.score(batch.embeddings, batch.probabilities, properties)
    except Exception:
        logger.exception("stream %s: %d predictions cannot be scored", stream.key, len(batch))
        return None
    context = None if baseline.context is None else baseline.context.values(batch.times, batch.tags)
    return StreamRows(batch.ids, scores, batch.embeddings, batch.probabilities, properties, context, batch.times)


def _source(tags: Mapping[str, str]) -> int:
    """Return a number that is equal for equal tags, also in other processes."""
    text = "\0".join(f"{key}\0{tags[key]}" for key in sorted(tags))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
