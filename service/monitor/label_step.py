"""One step of the labels of a stream: do they show that the model became worse, or that they mean something else."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..alerts.alert_draft import Certainty
from ..drift.label_history import RECENT
from ..drift.tolerance import tolerance_of
from ..store.stream_status import MeasuredAccuracy
from .label_detection import MIN_LABELS, LabelDetection, describe
from .label_regimes import Regime, runs_by_regime
from .labels import FedBackLabels, LabelState

HISTORY = 60  # points of evidence that are kept for the chart
QUIET = 0.5  # share of the threshold below which no change has begun
NAMING_SHARE = 0.5  # share of the threshold above which the evidence of a concept shift names a harm "concept, likely"


class LabelStep(NamedTuple):
    """The state after a step of labels, the accuracy that they measure, and the alarm that they raise.

    `errors_only` is the number of labels if predictions seem to be labelled only where they are wrong: then there is
    neither an accuracy nor an alarm.
    """

    state: LabelState
    accuracy: MeasuredAccuracy | None
    detection: LabelDetection | None
    errors_only: int | None = None


def process_labels(
    state: LabelState,
    batch: FedBackLabels,
    *,
    regimes: Sequence[Regime],
    population: NDArray[np.float32],
    run_time: float,
    seen: int,
    now: dt.datetime,
    is_open: bool = False,
) -> LabelStep:
    """Process labels that were fed back.

    Parameters
    ----------
    regimes : sequence of Regime
        When the images had drifted, and how: what confidence was worth at the time of each prediction.
    population : float32 (N,)
        Calibrated confidence of a part of the recent predictions: it tells whether labels are a random sample.
    run_time : float
        The expected run time in predictions of the stream.
    seen : int
        The predictions of the stream so far, which tell what share of them is labelled.
    is_open : bool, default False
        Whether an incident that labels raised is open: an alarm is then one more of it.

    Returns
    -------
    LabelStep
        The new state, and the alarm if there is one; then the sequential tests have started again.
    """
    monitor = state.monitor
    highest = highest_harm = -np.inf
    for labels, regime in runs_by_regime(batch, regimes):
        clusters = labels.clusters(state.clusters)
        trace = monitor.update(
            labels.probabilities,
            labels.predicted,
            labels.labels,
            tolerance=tolerance_of({regime.kind}, regime.fall) if regime else tolerance_of(()),
            proportions=regime.proportions if regime is not None and regime.kind == "label" else None,
            clusters=clusters,
            ids=labels.numbers,
        )
        highest = max(highest, float(trace.evidence.max()))
        highest_harm = max(highest_harm, float(trace.harm_evidence.max()))
    m = int(batch.is_first.sum())
    rate = state.rate.with_labels(m, seen)
    threshold = monitor.threshold(run_time, rate.share)
    measured, errors_only = state.accuracy(population), state.errors_only(population)
    if errors_only is not None:
        highest = highest_harm = -np.inf  # such labels are all wrong, however good the model is
    if measured is not None and measured.is_corrected and measured.high > 1 - monitor.harmless:
        highest_harm = -np.inf  # labels of doubtful predictions only are wrong more often, and show no harm
    strongest = max(highest, highest_harm, 0.0)
    state = replace(
        state,
        ids=np.concatenate([state.ids, batch.ids[batch.is_first]])[-RECENT:],
        history=(*state.history, (now.isoformat(), monitor.count, strongest))[-HISTORY:],
        since_quiet=state.since_quiet + m,
        rate=rate,
    )
    if strongest < QUIET * threshold:
        state = replace(state, quiet_at=now, since_quiet=0)
    if strongest <= threshold:
        if errors_only is not None:
            monitor.begin_incident(0)
        return LabelStep(state, measured, None, errors_only)
    names_classes = highest > NAMING_SHARE * threshold
    certainty: Certainty = "sure" if highest > threshold or not names_classes else "likely"
    detection = describe(
        state,
        population,
        "concept" if names_classes else "harm",
        certainty,
        harmful=highest_harm > threshold,
        threshold=threshold,
    )
    if is_open:
        monitor.reset()
    else:
        monitor.begin_incident(max(state.since_quiet, MIN_LABELS))
    return LabelStep(state, measured, detection)
