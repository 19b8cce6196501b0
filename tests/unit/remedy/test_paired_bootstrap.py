"""Gains and their intervals."""

import numpy as np
import pytest

from tidemark.remedy.paired_bootstrap import compare_posteriors, folds, further_labels, paired_bootstrap
from tidemark.remedy.report.remedy_report import verdict
from tidemark.remedy.result import Improvement, RemedyResult


def test_each_fold_has_its_share_of_every_class() -> None:
    labels = np.repeat(np.arange(4), [50, 25, 10, 5])
    parts = folds(labels, 5, 0)
    counts = np.array([np.bincount(labels[parts == part], minlength=4) for part in range(5)])
    assert (counts == [10, 5, 2, 1]).all()
    assert (folds(labels, 5, 0) == parts).all()


def test_a_gain_is_a_weighted_mean_whatever_the_metric_s_direction() -> None:
    before, after, weights = np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0]), np.array([1.0, 2, 3, 4])
    improvement = paired_bootstrap("accuracy", before, after, "here", True, weights)
    assert (improvement.before, improvement.after, improvement.amount) == pytest.approx((0.1, 0.3, 0.2))
    assert paired_bootstrap("log-loss", after, before, "here", True, weights).amount == pytest.approx(0.2)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(40):
        before, weights = rng.random(500) < 0.7, rng.uniform(0, 2, 500)
        after = np.where(rng.random(500) < 0.2, True, before)  # 0.2 of the 0.3 wrong
        improvement = paired_bootstrap("accuracy", before.astype(float), after.astype(float), "", False, weights, seed)
        covered += improvement.low <= 0.06 <= improvement.high
    assert covered >= 34  # P(fewer | 95 %) < 0.004


def test_both_metrics_are_measured() -> None:
    labels = np.array([0, 1, 1])
    before, after = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]), np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    accuracy, loss = compare_posteriors(before, after, labels, "here", False)
    assert accuracy.metric == "accuracy"
    assert accuracy.amount == pytest.approx(2 / 3)
    assert loss.metric == "log-loss"
    assert loss.amount == pytest.approx(np.log([2, 1.6]).sum() / 3)


def test_the_further_labels_are_those_that_show_the_gain() -> None:
    rng = np.random.default_rng(2)

    def improvement(n: int) -> Improvement:
        difference = rng.normal(0.1, 1.0, n)
        return paired_bootstrap("log-loss", difference, np.zeros(n), "", False, seed=int(rng.integers(1 << 30)))

    first = improvement(100)
    while first.is_significant or first.amount <= 0.05:
        first = improvement(100)
    further = further_labels(first, 100)
    assert further is not None
    true = (2.8 / first.amount) ** 2 - 100
    assert further == pytest.approx(true, rel=0.35)
    assert further_labels(improvement(5_000), 5_000) == 0
    assert further_labels(paired_bootstrap("accuracy", np.ones(9), np.zeros(9), "", False), 9) is None


def of(low: float, high: float, estimated: bool = True) -> Improvement:
    return Improvement("accuracy", 0.5, 0.5, (low + high) / 2, low, high, "", estimated)


@pytest.mark.parametrize(
    ("improvements", "words"),
    [
        ((), "not measured"),
        ((of(0.1, 0.2),), "improves, as estimated"),
        ((of(0.1, 0.2), of(-0.1, 0.2, estimated=False)), "improves, as estimated"),
        ((of(-0.1, 0.2), of(0.1, 0.2, estimated=False)), "improves"),
        ((of(0.1, 0.2), of(-0.2, -0.1, estimated=False)), "gets worse"),
        ((of(-0.1, 0.2),), "does not improve"),
    ],
)
def test_the_verdict_claims_no_more_than_was_measured(improvements: tuple[Improvement, ...], words: str) -> None:
    assert verdict(RemedyResult("n", "label", "", improvements))[0] == words


def test_a_remedy_gains_where_some_metric_does_and_none_surely_loses() -> None:
    assert RemedyResult("n", "label", "", (of(0.1, 0.2), of(-0.1, 0.1))).improves
    assert not RemedyResult("n", "label", "", (of(0.1, 0.2), of(-0.2, -0.1))).improves
    assert not RemedyResult("n", "label", "", (of(-0.1, 0.1),)).improves
