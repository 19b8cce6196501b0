"""The part of a report's JSON about labels that came back: accuracy, agreement by class, and evidence."""

from typing import NotRequired

from typing_extensions import TypedDict  # pydantic does not read that of `typing` before Python 3.12

Point = tuple[str, int, float]  # time (ISO 8601), number of predictions or of labels, evidence in nats


class AccuracyJson(TypedDict):
    """Accuracy measured on labels, with its interval; `on_labels` is the uncorrected one of selective labels."""

    accuracy: float
    low: float
    high: float
    n: int
    on_labels: NotRequired[float | None]


class AgreementJson(TypedDict):
    """The share of labels that agree with the model where it predicts one class."""

    name: str
    n: int
    accuracy: float
    low: float
    high: float
    promised: float  # mean calibrated confidence
    instead: dict[str, int]  # labels that came back where they differ from the prediction, and how often


class LabelEvidenceHistoryJson(TypedDict):
    """The evidence of labels over time, by the number of labels."""

    history: list[Point]
    threshold: float
    change: int  # number of labels before the estimated change


class LabelEvidenceJson(TypedDict):
    """The agreement of the model with labels that came back, and the evidence against its calibrated confidence."""

    n: int
    accuracy: float
    low: float
    high: float
    promised: float  # mean calibrated confidence
    classes: list[AgreementJson]
    disagreeing: list[str]
    since: str | None
    evidence: LabelEvidenceHistoryJson
    reference_accuracy: NotRequired[float]
    on_labels: NotRequired[float | None]
