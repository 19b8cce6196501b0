"""Gains and their intervals."""

import numpy as np
import pytest

from tidemark.remedy.paired_bootstrap import folds, further_labels, gain, gains
from tidemark.remedy.report.report import verdict
from tidemark.remedy.result import Gain, Remedy


def test_each_fold_has_its_share_of_every_class() -> None:
    labels = np.repeat(np.arange(4), [50, 25, 10, 5])
    parts = folds(labels, 5, 0)
    counts = np.array([np.bincount(labels[parts == part], minlength=4) for part in range(5)])
    assert (counts == [10, 5, 2, 1]).all()
    assert (folds(labels, 5, 0) == parts).all()


def test_a_gain_is_a_weighted_mean_whatever_the_metric_s_direction() -> None:
    before, after, weights = np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0]), np.array([1.0, 2, 3, 4])
    found = gain("accuracy", before, after, "here", True, weights)
    assert (found.before, found.after, found.improvement) == pytest.approx((0.1, 0.3, 0.2))
    assert gain("log-loss", after, before, "here", True, weights).improvement == pytest.approx(0.2)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(40):
        before, weights = rng.random(500) < 0.7, rng.uniform(0, 2, 500)
        after = np.where(rng.random(500) < 0.2, True, before)  # 0.2 of the 0.3 wrong
        found = gain("accuracy", before.astype(float), after.astype(float), "", False, weights, seed)
        held += found.low <= 0.06 <= found.high
    assert held >= 34  # P(fewer | 95 %) < 0.004


def test_both_metrics_are_measured() -> None:
    labels = np.array([0, 1, 1])
    before, after = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]), np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    accuracy, loss = gains(before, after, labels, "here", False)
    assert (accuracy.metric, accuracy.improvement) == ("accuracy", pytest.approx(2 / 3))
    assert (loss.metric, loss.improvement) == ("log-loss", pytest.approx(np.log([2, 1.6]).sum() / 3))


def test_the_further_labels_are_those_that_show_the_gain() -> None:
    rng = np.random.default_rng(2)

    def shown(n: int) -> Gain:
        difference = rng.normal(0.1, 1.0, n)
        return gain("log-loss", difference, np.zeros(n), "", False, seed=int(rng.integers(1 << 30)))

    first = shown(100)
    while first.gains or first.improvement <= 0.05:
        first = shown(100)
    further = further_labels(first, 100)
    assert further is not None
    true = (2.8 / first.improvement) ** 2 - 100
    assert further == pytest.approx(true, rel=0.35)
    assert further_labels(shown(5_000), 5_000) == 0
    assert further_labels(gain("accuracy", np.ones(9), np.zeros(9), "", False), 9) is None


def of(low: float, high: float, estimated: bool = True) -> Gain:
    return Gain("accuracy", 0.5, 0.5, (low + high) / 2, low, high, "", estimated)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((), "not measured"),
        ((of(0.1, 0.2),), "gains, as estimated"),
        ((of(0.1, 0.2), of(-0.1, 0.2, estimated=False)), "gains, as estimated"),
        ((of(-0.1, 0.2), of(0.1, 0.2, estimated=False)), "gains"),
        ((of(0.1, 0.2), of(-0.2, -0.1, estimated=False)), "loses"),
        ((of(-0.1, 0.2),), "does not gain"),
    ],
)
def test_the_verdict_claims_no_more_than_was_measured(gains: tuple[Gain, ...], said: str) -> None:
    assert verdict(Remedy("n", "label", "", gains))[0] == said


def test_a_remedy_gains_where_some_metric_does_and_none_surely_loses() -> None:
    assert Remedy("n", "label", "", (of(0.1, 0.2), of(-0.1, 0.1))).gaining
    assert not Remedy("n", "label", "", (of(0.1, 0.2), of(-0.2, -0.1))).gaining
    assert not Remedy("n", "label", "", (of(-0.1, 0.1),)).gaining
