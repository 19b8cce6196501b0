"""The tables. Postgres only: partitions, bytea and jsonb are used as they are there."""

from .base import XID8, metadata
from .earlier_versions import slice_feedback, slice_predictions
from .labelling import label_requests, label_rounds
from .log import SWEEP_SPOOL, feedback, installation, label_log, log_ends, models, predictions, segments, writers
from .reporting import alerts, deliveries, windows
from .watching import baselines, calibrations, checkpoints, evidence_points, monitors, references, self_tests, streams

__all__ = [
    "SWEEP_SPOOL",
    "XID8",
    "alerts",
    "baselines",
    "calibrations",
    "checkpoints",
    "deliveries",
    "evidence_points",
    "feedback",
    "installation",
    "label_log",
    "label_requests",
    "label_rounds",
    "log_ends",
    "metadata",
    "models",
    "monitors",
    "predictions",
    "references",
    "segments",
    "self_tests",
    "slice_feedback",
    "slice_predictions",
    "streams",
    "windows",
    "writers",
]
