"""Drives the monitor's own step through a script, by a simulated clock and without a database."""

import datetime as dt
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from benchmarks.year.script import DAY, HOUR, START, Script
from benchmarks.year.world import Condition, Predictions, predictions, reference
from tidemark.drift import DetectorScores, Reference, StreamDetector, WindowTest
from tidemark.monitor.model_state import REFERENCE, WHOLE
from tidemark.monitor.prepared_reference import LEVEL, SEED, BaselineKey, PreparedReference
from tidemark.monitor.replay import Replay
from tidemark.monitor.replay_cost import ReplayCost
from tidemark.monitor.replay_steps import microseconds
from tidemark.monitor.replayed_incident import ReplayedIncident
from tidemark.settings import Settings
from tidemark.store.label_log import NONE_REPLACED, LabelBatch
from tidemark.store.log_batch import PredictionBatch, join_batches

REFERENCE_ROWS = 3000
CELLS = 730  # points of the line of evidence
RECENT_BATCHES = 3  # batches of about BATCH predictions from which windows are taken
BATCH = 5000
ACCEPTED_ROWS = 2000  # newest predictions that an acceptance takes, at the most


@dataclass(frozen=True)
class Course:
    """The result of a simulation.

    Parameters
    ----------
    incidents : tuple of ReplayedIncident
        Of every version, in the order in which they opened.
    accepted_at : tuple of datetime
        When somebody accepted a change.
    evidence : float (CELLS,)
        The largest evidence over its threshold in each part of the time.
    costs : tuple of ReplayCost
        Of each version.
    expected_run_time : float
        In predictions, of the first version at its end.
    predictions_at : mapping
        The number of predictions of the version in service when each planted change began.
    """

    incidents: tuple[ReplayedIncident, ...]
    accepted_at: tuple[dt.datetime, ...]
    evidence: NDArray[np.float64]
    costs: tuple[ReplayCost, ...]
    expected_run_time: float
    predictions_at: Mapping[dt.datetime, int]


@dataclass
class Recent:
    """The newest predictions of a version, from which windows are taken by their ids."""

    batches: deque[PredictionBatch] = field(default_factory=lambda: deque(maxlen=RECENT_BATCHES))

    def add(self, batch: PredictionBatch) -> None:
        """Add the predictions of a day, and forget the oldest."""
        if self.batches and len(self.batches[-1]) + len(batch) <= BATCH:
            self.batches[-1] = join_batches([self.batches[-1], batch])
        else:
            self.batches.append(batch)

    def by_ids(self, ids: NDArray[np.uint8]) -> PredictionBatch | None:
        """Return predictions by their ids (m, 16)."""
        batch = join_batches(list(self.batches))
        keys = {row.tobytes() for row in ids}
        rows = [number for number, row in enumerate(batch.ids) if row.tobytes() in keys]
        return batch.select(np.array(rows)) if rows else None

    def newest(self, count: int, since: dt.datetime) -> PredictionBatch:
        """Return the newest predictions after a time."""
        batch = join_batches(list(self.batches))
        return batch.select(np.flatnonzero(batch.times >= microseconds(since))[-count:])


