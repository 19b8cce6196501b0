from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidemark.inference import model, runtime
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.providers import CPU

Make = Callable[..., Path]

CORES = 3
PIXELS = np.random.default_rng(5).integers(0, 256, (6, 8, 8), dtype=np.uint8)


@pytest.fixture
def bundle(make_mlp: Make, tmp_path: Path) -> Bundle:
    return init_bundle(make_mlp(), tmp_path / "bundle")


@pytest.fixture
def opened_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of threads that sessions are opened with, on a machine of `CORES` cores."""
    numbers: list[int] = []
    open_session = runtime.open_session

    def record(model: Any, folder: Path, threads: int, providers: Sequence[str]) -> onnxruntime.InferenceSession:
        numbers.append(threads)
        return open_session(model, folder, threads, providers)

    monkeypatch.setattr(model, "open_session", record)
    monkeypatch.setattr(model, "cores", lambda: CORES)
    return numbers


@pytest.mark.parametrize(("brief_seconds", "threads"), [(60.0, 1), (0.0, CORES)])
def test_a_brief_network_has_one_thread_and_others_have_all_cores(
    bundle: Bundle, opened_threads: list[int], monkeypatch: pytest.MonkeyPatch, brief_seconds: float, threads: int
) -> None:
    monkeypatch.setattr(model, "BRIEF_SECONDS", brief_seconds)
    probabilities, _ = Model(bundle, providers=["cpu"]).predict(PIXELS)
    assert opened_threads[-1] == threads
    np.testing.assert_allclose(probabilities, Model(bundle, threads=1).predict(PIXELS)[0], rtol=1e-5)


def test_a_stated_number_of_threads_holds_for_a_brief_network(
    bundle: Bundle, opened_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "BRIEF_SECONDS", 60.0)
    assert Model(bundle, threads=2).providers == [CPU]
    assert opened_threads[-1] == 2
