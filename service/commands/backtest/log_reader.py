"""Predictions and labels of a span of a model's log in the order of their times, in bounded memory."""

import datetime as dt
import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy import Engine

from ...monitor.events import IdRows
from ...monitor.replay_steps import microseconds
from ...store import label_log, log, log_rows
from ...store.label_log import LabelBatch
from ...store.log_batch import PredictionBatch

ROWS_AT_ONCE = 5000  # predictions that are read at a time: with the model's widths they bound the memory
LABELS_AT_ONCE = 50  # labels that are processed in one step, at the time of the last of them
TIMES_AT_ONCE = 5000  # times of labels that are read at a time


class TimedLabels(NamedTuple):
    """Labels with the time by which all of them were in the log."""

    labels: LabelBatch
    at: dt.datetime


class Pause(NamedTuple):
    """A time at which a reader of the log wants to do something between two predictions."""

    at: dt.datetime


class LogReader:
    """Reads the log of one model.

    Parameters
    ----------
    engine : Engine
    model_id : int
    embedding_size, classes : int
        The widths of the model's embeddings and probabilities.
    """

    def __init__(self, engine: Engine, model_id: int, embedding_size: int, classes: int) -> None:
        self._engine = engine
        self._model_id = model_id
        self._embedding_size, self._classes = embedding_size, classes

    def by_ids(self, ids: IdRows) -> PredictionBatch | None:
        """Return predictions by their ids (m, 16), or None where none is left."""
        keys = [UUID(bytes=row.tobytes()) for row in ids]
        with self._engine.connect() as connection:
            return log_rows.of_ids(connection, self._model_id, keys, self._embedding_size, self._classes)

    def merged(
        self,
        parts: Sequence[tuple[int, int]],
        span: tuple[dt.datetime, dt.datetime],
        pauses: Sequence[dt.datetime] = (),
    ) -> Iterator[PredictionBatch | TimedLabels | Pause]:
        """Yield predictions, the labels that came back in a span of time, and pauses, in the order of their times.

        Parameters
        ----------
        parts : sequence of pairs of int
            The first and the last position of consecutive parts of the log, both included; no batch crosses a border.
        pauses : sequence of datetime
            Times in ascending order.
        """
        waiting: Iterator[TimedLabels | Pause] = heapq.merge(
            self._labels(span), map(Pause, pauses), key=lambda item: item.at
        )
        following = next(waiting, None)
        for positions in parts:
            for batch in self._predictions(positions, span):
                remaining = batch
                while following is not None and len(remaining) and following.at <= remaining.span[1]:
                    before, remaining = _split(remaining, following.at)
                    if len(before):
                        yield before
                    yield following
                    following = next(waiting, None)
                if len(remaining) or remaining.rejected:
                    yield remaining
        while following is not None:
            yield following
            following = next(waiting, None)

    def _predictions(
        self, positions: tuple[int, int], span: tuple[dt.datetime, dt.datetime]
    ) -> Iterator[PredictionBatch]:
        after, last = positions[0] - 1, positions[1]
        since, until = map(microseconds, span)
        while after < last:
            limit = min(ROWS_AT_ONCE, last - after)
            with self._engine.connect() as connection:
                batch = log.read(connection, self._model_id, after, limit, self._embedding_size, self._classes)
            if batch is None:
                return
            after = batch.last
            yield batch.select((batch.times >= since) & (batch.times < until) & (batch.positions <= last))

    def _labels(self, span: tuple[dt.datetime, dt.datetime]) -> Iterator[TimedLabels]:
        times: deque[tuple[int, dt.datetime]] = deque()
        after = 0
        while True:
            if len(times) < LABELS_AT_ONCE:
                latest = times[-1][0] if times else after
                with self._engine.connect() as connection:
                    times += label_log.arrivals(connection, self._model_id, latest, span, TIMES_AT_ONCE)
            if not times:
                return
            chunk = [times.popleft() for _ in range(min(LABELS_AT_ONCE, len(times)))]
            after = chunk[-1][0]
            with self._engine.connect() as connection:
                first = chunk[0][0] - 1
                labels = label_log.read(
                    connection, self._model_id, first, len(chunk), self._embedding_size, self._classes
                )
            if labels is not None:
                yield TimedLabels(labels, chunk[-1][1])


def _split(batch: PredictionBatch, at: dt.datetime) -> tuple[PredictionBatch, PredictionBatch]:
    """Return the predictions up to a time, and the others; rejected ones stay with the first."""
    count = int(np.searchsorted(np.maximum.accumulate(batch.times), microseconds(at), "right"))
    head, tail = batch.select(slice(None, count)), batch.select(slice(count, None))
    if not count:
        return head, tail
    return replace(head, last=int(head.positions[-1])), replace(tail, rejected={})
