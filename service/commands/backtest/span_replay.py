"""Replays one span of a model's log under one set of settings: a task that any machine with the database can do."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from ...monitor.baseline_preparation import prepare
from ...monitor.pace import Pace
from ...monitor.prepared_reference import BaselineKey, PreparedReference
from ...monitor.replay import Replay
from ...monitor.replay_cost import ReplayCost
from ...monitor.replay_steps import microseconds
from ...monitor.replayed_incident import ReplayedIncident
from ...store import baseline_history, segments
from ...store import engine as engines
from ...store.streams import StreamRow
from .log_reader import LogReader, Pause, TimedLabels
from .schedule import BaselineSchedule
from .variants import Variant

WARM_UP = 20_000  # predictions before a later span of a divided log that its detector processes first
CELLS = 600  # points of a picture's line of evidence

Counts = Mapping[str, int]  # predictions of each stream by the name of its slice


@dataclass(frozen=True)
class SpanPositions:
    """A part of a log.

    Parameters
    ----------
    first, last : int
        Its positions, both included.
    warm_up : int
        How many of the first positions only warm the detector up: what alarms there belongs to the part before.
    """

    first: int
    last: int
    warm_up: int = 0


@dataclass(frozen=True)
class SpanTask:
    """A span of a model's log to be replayed.

    Parameters
    ----------
    url : str
        The address of the database; never logged.
    stream : StreamRow
        The stream whose evidence is drawn.
    reference_id : int
        The reference of the model.
    variant : Variant
    positions : SpanPositions
    span : pair of datetime
        The whole backtest's, for the cells of `evidence`.
    moments : tuple of datetime
        Times at which the number of predictions is noted.
    rate : float, optional
        The model's predictions a second when the backtest begins, from which a duration becomes a run time until the
        replay has measured its own; a new model's without it.
    """

    url: str
    stream: StreamRow
    reference_id: int
    variant: Variant
    positions: SpanPositions
    span: tuple[dt.datetime, dt.datetime]
    moments: tuple[dt.datetime, ...]
    rate: float | None = None


@dataclass(frozen=True)
class SpanResult:
    """The result of the replay of a span.

    Parameters
    ----------
    incidents : tuple of ReplayedIncident
        Those of the warm-up included.
    begins_at : datetime
        The end of the warm-up.
    evidence : float (CELLS,)
        The largest evidence over its threshold in each part of the backtest's time, NaN where there was none.
    positions_at : mapping
        The number of predictions of each stream at the moments.
    positions_at_begin, positions_at_end : mapping
        The same at the end of the warm-up, and at the end.
    cost : ReplayCost
    expected_run_time, threshold : float
        Of the whole model's detector at the end, in predictions and in nats.
    """

    incidents: tuple[ReplayedIncident, ...]
    begins_at: dt.datetime
    evidence: NDArray[np.float64]
    positions_at: Mapping[dt.datetime, Counts]
    positions_at_begin: Counts
    positions_at_end: Counts
    cost: ReplayCost
    expected_run_time: float
    threshold: float


def divided(
    connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime, count: int
) -> list[SpanPositions]:
    """Return the positions of a span of time as a number of parts, fewer where the log is short; none without any."""
    positions = segments.positions_between(connection, model_id, since, until)
    if positions is None:
        return []
    first, last = positions
    total = last - first + 1
    count = max(min(count, total // WARM_UP), 1)
    edges = [first + total * number // count for number in range(count + 1)]
    parts = []
    for number in range(count):
        warm_up = min(WARM_UP, edges[number] - first)
        parts.append(SpanPositions(edges[number] - warm_up, edges[number + 1] - 1, warm_up))
    return parts


def replay_span(task: SpanTask) -> SpanResult:
    """Replay a span through the monitor's own step."""
    engine = engines.connect(task.url)
    try:
        return _SpanReplay(engine, task).run()
    finally:
        engine.dispose()


class _SpanReplay:
    """A span on its way through a replay."""

    def __init__(self, engine: Engine, task: SpanTask) -> None:
        self._engine, self._task = engine, task
        self._settings = task.variant.settings
        with engine.connect() as connection:
            periods = baseline_history.of_model(connection, task.stream.model_id)
        self._schedule = BaselineSchedule(task.reference_id, periods, task.variant.baseline)
        self._baselines: dict[BaselineKey, PreparedReference] = {}
        self._evidence = np.full(CELLS, np.nan)

    def run(self) -> SpanResult:
        """Replay the span from its first prediction to its end."""
        task = self._task
        begins_at, end = task.span
        keys = self._schedule.keys_at(begins_at)
        baselines = self._prepared(keys)
        reference = next(iter(baselines.values())).reference
        reader = LogReader(self._engine, task.stream.model_id, reference.embeddings.shape[1], reference.classes)
        pace = None if task.rate is None else Pace.steady(task.rate, microseconds(begins_at))
        replay = Replay(task.stream.model_id, baselines, keys, self._settings, reader.by_ids, task.moments, pace)
        positions_at_begin: Counts = {}
        first, last = task.positions.first, task.positions.last
        border = first + task.positions.warm_up
        is_warming_up = border > first
        pauses = self._schedule.changes_between(begins_at, end)
        parts = [(first, border - 1), (border, last)] if is_warming_up else [(first, last)]
        for item in reader.merged(parts, task.span, pauses):
            if isinstance(item, Pause):
                keys = self._schedule.keys_at(item.at)
                replay.rebase(self._prepared(keys), keys, item.at)
                continue
            if isinstance(item, TimedLabels):
                replay.process_labels(item.labels, item.at)
                continue
            if is_warming_up and item.first >= border and len(item):
                begins_at, is_warming_up, positions_at_begin = item.span[0], False, replay.seen
                replay.take_points()
            replay.process(item)
            if not is_warming_up:
                self._draw(replay)
        replay.finish(end)
        return SpanResult(
            replay.incidents,
            begins_at,
            self._evidence,
            replay.positions_at,
            positions_at_begin,
            replay.seen,
            replay.cost,
            replay.expected_run_time,
            replay.threshold,
        )

    def _prepared(self, keys: Mapping[str, BaselineKey]) -> dict[str, PreparedReference]:
        """Return the baselines of streams; those that no stream needs any more are forgotten."""
        self._baselines = {
            key: self._baselines.get(key) or prepare(self._engine, key, self._settings) for key in set(keys.values())
        }
        return {name: self._baselines[key] for name, key in keys.items()}

    def _draw(self, replay: Replay) -> None:
        """Raise the cells of the picture to the evidence of the stream since the last call."""
        since, until = self._task.span
        for point in replay.take_points():
            if point.slice == self._task.stream.slice and point.threshold > 0:
                cell = min(int((point.at - since) / (until - since) * CELLS), CELLS - 1)
                self._evidence[cell] = np.fmax(self._evidence[cell], point.evidence / point.threshold)
