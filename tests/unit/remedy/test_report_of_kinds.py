"""The report of a run names every kind of shift that a window test can find."""

import datetime as dt
from pathlib import Path
from typing import get_args

import numpy as np

from tests.support.worlds import World
from tidemark.drift import Reference, WindowTest
from tidemark.drift.report import Kind
from tidemark.kinds import KIND_DESCRIPTIONS
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.report.remedy_report import HTML, write
from tidemark.remedy.span import UNKNOWN, Span
from tidemark.remedy.span_kinds import kinds_of

WORLD = World()
TIME = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def test_every_kind_has_a_description() -> None:
    assert set(KIND_DESCRIPTIONS) == {*get_args(Kind), "harm"}


def test_a_span_of_repeats_has_a_report_without_remedies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = WORLD.labels(600, rng)
    reference = Reference(**WORLD.see(labels, rng), labels=labels)
    different = WORLD.see(WORLD.labels(100, rng), rng)
    window = {name: np.tile(values, (3, 1)) for name, values in different.items()}
    report = WindowTest(reference, window_size=300)(**window)
    span = Span("m:1", TIME, TIME, reference, reference.check(**window), (), np.full(300, UNKNOWN), "0" * 64)
    kinds = kinds_of(span, report, 10_000)
    assert "repeats" in kinds
    content = write(RemedyContext(span, report, kinds, tmp_path), [], {}, [])
    assert content["kinds"] == sorted(kinds)
    assert KIND_DESCRIPTIONS["repeats"] in (tmp_path / HTML).read_text()
