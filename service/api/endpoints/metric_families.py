"""The drift metrics: the name of each, its text and its labels."""

from collections.abc import Mapping

LABELS = ["model", "version", "slice"]  # labels that every metric of a stream has; further ones are listed with each
KINDS = ("covariate", "label", "both", "concept", "harm", "unknown", "repeats")
GAUGES: Mapping[str, tuple[str, list[str]]] = {
    "drift_score": ("Statistic of each test in the last window", ["test"]),
    "drift_p_value": ("p-value of each test in the last window", ["test"]),
    "drift_effect": ("Effect size of each test in the last window, 0..1", ["test"]),
    "drift_detected": ("1 while drift of this kind is detected", ["kind"]),
    "drift_evidence": ("Evidence of the sequential detector", []),
    "drift_threshold": ("Evidence at which the sequential detector alarms", []),
    "false_alarm_interval_seconds": ("Time in which all streams of the model raise about one false alarm", []),
    "watched_share": ("Share of the predictions that is watched; those of a fast model are thinned by id", []),
    "window_end_timestamp_seconds": ("Time of the last prediction in the last window", []),
    "window_seconds": ("Time to evaluate the last window", []),
    "label_proportion": ("Share of each label", ["label", "source"]),
    "estimated_accuracy": ("Accuracy estimated without labels in the last window, by method", ["method"]),
    "accuracy_cost": ("Accuracy on the reference minus the estimated accuracy of the last window", []),
    "accuracy_cost_low": ("Lower end of the interval of tidemark_accuracy_cost", []),
    "accuracy_cost_high": ("Upper end of the interval of tidemark_accuracy_cost", []),
    "feedback_accuracy": ("Accuracy measured on labels fed back, corrected if they are not a random sample", []),
    "feedback_corrected": (
        "1 if feedback_accuracy is corrected, for its labels are not of a random sample",
        [],
    ),
    "feedback_errors_only": ("1 if labels fed back are of errors only, so that they measure no accuracy", []),
    "image_property": ("Mean of an image property", ["name", "source"]),
    "alerts_firing": ("Alerts that are firing", []),
    "incidents_open": (
        "Alerts that are firing, by severity (page or ticket) and state (new, acknowledged or muted)",
        ["kind", "severity", "state"],
    ),
    "monitor_lag_predictions": ("Predictions accepted for logging that the monitor has not processed", []),
    "selftest_delay_predictions": (
        "Predictions from the self-test's planted shift to the alarm, +Inf if it failed",
        [],
    ),
    "selftest_last_success_timestamp_seconds": ("Time of the last self-test that found its planted shift", []),
    "monitor_last_success_timestamp_seconds": ("Time of the monitor's last step of this model", []),
    "further_shifts_unwatched": (
        "1 while an incident is open in which no further shift would be seen, by reason",
        ["reason"],
    ),
    "stream_blind": ("1 while predictions of the model come in that are not watched, by reason", ["reason"]),
}
COUNTERS: Mapping[str, tuple[str, list[str]]] = {
    "windows": ("Windows tested", []),
    "windows_skipped": ("Full windows that were not tested, to save time", []),
    "further_shifts_missed": ("Predictions during incidents that were not searched for a further shift", []),
    "rows_rejected": ("Logged predictions that could not be processed", ["reason"]),
    "monitor_errors": ("Failures of the monitor that were isolated", ["stage"]),
}
INSTALLATION_GAUGES: Mapping[str, str] = {
    "database_available": "1 while Postgres answers this server",
    "alert_reminders_failing": (
        "Alerts that fire and that Alertmanager was not reminded of, or did not silence, at the last attempt"
    ),
}
INSTALLATION_COUNTERS: Mapping[str, tuple[str, list[str]]] = {
    "alert_deliveries": ("Alert deliveries by outcome", ["outcome"])
}
