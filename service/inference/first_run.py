"""The first run of a graph: with which size and number of channels, where these are free, it works at all."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime
from onnx import ModelProto
from pydantic import ValidationError

from ..errors import first_problem
from .bundle import BrokenBundle, InputSpec
from .image_input import ImageInput
from .network import Network
from .presets import Preparation
from .probabilities import ModelFailed
from .probe_images import probe_images
from .runtime import open_session

SIDES = (224, 28, 32, 64, 96, 128, 160, 192, 256, 299, 384, 512)  # pixels, tried if height and width are free
INTEGER_MEANS = {"uint8": 0.0, "int8": 128.0, "int32": 0.0, "int64": 0.0}  # subtracted from pixels of 0..255
RANGE = ("scale", "mean", "std")


def open_loaded(proto: ModelProto, folder: Path) -> onnxruntime.InferenceSession:
    """Open a model; an error names its opsets, which are the usual reason.

    Raises
    ------
    BrokenBundle
        ONNX Runtime cannot load it.
    """
    try:
        return open_session(proto.SerializeToString(), folder)
    except BrokenBundle as error:
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in proto.opset_import)
        reason = str(error).partition(": ")[2]
        raise BrokenBundle(
            f"ONNX Runtime {onnxruntime.__version__} cannot load this model (opset {opsets}): {reason}"
        ) from None


def first_run(
    session: onnxruntime.InferenceSession,
    image: ImageInput,
    preparation: Preparation,
    preset_name: str | None,
    note: Callable[[str], None],
) -> tuple[InputSpec, Network]:
    """Return how images become the model's input, with a network that ran so.

    Parameters
    ----------
    preparation : Preparation
        What files or a preset state.
    preset_name : str or None
        The requested preset.

    Raises
    ------
    BrokenBundle
        It runs with none of the usual sizes and numbers of channels.
    """
    problems = []
    for channels in [image.channels] if image.channels else [3, 1]:
        for size in _sizes(image, preparation.size):
            spec = _input_spec(image, channels, size, preparation, preset_name)
            network = Network(session, spec)
            try:
                network.run_once(probe_images(size, channels)[0], [output.name for output in session.get_outputs()])
            except ModelFailed as error:
                problems.append(error)
                continue
            if not (image.height and image.width) and preparation.size is None:
                note(f"the input's size is free: {size[0]}x{size[1]} is used, choose by --size HxW")
            if not image.channels:
                note(f"the number of channels is free: {channels} are used, choose by --channels 1 or 3")
            if image.is_raw and spec.scale == 1 and preset_name is None:
                note("the graph scales pixels itself: it is fed with 0..255; if it is not so give --preset unit")
            return spec, network
    raise BrokenBundle(f"{problems[0]}; give the input's size by --size HxW, its channels by --channels 1 or 3")


def _sizes(image: ImageInput, stated: tuple[int, int] | None) -> list[tuple[int, int]]:
    if image.height and image.width:
        return [(image.height, image.width)]
    if stated is not None:
        return [stated]
    return [(image.height or side, image.width or side) for side in SIDES]


def _input_spec(
    image: ImageInput, channels: int, size: tuple[int, int], preparation: Preparation, preset_name: str | None
) -> InputSpec:
    settings = preparation.settings.copy()
    if channels == 1:
        if preset_name is not None and len(settings.get("mean", ())) == 3:
            raise BrokenBundle(f"--preset {preset_name} is for 3 channels, the input has 1")
        settings["mode"] = "L"
    if image.dtype in INTEGER_MEANS:
        settings |= {"scale": 1.0, "mean": (INTEGER_MEANS[image.dtype],), "std": (1.0,)}
    elif image.is_raw and not any(name in settings for name in RANGE):
        settings |= {"scale": 1.0, "mean": (0.0,), "std": (1.0,)}
    content = {"name": image.name, "size": size, "mode": "RGB", "layout": image.layout, **settings}
    try:
        return InputSpec.model_validate(content)
    except ValidationError as error:
        raise BrokenBundle(f"input.{first_problem(error)}") from None