class Version:
    """A version of the model on its way through the script."""

    def __init__(
        self,
        number: int,
        condition: Condition,
        settings: Settings,
        rng: np.random.Generator,
        moments: Sequence[dt.datetime] = (),
    ) -> None:
        self._reference = reference(REFERENCE_ROWS, condition, rng)
        self._settings = settings
        self._rng = rng
        self._recent = Recent()
        self._position = self._labels = 0
        key = BaselineKey(number)
        prepared = _prepared(key, self._reference, settings)
        self.replay = Replay(
            number,
            {REFERENCE: prepared, WHOLE: prepared},
            {REFERENCE: key, WHOLE: key},
            settings,
            self._recent.by_ids,
            moments,
        )

    def process(self, predicted: Predictions, times: NDArray[np.float64], day: int, labelled: float) -> None:
        """Process the predictions of a day, and then the labels of a share of them."""
        if not len(times):
            return
        batch = self._batch(predicted, times, day)
        self._recent.add(batch)
        self.replay.process(batch)
        rows = np.flatnonzero(self._rng.random(len(batch)) < labelled)
        if len(rows):
            self.replay.process_labels(self._label_batch(batch, predicted, rows), batch.span[1])

    def accept(self, since: dt.datetime, at: dt.datetime) -> None:
        """Make the newest traffic after a time the baseline, as `tidemark accept` does."""
        rows = self._recent.newest(ACCEPTED_ROWS, since)
        accepted = self._reference.accept(rows.embeddings, rows.probabilities, rows.properties, "all")
        key = BaselineKey(1, baseline_id=1)
        prepared = _prepared(key, accepted, self._settings)
        self.replay.rebase({REFERENCE: prepared, WHOLE: prepared}, {REFERENCE: key, WHOLE: key}, at)

    def _batch(self, predicted: Predictions, times: NDArray[np.float64], day: int) -> PredictionBatch:
        moments = microseconds(START + day * DAY) + (times * HOUR.total_seconds() * 1e6).astype(np.int64)
        first = self._position + 1
        self._position += len(times)
        return PredictionBatch(
            first=first,
            last=self._position,
            positions=np.arange(first, self._position + 1),
            ids=ids_at(moments // 1000, self._rng),
            times=moments,
            embeddings=predicted.embeddings,
            probabilities=predicted.probabilities,
            properties=predicted.properties,
            tags=[{}] * len(times),
            rejected={},
        )

    def _label_batch(self, batch: PredictionBatch, predicted: Predictions, rows: NDArray[np.int64]) -> LabelBatch:
        first = self._labels + 1
        self._labels += len(rows)
        return LabelBatch(
            first=first,
            last=self._labels,
            positions=np.arange(first, self._labels + 1),
            ids=[UUID(bytes=batch.ids[row].tobytes()) for row in rows],
            predicted=batch.probabilities[rows].argmax(axis=1),
            labels=predicted.labels[rows],
            replaced=np.full(len(rows), NONE_REPLACED),
            probabilities=batch.probabilities[rows],
            embeddings=batch.embeddings[rows],
            tags=[{}] * len(rows),
            rejected={},
        )


def simulate(script: Script, settings: Settings, seed: int = 0) -> Course:
    """Drive the monitor through a script.

    The accepted change is accepted `accepted_after` days after it began, as somebody does who has seen its alert. When
    the version ends its successor, which was made on the new normal, has all the traffic.
    """
    rng = np.random.default_rng(seed)
    moments = [change.start for change in script.planted]
    versions = [Version(1, Condition(), settings, rng, moments)]
    accepted = [change for change in script.planted if change.role == "accepted"]
    accepted_at: list[dt.datetime] = []
    evidence = np.full(CELLS, np.nan)
    for day in range(script.days):
        if script.version_ends == day:
            versions.append(
                Version(2, script.condition(day), settings, rng, [at for at in moments if at >= START + day * DAY])
            )
        times = script.times(day, rng)
        versions[-1].process(_predictions_of_day(script, times, day, rng), times, day, script.labelled)
        for version in versions:
            for point in version.replay.take_points():
                cell = min(int((point.at - START) / (script.end - START) * CELLS), CELLS - 1)
                evidence[cell] = np.fmax(evidence[cell], point.evidence / point.threshold)
        now = START + (day + 1) * DAY
        for change in accepted:
            if change.begins + script.accepted_after == day + 1:
                versions[-1].accept(change.start, now)
                accepted_at.append(now)
    for version in versions:
        version.replay.finish(script.end)
    return Course(
        tuple(incident for version in versions for incident in version.replay.incidents),
        tuple(accepted_at),
        evidence,
        tuple(version.replay.cost for version in versions),
        versions[0].replay.expected_run_time,
        {at: counts[WHOLE] for version in versions for at, counts in version.replay.positions_at.items()},
    )


def ids_at(milliseconds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return UUIDs of version 7 (n, 16) as bytes."""
    ids = rng.integers(0, 256, (len(milliseconds), 16), dtype=np.uint8)
    ids[:, :6] = milliseconds.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    ids[:, 6] = 0x70 | ids[:, 6] & 0x0F
    ids[:, 8] = 0x80 | ids[:, 8] & 0x3F
    return ids


def _predictions_of_day(script: Script, times: NDArray[np.float64], day: int, rng: np.random.Generator) -> Predictions:
    """Return what the model makes of the images of a day, each under the condition of its time."""
    conditions = [script.condition(day + hour / 24) for hour in times]
    edges = [row for row in range(1, len(times)) if conditions[row] != conditions[row - 1]]
    bounds = [0, *edges, len(times)]
    parts = [
        predictions(end - start, conditions[start], rng) for start, end in itertools.pairwise(bounds) if end > start
    ]
    if not parts:
        return predictions(0, script.condition(day), rng)
    return Predictions(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Predictions.__dataclass_fields__)
    )


def _prepared(key: BaselineKey, baseline: Reference, settings: Settings) -> PreparedReference:
    scores = DetectorScores(baseline)
    calibration = StreamDetector(baseline, seed=SEED, scores=scores).calibration()
    return PreparedReference(
        key,
        baseline,
        scores,
        calibration,
        lambda: WindowTest(baseline, window_size=settings.window_size, seed=SEED, level=LEVEL),
    )
