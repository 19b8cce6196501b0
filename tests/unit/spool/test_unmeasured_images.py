"""Images that a spool takes with their predictions leave it as image properties, whichever way they leave."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.predictions import new_ids
from tidemark.inference.properties import ImageArrays, measure
from tidemark.spool import file, ring
from tidemark.spool.rejected_batches import SUFFIX
from tidemark.spool.spool import Spool
from tidemark.spool.unmeasured_images import image_bytes
from tidemark.store.logged import Logged, logged

GREY, COLOUR = (9, 7), (4, 6, 3)
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.spool.test_unmeasured_images import append_all
from tidemark.spool.spool import Spool
append_all(Spool.create(Path(sys.argv[1])))
os.kill(os.getpid(), signal.SIGKILL)
"""


def images(count: int, shape: tuple[int, ...]) -> ImageArrays:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    return ImageArrays(pixels, rng.integers(1, 5000, count).tolist(), rng.integers(1, 5000, count).tolist())


def predictions(count: int, properties: NDArray[np.float32] | None = None) -> Logged:
    return logged("m:1", new_ids(count), np.full((count, 2), 0.5), np.ones((count, 3)), properties)


# Single images and several, in runs of one shape that are longer than what is measured at a time, and others between.
BATCHES = [
    *(images(1 + number % 3, GREY) for number in range(50)),
    *(images(1, COLOUR) for _ in range(3)),
    None,
    images(2, GREY),
]
PROPERTIES = [measure(*(one or images(4, COLOUR))) for one in BATCHES]


def append_all(spool: Spool) -> None:
    for one, properties in zip(BATCHES, PROPERTIES, strict=True):
        spool.append(predictions(len(properties), properties if one is None else None), one)


def assert_measured(spool: Spool) -> None:
    rows = []
    while (some := spool.peek(10_000)).count:
        for batch in some.batches:
            assert batch.predictions.properties is not None
            rows.append(batch.predictions.properties)
        spool.discard(some.last)
    np.testing.assert_allclose(np.concatenate(rows), np.concatenate(PROPERTIES), rtol=1e-6)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool.create(tmp_path)


def test_batches_of_the_ring_are_measured_when_they_are_read(spool: Spool) -> None:
    append_all(spool)
    assert_measured(spool)


@pytest.mark.parametrize("size", [0, 256, 4096])
def test_batches_are_measured_before_they_move_to_the_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The ring may have too little room for all of them, for any of them, or not exist."""
    monkeypatch.setattr(ring, "RING_BYTES", size or ring.RING_BYTES)
    spool = Spool.create(tmp_path, "normal" if size else "full")
    append_all(spool)
    with closing(sqlite3.connect(spool.path)) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM batches").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM batches WHERE properties IS NULL").fetchone() == (0,)
    assert_measured(spool)


def test_the_images_of_a_killed_process_are_measured_by_its_heir(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    (path,) = tmp_path.glob(f"*{file.SUFFIX}")
    lock = file.lock(path)
    assert lock is not None
    assert_measured(Spool(path, lock, adopted=True))


def test_a_batch_that_is_set_aside_has_its_properties(spool: Spool) -> None:
    one = images(2, GREY)
    spool.append(predictions(2), one)
    assert spool.set_aside(spool.peek(10).last, "some reason") == 2
    with closing(sqlite3.connect(spool.path.with_suffix(SUFFIX))) as connection:
        (properties,) = connection.execute("SELECT properties FROM rejected").fetchone()
    assert properties == measure(*one).tobytes()


def test_images_count_as_content_of_the_spool(spool: Spool) -> None:
    sizes = []
    for one in (None, None, images(1, GREY)):
        spool.append(predictions(1), one)
        sizes.append(spool.bytes())
    plain, with_image = np.diff(sizes)
    assert with_image == plain + len(image_bytes(images(1, GREY))) > plain + 9 * 7
