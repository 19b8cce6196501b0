"""`tidemark check` as a CI job calls it: exit codes, JSON, and one line for whatever is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.worlds import World

WORLD = World()


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidemark.cli", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, rng = tmp_path_factory.mktemp("check"), np.random.default_rng(0)
    labels = WORLD.labels(1000, rng)
    arrays = {
        "reference": WORLD.see(labels, rng) | {"labels": labels},
        "calm": WORLD.traffic(200, rng),
        "moved": WORLD.traffic(200, rng, move=0.8),
        "foreign": World(k=3, d=4).traffic(200, rng),
        "lacking": {"embeddings": np.zeros((5, 2))},
    }
    paths = {name: folder / f"{name}.npz" for name in arrays}
    for name, values in arrays.items():
        np.savez(paths[name], **values)
    paths["broken"] = folder / "broken.npz"
    paths["broken"].write_bytes(paths["calm"].read_bytes()[:500])
    return paths


def test_exit_codes_and_report(files: dict[str, Path]) -> None:
    calm = check("--reference", files["reference"], "--window", files["calm"])
    assert calm.returncode == 0, calm.stderr
    assert calm.stdout.startswith("none: p = ")
    shifted = check("--reference", files["reference"], "--window", files["moved"], "--json")
    assert shifted.returncode == 1
    report = json.loads(shifted.stdout)
    assert report["kind"] == "covariate"
    assert report["drifted"]
    assert report["tests"]["residual"]["p_value"] <= 0.01


@pytest.mark.parametrize(
    ("window", "message"),
    [
        pytest.param("foreign", "columns", marks=pytest.mark.slow),
        pytest.param("lacking", "expected the array probabilities", marks=pytest.mark.slow),
        ("broken", "expected an .npz"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_two(
    files: dict[str, Path], window: str, message: str
) -> None:
    result = check("--reference", files["reference"], "--window", files[window])
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
