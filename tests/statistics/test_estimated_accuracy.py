"""The accuracy that is estimated without labels, on corruptions of the demo's digits that the rehearsals lack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.confirming_corruptions import CONFIRMING
from benchmarks.corruptions import CORRUPTIONS, Corruption
from tidemark.commands.rehearse import rehearse
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.drift import Reference
from tidemark.drift.rehearsals.estimator import RehearsalEstimator
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.properties import measure

REFERENCE_ROWS, REHEARSED = 900, 240
WINDOW = 300
# Severities at which a person can read most digits; an image of which nothing is left has no accuracy to estimate.
SEVERITIES = (0, 1)


@dataclass(frozen=True)
class Estimates:
    """True and estimated accuracies with their intervals, by corruption and severity."""

    names: list[str]
    truth: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    confidence: np.ndarray  # mean calibrated confidence, the estimate that rehearsals replace

    @property
    def errors(self) -> np.ndarray:
        return np.asarray(self.estimate - self.truth)

    @property
    def covered(self) -> np.ndarray:
        return np.asarray((self.low <= self.truth) & (self.truth <= self.high))

    def by_name(self) -> dict[str, float]:
        return dict(zip(self.names, self.errors.round(3).tolist(), strict=True))


class DigitsWithRehearsals:
    """The demo's model with a rehearsed reference, and scans of digits that it has not seen."""

    def __init__(self, folder: Path) -> None:
        self.rng = np.random.default_rng(0)
        init_bundle(MODEL, folder / "bundle", name="digits")
        self.model = Model(bundles.load(folder / "bundle"), threads=1)
        _, held_out = halves()
        scans = scan(held_out.images, self.rng)
        half = len(scans) // 2
        images, labels = scans[:half][:REFERENCE_ROWS], held_out.labels[:half][:REFERENCE_ROWS]
        arrays = self.see(images)
        self.reference = Reference(**arrays, labels=labels)
        rehearsals = rehearse(self.see, self.reference, images[:REHEARSED]).rehearsals
        self.estimator = RehearsalEstimator(self.reference, rehearsals)
        self.fresh, self.fresh_labels = scans[half:], held_out.labels[half:]

    def see(self, images: np.ndarray) -> dict[str, Any]:
        probabilities, embeddings = self.model.predict(images)
        sides = [28] * len(images)
        return {
            "embeddings": embeddings,
            "probabilities": probabilities,
            "properties": measure(images, sides, sides),
        }

    def estimates(self, families: Mapping[str, tuple[Corruption, Sequence[float]]], mixed: bool) -> Estimates:
        """Estimate a window of each corruption and severity, at the usual or at random class proportions."""
        names, rows = [], []
        for name, (change, sizes) in families.items():
            for severity in SEVERITIES:
                weights = self.rng.dirichlet(np.ones(10)) if mixed else np.ones(10)
                shares = weights[self.fresh_labels]
                chosen = self.rng.choice(len(shares), WINDOW, p=shares / shares.sum())
                window = self.see(change(self.fresh[chosen], sizes[severity], self.rng))
                truth = float((window["probabilities"].argmax(axis=1) == self.fresh_labels[chosen]).mean())
                estimate = self.estimator(self.reference.check(**window))
                confidence = float(self.reference.calibration(window["probabilities"]).max(axis=1).mean())
                names.append(f"{name} {severity}")
                rows.append((truth, estimate.accuracy, estimate.low, estimate.high, confidence))
        return Estimates(names, *np.array(rows).T)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitsWithRehearsals:
    return DigitsWithRehearsals(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def estimates(digits: DigitsWithRehearsals) -> Estimates:
    return digits.estimates(CORRUPTIONS, mixed=False)


@pytest.fixture(scope="module")
def mixed_estimates(digits: DigitsWithRehearsals) -> Estimates:
    """Estimates at random class proportions, under families that nothing was chosen by."""
    return digits.estimates(CONFIRMING, mixed=True)


def test_the_estimate_is_unbiased_and_close_on_families_that_were_not_rehearsed(estimates: Estimates) -> None:
    assert abs(estimates.errors.mean()) <= 0.02, estimates.by_name()
    assert np.abs(estimates.errors).mean() <= 0.03, estimates.by_name()


def test_intervals_cover_the_accuracy_on_families_that_were_not_rehearsed(estimates: Estimates) -> None:
    assert estimates.covered.mean() >= 0.85, estimates.by_name()
    assert np.mean(estimates.high - estimates.low) < 0.2


def test_the_estimate_holds_under_other_class_proportions_on_families_that_nothing_was_chosen_by(
    mixed_estimates: Estimates,
) -> None:
    assert abs(mixed_estimates.errors.mean()) <= 0.02, mixed_estimates.by_name()
    assert np.abs(mixed_estimates.errors).mean() <= 0.03, mixed_estimates.by_name()
    assert mixed_estimates.covered.mean() >= 0.85, mixed_estimates.by_name()


def test_confidence_alone_is_too_high_where_the_accuracy_fell(estimates: Estimates) -> None:
    fallen = estimates.truth < 0.93
    assert fallen.sum() >= 5
    before = estimates.confidence[fallen] - estimates.truth[fallen]
    assert np.abs(estimates.errors[fallen]).mean() < 0.6 * np.abs(before).mean()
