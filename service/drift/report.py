"""The report of a window test; its fields are those of the JSON in the API."""

from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["none", "covariate", "label", "both", "concept", "unknown", "repeats"]
State = Literal["tested", "warming_up", "not_tested", "untested"]
AccuracyMethod = Literal["confidence", "reweighted", "recreated", "regression", "combined", "unknown"]


class Result(NamedTuple):
    """The result of one test.

    Attributes
    ----------
    statistic : float, in units of the test.
    p_value : float.
    effect : float in 0..1, the size of the difference beyond what sampling alone gives at the median. It does not
        grow with the window.
    effect_low, effect_high : float in 0..1, 95 % interval of the effect by a bootstrap of window and reference.
    """

    statistic: float
    p_value: float
    effect: float
    effect_low: float
    effect_high: float


class PropertyShift(NamedTuple):
    """An image property of the window next to the reference.

    Attributes
    ----------
    name : str.
    p_value : float.
    effect : float in -10..10, the difference of the means in deviations within the samples; sizes on a log scale.
    effect_low, effect_high : float, 95 % interval of the effect.
    reference_mean, window_mean : float, in units of the property.
    constant : bool, whether the property never varies in the reference. It then takes no part in the tests of drift.
    """

    name: str
    p_value: float
    effect: float
    effect_low: float
    effect_high: float
    reference_mean: float
    window_mean: float
    constant: bool


class RepeatShare(NamedTuple):
    """Exact repeats in a window.

    Attributes
    ----------
    share : float, share of the predictions that repeat an earlier one of the window.
    expected_share : float, the share in as many predictions of the reference or of calm traffic.
    largest_share : float, share of the predictions that are one and the same.
    p_value : float, of as many repeats at the expected share.
    unusual : bool, whether the share exceeds the expected one by five points at least.
    """

    share: float
    expected_share: float
    largest_share: float
    p_value: float
    unusual: bool


class NewKind(NamedTuple):
    """Images that are unlike the reference and alike among themselves.

    Attributes
    ----------
    share : float, their share of the window.
    similarity : float in 0..1, mean similarity among them.
    reference_similarity : float in 0..1, mean similarity of them to images of the reference.
    """

    share: float
    similarity: float
    reference_similarity: float


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
    """A predicted class: its share of reference and window, and how far its embeddings moved in their deviations."""

    name: str
    reference_share: float
    window_share: float
    embedding_shift: float | None


@dataclass(frozen=True)
class LabelShift:
    """Class proportions by class name.

    Attributes
    ----------
    reference : shares of the classes in the reference; where what is normal depends on the context, in calm traffic
        of the window's context.
    estimated : maximum a posteriori estimate for the window.
    low, high : 95 % interval of each share of the traffic that the window is drawn from.
    weights : importance weights for refitting; never zero, and 1 for a class that the reference lacks.
    moment_estimate : the estimate by black box shift estimation, as a check on the other.
    """

    reference: dict[str, float]
    estimated: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    weights: dict[str, float]
    moment_estimate: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """Accuracy estimated without labels.

    Attributes
    ----------
    estimated_accuracy, low, high : float in 0..1, the estimate and its interval.
    reference_accuracy : float, the accuracy on the reference.
    interval_level : float, probability with which the interval covers where the method's assumption holds.
    method : "confidence", the calibrated confidence; "reweighted", the same at the window's class proportions;
        "recreated", rehearsed operations that make the reference's images look like the window; "regression", the
        features of all rehearsals; "combined", one of these two and the window's class proportions; "unknown", if no
        method gives an interval of use.
    assumption_holds : bool, whether the method's assumption holds.
    operations : the rehearsed operations that recreate the window; empty for other methods.
    note : one sentence about the method for the person who reads the estimate.
    """

    estimated_accuracy: float
    low: float
    high: float
    reference_accuracy: float
    interval_level: float
    method: AccuracyMethod
    assumption_holds: bool
    operations: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class WindowReport:
    """One window tested against the reference.

    Attributes
    ----------
    state : "tested"; "warming_up" if the window has too few predictions; "not_tested" if too few of them differ;
        "untested" if no test was made, whose report claims nothing but its summary.
    size : int, predictions in the window.
    duplicates : int, predictions that repeat an earlier one of the window exactly; they are tested once.
    tested : int, predictions that took part in the tests: different ones, at most 5,000.
    p_value : float, of all tests together; of the repeats if these are the finding; 1 while warming up.
    p_value_floor : float, the smallest p-value that the number of permutations allows. A p-value at the floor reads
        "less than".
    evidence : float, nats: minus the logarithm of the p-value, extrapolated beyond the floor.
    drifted : bool, whether the p-value is at or below the level, or repeats are unusual.
    kind : what changed; "unknown" if the reference has no two rows of one true class, "repeats" if nothing but repeats
        did.
    tests : the results by family of tests; "residual" is there if the kind had to be named.
    repeats : exact repeats; None while warming up.
    new_kind : a new kind of image, if the window holds one.
    summary : one sentence about the window.
    alert_summary : one sentence for an alert that another test raised; it never says that there is no drift.
    """

    state: State
    size: int
    duplicates: int = 0
    tested: int = 0
    p_value: float = 1.0
    p_value_floor: float = 0.0
    evidence: float = 0.0
    drifted: bool = False
    kind: Kind = "none"
    tests: dict[str, Result] = field(default_factory=dict)
    label_shift: LabelShift | None = None
    performance: Performance | None = None
    properties: tuple[PropertyShift, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    classes_moved: tuple[ClassMove, ...] = ()
    repeats: RepeatShare | None = None
    new_kind: NewKind | None = None
    design_effect: float | None = None
    summary: str = ""
    alert_summary: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self) | {
            "tests": {name: result._asdict() for name, result in self.tests.items()},
            "properties": [item._asdict() for item in self.properties],
            "witnesses": [item._asdict() for item in self.witnesses],
            "classes_moved": [item._asdict() for item in self.classes_moved],
            "repeats": None if self.repeats is None else self.repeats._asdict(),
            "new_kind": None if self.new_kind is None else self.new_kind._asdict(),
        }
