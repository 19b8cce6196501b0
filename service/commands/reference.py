"""`tidemark reference build`: the model's predictions of held-out training data, stored for the monitor."""

import datetime as dt
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..drift import Reference, StreamDetector
from ..drift.rehearsals.survival import survival_of, survival_rows
from ..errors import ConfigurationError, ReferenceMismatch, TidemarkError
from ..inference import bundle as bundles
from ..inference.bundle import AnyBundle, Bundle
from ..monitor.budget import stream_budget
from ..remedy.baseline_adoption import adopt_baselines
from ..settings import Settings
from ..store import models, references
from ..store.open_database import open_database
from ..store.report_json import SurvivalJson
from .reference_arrays import read_arrays
from .reference_detectable import DetectableAtRate, detectable_at_rates
from .reference_images import BuiltReference, reference_arrays, reference_from_images
from .reference_power import DetectableShift, detectable_shifts
from .reference_thumbnails import MAX_THUMBNAILS
from .reference_warnings import warnings
from .rehearse import MIN_IMAGES, RehearsalFacts, Rehearsed, rehearse_bundle, shifts_json
from .survival_picture import survival_picture

__all__ = ["MAX_THUMBNAILS", "BuiltReference", "build_reference", "reference_arrays", "store"]

MIN_ROWS = 50  # rows of a reference; with fewer its tests cannot be calibrated
HELD_OUT = (
    "This data must be held out from fitting: a model looks more certain on images that it was fitted on, "
    "so that unchanged traffic would always count as drifted."
)


class ReferenceFacts(TypedDict):
    """The printed content of `tidemark reference build`."""

    model: str
    model_sha256: str
    rows: int
    accuracy: float | None
    duplicates: NotRequired[int]  # images, as the next one; for a reference of images
    unreadable: NotRequired[int]
    thumbnails: int
    rehearsals: RehearsalFacts | None
    detectable: list[DetectableAtRate]
    power: list[DetectableShift]
    power_complete: bool
    stored: str


def build_reference(
    folder: Path,
    images: Path | None,
    limit: int | None,
    out: Path | None,
    thumbnails: bool = False,
    arrays_file: Path | None = None,
    power: str = "auto",
    rehearsals: bool = True,
    picture: Path | None = None,
) -> ReferenceFacts:
    """Make a reference and store it, or write it to `out`.

    Parameters
    ----------
    images : Path, optional
        Images that the bundle's model is run over.
    limit : int, optional
        Number of images, drawn at random, that are used. Default: all.
    thumbnails : bool, default False
        Store small pictures of some of the images.
    arrays_file : Path, optional
        Instead of images, an .npz of what the model answered elsewhere.
    power : {"auto", "full", "none"}
        Whether the table of the smallest shifts that would be detected is made: as far as it gets in a fifth of the
        whole time, in full, or not at all. The reference is stored before.
    rehearsals : bool, default True
        Run the model over synthetic shifts of some of the images, if these have labels.
    picture : Path, optional
        An SVG file that shows which shifts the model survives.

    Returns
    -------
    The printed content.

    Raises
    ------
    TidemarkError
        The bundle or the data cannot be used.
    """
    started = time.monotonic()
    if thumbnails and out is not None:
        raise TidemarkError("--thumbnails are kept with a stored reference: leave out --out")
    if out is None:
        with open_database(Settings.load()):
            pass  # an error of the database shows before the model runs, not after
    built = _build(folder, images, limit, thumbnails, arrays_file)
    reference = _reference_of(built)
    rows = len(reference)
    print(HELD_OUT, file=sys.stderr)
    for warning in [*warnings(built.bundle, rows, built.labels), *built.warnings]:
        print(f"warning: {warning}", file=sys.stderr)
    rehearsed = _rehearse(built, reference) if rehearsals else None
    arrays = dict(built.arrays)
    if rehearsed is not None:
        arrays |= rehearsed.rehearsals.to_arrays()
        reference = Reference.from_arrays(arrays)
    if picture is not None:
        _draw(picture, rehearsed, built)
    if out is not None:
        np.savez_compressed(out, allow_pickle=False, **arrays)
        stored = str(out)
    else:
        stored = f"reference {store(built.bundle, arrays, reference, built.thumbnails)}"
    shifts, is_complete = detectable_shifts(reference, power, time.monotonic() - started)
    return {
        "model": str(built.bundle.key),
        "model_sha256": built.bundle.sha256,
        "rows": rows,
        "accuracy": built.accuracy,
        **built.counts,
        "thumbnails": len(built.thumbnails),
        "rehearsals": None if rehearsed is None else rehearsed.facts(),
        "detectable": detectable_at_rates(rows, Settings.load()),
        "power": shifts,
        "power_complete": is_complete,
        "stored": stored,
    }


