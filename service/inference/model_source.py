"""A model as a user has it, a file or a folder, copied into a bundle: its graph read without its weights if large."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from onnx.inliner import inline_local_functions

from .bundle import MODEL_FILE, BrokenBundle
from .identity import tensors
from .operator_checks import custom_operators
from .runtime import one_line

INLINE_LIMIT = 200_000_000  # bytes; the weights of a larger file move to a file of their own: protobuf ends at 2 GB
WEIGHTS_FILE = f"{MODEL_FILE}.data"


@dataclass
class ModelSource:
    """A model's graph, with the folder that holds its external data; the graph may be changed before it is saved."""

    proto: ModelProto
    folder: Path
    file: Path  # the user's file, for messages

    def save(self) -> None:
        """Write the graph next to its external data."""
        (self.folder / MODEL_FILE).write_bytes(self.proto.SerializeToString())


def find_model(path: Path) -> Path:
    """Return the model file that a path names: itself, or the one in a folder as Optimum writes it.

    Raises
    ------
    BrokenBundle
        There is no such file, or several in a folder.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise BrokenBundle(f"{path}: no such file or folder")
    for place in (path, path / "onnx"):
        if (place / MODEL_FILE).is_file():
            return place / MODEL_FILE
        files = sorted(place.glob("*.onnx"))
        if len(files) == 1:
            return files[0]
        if files:
            raise BrokenBundle(f"{path}: several models, name one of {', '.join(file.name for file in files)}")
    raise BrokenBundle(f"{path}: expected {MODEL_FILE} in the folder, found no ONNX model")


def read_model(file: Path, folder: Path) -> ModelSource:
    """Read a model's graph, and copy its external data into `folder`.

    Weights within a large file are written to a file of their own there, so that they are in memory once and only
    for this.

    Raises
    ------
    BrokenBundle
        It is not an ONNX model, lacks external data, or has operators that nothing here can run.
    """
    try:
        proto = onnx.load(file, load_external_data=False)
    except Exception as error:  # onnx and protobuf raise many kinds
        raise BrokenBundle(f"{file}: expected an ONNX model, found something else: {one_line(error)}") from None
    if not proto.graph.node:
        raise BrokenBundle(f"{file}: expected an ONNX model, found no graph in it")
    custom = custom_operators(proto)
    if custom:
        raise BrokenBundle(
            f"{file}: custom operators {', '.join(custom)}: Tidemark cannot load this model, for it runs the operators "
            "of ONNX and ONNX Runtime only; export the model without them"
        )
    external = {ExternalDataInfo(tensor).location for tensor in tensors(proto) if uses_external_data(tensor)}
    for name in sorted(external):
        _copy(file, name, folder)
    if not external and file.stat().st_size > INLINE_LIMIT:
        onnx.save(proto, folder / MODEL_FILE, save_as_external_data=True, location=WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o644)  # onnx lets its owner alone read it
        proto = onnx.load(folder / MODEL_FILE, load_external_data=False)
    return ModelSource(inline_local_functions(proto) if proto.functions else proto, folder, file)


def _copy(file: Path, name: str, folder: Path) -> None:
    source, target = (file.parent / name).resolve(), folder / name
    if not source.is_relative_to(file.parent.resolve()):
        raise BrokenBundle(f"{file}: its external data {name!r} is outside of its folder")
    if not source.is_file():
        raise BrokenBundle(f"{file}: its external data is missing: no file {name} next to it")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
