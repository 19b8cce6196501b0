"""Execution providers: the best that is installed, or those that are configured, and answers that equal the CPU's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidemark.errors import ConfigurationError
from tidemark.inference import model, runtime
from tidemark.inference.bundle import BrokenBundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.providers import CPU, execution_providers
from tidemark.settings import Settings

Make = Callable[..., Path]
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*names, CPU])


@pytest.mark.parametrize(
    ("available", "requested_providers", "expected"),
    [
        ([], (), [CPU]),
        ([TENSORRT, CUDA], (), [CUDA, CPU]),
        (["AzureExecutionProvider"], (), [CPU]),
        ([TENSORRT, CUDA], ("tensorrt", "cuda"), [TENSORRT, CUDA, CPU]),
        ([CUDA], ("cpu",), [CPU]),
    ],
)
def test_the_best_provider_or_those_asked_for(
    monkeypatch: pytest.MonkeyPatch, available: list[str], requested_providers: Sequence[str], expected: list[str]
) -> None:
    installed(monkeypatch, *available)
    assert execution_providers(requested_providers) == expected


@pytest.mark.parametrize(
    ("requested_providers", "message"),
    [
        ("npu", "unknown provider 'npu', there are tensorrt, cuda"),
        ("cuda", "cuda is not in the installed ONNX Runtime"),
    ],
)
def test_a_provider_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, requested_providers: str, message: str
) -> None:
    installed(monkeypatch)
    with pytest.raises(ConfigurationError, match=f"TIDEMARK_PROVIDERS: {message}"):
        execution_providers([requested_providers])


def test_the_setting_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_PROVIDERS", "CUDA, cpu")
    assert Settings.load().providers == ("cuda", "cpu")


class Device:
    """A session that claims to run on a device and answers with an error of its own."""

    def __init__(self, inner: Any, error: float) -> None:
        self._inner, self._error = inner, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def run(self, outputs: Any, feed: Any) -> Any:
        scores, *others = self._inner.run(outputs, feed)
        return [scores + np.float32(self._error) * np.arange(scores.shape[1], dtype=np.float32), *others]


@pytest.mark.parametrize(("error", "agrees"), [(1e-3, True), (1.0, False)])
@pytest.mark.parametrize("requested_providers", [(), ("cuda",)])
def test_a_provider_s_answers_are_compared_with_the_cpu_s(
    make_mlp: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: float,
    agrees: bool,
    requested_providers: Sequence[str],
) -> None:
    bundle = init_bundle(make_mlp(), tmp_path / "bundle")
    installed(monkeypatch, CUDA)

    def opened(model: Any, folder: Path, threads: int = 1, providers: Sequence[str] = (CPU,)) -> Any:
        inner = runtime.open_session(model, folder, threads, [CPU])
        return Device(inner, error) if CUDA in providers else inner

    monkeypatch.setattr(model, "open_session", opened)
    if requested_providers and not agrees:
        with pytest.raises(BrokenBundle, match=r"CUDAExecutionProvider answers .* take it out of TIDEMARK_PROVIDERS"):
            Model(bundle, 1, requested_providers)
    else:
        assert Model(bundle, 1, requested_providers).providers == ([CUDA, CPU] if agrees else [CPU])


@pytest.mark.parametrize("requested_providers", [(), ("cuda",)])
def test_a_model_that_a_provider_cannot_run_runs_on_the_cpu_unless_the_provider_is_requested(
    make_mlp: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    requested_providers: Sequence[str],
) -> None:
    bundle = init_bundle(make_mlp(), tmp_path / "bundle")
    installed(monkeypatch, CUDA)

    def opened(model: Any, folder: Path, threads: int = 1, providers: Sequence[str] = (CPU,)) -> Any:
        if CUDA in providers:
            raise BrokenBundle("ONNX Runtime cannot load it: no kernel")
        return runtime.open_session(model, folder, threads, providers)

    monkeypatch.setattr(model, "open_session", opened)
    if requested_providers:
        with pytest.raises(BrokenBundle, match="no kernel"):
            Model(bundle, 1, requested_providers)
        return
    assert Model(bundle, 1).providers == [CPU]
    assert "CUDAExecutionProvider cannot run this model, the CPU is used" in caplog.text


def test_openvino_answers_as_the_cpu_does(make_mlp: Make, tmp_path: Path) -> None:
    if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("the wheel onnxruntime-openvino is not installed in the place of onnxruntime")
    bundle = init_bundle(make_mlp(), tmp_path / "bundle")
    pixels = np.random.default_rng(0).integers(0, 256, (5, *bundle.input.size), dtype=np.uint8)
    model = Model(bundle, 1, ["openvino"])
    assert model.providers[0] == "OpenVINOExecutionProvider"
    np.testing.assert_allclose(model.predict(pixels)[0], Model(bundle, 1, ["cpu"]).predict(pixels)[0], atol=1e-3)
