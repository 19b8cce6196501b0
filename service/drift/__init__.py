"""Drift statistics: arrays in, results out. Imports numpy and scipy only."""

from .concept import ConceptMonitor
from .power import power_table
from .reference import Reference
from .report import WindowReport
from .scores import DetectorScores
from .stream import StreamDetector
from .window import WindowTest

__all__ = [
    "ConceptMonitor",
    "DetectorScores",
    "Reference",
    "StreamDetector",
    "WindowReport",
    "WindowTest",
    "power_table",
]
