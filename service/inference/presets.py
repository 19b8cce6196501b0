"""How pixels are usually prepared: presets by name, and the files that training libraries write next to a model.

Understood are `preprocessor_config.json` and `config.json` of Hugging Face (Transformers, Optimum) and timm's
`config.json` with its `pretrained_cfg`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bundle_spec import BrokenBundle, InputSettings

IMAGENET: InputSettings = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PRESETS: dict[str, InputSettings] = {
    "unit": {"mean": (0.0,), "std": (1.0,)},
    "raw": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "imagenet": {**IMAGENET, "resize": "crop"},
    "torchvision": {**IMAGENET, "resize": "crop", "crop": 224 / 256},
    "torchvision-v2": {**IMAGENET, "resize": "crop", "crop": 224 / 232},
    "timm": {**IMAGENET, "resize": "crop", "crop": 0.875, "interpolation": "bicubic"},
    "clip": {
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
        "resize": "crop",
        "interpolation": "bicubic",
    },
    "caffe": {"mode": "BGR", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,), "resize": "crop"},
    "tf": {"scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)},
}
PREPROCESSOR_FILE, CONFIG_FILE = "preprocessor_config.json", "config.json"
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # names at the places of Pillow's numbers
SQUASHING = ("DeiT", "Beit")  # Transformers' processors for which a size of one number is both height and width
LARGE_SIDE = 384  # pixels; from here on Transformers' ConvNext processor squashes instead of cropping


@dataclass
class Preparation:
    """Content of a preset or a file: settings of `InputSpec` by name, and if stated the size and the labels."""

    settings: InputSettings = field(default_factory=InputSettings)
    size: tuple[int, int] | None = None
    labels: tuple[str, ...] | None = None


def preset(name: str) -> InputSettings:
    """Return the settings of a preset.

    Raises
    ------
    BrokenBundle
        There is no such preset.
    """
    if name not in PRESETS:
        raise BrokenBundle(f"--preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name].copy()


def read_preparation(path: Path) -> Preparation:
    """Read the file or folder that a training library wrote next to a model; an empty `Preparation` without one.

    Raises
    ------
    BrokenBundle
        A file is not JSON, or holds values of another kind than expected.
    """
    folder = path if path.is_dir() else path.parent
    files = [folder / PREPROCESSOR_FILE, folder / CONFIG_FILE] if path.is_dir() else [path]
    preparation = Preparation()
    for file in files:
        if not file.is_file():
            continue
        content = _json(file)
        try:
            read = _timm(content) if "pretrained_cfg" in content or "input_size" in content else _transformers(content)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise BrokenBundle(f"{file}: not a preprocessing file as Transformers or timm write it: {error}") from None
        preparation.settings |= read.settings
        preparation.size = preparation.size or read.size
        preparation.labels = preparation.labels or read.labels
    if path.is_file() and not (preparation.settings or preparation.size or preparation.labels):
        raise BrokenBundle(f"{path}: found neither preprocessing nor labels in it")
    return preparation


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BrokenBundle(f"{file}: cannot read it as JSON: {error}") from None
    if not isinstance(content, dict):
        raise BrokenBundle(f"{file}: expected a JSON object, found {type(content).__name__}")
    return content


def _timm(content: dict[str, Any]) -> Preparation:
    config = content.get("pretrained_cfg", content)
    _, height, width = config["input_size"]
    mode = config.get("crop_mode", "center")
    settings: InputSettings = {
        "mean": tuple(map(float, config.get("mean", IMAGENET["mean"]))),
        "std": tuple(map(float, config.get("std", IMAGENET["std"]))),
        "interpolation": config.get("interpolation", "bicubic"),
        "resize": {"squash": "squash", "border": "pad"}.get(mode, "crop"),
    }
    if settings["resize"] != "pad":
        settings["crop"] = float(config.get("crop_pct") or 0.875)
    names = config.get("label_names") or content.get("label_names")
    return Preparation(settings, (int(height), int(width)), None if names is None else tuple(map(str, names)))


def _transformers(content: dict[str, Any]) -> Preparation:
    settings: InputSettings = {}
    if content.get("do_normalize", "image_mean" in content) and "image_mean" in content:
        settings["mean"] = tuple(map(float, content["image_mean"]))
        settings["std"] = tuple(map(float, content["image_std"]))
    elif content.get("do_normalize") is False:
        settings |= {"mean": (0.0,), "std": (1.0,)}
    if "rescale_factor" in content or "do_rescale" in content:
        rescales = content.get("do_rescale", True)
        settings["scale"] = float(content.get("rescale_factor", 1 / 255)) if rescales else 1.0
    if isinstance(content.get("resample"), int):
        settings["interpolation"] = RESAMPLING[content["resample"]]
    if content.get("do_flip_channel_order"):
        settings["mode"] = "BGR"
    size, sizing = _geometry(content)
    names = content.get("id2label")
    labels = None
    if isinstance(names, dict) and names:
        labels = tuple(str(names[key]) for key in sorted(names, key=int))
    if size is None and isinstance(content.get("image_size"), int):
        size = content["image_size"], content["image_size"]
    return Preparation(settings | sizing, size, labels)


def _geometry(content: dict[str, Any]) -> tuple[tuple[int, int] | None, InputSettings]:
    """Return the final height and width, and how an image is brought to them."""
    resized, cropped = _sides(content.get("size")), _sides(content.get("crop_size"))
    if resized is None and cropped is None:
        return None, {}
    shortest = not (isinstance(content.get("size"), dict) and "height" in content["size"])
    if content.get("do_center_crop") and cropped is not None:
        share = 1.0 if resized is None else min(1.0, min(cropped) / min(resized))
        is_squashed = not shortest or str(content.get("image_processor_type")).startswith(SQUASHING)
        return cropped, {"resize": "squash" if is_squashed else "crop", "crop": share}
    if content.get("crop_pct") and resized is not None and shortest and min(resized) < LARGE_SIDE:
        return resized, {"resize": "crop", "crop": float(content["crop_pct"])}
    return resized or cropped, {"resize": "squash"}


def _sides(value: object) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    if isinstance(value, dict) and "height" in value:
        return int(value["height"]), int(value["width"])
    if isinstance(value, dict) and "shortest_edge" in value:
        return int(value["shortest_edge"]), int(value["shortest_edge"])
    return None
