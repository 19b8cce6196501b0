"""`tidemark check`: one offline test of a window against a reference, for a CI job that gates a data set."""

from pathlib import Path

from ..drift import Reference, WindowReport, WindowTest
from ..drift.window import MIN_WINDOW
from ..errors import ConfigurationError, TidemarkError
from ..inference import bundle as bundles
from ..inference.labelled_images import LabelledImages
from .npz_arrays import load_arrays
from .reference_images import reference_arrays as images_arrays


def check(
    reference_path: Path, window_path: Path | None = None, bundle: Path | None = None, images: Path | None = None
) -> WindowReport:
    """Return the window report of a reference file and a window.

    Parameters
    ----------
    window_path : Path or None
        An .npz with the window's arrays.
    bundle, images : Path or None
        Instead, images that the bundle's model is run over; labels are not needed, and not used.

    Raises
    ------
    TidemarkError
        A file is no npz, lacks an array, or holds arrays that do not fit the other's; both kinds of window are given,
        or none.
    """
    reference_arrays = load_arrays(reference_path)
    if window_path is not None and bundle is None and images is None:
        window_arrays, source = load_arrays(window_path), window_path
    elif window_path is None and bundle is not None and images is not None:
        loaded = bundles.load(bundle)
        window_arrays, source = images_arrays(loaded, LabelledImages(loaded, images, labels_required=False)), images
    else:
        raise ConfigurationError("expected either --window, or else --bundle and --images")
    try:
        reference = Reference.from_arrays(reference_arrays)
        test = WindowTest(reference, window_size=max(len(window_arrays["embeddings"]), MIN_WINDOW))
        return test(window_arrays["embeddings"], window_arrays["probabilities"], window_arrays.get("properties"))
    except ValueError as error:
        raise TidemarkError(f"{reference_path} and {source}: {error}") from None
