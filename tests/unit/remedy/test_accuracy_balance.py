"""What a shift costs and a remedy regains: measured on labels where there are enough, else estimated."""

import datetime as dt
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import Reference, WindowTest
from tidemark.remedy.accuracy_balance import accuracy_balance, accuracy_loss
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.result import Improvement
from tidemark.remedy.span import UNKNOWN, Span

WORLD = World()
ROWS = 400
THEN = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def context(labelled: int, has_reference_labels: bool = True) -> tuple[RemedyContext, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = WORLD.labels(1000, rng)
    reference = Reference(**WORLD.see(labels, rng), labels=labels if has_reference_labels else None)
    truth = WORLD.labels(ROWS, rng)
    window = WORLD.see(truth, rng, noise=1.5)
    sample = reference.check(**window)
    feedback = np.full(ROWS, UNKNOWN)
    feedback[:labelled] = truth[:labelled]
    span = Span("m:1", THEN, THEN, reference, sample, (UUID(int=0),) * ROWS, feedback, "0" * 64)
    report = WindowTest(reference, window_size=ROWS)(**window)
    hits = sample.probabilities.argmax(axis=1) == truth
    return RemedyContext(span, report, frozenset({"covariate"}), Path()), hits


def improvement(metric: str, amount: float, estimated: bool) -> Improvement:
    return Improvement(metric, 0.7, 0.7 + amount, amount, amount - 0.02, amount + 0.02, "images", estimated)


def test_few_labels_leave_the_loss_to_the_window_report() -> None:
    remedy_context, _ = context(labelled=49)
    loss, performance = accuracy_loss(remedy_context), remedy_context.report.performance
    assert loss is not None
    assert performance is not None
    assert loss.method == performance.method
    assert loss.amount == pytest.approx(performance.reference_accuracy - performance.estimated_accuracy)
    assert loss.low <= loss.amount <= loss.high


def test_fifty_labels_measure_the_loss() -> None:
    remedy_context, hits = context(labelled=50)
    loss, performance = accuracy_loss(remedy_context), remedy_context.report.performance
    assert loss is not None
    assert performance is not None
    assert loss.method == "labels"
    assert loss.amount == pytest.approx(performance.reference_accuracy - hits[:50].mean())
    assert loss.low < loss.amount < loss.high


def test_a_reference_without_labels_has_no_accuracy_to_lose() -> None:
    remedy_context, _ = context(labelled=100, has_reference_labels=False)
    assert accuracy_loss(remedy_context) is None
    assert str(accuracy_balance(None, [])) == ""
    assert accuracy_balance(None, []).to_dict() == {"lost": None, "regained": None}


def test_what_is_recovered_on_labels_stands_before_what_is_estimated() -> None:
    loss = accuracy_loss(context(labelled=100)[0])
    offered = [improvement("log-loss", 0.3, False), improvement("accuracy", 0.2, True)]
    assert accuracy_balance(loss, offered).regained is offered[1]
    measured = improvement("accuracy", 0.1, False)
    balance = accuracy_balance(loss, [*offered, measured])
    assert balance.regained is measured
    values = balance.to_dict()
    regained, lost = values["regained"], values["lost"]
    assert regained is not None
    assert regained["accuracy"] == 0.1
    assert regained["low"] == pytest.approx(0.08)
    assert lost is not None
    assert lost["method"] == "labels"
    assert str(balance).endswith("(labels), regained 10.0 points (8.0 to 12.0)")
