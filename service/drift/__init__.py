"""Drift statistics: arrays in, results out. Imports numpy and scipy only."""

from service.drift.concept import ConceptMonitor
from service.drift.power import power_table
from service.drift.reference import Reference
from service.drift.report import WindowReport
from service.drift.stream import StreamDetector
from service.drift.window import WindowTest

__all__ = ["ConceptMonitor", "Reference", "StreamDetector", "WindowReport", "WindowTest", "power_table"]
