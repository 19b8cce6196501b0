"""One server process of `tidemark serve`: the environment tells it what to serve; it ends with who started it."""

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

from fastapi import FastAPI

from .. import logs
from ..errors import DatabaseError
from ..inference import bundle as bundles
from ..inference.bundle import Bundle
from ..remedy.label_shift.priors_file import corrections
from ..settings import Settings
from ..store import engine as engines
from .app import create_app

BUNDLE_VARIABLE = "TIDEMARK_BUNDLE"  # how `serve` tells its workers which bundles to load, as a JSON list,
PRIORS_VARIABLE = "TIDEMARK_CORRECT_PRIORS"  # and the files of class proportions to correct for
SHADOW_VARIABLE = "TIDEMARK_SHADOW"  # the bundles of models in shadow
PAUSE = 2.0  # seconds until a worker that found no database ends and is replaced
REPLACE = 1  # exit code of a worker that is to be started again

logger = logging.getLogger(__name__)


def worker() -> FastAPI:
    """Return the server that the environment describes."""
    replaceable = multiprocessing.parent_process() is not None  # one of several
    if replaceable:
        logs.configure()
        follow(os.getppid())
    settings = Settings.load()
    if settings.database_url is None:
        raise RuntimeError("workers are started by `tidemark serve`, which sets TIDEMARK_DATABASE_URL")
    served = [bundles.load_any(Path(folder)) for folder in json.loads(os.environ[BUNDLE_VARIABLE])]
    shadows = [bundles.load(Path(folder)) for folder in json.loads(os.environ.get(SHADOW_VARIABLE, "[]"))]
    priors = [Path(file) for file in json.loads(os.environ.get(PRIORS_VARIABLE, "[]"))]
    url = engines.normalised(settings.database_url.get_secret_value())
    answering = [bundle for bundle in served if isinstance(bundle, Bundle)]
    try:
        return create_app(settings, served, url, corrections(priors, answering), shadows)
    except DatabaseError as error:
        if not replaceable:
            raise
        logger.error("worker not started, again in %.0f s: %s", PAUSE, error)
        time.sleep(PAUSE)
        raise SystemExit(REPLACE) from None


def follow(parent: int) -> None:
    """End this process when its parent is gone, even by kill -9."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()
