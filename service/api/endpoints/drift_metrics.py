"""The drift state of every stream as Prometheus metrics, read from Postgres at each scrape."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from ...model_key import ModelKey
from ...store import alerts, deliveries, self_tests, streams, watch_status, windows
from ...store.alerts import OpenIncidents
from ...store.errors import DATABASE_ERRORS, reason
from ...store.further_shift_status import UNWATCHED
from ...store.report_json import WindowReportJson
from ...store.self_tests import SelfTestRow
from ...store.stream_status import StreamStatus
from ...store.streams import StreamRow
from ...store.watch_status import DATABASE, REASONS, Watching
from ...store.windows import WindowRow
from .metric_families import COUNTERS, GAUGES, INSTALLATION_COUNTERS, INSTALLATION_GAUGES, KINDS, LABELS


class DriftCollector(Collector):
    """Reads the streams' state when Prometheus asks; while the database is unavailable, says that nobody watches.

    Parameters
    ----------
    served : iterable of (name, version)
        The models of this server. Further models that the database has named are remembered.
    """

    def __init__(self, engine: Engine, served: Iterable[tuple[str, str]] = ()) -> None:
        self._engine = engine
        self._models = frozenset(served)

    @property
    def models(self) -> list[str]:
        """The models that are watched while the database is available, as `name:version`."""
        return sorted(str(ModelKey(name, version)) for name, version in self._models)

    def unavailable(self) -> Iterator[Metric]:
        """Return what can be said without the database: that it is unavailable, and which models may be unwatched."""
        yield _of_installation("database_available", 0)
        text, more = GAUGES["stream_blind"]
        blind_metric = GaugeMetricFamily("tidemark_stream_blind", text, labels=[*LABELS, *more])
        for name, version in sorted(self._models):
            blind_metric.add_metric([name, version, "", DATABASE], 1)
        yield blind_metric

    def collect(self) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(f"tidemark_{name}", text, labels=[*LABELS, *more])
            for name, (text, more) in GAUGES.items()
        }
        counters = {
            name: CounterMetricFamily(f"tidemark_{name}", text, labels=[*LABELS, *more])
            for name, (text, more) in COUNTERS.items()
        }
        text, labels = INSTALLATION_COUNTERS["alert_deliveries"]
        outcomes = CounterMetricFamily("tidemark_alert_deliveries", text, labels=labels)
        try:
            with self._engine.connect() as connection:
                firing, models = _by_stream(alerts.open_incidents(connection)), watch_status.of_models(connection)
                last = windows.last_of_each(connection)
                rows = streams.load_all(connection)
                self._models |= {(row.model_name, row.model_version) for row in rows}
                for row in rows:
                    labels = [row.model_name, row.model_version, row.slice]
                    status = StreamStatus.from_json(row.status)
                    for name, more, value in _counts(row, status):
                        counters[name].add_metric([*labels, *more], value)
                    samples = _stream(row, status, firing.get(row.id, ()), models.get(row.model_id), last.get(row.id))
                    for name, more, value in samples:
                        gauges[name].add_metric([*labels, *more], value)
                for test in self_tests.load_all(connection):
                    for name, value in _self_test(test):
                        gauges[name].add_metric([test.model_name, test.model_version, ""], value)
                for outcome, count in deliveries.outcomes(connection).items():
                    outcomes.add_metric([outcome], count)
                failing_reminders = deliveries.failing_reminders(connection)
        except DATABASE_ERRORS as error:
            logging.getLogger(__name__).warning("drift metrics are missing, the database failed: %s", reason(error))
            yield from self.unavailable()
            return
        yield _of_installation("database_available", 1)
        yield from (family for family in gauges.values() if family.samples)
        yield from counters.values()
        yield outcomes
        yield _of_installation("alert_reminders_failing", failing_reminders)


def _of_installation(name: str, value: int) -> Metric:
    return GaugeMetricFamily(f"tidemark_{name}", INSTALLATION_GAUGES[name], value=value)


MetricSample = tuple[str, list[str], float]  # name, values of its labels, value


def _by_stream(groups: Iterable[OpenIncidents]) -> dict[int, list[OpenIncidents]]:
    by_stream: dict[int, list[OpenIncidents]] = {}
    for group in groups:
        by_stream.setdefault(group.stream_id, []).append(group)
    return by_stream


def _counts(row: StreamRow, status: StreamStatus) -> Iterator[MetricSample]:
    yield "windows", [], status.windows
    yield "windows_skipped", [], status.windows_skipped
    yield "further_shifts_missed", [], status.further_shifts_missed
    yield from (("rows_rejected", [reason], count) for reason, count in row.rejected.items())
    yield from (("monitor_errors", [stage], count) for stage, count in status.errors.items())


def _stream(
    row: StreamRow,
    status: StreamStatus,
    firing: Sequence[OpenIncidents],
    watch: Watching | None,
    last: WindowRow | None,
) -> Iterator[MetricSample]:
    yield "alerts_firing", [], sum(group.count for group in firing)
    for group in firing:
        yield "incidents_open", [group.kind, group.severity, group.state], group.count
    if watch is not None:
        yield "monitor_lag_predictions", [], 0 if row.slice else watch.lag
        if not row.slice:
            blind_reason = watch.reason if watch.is_blind else None
            yield from (("stream_blind", [reason], float(reason == blind_reason)) for reason in REASONS)
    yield from (("drift_detected", [kind], float(kind in status.kinds)) for kind in KINDS)
    state = status.further_shifts.state if status.further_shifts is not None else None
    yield from (("further_shifts_unwatched", [str(name)], float(name == state)) for name in UNWATCHED)
    if row.last_success_at:
        yield "monitor_last_success_timestamp_seconds", [], row.last_success_at.timestamp()
    yield from _detector(status)
    yield from _feedback(status)
    if last:
        yield from _window(last)


def _detector(status: StreamStatus) -> Iterator[MetricSample]:
    if status.evidence is not None:
        yield "drift_evidence", [], status.evidence
    if status.threshold is not None:
        yield "drift_threshold", [], status.threshold
    if status.budget is not None:
        yield "false_alarm_interval_seconds", [], status.budget.seconds
        yield "watched_share", [], status.budget.watched_share


def _feedback(status: StreamStatus) -> Iterator[MetricSample]:
    if status.feedback is not None:
        yield "feedback_accuracy", [], status.feedback.accuracy
        yield "feedback_corrected", [], float(status.feedback.is_corrected)
    if status.feedback is not None or status.errors_only is not None:
        yield "feedback_errors_only", [], float(status.errors_only is not None)


def _self_test(row: SelfTestRow) -> Iterator[tuple[str, float]]:
    if row.ran_at is not None:
        yield "selftest_delay_predictions", math.inf if row.delay is None else row.delay
    if row.succeeded_at is not None:
        yield "selftest_last_success_timestamp_seconds", row.succeeded_at.timestamp()


def _window(row: WindowRow) -> Iterator[MetricSample]:
    yield "window_end_timestamp_seconds", [], row.end.timestamp()
    yield "window_seconds", [], row.seconds
    yield from ((name, more, value) for name, more, value in _report(row.report) if value is not None)


def _report(report: WindowReportJson) -> Iterator[tuple[str, list[str], float | None]]:
    """Yield the samples of a window's report; a value is None where it is no number."""
    for test, result in report.get("tests", {}).items():
        yield "drift_score", [test], result["statistic"]
        yield "drift_p_value", [test], result["p_value"]
        yield "drift_effect", [test], result["effect"]
    for label, share in report.get("proportions", {}).items():
        yield "label_proportion", [label, "window"], share
    if shift := report.get("label_shift"):
        for source, shares in (("reference", shift["reference"]), ("estimated", shift["estimated"])):
            for label, share in shares.items():
                yield "label_proportion", [label, source], share
    if performance := report.get("performance"):
        # Reports of earlier releases do not name the method, which was the only one.
        yield "estimated_accuracy", [performance.get("method", "confidence")], performance["estimated_accuracy"]
        reference = performance["reference_accuracy"]
        yield "accuracy_cost", [], reference - performance["estimated_accuracy"]
        yield "accuracy_cost_low", [], reference - performance["high"]
        yield "accuracy_cost_high", [], reference - performance["low"]
    for item in report.get("properties", []):
        yield "image_property", [item["name"], "reference"], item["reference_mean"]
        yield "image_property", [item["name"], "window"], item["window_mean"]
