"""`tidemark reference build` rehearses shifts, and `tidemark check --images` estimates the accuracy from them."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.confirming_corruptions import CONFIRMING
from tidemark.commands import rehearse
from tidemark.commands.check import check
from tidemark.commands.reference import ReferenceFacts, build_reference
from tidemark.commands.rehearse import RehearsedImages, survival_lines
from tidemark.commands.survival_picture import survival_picture
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.drift import Reference
from tidemark.drift.rehearsals.record import Rehearsals
from tidemark.drift.rehearsals.survival import survival_of, survival_rows
from tidemark.errors import ConfigurationError, TidemarkError
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.images import DecodedImage


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's bundle, a labelled .npz for a reference and one of other scans."""
    folder = tmp_path_factory.mktemp("rehearsals")
    init_bundle(MODEL, folder / "bundle", name="digits")
    _, held_out = halves()
    rng = np.random.default_rng(0)
    half = len(held_out.labels) // 2
    for name, rows in (("reference", slice(half)), ("traffic", slice(half, None))):
        np.savez(folder / f"{name}.npz", images=scan(held_out.images[rows], rng), labels=held_out.labels[rows])
    return folder


@pytest.fixture(scope="module")
def facts(installation: Path) -> ReferenceFacts:
    return build(installation, out=installation / "R.npz", picture=installation / "survival.svg")


def build(installation: Path, **options: Any) -> ReferenceFacts:
    return build_reference(installation / "bundle", installation / "reference.npz", None, power="none", **options)


def test_the_build_says_what_the_model_survives(facts: ReferenceFacts, installation: Path) -> None:
    rehearsed = facts["rehearsals"]
    assert rehearsed is not None
    assert (rehearsed["complete"], rehearsed["left_out"], rehearsed["images"]) == (True, [], 300)
    accuracy = {(row["shift"], row["magnitude"]): row["accuracy"] for row in rehearsed["survival"]}
    assert accuracy["translation", 0.2] < 0.5 < 0.9 < accuracy["jpeg", 40] <= 1
    lines = survival_lines(rehearsed)
    assert (
        lines[0] == f"what the model survives: accuracy on 300 images, {rehearsed['unchanged_accuracy']:.2f} unchanged"
    )
    assert {line.split()[0] for line in lines[2:]} == {row["shift"] for row in rehearsed["survival"]}
    with np.load(installation / "R.npz") as stored:
        survival = survival_of(Reference.from_arrays(dict(stored)))
    assert survival is not None
    assert [row._asdict() for row in survival.rows] == rehearsed["survival"]
    assert survival.unchanged_accuracy == pytest.approx(rehearsed["unchanged_accuracy"])
    picture = ElementTree.fromstring((installation / "survival.svg").read_text())
    texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(f"{accuracy['translation', 0.2]:.2f}") >= 1


def test_a_reference_is_built_without_rehearsals_where_they_are_switched_off(
    installation: Path, tmp_path: Path
) -> None:
    facts = build(installation, out=tmp_path / "R.npz", rehearsals=False)
    assert facts["rehearsals"] is None
    with np.load(tmp_path / "R.npz") as stored:
        assert Reference.from_arrays(dict(stored)).rehearsals is None
    with pytest.raises(TidemarkError, match="needs rehearsals"):
        build(installation, out=tmp_path / "R.npz", rehearsals=False, picture=tmp_path / "x.svg")


