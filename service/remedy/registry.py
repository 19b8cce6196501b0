"""Registry of remedies: name, kinds of shift, reason, and the function that creates each."""

from collections.abc import Callable
from dataclasses import dataclass

from .adaptation.domain_adversarial import domain_adversarial
from .adaptation.importance_weighting import importance_weighting
from .adaptation.recent_labels import recent_labels
from .adaptation.renormalise import renormalise
from .augmentation.augmentation import augmentation
from .label_shift.class_weights import class_weights
from .label_shift.corrected_posterior import corrected_posterior
from .relabel import relabel
from .remedy_context import RemedyContext
from .result import RemedyResult


@dataclass(frozen=True, slots=True)
class RemedySpec:
    """A remedy that can be requested by name; cheaper ones come first."""

    name: str
    kinds: frozenset[str]  # kinds of shift that it is for: "label", "covariate", "concept"
    why: str  # reason for choosing it, as a clause after "because"
    make: Callable[[RemedyContext], RemedyResult]  # raises RemedyNotApplicable where it lacks what it needs


REMEDIES: tuple[RemedySpec, ...] = (
    RemedySpec(
        "corrected-posterior",
        frozenset({"label"}),
        "the classes come in other proportions: the same model, corrected for them, needs no new data",
        corrected_posterior,
    ),
    RemedySpec(
        "class-weights",
        frozenset({"label"}),
        "the classes come in other proportions: for retraining, the training data can be weighted or resampled by them",
        class_weights,
    ),
    RemedySpec(
        "recent-labels",
        frozenset({"concept"}),
        "the labels that come back disagree with the model: its last layer can learn from them",
        recent_labels,
    ),
    RemedySpec(
        "renormalise",
        frozenset({"covariate"}),
        "the images look different: bringing embeddings back to the reference's statistics needs no labels",
        renormalise,
    ),
    RemedySpec(
        "last-layer",
        frozenset({"covariate"}),
        "the images look different: the reference's rows that look like them can teach the last layer",
        importance_weighting,
    ),
    RemedySpec(
        "augmentation",
        frozenset({"covariate"}),
        "the images look different: training images can be made to look like them",
        augmentation,
    ),
    RemedySpec(
        "domain-adversarial",
        frozenset({"covariate"}),
        "the images look different: features can be trained that are alike in both, without labels of the span",
        domain_adversarial,
    ),
    RemedySpec(
        "relabel",
        frozenset({"concept", "covariate"}),
        "labels of the span teach most where the model is least sure and the images are least typical",
        relabel,
    ),
)
