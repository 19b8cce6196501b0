"""Finds out by the graph which input takes images, in which layout, number type and range."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from .bundle import BrokenBundle
from .onnx_graph import OnnxGraph
from .pixel_scaling import scales_pixels

DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
}
ELEMENTWISE = ("Cast", "Identity", "QuantizeLinear", "DequantizeLinear", "Mul", "Sub", "Div", "Add", "Clip", "Pad")
FLAT_COLOUR = 3  # channels of a flat input whose length is 3 times a square

Dims = list[int | None]
InputAxes = tuple[int | None, int | None, int | None, int | None]  # batch, channels, height, width


@dataclass(frozen=True)
class ImageInput:
    """The input that takes images; a side, the batch or the number of channels is None if it is free."""

    name: str
    layout: str  # a value of `InputSpec.layout`
    channels: int | None
    height: int | None
    width: int | None
    batch: int | None
    dtype: str
    is_raw: bool = False  # True if the graph itself scales pixels of 0..255


def image_input(proto: ModelProto, channels: int | None = None, size: tuple[int, int] | None = None) -> ImageInput:
    """Return the graph's one input, if it takes images.

    Parameters
    ----------
    channels : int or None
        1 or 3, if the graph does not state them.
    size : tuple[int, int] or None
        Height and width, if the graph does not state them.

    Raises
    ------
    BrokenBundle
        There is another number of inputs, or it has another shape or type.
    """
    graph = OnnxGraph(proto)
    inputs = [value for value in proto.graph.input if value.name in graph.inputs]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in DTYPES:
        raise _no_image_input(inputs)
    [value] = inputs
    dims: Dims = [side if isinstance(side, int) and side > 0 else None for side in shape(value)]
    if len(dims) == 4:
        layout, axes = _four_axes(graph, value.name, dims, channels)
    elif len(dims) == 3:
        layout, axes = _three_axes(dims)
    elif len(dims) == 2:
        layout, axes = _two_axes(dims, size, channels)
    else:
        raise _no_image_input(inputs)
    batch, graph_channels, height, width = axes
    if channels is not None and graph_channels not in (None, channels):
        raise BrokenBundle(f"--channels {channels}: the input has {graph_channels}: {_input_text(value)}")
    if graph_channels not in (None, 1, 3):
        raise _no_image_input(inputs)
    if size is not None:
        if (height or size[0], width or size[1]) != size:
            raise BrokenBundle(f"--size {size[0]}x{size[1]}: the input is {height}x{width}: {_input_text(value)}")
        height, width = size
    dtype = DTYPES[value.type.tensor_type.elem_type]
    is_raw = scales_pixels(graph, value.name)
    return ImageInput(value.name, layout, channels or graph_channels, height, width, batch, dtype, is_raw)


def _no_image_input(inputs: Sequence[ValueInfoProto]) -> BrokenBundle:
    return BrokenBundle(
        "expected one image input N×C×H×W, N×H×W×C, N×H×W or N×P with 1 or 3 channels, of float, double or integers, "
        f"found {', '.join(map(_input_text, inputs)) or 'none'}"
    )


def _input_text(value: ValueInfoProto) -> str:
    return f"{value.name} {shape(value)} {TensorProto.DataType.Name(value.type.tensor_type.elem_type)}"


def shape(value: ValueInfoProto) -> list[int | str]:
    """Return the dimensions of an input or output; free ones by their name."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


def _four_axes(graph: OnnxGraph, name: str, dims: Dims, channels: int | None) -> tuple[str, InputAxes]:
    """Distinguish N×C×H×W from N×H×W×C by the declared channels, else by the first convolution."""
    batch, a, b, c = dims
    first, last = (batch, a, b, c), (batch, c, a, b)
    if a in (1, 3):
        return "NCHW", first
    if c in (1, 3):
        return "NHWC", last
    convolution = _first_convolution(graph, name)
    if convolution is not None:
        layout, weight_layout = convolution
        _, _, height, width = first if layout == "NCHW" else last
        return layout, (batch, weight_layout, height, width)
    if a is None:
        return "NCHW", first
    return ("NHWC", last) if c is None else ("NCHW", first)


def _three_axes(dims: Dims) -> tuple[str, InputAxes]:
    """Distinguish an image without a batch axis, which has 3 channels, from grey images without a channel axis."""
    a, b, c = dims
    if a == 3:
        return "CHW", (1, 3, b, c)
    if c == 3 and a not in (None, 1):
        return "HWC", (1, 3, a, b)
    return "NHW", (a, 1, b, c)


def _two_axes(dims: Dims, size: tuple[int, int] | None, channels: int | None) -> tuple[str, InputAxes]:
    """Read rows of all values of an image; the sides are those of a square unless given."""
    batch, values = dims
    if batch is not None and batch > 1 and values is not None and batch == values:
        return "HW", (1, 1, batch, values)
    if size is not None:
        count_of_channels = channels or (None if values is None else values // (size[0] * size[1]))
        if values is not None and values != (count_of_channels or 0) * size[0] * size[1]:
            raise BrokenBundle(f"--size {size[0]}x{size[1]}: the input has {values} values per image")
        return "NP", (batch, count_of_channels, *size)
    for count in (1, FLAT_COLOUR):
        side = 0 if values is None else round((values / count) ** 0.5)
        if side and count * side * side == values and channels in (None, count):
            return "NP", (batch, count, side, side)
    raise BrokenBundle(f"an input of {values or 'free'} values per image: give its height and width by --size HxW")


def _first_convolution(graph: OnnxGraph, name: str) -> tuple[str, int] | None:
    """Follow the image to the first convolution; return the input's layout and its number of channels."""
    layouts = {name: "NCHW"}
    for node in graph.nodes:
        source = next((tensor for tensor in node.input if tensor in layouts), None)
        if source is None:
            continue
        if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
            weight = graph.constants.get(node.input[3 if node.op_type == "QLinearConv" else 1])
            dims = list(_weight_dims(graph, node) if weight is None else weight.dims)
            group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            return (layouts[source], dims[1] * group) if len(dims) == 4 else None
        if node.op_type == "Transpose":
            axes = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), [])
            layouts[node.output[0]] = "NHWC" if axes == [0, 3, 1, 2] else layouts[source]
        elif node.op_type in ELEMENTWISE:
            layouts[node.output[0]] = layouts[source]
    return None


def _weight_dims(graph: OnnxGraph, convolution: NodeProto) -> list[int]:
    """Return the dimensions of a weight that is dequantised or cast on its way to the convolution."""
    tensor = convolution.input[1]
    while tensor not in graph.constants and tensor in graph.makers and graph.makers[tensor].input:
        tensor = graph.makers[tensor].input[0]
    return list(graph.constants[tensor].dims) if tensor in graph.constants else []
