"""Code for other libraries: it compiles, and has the ranges in the libraries' own conventions."""

import pytest

from tidemark.remedy.augmentation.code_samples import code
from tidemark.remedy.augmentation.operations import ORDERED
from tidemark.remedy.augmentation.range_search import Range

BY_NAME = {operation.name: operation for operation in ORDERED}


def of(name: str, low: float, high: float) -> dict[str, str]:
    return code((Range(BY_NAME[name], low, high),), (28, 32))


def test_all_operations_compile() -> None:
    ranges = tuple(Range(operation, *sorted((operation.grid[0], operation.grid[-1]))) for operation in ORDERED)
    for library, text in code(ranges, (28, 32)).items():
        compile(text, library, "exec")
        assert "augment" in text


@pytest.mark.parametrize(
    ("name", "low", "high", "library", "line"),
    [
        ("gamma", 1.2, 1.7, "albumentations", "A.RandomGamma(gamma_limit=(120, 170), p=1)"),
        ("noise", 0.1, 0.2, "albumentations", "A.GaussNoise(std_range=(0.1, 0.2), per_channel=True, p=1)"),
        ("blur", 0.5, 1.5, "albumentations", "A.GaussianBlur(blur_limit=0, sigma_limit=(0.5, 1.5), p=1)"),
        ("jpeg", 11.6, 30.2, "albumentations", "quality_range=(11, 31)"),
        ("shift_y", -0.1, 0.2, "albumentations", '"y": (-0.1, 0.2)'),
        ("brightness", 0.4, 0.6, "torchvision", "v2.ColorJitter(brightness=(0.4, 0.6))"),
        ("rotation", 10, 30, "torchvision", "v2.RandomRotation((10, 30), interpolation=InterpolationMode.BILINEAR)"),
        ("blur", 0.0, 1.5, "torchvision", "v2.GaussianBlur(11, sigma=(0.01, 1.5))"),
        ("shift_x", -0.1, 0.2, "torchvision", "[32 * between(-0.1, 0.2), 0]"),
        ("rotation", -36, 18, "keras", 'layers.RandomRotation((-0.1, 0.05), fill_mode="nearest")'),
        ("shift_x", -0.1, 0.2, "keras", 'layers.RandomTranslation(0, (-0.1, 0.2), fill_mode="nearest")'),
        ("brightness", 0.4, 0.6, "keras", "images * between(0.4, 0.6)"),
    ],
)
def test_conventions(name: str, low: float, high: float, library: str, line: str) -> None:
    assert line in of(name, low, high)[library]
