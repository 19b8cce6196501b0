"""The accuracy that is estimated without labels, on corruptions of the demo's digits that the rehearsals lack."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.confirming_corruptions import CONFIRMING
from benchmarks.corruptions import CORRUPTIONS
from tidemark.commands.rehearsals import rehearse
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.drift import Reference, WindowTest
from tidemark.drift.rehearsals.estimator import RehearsalEstimator
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.properties import measure
from tidemark.inference.session import Model

REHEARSED = 300
WINDOW = 500
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
    mixed: np.ndarray  # truth, estimate, low and high (n, 4) under families to confirm and other class proportions


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        init_bundle(MODEL, Path(folder) / "bundle", name="digits")
        model = Model(bundles.load(Path(folder) / "bundle"), threads=1)

    def see(images: np.ndarray) -> dict[str, Any]:
        probabilities, embeddings = model.predict(images)
        sides = [28] * len(images)
        return {
            "embeddings": embeddings,
            "probabilities": probabilities,
            "properties": measure(images, sides, sides),
        }

    _, held_out = halves()
    half = len(held_out.labels) // 2
    chosen = rng.integers(0, half, 1500)
    images, labels = scan(held_out.images[chosen], rng), held_out.labels[chosen]
    arrays = see(images)
    rehearsals = rehearse(see, Reference(**arrays, labels=labels), images[:REHEARSED]).rehearsals
    reference = Reference(**arrays, labels=labels, rehearsals=rehearsals)
    test = WindowTest(reference, window_size=WINDOW)
    rows = []
    for change, sizes in CORRUPTIONS.values():
        for severity in SEVERITIES:
            chosen = half + rng.integers(0, len(held_out.labels) - half, WINDOW)
            window = see(change(scan(held_out.images[chosen], rng), sizes[severity], rng))
            truth = float((window["probabilities"].argmax(axis=1) == held_out.labels[chosen]).mean())
            performance = test(**window).performance
            assert performance is not None
            confidence = float(reference.calibration(window["probabilities"]).max(axis=1).mean())
            rows.append((truth, performance.estimated_accuracy, performance.low, performance.high, confidence))
    estimator = RehearsalEstimator(reference, rehearsals)
    fresh_labels, mixed = held_out.labels[half:], []
    for change, sizes in CONFIRMING.values():
        shares = rng.dirichlet(np.ones(10))[fresh_labels]
        chosen = half + rng.choice(len(fresh_labels), WINDOW, p=shares / shares.sum())
        window = see(change(scan(held_out.images[chosen], rng), sizes[1], rng))
        truth = float((window["probabilities"].argmax(axis=1) == held_out.labels[chosen]).mean())
        estimate = estimator(reference.check(**window))
        mixed.append((truth, estimate.accuracy, estimate.low, estimate.high))
    names = [f"{name} {severity}" for name in CORRUPTIONS for severity in SEVERITIES]
    truths, estimated, low, high, confidences = np.array(rows).T
    return Estimates(names, truths, estimated, low, high, confidences, np.array(mixed))


def test_the_estimate_is_unbiased_and_close_on_families_that_were_not_rehearsed(estimates: Estimates) -> None:
    errors = estimates.estimate - estimates.truth
    assert abs(errors.mean()) <= 0.02, dict(zip(estimates.names, errors.round(3).tolist(), strict=True))
    assert np.abs(errors).mean() <= 0.03, dict(zip(estimates.names, errors.round(3).tolist(), strict=True))


def test_intervals_cover_the_accuracy_on_families_that_were_not_rehearsed(estimates: Estimates) -> None:
    covered = (estimates.low <= estimates.truth) & (estimates.truth <= estimates.high)
    assert covered.mean() >= 0.85, [name for name, hit in zip(estimates.names, covered, strict=True) if not hit]
    assert np.mean(estimates.high - estimates.low) < 0.2


def test_the_estimate_holds_under_other_class_proportions_on_families_that_nothing_was_chosen_by(
    estimates: Estimates,
) -> None:
    truth, estimate, low, high = estimates.mixed.T
    errors = estimate - truth
    assert abs(errors.mean()) <= 0.03, errors.round(3).tolist()
    assert np.abs(errors).mean() <= 0.05, errors.round(3).tolist()
    covered = (low <= truth) & (truth <= high)
    assert covered.sum() >= stats.binom.ppf(0.01, len(truth), 0.85), errors.round(3).tolist()


def test_confidence_alone_is_too_high_where_the_accuracy_fell(estimates: Estimates) -> None:
    fallen = estimates.truth < 0.93
    assert fallen.sum() >= 5
    before = estimates.confidence[fallen] - estimates.truth[fallen]
    after = estimates.estimate[fallen] - estimates.truth[fallen]
    assert np.abs(after).mean() < 0.6 * np.abs(before).mean()
