"""A log of calm and then of shifted traffic, in the past, for replays."""

import datetime as dt
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Engine, make_url

from tests.support.monitoring import WORLD, Installation
from tests.support.predictions import write
from tests.support.worlds import Change
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

START = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=3)
PACE = dt.timedelta(seconds=1)  # time between two predictions
CALM, SHIFTED = 1500, 600  # predictions before and after the planted shift
CHANGE: Change = {"move": 0.45}


class LoggedHistory(Installation):
    """A model whose log holds calm traffic and a planted shift, at one prediction a second."""

    def __init__(self, engine: Engine, url: str, **settings: Any) -> None:
        super().__init__(engine, url, **settings)
        self.at = START
        self.noise = np.random.default_rng(1)  # of the ids
        self.spool = UUID(int=7)
        self.number = 1

    def add(self, n: int, tags: list[bytes] | None = None, **change: Any) -> list[UUID]:
        arrays = WORLD.traffic(n, self.rng, **change)
        times = [self.at + number * PACE for number in range(n)]
        ids = b"".join(id_at(int(at.timestamp() * 1000), self.noise.bytes(10)).bytes for at in times)
        batch = logged("m:1", ids, arrays["probabilities"], arrays["embeddings"], arrays["properties"], tags)
        with self.engine.begin() as connection:
            write(connection, batch, spool=self.spool, first_number=self.number)
        self.at += n * PACE
        self.number += n
        return batch.uuids

    def environment(self) -> dict[str, str]:
        host = make_url(self.url).render_as_string(hide_password=False)
        replay_settings = self.settings
        return {
            "TIDEMARK_DATABASE_URL": host,
            "TIDEMARK_WINDOW_SIZE": str(replay_settings.window_size),
            "TIDEMARK_WINDOW_MIN_SIZE": str(replay_settings.window_min_size),
            "TIDEMARK_EXPECTED_RUN_TIME": str(replay_settings.expected_run_time),
            "TIDEMARK_SLICE_TAGS": ",".join(replay_settings.slice_tags),
        }
