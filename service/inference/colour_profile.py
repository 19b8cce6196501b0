"""Colours of images with an ICC profile, such as a phone's Display P3 or a printer's CMYK, brought to sRGB."""

from functools import lru_cache
from io import BytesIO
from typing import cast

from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2_000_000  # bytes of a profile; those of printers have up to 1.5 million, a larger one is ignored
CACHED_TRANSFORMS = 16  # transforms that are kept, each with its profile's bytes: at most 32 MB
COLOUR_SPACES = {
    "RGB": "RGB",
    "RGBA": "RGB",
    "CMYK": "CMYK",
    "L": "GRAY",
}  # space of a profile by mode of the image
RESULTS = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "RGB"}  # mode in sRGB, by the mode of the image

SRGB = ImageCms.createProfile("sRGB")


def in_srgb(image: Image.Image) -> Image.Image:
    """Return an image in sRGB; one without a profile, or with a profile that cannot be used, as it is."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE_BYTES:
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in COLOUR_SPACES:
        return image
    transform = _transform(profile, image.mode)
    if transform is None:
        return image
    try:
        converted = ImageCms.applyTransform(image, transform)
    except ImageCms.PyCMSError:
        return image
    return cast(Image.Image, converted)  # None only for a conversion in place


@lru_cache(CACHED_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what brings pixels of a mode to sRGB; None if they are in it, or if the profile is broken or another's."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != COLOUR_SPACES[mode]:
            return None
        if (source.profile.profile_description or "").startswith("sRGB"):
            return None
        return ImageCms.buildTransform(source, SRGB, mode, RESULTS[mode])
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
