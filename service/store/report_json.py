"""The JSON of window reports as it is stored, served and sent: its keys, their types, its version.

Keys that are not required are missing from reports of earlier versions, from those of windows without a test, or
from those that an answer must shorten. A number that JSON cannot hold is stored as null.
"""

from typing import (
    Final,
    NotRequired,  # pydantic reads only these before Python 3.12
)

from typing_extensions import TypedDict

from .label_evidence_json import AccuracyJson, LabelEvidenceJson

VERSION: Final = 2  # version of the JSON; reports of version 1 have no such key, nor the keys that came since


class ResultJson(TypedDict):
    """The result of one test."""

    statistic: float | None
    p_value: float | None
    effect: float | None
    effect_low: NotRequired[float | None]
    effect_high: NotRequired[float | None]


class LabelShiftJson(TypedDict):
    """Class proportions by class name."""

    reference: dict[str, float]
    estimated: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    weights: dict[str, float]
    moment_estimate: dict[str, float]


class PerformanceJson(TypedDict):
    """Accuracy estimated without labels; reports of version 1 may not name the method, which was the only one."""

    estimated_accuracy: float
    low: float
    high: float
    reference_accuracy: float
    note: str
    assumption_holds: NotRequired[bool]
    interval_level: NotRequired[float]
    method: NotRequired[str]
    operations: NotRequired[list[str]]


class PropertyShiftJson(TypedDict):
    """An image property of the window next to the reference."""

    name: str
    p_value: float | None
    effect: float | None
    effect_low: NotRequired[float | None]
    effect_high: NotRequired[float | None]
    reference_mean: float | None
    window_mean: float | None
    constant: NotRequired[bool]


class NeighbourJson(TypedDict):
    """A reference row that is like a witness."""

    row: int
    label: str | None
    distance: float | None


class WitnessJson(TypedDict):
    """One of the least typical predictions of a window."""

    id: str
    score: float | None
    nearest: int
    neighbours: NotRequired[list[NeighbourJson]]


class ClassMoveJson(TypedDict):
    """A predicted class whose share or embeddings moved."""

    name: str
    reference_share: float
    window_share: float
    embedding_shift: float | None


class RepeatsJson(TypedDict):
    """Exact repeats in a window."""

    share: float
    expected_share: float
    largest_share: float
    p_value: float | None
    unusual: bool


class NewKindJson(TypedDict):
    """Images that are unlike the reference and alike among themselves."""

    share: float
    similarity: float | None
    reference_similarity: float | None


class HistogramJson(TypedDict):
    """The shares of reference and window in the bins of an image property."""

    name: str
    edges: list[float]
    reference: list[float]
    window: list[float]


class RehearsedShiftJson(TypedDict):
    """The accuracy under one rehearsed operation; `severity` is mild, medium or severe."""

    shift: str
    unit: str
    severity: str
    magnitude: float
    accuracy: float


class SurvivalJson(TypedDict):
    """The model's accuracy under the rehearsed operations of its reference, on `images` images."""

    images: int
    rehearsals: int
    unchanged_accuracy: float
    shifts: list[RehearsedShiftJson]
    left_out: NotRequired[list[str]]  # what was not rehearsed because the time was up; missing in older references


class RecurrenceJson(TypedDict):
    """The earlier incidents that one resembles."""

    count: int
    first: str
    last: str
    text: str


class ReportChanges(TypedDict, total=False):
    """The keys of a window's report that an alert, its slice or its labels replace."""

    kind: str
    drifted: bool
    summary: str
    p_value: float
    feedback: AccuracyJson
    labels: LabelEvidenceJson
    recurrence: RecurrenceJson
    from_first_prediction: bool


class WindowReportJson(TypedDict):
    """The report of a window."""

    size: int
    p_value: float
    drifted: bool
    kind: str
    summary: str
    version: NotRequired[int]
    state: NotRequired[str]
    duplicates: NotRequired[int]
    tested: NotRequired[int]
    p_value_floor: NotRequired[float]
    evidence: NotRequired[float | None]
    tests: NotRequired[dict[str, ResultJson]]
    label_shift: NotRequired[LabelShiftJson | None]
    performance: NotRequired[PerformanceJson | None]
    properties: NotRequired[list[PropertyShiftJson]]
    witnesses: NotRequired[list[WitnessJson]]
    classes_moved: NotRequired[list[ClassMoveJson]]
    repeats: NotRequired[RepeatsJson | None]
    new_kind: NotRequired[NewKindJson | None]
    design_effect: NotRequired[float | None]
    alert_summary: NotRequired[str]
    reference: NotRequired[int]
    proportions: NotRequired[dict[str, float]]
    histograms: NotRequired[list[HistogramJson]]
    feedback: NotRequired[AccuracyJson]
    labels: NotRequired[LabelEvidenceJson]
    recurrence: NotRequired[RecurrenceJson]
    from_first_prediction: NotRequired[bool]


class StreamReportJson(WindowReportJson):
    """A report with the name of its stream."""

    stream: str


class ServedWindowJson(StreamReportJson):
    """A stored window as clients get it: its report with the keys that its row adds."""

    id: int
    start: str
    end: str
    threshold: float | None
