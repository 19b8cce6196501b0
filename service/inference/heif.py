"""HEIC images, by Pillow's plugin of the extra `heif`."""

from importlib.util import find_spec


def register() -> bool:
    """Let Pillow read HEIC if the plugin is installed; return whether it is.

    The plugin reads an image's size before it decodes, turns the picture upright itself, and decodes within the thread
    that asks for it.
    """
    if find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return True
