"""Fitted ranges as lines of code for Albumentations, torchvision and Keras, in those libraries' own conventions."""

import math
from collections.abc import Callable, Iterable

from .range_search import Range, Ranges

Size = tuple[int, int]  # height, width of the images

ALBUMENTATIONS = """\
# albumentations 2; images are uint8 arrays H×W×C
import albumentations as A
import cv2
import numpy as np

augment = A.Compose([
{lines}
])  # augment(image=image)["image"]
"""
TORCHVISION = """\
# torchvision 0.20 or later; images are uint8 tensors C×H×W of {height}×{width} pixels
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F


def between(low, high):
    return torch.empty(1).uniform_(low, high).item()


augment = v2.Compose([
{lines}
])
"""
KERAS = """\
# keras 3; images are float32 N×{height}×{width}×C in 0..255, channels last
import random

import keras
from keras import layers, ops

{layers}
def augment(images):
    def between(low, high):
        return keras.random.uniform((ops.shape(images)[0], 1, 1, 1), low, high)

{lines}
    return images
"""
EDGES = "border_mode=cv2.BORDER_REPLICATE, p=1"


def code(ranges: Ranges, size: Size) -> dict[str, str]:
    """Return code by library: each image gets magnitudes of its own, drawn evenly from the ranges.

    Parameters
    ----------
    ranges : in the order in which they apply.
    size : height and width of the images; kernels, margins and shifts in pixels are for these.
    """
    height, width = size
    keras = [_keras(one, size) for one in ranges]
    made = "".join(f"{line}\n" for line, _ in keras if line)
    return {
        "albumentations": ALBUMENTATIONS.format(lines=_indented(_albumentations(one) for one in ranges)),
        "torchvision": TORCHVISION.format(
            lines=_indented(_torchvision(one, size) for one in ranges), height=height, width=width
        ),
        "keras": KERAS.format(
            layers=f"{made}\n" if made else "", lines=_indented(line for _, line in keras), height=height, width=width
        ),
    }


def _albumentations(one: Range) -> str:
    low, high = _written(one)
    pair = f"({low}, {high})"
    percent = f"({_figure(100 * one.low)}, {_figure(100 * one.high)})"
    still = "saturation=(1, 1), hue=(0, 0), p=1"
    lines = {
        "rotation": f"A.Rotate(limit={pair}, {EDGES}),",
        "shift_x": f'A.Affine(translate_percent={{"x": {pair}, "y": (0, 0)}}, {EDGES}),',
        "shift_y": f'A.Affine(translate_percent={{"x": (0, 0), "y": {pair}}}, {EDGES}),',
        "brightness": f"A.MultiplicativeNoise(multiplier={pair}, per_channel=False, elementwise=False, p=1),",
        "cast": "A.Lambda(image=lambda x, **_: np.clip("
        f"x * (np.random.uniform{pair} * np.array([1, 0, -1]) + 1), 0, 255).astype(np.uint8)),  # red up, blue down",
        "blur": f"A.GaussianBlur(blur_limit=0, sigma_limit={pair}, p=1),",
        "resolution": f'A.Downscale(scale_range={pair}, interpolation_pair={{"downscale": cv2.INTER_AREA, "upscale": '
        "cv2.INTER_LINEAR}, p=1),",
        "noise": f"A.GaussNoise(std_range={pair}, per_channel=True, p=1),",
        "contrast": f"A.ColorJitter(brightness=(1, 1), contrast={pair}, {still}),",
        "gamma": f"A.RandomGamma(gamma_limit={percent}, p=1),  # in percent",
        "jpeg": f'A.ImageCompression(compression_type="jpeg", quality_range=({math.floor(one.low)}, '
        f"{math.ceil(one.high)}), p=1),",
    }
    return lines[one.operation.name]


