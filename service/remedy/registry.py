"""The remedies that there are: each one's name, the shifts that it is chosen for, why, and what makes it."""

from collections.abc import Callable
from dataclasses import dataclass

from .adaptation.domain_adversarial import domain_adversarial
from .adaptation.importance_weighting import reweighted
from .adaptation.recent_labels import recent_labels
from .adaptation.renormalise import renormalise
from .augmentation.remedy import augmentation
from .context import Context
from .label_shift.class_weights import class_weights
from .label_shift.corrected_posterior import corrected_posterior
from .relabel import relabel
from .result import Remedy


@dataclass(frozen=True, slots=True)
class Cure:
    """A remedy that can be asked for by name; cheaper ones come first."""

    name: str
    kinds: frozenset[str]  # of "label", "covariate" and "concept": found shifts that it is chosen for
    why: str  # what it does about them, as a clause after "because"
    make: Callable[[Context], Remedy]  # raises Unfit where it lacks what it needs


CURES: tuple[Cure, ...] = (
    Cure(
        "corrected-posterior",
        frozenset({"label"}),
        "the classes come in other proportions: the same model, corrected for them, needs no new data",
        corrected_posterior,
    ),
    Cure(
        "class-weights",
        frozenset({"label"}),
        "the classes come in other proportions: whoever retrains can weigh or redraw the training data by them",
        class_weights,
    ),
    Cure(
        "recent-labels",
        frozenset({"concept"}),
        "the labels that come back disagree with the model: its last layer can learn from them",
        recent_labels,
    ),
    Cure(
        "renormalise",
        frozenset({"covariate"}),
        "the images look different: bringing embeddings back to the reference's statistics needs no labels",
        renormalise,
    ),
    Cure(
        "last-layer",
        frozenset({"covariate"}),
        "the images look different: the reference's rows that look like them can teach the last layer",
        reweighted,
    ),
    Cure(
        "augmentation",
        frozenset({"covariate"}),
        "the images look different: training images can be made to look like them",
        augmentation,
    ),
    Cure(
        "domain-adversarial",
        frozenset({"covariate"}),
        "the images look different: features can be trained that do not tell, and need no labels of the span",
        domain_adversarial,
    ),
    Cure(
        "relabel",
        frozenset({"concept", "covariate"}),
        "labels of the span teach most where the model is least sure and the images are least typical",
        relabel,
    ),
)
