"""Adaptation without labels: what is claimed, what is kept, and what a bundle of it answers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_worlds import World, darker
from tidemark.inference import bundle as bundles
from tidemark.inference.model import Model
from tidemark.remedy.adaptation.adversarial_training import reverse_accuracy, train
from tidemark.remedy.adaptation.domain_adversarial import domain_adversarial
from tidemark.remedy.adaptation.head import Head
from tidemark.remedy.adaptation.importance_weighting import density_ratio, effective_size
from tidemark.remedy.adaptation.renormalise import renormalise, transport
from tidemark.remedy.adaptation.unsupervised import estimate_improvement
from tidemark.remedy.result import RemedyNotApplicable

RNG = np.random.default_rng(0)


def test_judge_favours_neither_side() -> None:
    old, new = (RNG.dirichlet(np.ones(4), 300) for _ in range(2))
    old32, new32 = old.astype(np.float32), new.astype(np.float32)
    there = estimate_improvement(old32, old, new32, new, 0)
    back = estimate_improvement(new32, new, old32, old, 0)
    assert there.estimated
    assert there.amount == pytest.approx(-back.amount)
    same = estimate_improvement(old32, old, old32, old, 0)
    assert same.amount == 0
    assert not same.is_significant


def test_transport_carries_mean_and_covariance() -> None:
    target = RNG.normal(size=(4000, 3)) @ RNG.normal(size=(3, 3)) + 5
    source = RNG.normal(size=(4000, 3)) @ (2 * np.eye(3)) - 1
    transported = transport(source.astype(np.float32), target.astype(np.float32)).scores(source)
    assert np.allclose(transported.mean(axis=0), target.mean(axis=0), atol=1e-3)
    assert np.linalg.norm(np.cov(transported.T) - np.cov(target.T)) < 0.15 * np.linalg.norm(np.cov(target.T))


def test_transport_of_the_same_rows_moves_nothing() -> None:
    rows = RNG.normal(size=(200, 5)).astype(np.float32)
    rows[:, 4] = 0
    assert np.allclose(transport(rows, rows).scores(rows), rows, atol=1e-5)


def test_layer_after_layer_is_one_layer() -> None:
    first, second = Head(RNG.normal(size=(4, 3)), RNG.normal(size=3)), Head(RNG.normal(size=(3, 2)), RNG.normal(size=2))
    rows = RNG.normal(size=(6, 4))
    assert np.allclose(second.after(first).scores(rows), second.scores(first.scores(rows)))


def test_density_ratio_of_shifted_normals() -> None:
    reference = RNG.normal(size=(2000, 2)).astype(np.float32)
    window = (RNG.normal(size=(1000, 2)) + np.array([0.7, 0])).astype(np.float32)
    ratio = density_ratio(reference, window, 0)
    truth = np.exp(0.7 * reference[:, 0] - 0.7**2 / 2)
    assert np.corrcoef(ratio, truth)[0, 1] > 0.95
    assert abs(float(ratio @ reference[:, 0]) / len(reference) - 0.7) < 0.2
    assert effective_size(ratio) == pytest.approx(effective_size(truth), rel=0.3)


def test_renormalised_digits_gain_as_claimed_and_are_served(digits: World, tmp_path: Path) -> None:
    sample, labels = digits.span(lambda images: darker(images, 0.4))
    estimated = renormalise(digits.context(sample, tmp_path / "unlabelled"))
    [claim] = estimated.improvements
    [measured] = renormalise(digits.context(sample, tmp_path / "labelled", labels)).improvements
    assert claim.estimated
    assert not measured.estimated
    assert claim.is_significant
    assert measured.is_significant
    assert claim.low <= measured.amount
    assert estimated.exported
    written = bundles.load(tmp_path / "unlabelled" / "renormalise")
    assert written.version == "1+adapted"
    images = darker(digits.fresh[0], 0.4)
    probabilities, _ = Model(written, threads=1).predict(images)
    assert (probabilities.argmax(axis=1) == labels).mean() > measured.before + 0.1


def test_nothing_is_changed_on_calm_spans(digits: World, tmp_path: Path) -> None:
    sample, _ = digits.span(lambda images: images)
    remedy = renormalise(digits.context(sample, tmp_path))
    assert not remedy.improves
    assert not remedy.exported
    assert not list(tmp_path.iterdir())
    assert renormalise(digits.context(sample, tmp_path, force=True)).exported


def test_without_torch_it_says_what_to_install(digits: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    sample, _ = digits.span(lambda images: images)
    with pytest.raises(RemedyNotApplicable, match=r"pip install 'tidemark\[adapt\]'"):
        domain_adversarial(digits.context(sample, tmp_path))


def test_adversarial_training_is_deterministic_and_does_not_lose_the_classes() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    centres = 3 * np.eye(3, 6)
    labels = RNG.integers(0, 3, 600)
    rows = (centres[labels] + RNG.normal(size=(600, 6))).astype(np.float32)
    offset = np.array([4, -3, 0, 0, 0, 0], np.float32)
    window, start = rows[300:] + offset, Head(centres.T, -(centres**2).sum(axis=1) / 2)
    one, two = (train(rows[:300], labels[:300], window, start, 1.0, 0) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.window.head, two.window.head, strict=True))
    unadapted = (start.probabilities(window).argmax(axis=1) == labels[300:]).mean()
    predicted = one.window.head.probabilities(one.window.adapter(window)).argmax(axis=1)
    assert (predicted == labels[300:]).mean() > unadapted + 0.05
    assert reverse_accuracy(one, rows[:300], labels[:300], window) > 0.8


def test_adversarial_bundle_answers_as_trained(digits: World, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    sample, labels = digits.span(lambda images: darker(images, 0.4))
    remedy = domain_adversarial(digits.context(sample, tmp_path, labels, force=True))
    probabilities, _ = Model(bundles.load(tmp_path / "domain-adversarial"), threads=1).predict(
        darker(digits.fresh[0], 0.4)
    )
    assert remedy.exported
    assert abs((probabilities.argmax(axis=1) == labels).mean() - remedy.improvements[0].after) < 0.05
