"""What remedies of label shifts claim: nothing on calm spans, and an improvement where proportions moved; and which."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import Reference, WindowTest
from tidemark.drift.samples import Sample
from tidemark.remedy.label_shift.class_weights import class_weights
from tidemark.remedy.label_shift.corrected_posterior import (
    MAX_NAMED_CLASSES,
    corrected_posterior,
    describe_shifted_classes,
)
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.result import RemedyResult
from tidemark.remedy.span import UNKNOWN, Span

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CONFUSED = World(spread=0.4)


def context(reference: Reference, out: Path, rng: np.random.Generator, prior: list[float] | None) -> RemedyContext:
    arrays = CONFUSED.traffic(200, rng, prior)
    sample = Sample(*(arrays[name] for name in ("embeddings", "probabilities", "properties")))
    span = Span("cats:1", NOW, NOW, reference, sample, (), np.full(200, UNKNOWN), "0" * 64)
    report = WindowTest(reference, window_size=200)(**arrays)
    out.mkdir()
    return RemedyContext(span, report, frozenset({"label"}), out)


def log_loss_interval(remedy: RemedyResult) -> tuple[float, float]:
    (improvement,) = (one for one in remedy.improvements if one.metric == "log-loss")
    return improvement.low, improvement.high


@pytest.mark.parametrize("create", [corrected_posterior, class_weights])
def test_nothing_is_claimed_on_calm_spans(create: Any, tmp_path: Path) -> None:
    """8 spans: one claim at most; judged by the estimate that made it, two in five calm spans would claim."""
    rng = np.random.default_rng(0)
    reference = CONFUSED.reference(600, rng)
    intervals = [
        log_loss_interval(create(context(reference, tmp_path / str(number), rng, None))) for number in range(8)
    ]
    assert sum(low > 0 for low, _ in intervals) <= 1, intervals


def test_moved_proportions_are_an_improvement(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reference = CONFUSED.reference(600, rng)
    remedy = corrected_posterior(context(reference, tmp_path / "span", rng, [0.02, 0.02, 0.02, 0.04, 0.9]))
    assert log_loss_interval(remedy)[0] > 0
    assert remedy.improves


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        (0, "none of them moved for sure."),
        (MAX_NAMED_CLASSES, "4: 0.0% → 50.0%, 3: 0.0% → 40.0%, 2: 0.0% → 30.0%."),
        (5, "4: 0.0% → 50.0%, 3: 0.0% → 40.0%, 2: 0.0% → 30.0% and 2 more."),
    ],
)
def test_a_sentence_names_the_few_classes_that_moved_most(tmp_path: Path, moved: int, sentence: str) -> None:
    rng = np.random.default_rng(2)
    calm = context(CONFUSED.reference(600, rng), tmp_path / "span", rng, None)
    names = calm.span.reference.class_names
    estimated = {name: (1 + number) / 10 for number, name in enumerate(names)}
    low = estimated | dict.fromkeys(names[: len(names) - moved], 0.0)
    shift = replace(
        calm.require_proportions(), reference=dict.fromkeys(names, 0.0), estimated=estimated, low=low, high=estimated
    )
    assert describe_shifted_classes(replace(calm, report=replace(calm.report, label_shift=shift))) == sentence
