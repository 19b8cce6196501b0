"""A graph that scales pixels itself is fed with 0..255, in whichever order an export has its arithmetic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle_builder import init_bundle

Make = Callable[..., Path]
MEAN, DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])  # ImageNet's, of pixels


def normalisation(mean: float, deviation: float) -> tuple[Nodes, dict[str, np.ndarray]]:
    """A BatchNormalization whose learnt scale and bias alone would look like those of another range."""
    weights = {
        "scale": np.full(3, 0.01, np.float32),
        "bias": np.full(3, -9.0, np.float32),
        "mean": np.full(3, mean, np.float32),
        "variance": np.full(3, deviation**2, np.float32),
    }
    return [("BatchNormalization", ["image", *weights], ["scaled"], {})], weights


def chain(*steps: tuple[str, np.ndarray | float]) -> tuple[Nodes, dict[str, np.ndarray]]:
    """Operators with a constant each, one after the other; those in small letters have the constant first."""
    nodes: Nodes = []
    tensor = "image"
    for number, (operator, _) in enumerate(steps):
        inputs = [tensor, f"k{number}"] if operator.istitle() else [f"k{number}", tensor]
        tensor = "scaled" if number == len(steps) - 1 else f"t{number}"
        nodes.append((operator.title(), inputs, [tensor], {}))
    constants = [np.asarray(value, np.float32) for _, value in steps]
    return nodes, {f"k{number}": value.reshape(-1, 1, 1) for number, value in enumerate(constants)}


RAW = {
    "divided": chain(("Div", 255)),
    "multiplied": chain(("Mul", 1 / 255)),
    "multiplied by a constant that comes first": chain(("mul", 1 / 255)),
    "mean subtracted": chain(("Sub", 128)),
    "mean and deviation": chain(("Sub", MEAN), ("Div", DEVIATION)),
    "negative mean added, then divided": chain(("Add", -MEAN), ("Mul", 1 / DEVIATION)),
    "to -1 and 1": chain(("Mul", 1 / 127.5), ("Add", -1)),
    "inverted": chain(("sub", 255), ("Div", 255)),
    "batch normalisation": normalisation(114, 70),
}
UNIT = {
    "nothing": chain(("Mul", 1)),
    "mean and deviation": chain(("Sub", MEAN / 255), ("Div", DEVIATION / 255)),
    "negative mean added, then multiplied": chain(("Add", -MEAN / 255), ("Mul", 255 / DEVIATION)),
    "to -1 and 1": chain(("Mul", 2), ("Sub", 1)),
    "inverted": chain(("sub", 1)),
    "brought to 255 first": chain(("Mul", 255), ("Sub", MEAN), ("Div", DEVIATION)),
    "batch normalisation": normalisation(0.45, 0.27),
}


def scale_of(make_graph: Make, folder: Path, before: tuple[Nodes, dict[str, np.ndarray]]) -> tuple[float, list[str]]:
    nodes, weights = before
    head: Nodes = [("Flatten", ["scaled"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    model = make_graph([*nodes, *head], {**weights, "w": random(192, 4)}, ["logits"], image=("N", 3, 8, 8))
    notes: list[str] = []
    return init_bundle(model, folder, note=notes.append).input.scale, notes


@pytest.mark.parametrize("arithmetic", RAW)
def test_a_graph_that_scales_pixels_itself_is_fed_with_0_to_255(
    make_graph: Make, tmp_path: Path, arithmetic: str
) -> None:
    scale, notes = scale_of(make_graph, tmp_path / "bundle", RAW[arithmetic])
    assert scale == 1
    assert any("fed with 0..255" in note for note in notes)


@pytest.mark.parametrize("arithmetic", UNIT)
def test_a_graph_that_normalises_pixels_of_0_to_1_is_fed_with_these(
    make_graph: Make, tmp_path: Path, arithmetic: str
) -> None:
    scale, notes = scale_of(make_graph, tmp_path / "bundle", UNIT[arithmetic])
    assert scale == pytest.approx(1 / 255)
    assert not notes
