"""Pictures of a span: each has a title, axes or units, and says in words what it shows."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from tests.support.image_worlds import NOW
from tidemark.drift import Reference
from tidemark.drift.samples import Sample
from tidemark.remedy.augmentation.gallery import gallery
from tidemark.remedy.report.pictures import pictures
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
    describe_shifted_classes = reference.check(sample.embeddings + 2, sample.probabilities, sample.properties)
    return Span("m:1", NOW, NOW, reference, describe_shifted_classes, (), np.full(200, UNKNOWN), "0")


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
