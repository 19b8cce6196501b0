"""A folder that Hugging Face Optimum's own program wrote leads to a bundle that answers as the exported model does."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

SIDE = 64
# A small vision transformer with random weights, and what it answers to images in the float range of its processor.
SCRIPT = f"""
import numpy as np, torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

torch.manual_seed(0)
names = {{0: "ant", 1: "bee", 2: "cat"}}
config = ViTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size={SIDE}, patch_size=16,
    id2label=names, label2id={{name: index for index, name in names.items()}},
)
model = ViTForImageClassification(config).eval()
torch.nn.init.normal_(model.classifier.weight, std=0.3)
model.save_pretrained("model")
processor = ViTImageProcessor(size={{"height": {SIDE}, "width": {SIDE}}})
processor.save_pretrained("model")
inputs = processor(list(np.load("pixels.npy")), return_tensors="pt")
with torch.no_grad():
    np.save("probabilities.npy", model(**inputs).logits.softmax(1).numpy())
"""
EXPORT = "from optimum.commands.optimum_cli import main; main()"


def run(*command: str, folder: Path) -> None:
    result = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_folder_of_optimum_answers_as_its_model(tmp_path: Path) -> None:
    if importlib.util.find_spec("optimum") is None:
        pytest.skip("optimum-onnx is not installed")
    tiles = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    pixels = tiles.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
    np.save(tmp_path / "pixels.npy", pixels)
    run("-c", SCRIPT, folder=tmp_path)
    run("-c", EXPORT, "export", "onnx", "--model", "model", "--task", "image-classification", "export", folder=tmp_path)
    bundle = init_bundle(tmp_path / "export", tmp_path / "bundle")
    assert (bundle.labels, bundle.input.size) == (("ant", "bee", "cat"), (SIDE, SIDE))
    probabilities, embeddings = Model(bundle, threads=1).predict(pixels)
    expected = np.load(tmp_path / "probabilities.npy")
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    assert embeddings.shape == (5, 32)
