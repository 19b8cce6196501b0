"""`tidemark reference build` with few rows: a reference, or one line that says how many are needed."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.bundles import observed_bundle
from tests.support.worlds import World, rows
from tidemark.commands.reference import build_reference
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.errors import TidemarkError
from tidemark.inference.bundle_builder import init_bundle

WORLD = World()
LABELS = ("a", "b", "c", "d", "e")


def build_from_arrays(folder: Path, n: int, copies: int = 1) -> int:
    """Build a reference of n different rows and their copies; return its rows."""
    rng = np.random.default_rng(n)
    labels = WORLD.labels(n, rng)
    arrays = rows(WORLD.see(labels, rng) | {"labels": labels}, np.tile(np.arange(n), copies))
    np.savez(folder / "arrays.npz", class_names=np.array(LABELS), **arrays)
    bundle = observed_bundle(folder / "far", LABELS)
    facts = build_reference(
        bundle.folder, None, None, folder / "R.npz", arrays_file=folder / "arrays.npz", power="full"
    )
    return facts["rows"]


@pytest.mark.parametrize("n", [20, 49])
def test_fewer_rows_than_a_reference_needs_are_refused_with_the_number(tmp_path: Path, n: int) -> None:
    with pytest.raises(TidemarkError, match=f"{n} rows are too few for a reference, 50 are needed"):
        build_from_arrays(tmp_path, n)


@pytest.mark.parametrize(("n", "copies"), [(50, 1), (60, 1), (75, 1), (99, 1), (30, 3)])
def test_a_reference_of_few_rows_is_built(tmp_path: Path, n: int, copies: int) -> None:
    assert build_from_arrays(tmp_path, n, copies) == n * copies


@pytest.mark.parametrize("n", [20, 50, 99])
def test_a_reference_of_few_images_is_built_or_refused(tmp_path: Path, n: int) -> None:
    init_bundle(MODEL, tmp_path / "bundle", name="digits")
    _, held_out = halves()
    scans = scan(held_out.images[:n], np.random.default_rng(0))
    np.savez(tmp_path / "images.npz", images=scans, labels=held_out.labels[:n])
    arguments = tmp_path / "bundle", tmp_path / "images.npz", None, tmp_path / "R.npz"
    if n < 50:
        with pytest.raises(TidemarkError, match="50 are needed"):
            build_reference(*arguments)
    else:
        assert build_reference(*arguments, power="full")["rehearsals"] is None
