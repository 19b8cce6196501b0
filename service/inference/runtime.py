"""Opens ONNX Runtime sessions, of a file or of a changed graph whose weights stay in their files."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from .bundle import BrokenBundle
from .providers import CPU, PROVIDERS

CUDA_PROVIDERS = frozenset({PROVIDERS["cuda"], PROVIDERS["tensorrt"]})
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"  # ONNX Runtime's name of the setting


def open_session(
    model: Path | bytes,
    folder: Path,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
) -> onnxruntime.InferenceSession:
    """Return a session for a model.

    Parameters
    ----------
    model : Path or bytes
        A model file, or a serialised model whose external data, if any, is in `folder`.
    threads : int
        Threads of one run of the model.
    providers : sequence of str
        Execution providers in order of preference, by ONNX Runtime's names.

    Raises
    ------
    BrokenBundle
        ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # The event loop needs the cores, too: threads that wait must not spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if isinstance(model, bytes):
        options.add_session_config_entry(EXTERNAL_FOLDER, str(folder))
    if not CUDA_PROVIDERS.isdisjoint(providers):
        onnxruntime.preload_dlls()  # CUDA and cuDNN out of their wheels, where the system has none
    try:
        return onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise BrokenBundle(f"ONNX Runtime {onnxruntime.__version__} cannot load it: {one_line(error)}") from None


def one_line(error: Exception) -> str:
    """Return an error's message in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
