"""The script: stretches of calm traffic with three planted shifts between them."""

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from .scans import Scans, darker_and_blurred, scan

Kind = Literal["none", "covariate", "label", "concept"]

RUSH = (1, 7)  # digits that become more frequent in the label shift
RUSH_FACTOR = 5.0  # factor by which these classes become more frequent
SWAPPED = {3: 8, 8: 3}  # digits whose labels are exchanged in the concept shift
CALM = 1500  # predictions of a calm stage, which is prolonged up to three times until all alerts are resolved
LIMIT = 1200  # predictions within which a planted shift must be detected


@dataclass(frozen=True)
class Stage:
    """One stretch of traffic."""

    kind: Kind
    title: str
    predictions: int
    feedback: float = 0.2  # share of predictions whose true label comes back


STAGES = (
    Stage("none", "calm traffic", CALM),
    Stage("covariate", "a darker, blurrier scanner", LIMIT),
    Stage("none", "the old scanner again", CALM),
    Stage("label", f"a rush of the digits {RUSH[0]} and {RUSH[1]}", LIMIT),
    Stage("none", "the usual mix again", CALM),
    Stage("concept", "3 now means 8, and 8 means 3", LIMIT, feedback=1.0),
)


@dataclass
class Traffic:
    """Draws images and the labels that will be fed back, of one stage at a time."""

    held_out: Scans
    rng: np.random.Generator
    _weights: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        class_weight = np.where(np.isin(self.held_out.labels, RUSH), RUSH_FACTOR, 1.0)
        self._weights = {"label": class_weight / class_weight.sum()}

    def draw(self, kind: Kind, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return images (count, 28, 28) and labels (count,)."""
        rows = self.rng.choice(len(self.held_out.labels), count, p=self._weights.get(kind))
        images = scan(self.held_out.images[rows], self.rng)
        labels = self.held_out.labels[rows]
        if kind == "covariate":
            images = darker_and_blurred(images)
        if kind == "concept":
            labels = np.array([SWAPPED.get(int(label), int(label)) for label in labels])
        return images, labels


class StageOutcomeJson(TypedDict):
    """The printed outcome of a stage."""

    stage: str
    planted: Kind
    found: str
    predictions_until_alarm: int | None
    alerts: int
    summary: str
    ok: bool


@dataclass
class StageOutcome:
    """Outcome of a stage: which kind was detected, after how many predictions, and with how many alerts."""

    stage: Stage
    kind: str | None = None  # kind in the first alert that was delivered
    predictions: int | None = None  # predictions from the planted shift to that alert
    alerts: int = 0  # alerts delivered during the stage
    summary: str = ""

    @property
    def ok(self) -> bool:
        """Whether the planted kind was detected, or, in a calm stage, nothing was."""
        if self.stage.kind == "none":
            return self.alerts == 0
        return self.kind == self.stage.kind

    def to_dict(self) -> StageOutcomeJson:
        return {
            "stage": self.stage.title,
            "planted": self.stage.kind,
            "found": self.kind or "none",
            "predictions_until_alarm": self.predictions,
            "alerts": self.alerts,
            "summary": self.summary,
            "ok": self.ok,
        }
