"""What remedies of covariate shift regain on planted shifts, by true labels, and how often calm spans are misled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.support.image_worlds import ROWS, World, blurred, darker, noisy, see, turned
from tidemark.remedy.adaptation.domain_adversarial import domain_adversarial
from tidemark.remedy.adaptation.renormalise import renormalise
from tidemark.remedy.augmentation.augmentation import AugmentationDetails, augmentation
from tidemark.remedy.result import RemedyResult

PLANTED: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], float]] = {
    "brightness": (darker, 0.4),
    "blur": (blurred, 2.0),
    "noise": (noisy, 0.3),
}


@pytest.fixture(params=["digits", "environment_model"])
def world(request: pytest.FixtureRequest) -> World:
    value: World = request.getfixturevalue(request.param)
    return value


def improvement_of(remedy: RemedyResult) -> Any:
    return next(
        improvement
        for improvement in remedy.improvements
        if improvement.metric == "accuracy" and not improvement.estimated
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_augmentation_finds_what_was_planted_and_regains_a_third(world: World, name: str, tmp_path: Path) -> None:
    shift, magnitude = PLANTED[name]
    sample, labels = world.span(lambda images: shift(images, magnitude))
    remedy = augmentation(world.context(sample, tmp_path, labels))
    ranges = {
        one["name"]: (one["low"], one["high"]) for one in cast("AugmentationDetails", remedy.details)["operations"]
    }
    assert ranges[name][0] <= magnitude <= ranges[name][1]
    improvement = improvement_of(remedy)
    clean = (see(world.bundle, world.fresh[0][:ROWS]).probabilities.argmax(axis=1) == labels).mean()
    print(f"{name}: {clean:.3f} → {improvement.before:.3f} → {improvement.after:.3f}, ranges {ranges}")
    assert improvement.amount >= 0.3 * (clean - improvement.before)
    assert improvement.is_significant


@pytest.mark.slow
def test_a_turn_of_25_degrees_is_recovered_or_reported_to_be_beyond_reach(world: World, tmp_path: Path) -> None:
    sample, labels = world.span(lambda images: turned(images, 25))
    makers = [renormalise]
    try:
        import torch  # noqa: F401
    except ImportError:
        pass
    else:
        makers.append(domain_adversarial)
    remedies = [make(world.context(sample, tmp_path, labels)) for make in makers]
    for remedy in remedies:
        improvement = improvement_of(remedy)
        print(
            f"{remedy.name}: {improvement.before:.3f} {improvement.amount:+.3f} "
            f"[{improvement.low:+.3f}, {improvement.high:+.3f}]"
        )
        assert remedy.exported == improvement.is_significant
    assert any(improvement_of(remedy).is_significant for remedy in remedies)


@pytest.mark.slow
def test_calm_spans_are_seldom_claimed_to_gain(world: World, tmp_path: Path) -> None:
    """Of bootstrapped calm spans at most the share that 5 % would make, with its 99 % binomial room."""
    spans = 20
    rng = np.random.default_rng(0)
    everything, _ = world.span(lambda images: images, count=4 * ROWS)
    claims = 0
    for number in range(spans):
        chosen = everything.rows(
            rng.choice(len(everything), min(ROWS, len(everything)), replace=len(everything) < ROWS)
        )
        context = world.context(chosen, tmp_path / str(number))
        claims += renormalise(context).improves
    print(f"{claims} of {spans} calm spans claimed")
    assert claims <= 4
