"""The pin of a model covers all that decides what it answers, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tidemark.inference import identity
from tidemark.inference.bundle import BrokenBundle, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.model_source import read_model

Make = Callable[..., Path]
PIXELS = np.random.default_rng(5).integers(0, 256, (3, 8, 8), dtype=np.uint8)


def external(model: Path, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    onnx.save(
        onnx.load(model),
        folder / "model.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
        **options,
    )
    return folder / "model.onnx"


def test_other_weights_in_an_external_file_are_another_model(make_mlp: Make, tmp_path: Path) -> None:
    bundle = init_bundle(external(make_mlp(), tmp_path / "split"), tmp_path / "bundle")
    assert (bundle.folder / "w.bin").is_file()
    before = Model(bundle, threads=1).predict(PIXELS)[0]
    weights = bytearray((bundle.folder / "w.bin").read_bytes())
    weights[: len(weights) // 2] = bytes(len(weights) // 2)
    (bundle.folder / "w.bin").write_bytes(weights)
    changed = load(bundle.folder)
    assert changed.sha256 != bundle.sha256
    assert not np.array_equal(Model(changed, threads=1).predict(PIXELS)[0], before)
    with pytest.raises(BrokenBundle, match="has changed since"):
        Model(bundle)
    (bundle.folder / "w.bin").unlink()
    with pytest.raises(BrokenBundle, match="cannot read a file with its weights"):
        load(bundle.folder)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ('mode = "L"', 'mode = "L"\nresize = "pad"', True),
        ("0.0,", "0.5,", True),
        ('"2",\n    "3"', '"3",\n    "2"', True),
        ('activation = "softmax"', 'activation = "sigmoid"', True),
        ('embedding = "hidden"', 'embedding = "sum"', True),
        ('version = "1"', 'version = "2"', False),
        ('name = "mlp"', 'name = "other"', False),
        ('mode = "L"', 'mode = "L"\ninterpolation = "bilinear"', False),
        ("[output]", "# a comment\n[output]", False),
    ],
)
def test_settings_that_change_the_answers_are_pinned(
    make_mlp: Make, tmp_path: Path, old: str, new: str, changes: bool
) -> None:
    bundle = init_bundle(make_mlp(), tmp_path / "bundle")
    spec = bundle.folder / "model.toml"
    text = spec.read_text().replace('resize = "squash"\n', "")
    assert old in text
    spec.write_text(text.replace(old, new, 1))
    assert (load(bundle.folder).sha256 != bundle.sha256) == changes


def test_a_model_in_one_file_is_not_parsed_to_be_pinned(make_mlp: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnx, "load")
    model = make_mlp()
    assert identity.external_files(model) == {}
    assert identity.files_sha256(model) == identity.file_sha256(model)


def test_weights_of_a_large_file_move_to_a_file_of_their_own(
    make_mlp: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.inference.model_source.INLINE_LIMIT", 1000)
    model = make_mlp(image=("N", 1, 8, 8), hidden=60)
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.folder / "model.onnx.data").stat().st_size > 10_000
    assert bundle.model_path.stat().st_size < 10_000
    assert Model(bundle, threads=1).predict(PIXELS)[1].shape == (3, 60)


def test_external_data_outside_of_the_model_s_folder_is_refused(make_mlp: Make, tmp_path: Path) -> None:
    model = external(make_mlp(), tmp_path / "split")
    proto = onnx.load(model, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../w.bin" if entry.key == "location" else entry.value
    onnx.save(proto, model)
    (tmp_path / "w.bin").write_bytes((tmp_path / "split" / "w.bin").read_bytes())
    (tmp_path / "out").mkdir()
    with pytest.raises(BrokenBundle, match="outside of its folder"):
        read_model(model, tmp_path / "out")
