"""Images on which a graph is tried: as different from each other as users' images are, so that no two look alike."""

import numpy as np
from numpy.typing import NDArray

PROBES = 8  # images; enough to be dark, bright, grey, noisy and smooth, few enough for large networks


def probe_images(size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Return 8 images (8, H, W) or (8, H, W, 3): noise, dark, bright, two like photographs, a ramp, black and white."""
    height, width = size
    rng = np.random.default_rng(0)
    noise = rng.random((height, width, channels))
    images = [
        255 * noise,
        50 * rng.random((height, width, channels)),
        205 + 50 * rng.random((height, width, channels)),
        _smooth(rng, height, width, channels),
        _smooth(rng, height, width, channels) * 0.3,
        np.broadcast_to(np.linspace(0, 255, width)[None, :, None], noise.shape),
        np.zeros_like(noise),
        np.full_like(noise, 255),
    ]
    stacked = np.stack(images).round().astype(np.uint8)
    return stacked if channels == 3 else stacked[..., 0]


def _smooth(rng: np.random.Generator, height: int, width: int, channels: int) -> NDArray[np.float64]:
    """Return an image with large regions and some grain, of values in 0..255, as photographs have."""
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    waves = np.zeros((height, width, channels))
    for frequency in (1, 2, 4, 8):
        angle, phase = rng.random((2, channels)) * 2 * np.pi
        waves += np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase) / frequency
    waves += 0.1 * rng.standard_normal(waves.shape)
    spread = np.ptp(waves) or 1.0
    return np.asarray(255 * (waves - waves.min()) / spread)
