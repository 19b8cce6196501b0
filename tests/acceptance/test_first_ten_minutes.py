"""The README's scripts, from a model of each library to its reference.

The scripts run as they are, but for the weights: random ones, since none can be downloaded in a test.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[2] / "README.md"
SCRIPTS = {
    match[1]: match[0].removeprefix("```python\n")
    for match in re.finditer(r"```python\n# (\w+)\n.*?(?=^```$)", README.read_text("utf-8"), re.M | re.S)
}
# MobileNetV2 with random weights answers the same to every image: its activations vanish.
SMALL_KERAS = (
    "keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Conv2D(8, 3, strides=4, activation='relu'), "
    "keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation='softmax')])"
)
RANDOM_WEIGHTS = {
    "torchvision": [('weights="DEFAULT"', "weights=None")],
    "timm": [("pretrained=True", "pretrained=False")],
    "transformers": [
        (
            "AutoImageProcessor, AutoModelForImageClassification",
            "ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification",
        ),
        (
            "AutoModelForImageClassification.from_pretrained(name)",
            "ResNetForImageClassification(ResNetConfig(**SMALL))",
        ),
        (
            "name = ",
            "SMALL = {'layer_type': 'basic', 'depths': [1, 1], 'hidden_sizes': [8, 16], 'num_labels': 10}\nname = ",
        ),
        ("AutoImageProcessor.from_pretrained(name)", "ConvNextImageProcessor()"),
    ],
    "keras": [('keras.applications.MobileNetV2(weights="imagenet")', SMALL_KERAS)],
    "skl2onnx": [],
}
IMAGES, CLASSES = 60, 3  # sizes of the reference of a model whose script has no images


def run(*command: object, folder: Path) -> None:
    result = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr


def test_each_library_has_a_script() -> None:
    assert RANDOM_WEIGHTS.keys() == SCRIPTS.keys()


@pytest.mark.parametrize("library", RANDOM_WEIGHTS)
def test_the_script_of_a_library_leads_to_a_reference(library: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(library) is None:  # Keras cannot be imported before the script names its back end
        pytest.skip(f"{library} is not installed")
    script = SCRIPTS[library]
    for written, random in RANDOM_WEIGHTS[library]:
        assert written in script
        script = script.replace(written, random)
    (tmp_path / "script.py").write_text(script, "utf-8")
    run(sys.executable, "script.py", folder=tmp_path)
    command = script.strip().splitlines()[-1]
    assert command.startswith("# tidemark model init ")
    tidemark = [sys.executable, "-m", "tidemark.cli"]
    run(*tidemark, *shlex.split(command)[2:], folder=tmp_path)
    if not (tmp_path / "held_out.npz").exists():
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, 224, 224, 3), dtype=np.uint8)
        np.savez(tmp_path / "held_out.npz", images=images, labels=np.arange(IMAGES) % CLASSES)
    build = ["reference", "build", "--bundle", "bundle", "--images", "held_out.npz", "--out", "reference.npz"]
    run(*tidemark, *build, "--power", "none", folder=tmp_path)
    reference = np.load(tmp_path / "reference.npz")
    assert np.isfinite(reference["embeddings"]).all()
    np.testing.assert_allclose(reference["probabilities"].sum(axis=1), 1, atol=1e-3)
