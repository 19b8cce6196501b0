"""The accuracy of a label round while labels of wrong predictions also come another way."""

import datetime as dt
import uuid

import numpy as np
import pytest

from tidemark.drift.label_sampling import SampledPopulation, inclusion_probabilities, sampled_accuracy
from tidemark.serving.label_desk import counted_labels
from tidemark.store.label_rounds import LabelRequest

N, DRAWN, ROUNDS = 1000, 150, 400
REPORTED = 0.6  # share of the wrong predictions that somebody reports
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Round:
    """A population whose confidence promises two thirds of the errors, and the predictions drawn of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        confidence = 1 - 0.9 * rng.beta(0.25, 2.5, N)
        right = rng.random(N) >= np.clip(1.5 * (1 - confidence), 0, 0.95)
        probability = inclusion_probabilities(confidence, DRAWN)
        rows = rng.permutation(np.flatnonzero(rng.random(N) < probability))
        self.population = SampledPopulation.from_sample(confidence, probability, len(rows))
        self.truth = float(right.mean())
        self.confidence, self.probability, self.right = confidence[rows], probability[rows], right[rows]
        self.reported = ~self.right & (rng.random(len(rows)) < REPORTED)
        self.labelled = np.zeros(len(rows), dtype=bool)

    def label(self, count: int) -> None:
        """Label the first open requests, as the label desk shows them."""
        self.labelled[np.flatnonzero(~self.labelled)[:count]] = True

    def report(self, first: int = 0, step: int = 1) -> None:
        """Label wrong predictions, or every so many of them, wherever they are in the order."""
        self.labelled[np.flatnonzero(self.reported)[first::step]] = True

    def error(self, rows: np.ndarray) -> float:
        """Return the estimate from some labels minus the truth."""
        return (
            sampled_accuracy(self.population, self.confidence[rows], self.probability[rows], self.right[rows]).accuracy
            - self.truth
        )

    def counted(self) -> np.ndarray:
        """Return the places of the labels that count."""
        requests = [
            LabelRequest(uuid.UUID(int=place), place, p, f, False, 0, 0 if labelled else None, NOW)
            for place, (p, f, labelled) in enumerate(
                zip(self.probability.tolist(), self.confidence.tolist(), self.labelled.tolist(), strict=True)
            )
        ]
        return np.array([request.place for request in counted_labels(requests)])


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_reports_of_errors_during_a_round_do_not_move_its_accuracy(order: str) -> None:
    """40 labels of the desk; with every label counted as drawn the accuracy would be too low by several points."""
    rng = np.random.default_rng(5)
    errors, naive = [], []
    for _ in range(ROUNDS):
        current = Round(rng)
        if order == "before":
            current.report()
            current.label(40)
        elif order == "between":
            for part in range(4):
                current.label(10)
                current.report(part, 4)
        else:
            current.label(40)
            current.report()
        errors.append(current.error(current.counted()))
        naive.append(current.error(np.flatnonzero(current.labelled)))
    assert abs(np.mean(errors)) <= 3 * np.std(errors) / np.sqrt(ROUNDS) + 0.003
    assert np.mean(naive) < -0.04
