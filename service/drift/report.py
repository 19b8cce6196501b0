"""The report of a window test; its fields are those of the JSON in the API."""

from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

from .estimates import LabelShift, Performance

Kind = Literal["none", "covariate", "label", "both", "concept", "unknown", "repeats"]
State = Literal["tested", "warming_up", "not_tested", "untested"]


class Result(NamedTuple):
    """The result of one test.

    Attributes
    ----------
    statistic : float
        Statistic in units of the test.
    p_value : float
    effect : float in 0..1
        The size of the difference beyond what sampling alone gives at the median. It does not grow with the window.
    effect_low, effect_high : float in 0..1
        95 % interval of the effect by a bootstrap of window and reference.
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
    name : str
    p_value : float
    effect : float
        The difference of the means in deviations within the samples, -10 to 10; sizes on a log scale.
    effect_low, effect_high : float
        95 % interval of the effect.
    reference_mean, window_mean : float
        Reference mean and window mean in units of the property.
    constant : bool
        Whether the property never varies in the reference. It then takes no part in the tests of drift.
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
    share : float
        Share of the predictions that repeat an earlier one of the window.
    expected_share : float
        The share in as many predictions of the reference or of calm traffic.
    largest_share : float
        Share of the predictions that are one and the same.
    p_value : float
        The p-value of as many repeats at the expected share.
    unusual : bool
        Whether the share exceeds the expected one by five points at least.
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
    share : float
        Their share of the window.
    similarity : float in 0..1
        Mean similarity among them.
    reference_similarity : float in 0..1
        Mean similarity of them to images of the reference.
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
class WindowReport:
    """One window tested against the reference.

    Attributes
    ----------
    state : State
        "tested"; "warming_up" if the window has too few predictions; "not_tested" if too few of them differ; "untested"
        if no test was made, whose report claims nothing but its summary.
    size : int
        Predictions in the window.
    duplicates : int
        Predictions that repeat an earlier one of the window exactly; they are tested once.
    tested : int
        Predictions that took part in the tests: different ones, at most 5,000.
    p_value : float
        The p-value of all tests together; of the repeats if these are the finding; 1 while warming up.
    p_value_floor : float
        The smallest p-value that the number of permutations allows. A p-value at the floor reads "less than".
    evidence : float
        Nats: minus the logarithm of the p-value, extrapolated beyond the floor.
    drifted : bool
        Whether the p-value is at or below the level, or repeats are unusual.
    kind : Kind
        What changed; "unknown" if the reference has no two rows of one true class, "repeats" if nothing but repeats
        did.
    tests : dict[str, Result]
        The results by family of tests; "residual" is there if the kind had to be named.
    repeats : RepeatShare or None
        Exact repeats; None while warming up.
    new_kind : NewKind or None
        A new kind of image, if the window holds one.
    summary : str
        One sentence about the window.
    alert_summary : str
        One sentence for an alert that another test raised; it never says that there is no drift.
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
