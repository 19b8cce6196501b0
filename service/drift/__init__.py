"""Drift statistics: arrays in, results out. Imports numpy and scipy only."""

from .detector import StreamDetector
from .estimates import LabelShift, Performance
from .label_agreement import Agreement, LabelEvidence
from .label_monitor import ConceptMonitor
from .label_records import LabelTrace
from .learnt_slopes import LearntContext
from .power import power_table
from .reference import Reference
from .report import ClassMove, Neighbour, NewKind, PropertyShift, RepeatShare, Result, WindowReport, Witness
from .samples import Sample
from .scores import DetectorScores
from .views import Leading
from .window import WindowTest

__all__ = [
    "Agreement",
    "ClassMove",
    "ConceptMonitor",
    "DetectorScores",
    "LabelEvidence",
    "LabelShift",
    "LabelTrace",
    "Leading",
    "LearntContext",
    "Neighbour",
    "NewKind",
    "Performance",
    "PropertyShift",
    "Reference",
    "RepeatShare",
    "Result",
    "Sample",
    "StreamDetector",
    "WindowReport",
    "WindowTest",
    "Witness",
    "power_table",
]
