"""The drift state of every stream as Prometheus metrics, read from Postgres at each scrape."""

import logging
import math
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ...store import alerts, self_tests, streams, windows
from ...store.self_tests import SelfTestRow

LABELS = ["model", "version", "slice"]
KINDS = ("covariate", "label", "both", "concept")
GAUGES = {
    "drift_score": ("Statistic of each test in the last window", ["test"]),
    "drift_p_value": ("p-value of each test in the last window", ["test"]),
    "drift_effect": ("Effect size of each test in the last window, 0..1", ["test"]),
    "drift_detected": ("1 while drift of this kind is detected", ["kind"]),
    "drift_evidence": ("Evidence of the sequential detector", []),
    "drift_threshold": ("Evidence at which the sequential detector alarms", []),
    "window_end_timestamp_seconds": ("Time of the last prediction in the last window", []),
    "window_seconds": ("Time to evaluate the last window", []),
    "label_proportion": ("Share of each label", ["label", "source"]),
    "estimated_accuracy": ("Accuracy estimated without labels in the last window", []),
    "feedback_accuracy": ("Accuracy measured on labels fed back", []),
    "image_property": ("Mean of an image property", ["name", "source"]),
    "alerts_firing": ("Alerts that are firing", []),
    "monitor_lag_predictions": ("Predictions that the monitor has not looked at", []),
    "selftest_delay_predictions": (
        "Predictions from the self-test's planted shift to the alarm, +Inf if it failed",
        [],
    ),
    "selftest_last_success_timestamp_seconds": ("Time of the last self-test that found its planted shift", []),
    "monitor_last_success_timestamp_seconds": ("Time when the monitor last looked at this stream", []),
}


class DriftCollector(Collector):
    """Reads the streams' state when Prometheus asks; shows nothing while the database is away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(f"tidemark_{name}", text, labels=[*LABELS, *more])
            for name, (text, more) in GAUGES.items()
        }
        evaluated = CounterMetricFamily("tidemark_windows", "Windows evaluated", labels=LABELS)
        deliveries = CounterMetricFamily("tidemark_alert_deliveries", "Alert deliveries by outcome", labels=["outcome"])
        try:
            with self._engine.connect() as connection:
                firing, lags = alerts.count_firing(connection), streams.lags(connection)
                last = windows.last_of_each(connection)
                for row in streams.every(connection):
                    own = [row.model_name, row.model_version, row.slice]
                    evaluated.add_metric(own, row.status.get("windows", 0))
                    for name, more, value in _stream(row, firing.get(row.id, 0), lags.get(row.id, 0), last.get(row.id)):
                        gauges[name].add_metric([*own, *more], value)
                for test in self_tests.every(connection):
                    for name, value in _self_test(test):
                        gauges[name].add_metric([test.model_name, test.model_version, ""], value)
                for outcome, count in alerts.outcomes(connection).items():
                    deliveries.add_metric([outcome], count)
        except (DBAPIError, PoolTimeout) as error:
            logging.getLogger(__name__).warning("drift metrics left out, database away: %s", error)
            return
        yield from (family for family in gauges.values() if family.samples)
        yield evaluated
        yield deliveries


def _stream(row: Row[Any], firing: int, lag: int, last: Row[Any] | None) -> Iterator[tuple[str, list[str], float]]:
    yield "alerts_firing", [], firing
    yield "monitor_lag_predictions", [], lag
    kinds = row.status.get("kinds", [])
    yield from (("drift_detected", [kind], float(kind in kinds)) for kind in KINDS)
    if row.last_success_at:
        yield "monitor_last_success_timestamp_seconds", [], row.last_success_at.timestamp()
    for name in ("evidence", "threshold"):
        if (value := row.status.get(name)) is not None:
            yield f"drift_{name}", [], value
    if fed := row.status.get("feedback"):
        yield "feedback_accuracy", [], fed["accuracy"]
    if last:
        yield from _window(last)


def _self_test(row: SelfTestRow) -> Iterator[tuple[str, float]]:
    if row.ran_at is not None:
        yield "selftest_delay_predictions", math.inf if row.delay is None else row.delay
    if row.succeeded_at is not None:
        yield "selftest_last_success_timestamp_seconds", row.succeeded_at.timestamp()


def _window(row: Row[Any]) -> Iterator[tuple[str, list[str], float]]:
    report = row.report
    yield "window_end_timestamp_seconds", [], row.end.timestamp()
    yield "window_seconds", [], row.seconds
    for test, result in report["tests"].items():
        yield "drift_score", [test], result["statistic"]
        yield "drift_p_value", [test], result["p_value"]
        yield "drift_effect", [test], result["effect"]
    for label, share in report["proportions"].items():
        yield "label_proportion", [label, "window"], share
    if shift := report["label_shift"]:
        for source in ("reference", "estimated"):
            for label, share in shift[source].items():
                yield "label_proportion", [label, source], share
    if performance := report["performance"]:
        yield "estimated_accuracy", [], performance["estimated_accuracy"]
    for item in report["properties"]:
        yield "image_property", [item["name"], "reference"], item["reference_mean"]
        yield "image_property", [item["name"], "window"], item["window_mean"]
