from collections.abc import Callable
from pathlib import Path

import pytest

from service.inference.bundle import BrokenBundle, load
from service.inference.graph import init_bundle

Make = Callable[..., Path]


@pytest.fixture
def folder(make_mlp: Make, tmp_path: Path) -> Path:
    return init_bundle(make_mlp(), tmp_path / "bundle").folder


def test_what_is_written_is_what_is_loaded(make_mlp: Make, tmp_path: Path) -> None:
    written = init_bundle(make_mlp(), tmp_path / "bundle")
    assert load(tmp_path / "bundle") == written


@pytest.mark.parametrize("name", ["model.toml", "model.onnx"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BrokenBundle, match=f"{name} is missing; make one with `tidemark model init`"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[input]", "[input", "not TOML"),
        ('version = "1"', 'version = "1"\nauthor = "me"', "author: Extra inputs"),
        ("[input]", "[input]\ncolour = true", "input.colour: Extra inputs"),
        ('mode = "L"', 'mode = "BGR"', "input.mode"),
        ('resize = "squash"', 'resize = "stretch"', "input.resize"),
        ('activation = "softmax"', 'activation = "tanh"', "output.activation"),
        ('name = "mlp"', 'name = "m/l/p"', "name: String should match"),
        ('"3"', '"2"', "differ"),
        ("std = [\n    1.0,\n]", "std = [0.0]", "zero"),
        ("std = [\n    1.0,\n]", "std = [1.0, 1.0, 1.0]", "std has 3 values, the input has 1 channels"),
        ("size = [\n    8,\n    8,\n]", "size = [0, 8]", "input.size.0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(folder: Path, old: str, new: str, says: str) -> None:
    text = (folder / "model.toml").read_text()
    assert old in text
    (folder / "model.toml").write_text(text.replace(old, new))
    with pytest.raises(BrokenBundle, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value).removesuffix("\n")
