"""How the false alarms that a model is allowed are shared among its streams, and in a stream by detector and labels."""

import datetime as dt
from dataclasses import dataclass

from ..drift.detectable import detectable_shares
from ..settings import Settings
from ..store.stream_status import AlarmBudget, DetectableChange, StreamStatus
from .pace import Pace

DETECTOR_SHARE = 0.8  # share of a stream's false alarms that its detector may raise; its labels have the rest
SECOND_SHARE = 2.0  # expected run time of the detector of further shifts, over that of the stream: half its budget


@dataclass(frozen=True)
class StreamBudget:
    """The expected run times of one stream, in watched predictions of that stream.

    Parameters
    ----------
    detector : float
        Of its sequential detector.
    labels : float
        Of the stream; each of the two tests of its labels takes the `SHARE_OF_BUDGET` of the labels' monitor.
    """

    detector: float
    labels: float


def stream_budget(settings: Settings, pace: Pace | None = None) -> StreamBudget:
    """Return the expected run times of each stream of a model, in the stream's own watched predictions.

    What is asked for is one false alarm in ERT predictions of the model, over all its streams: the whole model's, and
    for each of K slice tags the streams of its values. Let stream s see a share f_s of the model's predictions and
    run ERT_s of its own predictions between false alarms. By the renewal theorem it alarms f_s / ERT_s times a
    prediction of the model. Rates add up whatever the dependence between streams, so that the budget is

        1 / ERT_whole + sum_s f_s / ERT_s <= 1 / ERT.

    The values of one tag part the predictions: their shares add up to at most one (to less where the tag is missing).
    With (K + 1) ERT for every stream the left side is therefore at most (1 + K) / ((K + 1) ERT) = 1 / ERT: a
    prediction is processed by K + 1 streams at the most, and each may cost a (K + 1)th of the budget. This holds for
    any shares, so that nothing changes when a slice appears, grows, or is retired, nor with the number of slices. The
    price is ln(K + 1) nats of evidence: 0.7 with one tag, 1.1 with two.

    Inside a stream the detector has DETECTOR_SHARE of that, and the two tests of its labels have the rest. The
    detector of further shifts, which only runs while an incident is open, takes the place of the incident's detector.

    Parameters
    ----------
    pace : Pace, optional
        That of the model, by which a duration becomes predictions; that of a new model by default.
    """
    run_time_of_model = (pace or Pace()).run_time(settings.expected_run_time) * (len(settings.slice_tags) + 1)
    return StreamBudget(run_time_of_model / DETECTOR_SHARE, run_time_of_model)


def detectable_changes(run_time: float, baseline_rows: int) -> tuple[DetectableChange, ...]:
    """Return when changes of a class share would be seen by a detector with an expected run time."""
    return tuple(DetectableChange(*change) for change in detectable_shares(run_time, baseline_rows))


def pace_of(status: StreamStatus) -> Pace:
    """Return the pace that the last step of a stream's model reported; that of a new model if there was none."""
    return Pace() if status.budget is None else Pace(rate=status.budget.rate)


def alarm_budget(settings: Settings, pace: Pace) -> AlarmBudget:
    """Return what all streams of a model may raise together, as its pages say it."""
    requested, share = settings.expected_run_time, pace.watched_share
    if isinstance(requested, dt.timedelta):
        return AlarmBudget(
            requested.total_seconds(),
            pace.run_time(requested) / share,
            pace.rate,
            pace.is_assumed,
            share,
            is_duration=True,
        )
    return AlarmBudget(requested / pace.rate, requested, pace.rate, pace.is_assumed, share, is_duration=False)
