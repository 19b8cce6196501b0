"""`tidemark remedy` from rows in Postgres to a folder: planted shifts of real scans, and their remedies."""

import ast
import csv
import datetime as dt
import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.graphs import mlp
from tests.support.monitoring import WORLD, Installation
from tests.support.remedy_world import World
from tidemark.commands.reference import reference_arrays, store
from tidemark.drift import Reference
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.labelled_images import LabelledImages
from tidemark.inference.model import Model
from tidemark.remedy import span
from tidemark.remedy.label_shift.priors_file import corrections
from tidemark.remedy.paired_bootstrap import hits
from tidemark.store import baselines, feedback, streams
from tidemark.store.prediction_id import time_of

digits_only = pytest.mark.parametrize("world", ["digits"], indirect=True)


def test_of_a_long_span_the_newest_predictions_are_read(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.remedy.span.MAX_ROWS", 250)
    installation = Installation(engine, url)
    ids = installation.log(WORLD.traffic(400, installation.rng))
    with engine.connect() as connection:
        read = span.load(connection, "m:1", time_of(ids[0]), time_of(ids[-1]) + dt.timedelta(seconds=1))
    assert [*read.ids] == ids[-250:]


def test_label_shift_is_corrected_and_half_of_the_loss_is_regained(world: World, tmp_path: Path) -> None:
    reference = world.arrays["probabilities"], world.arrays["labels"]
    recalls = [hits(*reference)[reference[1] == label].mean() for label in range(10)]
    labels = world.commoner(int(np.argmin(recalls)), 1500)
    images, predicted = world.log(labels)
    facts = world.remedy("--out", tmp_path / "out", *world.with_model())
    assert facts["kinds"] == ["label"]
    corrected, weights = facts["remedies"]
    assert corrected["exported"]
    assert sorted(corrected["files"]) == ["corrected-posterior/", "priors.json"]
    assert all(improvement["estimated"] for improvement in corrected["gains"] + weights["gains"])
    true = np.bincount(labels, minlength=10) / len(labels)
    shares = corrected["details"]["proportions"]
    assert sum(row["low"] <= share <= row["high"] for row, share in zip(shares, true, strict=True)) >= 8
    [priors] = corrections([tmp_path / "out" / "priors.json"], [world.bundle]).values()
    before, after = world.lost(predicted, labels), world.lost(priors(predicted), labels)
    report_figures("label shift", before=before, after=after)
    assert all(lost > 0 for lost in before)
    assert max(1 - left / lost for lost, left in zip(before, after, strict=True)) >= 0.5
    [of_loss] = [improvement for improvement in corrected["gains"] if improvement["metric"] == "log-loss"]
    assert of_loss["low"] > 0
    written, _ = Model(bundles.load(tmp_path / "out" / "corrected-posterior"), threads=1).predict(images)
    np.testing.assert_allclose(written, priors(predicted), atol=2e-2)
    assert what_is_normal_for(world, tmp_path / "out" / "corrected-posterior") == "mix"


def what_is_normal_for(world: World, folder: Path) -> str | None:
    """Return what a remedy's bundle is compared with once its reference is built on the images of the old one."""
    written = bundles.load(folder)
    arrays = reference_arrays(written, LabelledImages(written, world.images))
    entry = Reference(arrays["embeddings"], arrays["probabilities"], arrays["labels"], arrays["properties"])
    store(written, arrays, entry)
    with world.engine.connect() as connection:
        stream = streams.find(connection, f"{written.name}:{written.version}")
        assert stream is not None
        current = baselines.current(connection, stream.id)
    return None if current is None else current.what


@digits_only
def test_the_exported_model_answers_darker_images_as_before(world: World, tmp_path: Path) -> None:
    bright = world.fresh
    world.fresh = lambda labels, rng: (bright(labels, rng) * 0.4).astype(np.uint8)
    labels = world.commoner(0, 600, factor=1.0)
    images, predicted = world.log(labels)
    names = ("--remedy", "renormalise", "--remedy", "augmentation")
    facts = world.remedy("--out", tmp_path / "out", *world.with_model(), *names)
    assert facts["kinds"] == ["covariate"]
    assert [entry["name"] for entry in facts["remedies"]] == ["renormalise", "augmentation"]
    for entry in facts["remedies"]:
        assert entry["exported"]
        probabilities, _ = Model(bundles.load(tmp_path / "out" / entry["name"]), threads=1).predict(images)
        assert hits(probabilities, labels).mean() > hits(predicted, labels).mean() + 0.05
    [operation] = json.loads((tmp_path / "out" / "augmentation.json").read_text())["operations"]
    assert operation["name"] == "brightness"
    assert operation["low"] <= 0.4 <= operation["high"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "Embeddings by class" in page
    assert what_is_normal_for(world, tmp_path / "out" / "renormalise") == "all"


def test_concept_shift_is_learnt_from_returned_labels(world: World, tmp_path: Path) -> None:
    labels = world.commoner(0, 1000, factor=1.0)
    swapped = np.select([labels == 3, labels == 8], [8, 3], labels)
    feedback_labels = np.where(world.rng.random(len(labels)) < 0.3, swapped, -1)
    world.log(labels, feedback_labels)
    facts = world.remedy("--out", tmp_path / "out", *world.with_model())
    assert facts["kinds"] == ["concept"]
    recent = next(entry for entry in facts["remedies"] if entry["name"] == "recent-labels")
    for improvement in recent["gains"]:
        assert improvement["low"] > 0
        assert not improvement["estimated"]
    assert recent["details"]["further_labels"] == {"accuracy": 0, "log-loss": 0}
    later = world.commoner(0, 500, factor=1.0)
    images = world.fresh(later, world.rng)
    before, after = (
        Model(bundle, threads=1).predict(images)[0]
        for bundle in (world.bundle, bundles.load(tmp_path / "out" / "recent-labels"))
    )
    truth = np.select([later == 3, later == 8], [8, 3], later)
    report_figures("concept shift", before=hits(before, truth).mean(), after=hits(after, truth).mean())
    assert hits(after, truth).mean() > hits(before, truth).mean() + 0.1
    named = next(entry for entry in facts["remedies"] if entry["name"] == "relabel")
    assert named["details"]["labelled"] == (feedback_labels >= 0).sum()
    rows = json.loads((tmp_path / "out" / "label_next.json").read_text())
    with (tmp_path / "out" / "label_next.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in rows]
    assert len({row["predicted"] for row in rows}) == 10
    with world.engine.connect() as connection:
        assert not feedback.labels_of(connection, [UUID(row["id"]) for row in rows])


@digits_only
def test_the_report_is_one_file_and_agrees_with_its_json(world: World, tmp_path: Path) -> None:
    labels = world.commoner(8, 600)
    world.log(labels, np.where(world.rng.random(600) < 0.2, labels, -1))
    facts = world.remedy("--out", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == {key: value for key, value in facts.items() if key in written}
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!#|data:)|url\(|@import|<script", page)
    for entry in facts["remedies"]:
        assert f'id="{entry["name"]}"' in page
        assert entry["accuracy"]["lost"] == facts["accuracy_lost"]
        for lines in entry["code"].values():
            assert lines.strip() in unescape(page)
    assert facts["accuracy_lost"]["method"] == "labels"
    assert "In short: accuracy lost" in page
    assert "Estimated." in page
    [corrected] = [entry for entry in facts["remedies"] if entry["name"] == "corrected-posterior"]
    assert {improvement["estimated"] for improvement in corrected["gains"]} == {True, False}
    assert corrected["missing"] == "With --bundle it is also written as a new model."
    assert corrected["missing"] in page


@digits_only
def test_class_weights_are_files_and_code(world: World, tmp_path: Path) -> None:
    world.log(world.commoner(8, 600))
    facts = world.remedy("--out", tmp_path / "out", "--remedy", "class-weights", *world.with_model())
    [entry] = facts["remedies"]
    weights = json.loads((tmp_path / "out" / "class_weights.json").read_text())["weights"]
    listed = pytest.approx([float(f"{weight:.6g}") for weight in weights.values()])
    values: dict[str, Any] = {}
    exec(entry["code"]["scikit-learn"], values)  # written by us, a moment ago
    assert [values["class_weight"][index] for index in range(10)] == listed
    assert values["classifier"].fit(np.eye(10), np.arange(10)).class_weight == values["class_weight"]
    for library in ("PyTorch", "Keras"):
        compile(entry["code"][library], library, "exec")
    [call] = re.findall(r"torch.tensor\((.*)\)", entry["code"]["PyTorch"])
    assert ast.literal_eval(call) == listed
    [literal] = re.findall(r"class_weight = (.*)", entry["code"]["Keras"])
    assert list(ast.literal_eval(literal).values()) == listed
    resample = json.loads((tmp_path / "out" / "resample.json").read_text())
    assert resample["of"] == str(world.images)
    with np.load(world.images) as archive:
        redrawn = np.bincount(archive["labels"][resample["take"]], minlength=10) / len(archive["labels"])
    estimated = np.array([row["estimated"] for row in entry["details"]["proportions"]])
    np.testing.assert_allclose(redrawn, estimated / estimated.sum(), atol=2e-3)


@digits_only
def test_a_remedy_that_does_not_improve_is_not_exported_without_force(world: World, tmp_path: Path) -> None:
    labels = world.commoner(0, 400, factor=1.0)
    world.log(labels, np.where(np.arange(400) < 60, labels, -1))
    calm = world.remedy("--out", tmp_path / "calm")
    assert calm["kinds"] == calm["remedies"] == []
    assert "No shift was found" in (tmp_path / "calm" / "report.html").read_text()
    options = ["--remedy", "recent-labels", *world.with_model()]
    [remedy] = world.remedy("--out", tmp_path / "kept", *options)["remedies"]
    assert not any(improvement["low"] > 0 for improvement in remedy["gains"])
    assert (remedy["exported"], remedy["files"]) == (False, [])
    assert "It is not exported" in (tmp_path / "kept" / "report.html").read_text()
    [forced] = world.remedy("--out", tmp_path / "forced", *options, "--force")["remedies"]
    assert (forced["exported"], forced["files"]) == (True, ["recent-labels/"])


@digits_only
def test_the_error_names_what_is_missing(world: World, tmp_path: Path) -> None:
    world.log(world.commoner(8, 150))
    other = init_bundle(mlp(tmp_path / "mlp.onnx"), tmp_path / "other", name="digits")

    def refused(*options: Any) -> str:
        return str(world.invoke("--out", tmp_path / "out", *options).exception)

    assert refused() == "150 predictions of digits:1 in that span; at least 200 are needed"
    world.log(world.commoner(8, 100))
    assert "no remedy 'prayer'; there are: corrected-posterior, class-weights" in refused("--remedy", "prayer")
    assert "recent-labels needs 50 labels that came back in the span; there are 0" in refused(
        "--remedy", "recent-labels"
    )
    (tmp_path / "out" / "report.html").touch()
    assert "not an empty folder" in refused()
    (tmp_path / "out" / "report.html").unlink()
    assert "the span was predicted by digits:1" in refused("--bundle", other.folder)
    assert "in that span; at least 200" in refused("--until", "2020-01-02T03:04:05.678901+00:00")


def report_figures(what: str, **values: Any) -> None:
    """Print what was measured, for `pytest -s`."""
    print(f"{what}: " + ", ".join(f"{name} {np.round(value, 4)}" for name, value in values.items()))