def test_rehearsals_survive_a_build_from_the_arrays_of_another(
    facts: ReferenceFacts, installation: Path, tmp_path: Path
) -> None:
    build_reference(
        installation / "bundle", None, None, tmp_path / "again.npz", arrays_file=installation / "R.npz", power="none"
    )
    with np.load(installation / "R.npz") as first, np.load(tmp_path / "again.npz") as second:
        before, after = Reference.from_arrays(dict(first)).rehearsals, Reference.from_arrays(dict(second)).rehearsals
    assert before is not None
    assert after is not None
    assert after.rehearsals == before.rehearsals


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("rain", 1),
        pytest.param("banding", 1, marks=pytest.mark.slow),
        pytest.param("thickened", 1, marks=pytest.mark.slow),
        ("dead columns", 2),
    ],
)
def test_check_estimates_the_accuracy_under_a_corruption_that_nothing_was_chosen_by(
    facts: ReferenceFacts, installation: Path, tmp_path: Path, name: str, severity: int
) -> None:
    change, sizes = CONFIRMING[name]
    with np.load(installation / "traffic.npz") as traffic:
        images, labels = traffic["images"], traffic["labels"]
    changed = change(images, sizes[severity], np.random.default_rng(1))
    np.savez(tmp_path / "window.npz", images=changed)
    report = check(installation / "R.npz", None, installation / "bundle", tmp_path / "window.npz")
    np.savez(tmp_path / "labelled.npz", images=changed, labels=labels)
    truth = build_reference(
        installation / "bundle", tmp_path / "labelled.npz", None, tmp_path / "t.npz", power="none", rehearsals=False
    )["accuracy"]
    performance = report.performance
    assert performance is not None
    assert report.kind in ("covariate", "both")
    assert performance.method in ("recreated", "regression", "combined")
    assert performance.interval_level == 0.9
    assert truth is not None
    assert performance.low <= truth <= performance.high
    assert abs(performance.estimated_accuracy - truth) < 0.06


def test_check_wants_one_kind_of_window(installation: Path, facts: ReferenceFacts) -> None:
    reference = installation / "R.npz"
    for window, bundle, images in ((None, None, None), (reference, installation / "bundle", reference)):
        with pytest.raises(ConfigurationError, match="either --window, or else --bundle and --images"):
            check(reference, window, bundle, images)


def test_no_rehearsal_begins_after_the_time_limit(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10_000_000, 100))
    monkeypatch.setattr("tidemark.commands.rehearse.time.monotonic", lambda: float(next(ticks)))
    with np.load(installation / "reference.npz") as labelled:
        pixels, labels = labelled["images"][:100], labelled["labels"][:100]
    rng = np.random.default_rng(0)
    probabilities = np.full((100, 10), 0.05) + 0.5 * np.eye(10)[labels]
    arrays = {"embeddings": rng.normal(size=(100, 4)), "probabilities": probabilities}
    rehearsed = rehearse.rehearse(lambda images: arrays, Reference(**arrays, labels=labels), pixels)
    rehearsals = rehearsed.rehearsals
    assert len(rehearsals) <= 3
    facts = rehearsed.facts()
    assert not facts["complete"]
    assert "the time was up" in "\n".join(survival_lines(facts))
    assert survival_lines(facts)[-4:] == [f"    {text}" for text in facts["left_out"]]
    assert [text.split(":")[0] for text in facts["left_out"]] == [
        "mild",
        "medium",
        "severe",
        "12 mixtures of two operations",
    ]
    assert "blur" in facts["left_out"][0]
    again = Rehearsals.from_arrays(rehearsals.to_arrays())
    assert again is not None
    assert again.left_out == rehearsals.left_out
    older = {name: values for name, values in rehearsals.to_arrays().items() if not name.endswith("left_out")}
    without = Rehearsals.from_arrays(older)
    assert without is not None
    assert without.left_out == ()
    assert "12 mixtures" in survival_picture(survival_rows(rehearsals), 0.9, rehearsals.left_out)


def test_large_images_leave_fewer_in_memory() -> None:
    images = RehearsedImages()
    large = DecodedImage(np.zeros((2000, 2000, 3), np.uint8), 2000, 2000)
    images.add([large] * 20)
    assert len(images) == 8
    images = RehearsedImages()
    images.add([DecodedImage(np.zeros((8, 8, 3), np.uint8), 8, 8)] * 700)
    assert len(images) == 600
