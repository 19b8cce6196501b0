"""The names of classes that a graph itself states: scikit-learn's exports hold those that the model was fitted on."""

from onnx import ModelProto, NodeProto, numpy_helper

from .onnx_graph import OnnxGraph

# Attributes of ZipMap and of the classifiers of ai.onnx.ml.
ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


def class_names(proto: ModelProto, classes: int) -> tuple[str, ...] | None:
    """Return the names of a model's classes; None if its graph has none.

    Parameters
    ----------
    classes : int
        Their number: names of another number are those of something else.
    """
    graph = OnnxGraph(proto)
    for node in reversed(graph.nodes):
        for names in (_attribute_names(node), _selected_names(graph, node)):
            if len(names) == classes:
                return names
    return None


def _attribute_names(node: NodeProto) -> tuple[str, ...]:
    for attribute in node.attribute:
        if attribute.name in ATTRIBUTES and (attribute.strings or attribute.ints):
            return tuple(text.decode() for text in attribute.strings) or tuple(map(str, attribute.ints))
    return ()


def _selected_names(graph: OnnxGraph, node: NodeProto) -> tuple[str, ...]:
    """Return the constants of which a node answers the one with the largest score."""
    if node.op_type != "ArrayFeatureExtractor" or node.input[0] not in graph.constants:
        return ()
    index = graph.makers.get(node.input[1])
    if index is None or index.op_type != "ArgMax":
        return ()
    values = numpy_helper.to_array(graph.constants[node.input[0]]).reshape(-1).tolist()
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
