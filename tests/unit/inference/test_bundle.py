from collections.abc import Callable
from pathlib import Path

import pytest

from tidemark.inference.bundle import BrokenBundle, Bundle, load, load_any
from tidemark.inference.bundle_builder import init_bundle

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
        ('mode = "L"', 'mode = "HSV"', "input.mode"),
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


def test_without_a_model_file_the_model_is_served_elsewhere(folder: Path) -> None:
    running = load_any(folder)
    assert isinstance(running, Bundle)
    (folder / "model.onnx").unlink()
    observed = load_any(folder)
    assert not isinstance(observed, Bundle)
    assert (observed.name, observed.labels, observed.output) == (running.name, running.labels, running.output)
    spec = folder / "model.toml"
    before, after_input = spec.read_text().split("[input]")
    spec.write_text(f"# a comment\n{before}[output]{after_input.split('[output]')[1]}")
    assert load_any(folder) == observed
    spec.write_text(spec.read_text().replace('"2"', '"two"'))
    assert load_any(folder).sha256 != observed.sha256


def test_what_a_model_needs_is_asked_for(folder: Path) -> None:
    spec = folder / "model.toml"
    text = spec.read_text()
    spec.write_text(text.split("[input]")[0] + "[output]" + text.split("[output]")[1])
    with pytest.raises(BrokenBundle, match=r"input: expected a section \[input\]"):
        load_any(folder)
    (folder / "model.onnx").unlink()
    spec.write_text("\n".join(line for line in text.splitlines() if not line.startswith("embedding")))
    with pytest.raises(BrokenBundle, match=r"output\.embedding: expected the name of the output"):
        load_any(folder)
