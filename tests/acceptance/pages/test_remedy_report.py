"""The report of `tidemark remedy` in a real browser, opened as the file that it is."""

import datetime as dt
from pathlib import Path
from typing import Literal
from uuid import UUID

import numpy as np
import pytest

from tests.support.browser import Page
from tests.support.live_pages import VIEWS, assert_can_be_read
from tidemark.drift import Reference, WindowTest
from tidemark.drift.samples import Sample
from tidemark.remedy.registry import REMEDIES
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.report import remedy_report
from tidemark.remedy.report.remedy_report import Skipped
from tidemark.remedy.result import Improvement
from tidemark.remedy.span import UNKNOWN, Span

NAMES = ("tench", "goldfish", "great white shark", "hammerhead & <co>")
REMEDY_NAMES = ("corrected-posterior", "class-weights", "recent-labels", "relabel")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("remedy")
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1.2, (4, 6))

    def seen(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embeddings = centres[labels] + rng.normal(0, 1, (len(labels), 6))
        powers = np.exp(2 * embeddings @ centres.T - (centres**2).sum(axis=1))
        return embeddings, powers / powers.sum(axis=1, keepdims=True)

    reference_labels, labels = rng.integers(0, 4, 600), rng.choice(4, 300, p=[0.1, 0.1, 0.2, 0.6])
    reference = Reference(*seen(reference_labels), labels=reference_labels, class_names=NAMES)
    embeddings, probabilities = seen(labels)
    fed = np.where(rng.random(300) < 0.3, (labels + (labels == 2)) % 4, UNKNOWN)
    since, until = dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    sample = Sample(embeddings.astype(np.float32), probabilities.astype(np.float32), None)
    ids = tuple(UUID(int=number) for number in range(300))
    span = Span("fish:1", since, until, reference, sample, ids, fed, "0" * 64)
    window = WindowTest(reference, window_size=300)(embeddings, probabilities)
    context = RemedyContext(span, window, frozenset({"label", "concept"}), out)
    remedies = [entry.make(context) for entry in REMEDIES if entry.name in REMEDY_NAMES]
    assert {type(improvement) for remedy in remedies for improvement in remedy.improvements} == {Improvement}
    skipped = [Skipped("augmentation", "needs labelled held-out images: give --images")]
    remedy_report.write(context, remedies, {entry.name: entry.why for entry in REMEDIES}, skipped)
    return out / "report.html"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_can_be_read_and_asks_for_nothing(
    written: Path, page: Page, screenshots: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.show(width, scheme)
    page.open(written.as_uri())
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    page.screenshot(screenshots / f"remedy-{width}-{scheme}.png")
    assert_can_be_read(page, width)
    assert {address.partition(":")[0] for address in page.requested} <= {"file", "data"}
    assert page.run("document.querySelectorAll('section').length") == len(REMEDY_NAMES) + 1