def _build(
    folder: Path, images: Path | None, limit: int | None, thumbnails: bool, arrays_file: Path | None
) -> BuiltReference:
    """Run the model over images, or read the arrays of a model that answered elsewhere."""
    if images is not None and arrays_file is None:
        return reference_from_images(folder, images, limit, thumbnails)
    if arrays_file is not None and images is None and limit is None and not thumbnails:
        bundle = bundles.load_any(folder)
        return BuiltReference(bundle, arrays_file, read_arrays(bundle, arrays_file), [])
    raise ConfigurationError("expected either --images, or else --arrays without --limit and --thumbnails")


def _reference_of(built: BuiltReference) -> Reference:
    rows = len(built.arrays["embeddings"])
    if rows < MIN_ROWS:
        raise TidemarkError(f"{built.source}: {rows} rows are too few for a reference, {MIN_ROWS} are needed")
    try:
        return Reference.from_arrays(built.arrays)
    except ValueError as error:
        raise TidemarkError(f"{built.source}: {error}") from None


def _rehearse(built: BuiltReference, reference: Reference) -> Rehearsed | None:
    """Run the rehearsals; None if the images or their labels are not there, or are too few."""
    if not isinstance(built.bundle, Bundle) or built.labels is None or len(built.rehearsed) < MIN_IMAGES:
        return None
    return rehearse_bundle(built.bundle, reference, built.rehearsed, built.seconds / len(reference))


def _draw(picture: Path, rehearsed: Rehearsed | None, built: BuiltReference) -> None:
    if rehearsed is None or built.accuracy is None:
        raise TidemarkError(f"--picture needs rehearsals: at least {MIN_IMAGES} labelled images")
    rows = survival_rows(rehearsed.rehearsals)
    picture.write_text(
        survival_picture(rows, rehearsed.unchanged_accuracy, rehearsed.rehearsals.left_out), encoding="utf-8"
    )


def store(
    bundle: AnyBundle,
    arrays: dict[str, NDArray[Any]],
    reference: Reference,
    thumbnails: Mapping[int, bytes] | None = None,
) -> int:
    """Store a reference with its detector's calibration in Postgres, pinned to the model's SHA-256; return its id."""
    settings = Settings.load()
    calibration = StreamDetector(reference, stream_budget(settings).detector).calibration()
    with open_database(settings) as engine, engine.begin() as connection:
        labels = list(bundle.labels)
        model_id = models.register(connection, bundle.name, bundle.version, bundle.sha256, labels, bundle.former_sha256)
        if not isinstance(bundle, Bundle):
            _check_embeddings(connection, model_id, bundle, arrays["embeddings"].shape[1])
        reference_id = references.save(connection, model_id, arrays, thumbnails, _survival_json(reference))
        references.save_calibration(connection, reference_id, calibration)
        alerts = Alerts(open_queue(""), settings.webhook_urls, settings.public_url)
        adopt_baselines(connection, alerts, [bundle], {}, dt.datetime.now(dt.UTC))
    return reference_id


def _survival_json(reference: Reference) -> SurvivalJson | None:
    """Return what the model survives as it is stored; None without rehearsals."""
    survival = survival_of(reference)
    if survival is None:
        return None
    return SurvivalJson(
        images=survival.images,
        rehearsals=survival.rehearsals,
        unchanged_accuracy=survival.unchanged_accuracy,
        shifts=shifts_json(survival.rows),
        left_out=list(survival.left_out),
    )


def _check_embeddings(connection: Connection, model_id: int, bundle: AnyBundle, size: int) -> None:
    pinned_size = models.pin_embedding_size(connection, model_id, size)
    if pinned_size != size:
        raise ReferenceMismatch(
            f"embeddings have {size} columns, those observed of {bundle.key} have {pinned_size}: "
            "give this model a new version"
        )
