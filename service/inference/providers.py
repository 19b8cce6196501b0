"""ONNX Runtime's execution providers: which ones a model runs on, by their short names in `TIDEMARK_PROVIDERS`."""

from collections.abc import Sequence

import onnxruntime

from ..errors import ConfigurationError

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
DEFAULT_ORDER = ("cuda", "migraphx", "openvino", "coreml", "directml", "cpu")  # TensorRT builds engines for minutes
CPU = "CPUExecutionProvider"


def execution_providers(names: Sequence[str] | None = None) -> list[str]:
    """Return ONNX Runtime's names of providers in order of preference, the CPU last.

    Parameters
    ----------
    names : sequence of str or None
        Short names in order of preference; None for the best that is installed.

    Raises
    ------
    ConfigurationError
        A name is unknown, or its provider is not installed.
    """
    installed = onnxruntime.get_available_providers()
    if not names:
        best = next(name for name in DEFAULT_ORDER if PROVIDERS[name] in installed)
        return list(dict.fromkeys([PROVIDERS[best], CPU]))
    for name in names:
        if name not in PROVIDERS:
            raise ConfigurationError(f"TIDEMARK_PROVIDERS: unknown provider {name!r}, there are {', '.join(PROVIDERS)}")
        if PROVIDERS[name] not in installed:
            available = ", ".join(short for short, long in PROVIDERS.items() if long in installed)
            raise ConfigurationError(
                f"TIDEMARK_PROVIDERS: {name} is not in the installed ONNX Runtime, which has {available}; "
                "docs/models.md says how to install another"
            )
    return list(dict.fromkeys([*(PROVIDERS[name] for name in names), CPU]))
