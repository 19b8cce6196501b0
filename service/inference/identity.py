"""The identity of a model's files: a SHA-256 over its graph and its external data."""

import hashlib
import mmap
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

EXTERNAL_KEY = b"\x0a\x08location"  # protobuf's bytes of the key of an external file's name


def files_sha256(path: Path) -> str:
    """Return the SHA-256 of a model file, and of each file with its external data by name; of a model without external
    data that of the file.

    Raises
    ------
    OSError
        A file is missing or cannot be read.
    """
    external = external_files(path)
    digests = [file_sha256(path), *(f"{name} {file_sha256(file)}" for name, file in external.items())]
    return digests[0] if not external else text_sha256("\n".join(digests))


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def external_files(path: Path) -> dict[str, Path]:
    """Return the files with a model's external data by the names that the model gives them, in order of the names.

    A model without external data is not parsed: its weights would be read into memory for nothing.
    """
    if not _may_be_external(path):
        return {}
    proto = onnx.load(path, load_external_data=False)
    names = {ExternalDataInfo(tensor).location for tensor in tensors(proto) if uses_external_data(tensor)}
    return {name: path.parent / name for name in sorted(names)}


def tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return all constant tensors of a model: initializers and those in the attributes of nodes, also in subgraphs."""
    constants: list[onnx.TensorProto] = []
    graphs = [proto.graph]
    nodes = [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            constants.extend(graph.initializer)
            nodes.extend(graph.node)
        for node in nodes:
            for attribute in node.attribute:
                constants.extend([attribute.t] if attribute.HasField("t") else [])
                constants.extend(attribute.tensors)
                graphs.extend([attribute.g] if attribute.HasField("g") else [])
                graphs.extend(attribute.graphs)
        nodes = []
    return constants


def _may_be_external(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(EXTERNAL_KEY) >= 0
