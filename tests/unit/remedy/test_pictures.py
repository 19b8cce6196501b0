"""Pictures of a span: each has a title, axes or units, and says in words what it shows."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.support.image_worlds import NOW
from tidemark.drift import Reference
from tidemark.drift.samples import Sample
from tidemark.remedy.augmentation.gallery import gallery
from tidemark.remedy.report.charts import shares
from tidemark.remedy.report.pictures import pictures
from tidemark.remedy.report.remedy_report import confusions
from tidemark.remedy.result import ClassShareJson, ConfusionJson
from tidemark.remedy.span import UNKNOWN, Span

RNG = np.random.default_rng(0)


def span(names: tuple[str, ...] = ("a", "b", "<c>")) -> Span:
    sample = Sample(
        RNG.normal(size=(200, 6)).astype(np.float32),
        RNG.dirichlet(np.ones(3), 200).astype(np.float32),
        RNG.normal(size=(200, 2)).astype(np.float32),
    )
    labels, properties = RNG.integers(0, 3, 200), ("brightness", "haze")
    reference = Reference(sample.embeddings, sample.probabilities, labels, sample.properties, names, properties)
    moved = reference.check(sample.embeddings + 2, sample.probabilities, sample.properties)
    return Span("m:1", NOW, NOW, reference, moved, (), np.full(200, UNKNOWN), "0")


def test_each_picture_has_a_title_axes_and_words() -> None:
    drawn = pictures(span())
    assert [title.split(" ")[0] for title, _ in drawn] == ["Embeddings", "Embeddings", "Brightness,", "Haze,"]
    for _, markup in drawn:
        root = ElementTree.fromstring(f"<div>{markup}</div>")
        [svg] = root.iter("svg")
        assert svg.get("role") == "img"
        assert svg.get("aria-label")
        assert [text.text for text in svg.iter("text")]
    assert "brightness, 0 to 1" in drawn[2][1]
    assert "&lt;c&gt;" in drawn[0][1]
    assert "standard deviations apart" in drawn[0][1]


def test_maps_show_a_bounded_number_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.remedy.report.pictures.MAX_POINTS", 50)
    for _, markup in pictures(span())[:2]:
        root = ElementTree.fromstring(f"<div>{markup}</div>")
        assert len([*root.iter("circle")]) == 50


def test_a_chart_of_shares_names_the_classes_that_moved_most() -> None:
    rows: list[ClassShareJson] = [
        {"label": f"class {k:02}", "reference": 0.05, "estimated": 0.05 + k / 1000, "low": 0, "high": 0.1, "weight": 1}
        for k in range(20)
    ]
    drawn = shares(rows)
    assert "the 12 of 20 classes that moved most" in drawn
    assert [k for k in range(20) if f"class {k:02}" in drawn] == [*range(8, 20)]


def test_confusions_are_those_of_the_classes_that_changed_most() -> None:
    names = [f"class {k}" for k in range(12)]
    before = np.full((12, 12), 9)
    after = before - np.diag(np.arange(12))
    confusion: ConfusionJson = {"classes": names, "before": before.tolist(), "after": after.tolist()}
    tables = confusions({"confusion": confusion})
    assert tables is not None
    assert (tables.classes, tables.all) == (names[4:], False)
    assert {len(row) for table in tables.tables.values() for row in table} == {8}


def test_the_same_span_is_drawn_alike() -> None:
    one = span()
    assert pictures(one) == pictures(one)


def test_thumbnails_appear_where_the_log_has_them(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(images[0]).save(file, "PNG")
    without = gallery([("reference", images), ("augmented", images)], (), tmp_path / "a.png")
    markup = gallery([("reference", images), ("augmented", images)], (file.getvalue(), b"broken"), tmp_path / "b.png")
    assert 'alt="Images in rows: reference, augmented"' in without
    assert 'alt="Images in rows: reference, augmented, span"' in markup
    with Image.open(tmp_path / "a.png") as two, Image.open(tmp_path / "b.png") as three:
        assert three.height * 2 == two.height * 3
