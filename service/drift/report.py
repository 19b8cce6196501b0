"""What a window test says, as the contract's JSON has it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["none", "covariate", "label", "both", "concept"]
State = Literal["tested", "warming_up"]


class Result(NamedTuple):
    """What one test says; `effect` lies in 0..1 and does not grow with the window's size."""

    statistic: float
    p_value: float
    effect: float


class PropertyShift(NamedTuple):
    """An image property beside the reference; `effect` is the standardised mean difference."""

    name: str
    p_value: float
    effect: float
    reference_mean: float
    window_mean: float


class Witness(NamedTuple):
    """A row of the window, how atypical it is in standard deviations of the window's, and the most similar
    reference row."""

    row: int
    score: float
    nearest: int


class Neighbour(NamedTuple):
    """A reference row, its true class where that is known, and how far its embedding is from a prediction's: the root
    mean square difference of a unit, in deviations of the reference."""

    row: int
    label: str | None
    distance: float


class ClassMove(NamedTuple):
    """A predicted class: its share before and now, and how far its embeddings moved in their deviations."""

    name: str
    reference_share: float
    window_share: float
    embedding_shift: float | None


class Agreement(NamedTuple):
    """How often labels that came back agreed with the model where it predicted one class; `promised` is the mean
    calibrated confidence there, `instead` counts the other labels, most frequent first."""

    name: str
    n: int
    accuracy: float
    low: float
    high: float
    promised: float
    instead: dict[str, int]


@dataclass(frozen=True)
class LabelEvidence:
    """Labels that came back beside what calibrated confidence promised; intervals at 95 % (Wilson).

    `classes` are the predicted classes that carry the evidence, strongest first; `disagreeing` counts labels back
    from the last one, which is 0.
    """

    n: int
    accuracy: float
    low: float
    high: float
    promised: float
    classes: tuple[Agreement, ...]
    disagreeing: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        return asdict(self) | {"classes": [item._asdict() for item in self.classes]}


@dataclass(frozen=True)
class LabelShift:
    """Class proportions by class name; `weights` are importance weights for retraining."""

    reference: dict[str, float]
    estimated: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    weights: dict[str, float]
    moment_estimate: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """Accuracy estimated without labels, with a 95 % interval; an estimate only where its assumption holds."""

    estimated_accuracy: float
    low: float
    high: float
    reference_accuracy: float
    assumption_holds: bool
    note: str


@dataclass(frozen=True)
class WindowReport:
    """One window tested against the reference.

    `state` is "warming_up" where the window is too small to be tested; then nothing is claimed.
    """

    state: State
    size: int
    duplicates: int
    p_value: float
    drifted: bool
    kind: Kind
    tests: dict[str, Result]
    label_shift: LabelShift | None
    performance: Performance | None
    properties: tuple[PropertyShift, ...]
    witnesses: tuple[Witness, ...]
    classes_moved: tuple[ClassMove, ...]
    design_effect: float | None
    summary: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self) | {
            "tests": {name: result._asdict() for name, result in self.tests.items()},
            "properties": [item._asdict() for item in self.properties],
            "witnesses": [item._asdict() for item in self.witnesses],
            "classes_moved": [item._asdict() for item in self.classes_moved],
        }