def _torchvision(one: Range, size: Size) -> str:
    low, high = _written(one)
    height, width = size
    pair, value, bilinear = f"({low}, {high})", f"between({low}, {high})", "InterpolationMode.BILINEAR"
    cut = f"v2.CenterCrop(({height}, {width})),"

    def moved(margin: int, line: str) -> str:
        return f'v2.Pad({margin}, padding_mode="edge"),\n{line}\n{cut}'

    def shifted(side: int, offsets: str) -> str:
        line = f"v2.Lambda(lambda x: F.affine(x, 0, {offsets}, 1, [0, 0], interpolation={bilinear})),"
        return moved(math.ceil(max(abs(one.low), abs(one.high)) * side) + 1, line)

    turn = f"v2.RandomRotation({pair}, interpolation={bilinear}),"
    kernel, sigma = _kernel(one.high), f"({max(one.low, 0.01):.4g}, {max(one.high, 0.01):.4g})"
    lines: dict[str, Callable[[], str]] = {
        "rotation": lambda: moved(math.ceil((math.hypot(*size) - min(size)) / 2) + 1, turn),
        "shift_x": lambda: shifted(width, f"[{width} * {value}, 0]"),
        "shift_y": lambda: shifted(height, f"[0, {height} * {value}]"),
        "brightness": lambda: f"v2.ColorJitter(brightness={pair}),",
        "cast": lambda: (
            f"v2.Lambda(lambda x: (x * ({value} * torch.tensor([1, 0, -1]) + 1)[:, None, None])"
            ".clamp(0, 255).to(torch.uint8)),  # red up, blue down"
        ),
        "blur": lambda: f"v2.GaussianBlur({kernel}, sigma={sigma}),",
        "resolution": lambda: (
            f"v2.Lambda(lambda x: F.resize(F.resize(x, [round({min(size)} * {value})], antialias=True),"
            f" [{height}, {width}])),"
        ),
        "noise": lambda: (
            f"v2.Lambda(lambda x: (x + 255 * {value} * torch.randn(x.shape)).round().clamp(0, 255).to(torch.uint8)),"
        ),
        "contrast": lambda: f"v2.ColorJitter(contrast={pair}),",
        "gamma": lambda: f"v2.Lambda(lambda x: F.adjust_gamma(x, {value})),",
        "jpeg": lambda: f"v2.JPEG(({math.floor(one.low)}, {math.ceil(one.high)})),",
    }
    return lines[one.operation.name]()


def _keras(one: Range, size: Size) -> tuple[str, str]:
    """Return the line that makes a layer, where there is one that does just this, and the line that applies it."""
    name, (low, high) = one.operation.name, _written(one)
    height, width = size
    value, filled = f"between({low}, {high})", 'fill_mode="nearest"'
    turns = f"({_figure(one.low / 360)}, {_figure(one.high / 360)})"  # counter-clockwise, of a whole turn
    sigma = f"({max(one.low, 0.01):.4g}, {max(one.high, 0.01):.4g})"
    layers = {
        "rotation": f"layers.RandomRotation({turns}, {filled})",
        "shift_x": f"layers.RandomTranslation(0, ({low}, {high}), {filled})",
        "shift_y": f"layers.RandomTranslation(({low}, {high}), 0, {filled})",
    }
    if name in layers:
        return f"{name} = {layers[name]}", f"images = {name}(images, training=True)"
    lines = {
        "brightness": f"images = ops.clip(images * {value}, 0, 255)",
        "blur": f"sigma = random.uniform{sigma}  # one for all images of a batch\n"
        f"reach = {_kernel(one.high) // 2}\n"
        'kernel = ops.exp(-(ops.arange(-reach, reach + 1, dtype="float32") ** 2) / (2 * sigma**2))\n'
        "kernel = ops.repeat(ops.reshape(kernel / ops.sum(kernel), (-1, 1, 1, 1)), images.shape[-1], axis=2)\n"
        'images = ops.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")\n'
        "images = ops.depthwise_conv(images, kernel)\n"
        "images = ops.depthwise_conv(images, ops.transpose(kernel, (1, 0, 2, 3)))",
        "cast": f"images = ops.clip(images * (1 + {value} * ops.array([1.0, 0.0, -1.0])), 0, 255)  # red up, blue down",
        "resolution": f"side = random.uniform({low}, {high})  # one for all images of a batch\n"
        f"images = ops.image.resize(images, (round({height} * side), round({width} * side)), antialias=True)\n"
        f"images = ops.image.resize(images, ({height}, {width}))",
        "noise": f"images = ops.clip(images + 255 * {value} * keras.random.normal(ops.shape(images)), 0, 255)",
        "contrast": "mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)\n"
        f"images = ops.clip(mean + (images - mean) * {value}, 0, 255)",
        "gamma": f"images = 255 * ops.power(images / 255, {value})",
        "jpeg": "import tensorflow as tf  # the one operation that needs it\n"
        f"images = tf.map_fn(lambda x: 255 * tf.image.random_jpeg_quality(x / 255, {math.floor(one.low)}, "
        f"{max(math.ceil(one.high), math.floor(one.low) + 1)}), images)",
    }
    return "", lines[name]


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for entry in lines for line in entry.split("\n"))


def _kernel(sigma: float) -> int:
    """Return the odd side of a kernel that holds three deviations on each side."""
    return 2 * math.ceil(3 * sigma) + 1


def _written(one: Range) -> tuple[str, str]:
    return _figure(one.low), _figure(one.high)


def _figure(value: float) -> str:
    return f"{value:.4g}"
