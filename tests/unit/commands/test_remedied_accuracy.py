"""The accuracy that a remedied model regains, by rehearsals of it, next to the truth on the images themselves."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_worlds import World, darker, digits_world
from tidemark.commands import remedied_accuracy
from tidemark.commands.remedied_accuracy import with_rehearsed_accuracy
from tidemark.drift import Reference
from tidemark.inference import bundle as bundles
from tidemark.inference.model import Model
from tidemark.remedy.accuracy_balance import accuracy_balance
from tidemark.remedy.adaptation.renormalise import renormalise
from tidemark.remedy.result import Answers, RemedyResult


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> World:
    return digits_world(tmp_path_factory.mktemp("digits"))


@dataclass(frozen=True, eq=False)
class Rehearsed:
    """A remedy of darker images and its bundle, and the parts that the rehearsed model was fitted on."""

    remedy: RemedyResult
    bundle: Path
    labels: np.ndarray
    before: float  # accuracy on the span
    fitted_on: list[tuple[int, int]]  # rows of the reference, and labelled images left out


@pytest.fixture(scope="module")
def rehearsed(digits: World, tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    sample, labels = digits.span(lambda images: darker(images, 0.4))
    context = digits.context(sample, tmp_path_factory.mktemp("remedy"))
    remedy = renormalise(context)
    fitted_on = []

    def refit(reference: Reference, images: np.ndarray) -> Answers:
        fitted_on.append((len(reference), int(images.sum())))
        assert remedy.refit is not None
        return remedy.refit(reference, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remedied_accuracy, "REHEARSED_IMAGES", 120)
        [result] = with_rehearsed_accuracy(context, [replace(remedy, refit=refit)])
    before = float((sample.probabilities.argmax(axis=1) == labels).mean())
    return Rehearsed(result, context.out / "renormalise", labels, before, fitted_on)


def test_a_remedy_regains_what_rehearsals_of_the_written_model_foretell(digits: World, rehearsed: Rehearsed) -> None:
    labels, before = rehearsed.labels, rehearsed.before
    images = darker(digits.fresh[0][: len(labels)], 0.4)
    answered, _ = Model(bundles.load(rehearsed.bundle), threads=1).predict(images)
    after = float((answered.argmax(axis=1) == labels).mean())
    improvement = rehearsed.remedy.rehearsed
    assert improvement is not None
    assert after > before + 0.05
    assert improvement.low <= after - before <= improvement.high
    assert improvement.amount > 0
    assert abs(improvement.after - after) < 0.1
    assert accuracy_balance(None, rehearsed.remedy.improvements, improvement).regained is improvement
    assert "120 labelled images that the remedy was not fitted on" in improvement.measured_on


def test_without_labelled_images_or_a_model_remedies_stay_as_they_are(digits: World, tmp_path: Path) -> None:
    sample, _ = digits.span(lambda images: darker(images, 0.4))
    context = digits.context(sample, tmp_path)
    without_images = replace(context, images=None)
    remedy = renormalise(without_images)
    assert with_rehearsed_accuracy(without_images, [remedy]) == [remedy]
    other = RemedyResult("relabel", "concept", "")
    assert with_rehearsed_accuracy(context, [other]) == [other]


def test_a_remedy_is_fitted_again_without_the_rehearsed_images(digits: World, rehearsed: Rehearsed) -> None:
    assert rehearsed.fitted_on == [(len(digits.reference) - 120, 120)]
