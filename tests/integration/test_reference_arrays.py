"""`tidemark reference build --arrays`: references of what a model answered elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine

from tests.support.bundles import observed_bundle
from tests.support.worlds import World
from tidemark.commands.reference import ReferenceFacts, build_reference
from tidemark.errors import TidemarkError
from tidemark.inference.bundle import AnyBundle, Bundle
from tidemark.inference.properties import NAMES
from tidemark.store import models, references

WORLD = World()
LABELS = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def _database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    monkeypatch.setattr("tidemark.commands.reference_power.power_table", lambda *_, **__: ())


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = WORLD.labels(600, rng)
    columns = WORLD.see(labels, rng) | {"labels": labels, "class_names": np.array(LABELS)} | changes
    return {name: values for name, values in columns.items() if values is not None}


def build(bundle: AnyBundle, tmp_path: Path, out: Path | None = None, **changes: Any) -> ReferenceFacts:
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays(**changes))
    return build_reference(bundle.folder, None, None, out, arrays_file=path)


def newest_reference(connection: Connection, model_id: int) -> dict[str, np.ndarray]:
    """Return the arrays of a model's newest reference."""
    reference_id = references.newest(connection, model_id)
    assert reference_id is not None
    return references.load(connection, reference_id)


@pytest.fixture
def far(tmp_path: Path) -> AnyBundle:
    return observed_bundle(tmp_path / "far", LABELS)


def test_a_reference_of_a_model_served_elsewhere_is_stored(
    far: AnyBundle, tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = build(far, tmp_path)
    assert (facts["model"], facts["model_sha256"], facts["rows"]) == ("far:1", far.sha256, 600)
    assert facts["accuracy"] is not None
    assert 0.8 < facts["accuracy"] < 1
    with engine.connect() as connection:
        model = models.find(connection, "far", "1")
        stored = newest_reference(connection, model.id)
        assert models.embedding_sizes(connection, [model.id]) == {model.id: 16}
    assert set(stored) == {"embeddings", "probabilities", "labels", "class_names"}  # its traffic has no properties
    np.testing.assert_allclose(stored["embeddings"], arrays()["embeddings"], atol=1e-2)
    assert stored["class_names"].tolist() == list(LABELS)
    narrow = {"embeddings": arrays()["embeddings"][:, :4]}
    with pytest.raises(TidemarkError, match="embeddings have 4 columns, those observed of far:1 have 16"):
        build(far, tmp_path, **narrow)
    assert "no labels: Tidemark can neither" not in capsys.readouterr().err
    unlabelled = build(far, tmp_path, out=tmp_path / "out.npz", labels=None, class_names=None, properties=None)
    assert unlabelled["accuracy"] is None
    assert "no labels: Tidemark can neither" in capsys.readouterr().err


def test_a_file_instead_of_the_database(far: AnyBundle, tmp_path: Path, engine: Engine) -> None:
    facts = build(far, tmp_path, out=tmp_path / "out.npz")
    assert facts["stored"] == str(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert len(archive["embeddings"]) == 600
    with engine.connect() as connection:
        assert models.find(connection, "far", "1") is None


def test_arrays_for_a_served_model_must_equal_its_outputs(bundle: Bundle, tmp_path: Path, engine: Engine) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "embeddings": rng.normal(size=(600, 6)),
        "probabilities": rng.dirichlet([1] * 4, 600),
        "labels": rng.integers(0, 4, 600),
        "properties": rng.random((600, len(NAMES))),
        "class_names": np.array(bundle.labels),
    }
    assert build(bundle, tmp_path, **columns)["rows"] == 600
    with engine.connect() as connection:
        stored = newest_reference(connection, models.find(connection, "pets", "3").id)
    assert tuple(stored["property_names"].tolist()) == NAMES
    with pytest.raises(TidemarkError, match="expected properties in the columns brightness"):
        build(bundle, tmp_path, **columns | {"properties": rng.random((600, 3))})
    with pytest.raises(TidemarkError, match="embeddings have 5 columns, the model's have 6"):
        build(bundle, tmp_path, **columns | {"embeddings": rng.normal(size=(600, 5))})


@pytest.mark.parametrize(
    ("says", "changes"),
    [
        ("class_names are b, a, c, d, e, the labels in model.toml a, b", {"class_names": np.array(list("bacde"))}),
        ("probabilities have 4 columns, model.toml has 5 labels", {"probabilities": np.full((600, 4), 0.25)}),
        ("expected embeddings as rows of numbers", {"embeddings": np.array([["a"]] * 600)}),
        ("sum to 1", {"probabilities": np.full((600, 5), 0.5)}),
        ("labels must lie in 0..4", {"labels": np.full(600, 5)}),
        ("hold NaN", {"embeddings": np.full((600, 16), np.nan)}),
        ("expected the array probabilities", {"probabilities": None}),
        ("have 600 rows", {"embeddings": np.zeros((599, 16))}),
    ],
)
def test_arrays_that_are_not_a_reference_are_refused(
    far: AnyBundle, tmp_path: Path, says: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(TidemarkError, match=says):
        build(far, tmp_path, **changes)


def test_images_or_arrays(far: AnyBundle, tmp_path: Path) -> None:
    some = tmp_path / "x.npz"
    for images, path, limit in ((None, None, None), (some, some, None), (None, some, 100)):
        with pytest.raises(TidemarkError, match="expected either --images, or else --arrays"):
            build_reference(far.folder, images, limit, None, arrays_file=path)
    with pytest.raises(TidemarkError, match=r"model\.onnx is missing"):
        build_reference(far.folder, some, None, None)
