"""One server process of `tidemark serve`, whose options are in its environment."""

import gc
import logging
import multiprocessing
import os
import threading
import time

from fastapi import FastAPI

from .. import logs
from ..errors import DatabaseError
from ..inference import bundle as bundles
from ..inference.bundle import Bundle
from ..remedy.label_shift.priors_file import corrections
from ..settings import Settings
from ..store import engine as engines
from .app import create_app
from .draining import drain_on_sigterm
from .parent import exit_with_parent
from .serve_options import ServeOptions

RESTART_DELAY = 2.0  # seconds until a worker that found no database ends and is replaced
OBJECTS_PER_COLLECTION = 50_000  # objects made between two collections
EXIT_RESTART = 1  # exit code of a worker that is to be started again

logger = logging.getLogger(__name__)


def worker() -> FastAPI:
    """Return the server that the environment describes; it ends with the process that started it."""
    is_one_of_several = multiprocessing.parent_process() is not None
    if is_one_of_several:
        logs.configure()
        exit_with_parent(os.getppid())
    settings = Settings.load()
    if settings.database_url is None:
        raise RuntimeError("workers are started by `tidemark serve`, which sets TIDEMARK_DATABASE_URL")
    options = ServeOptions.from_environment()
    served = [bundles.load_any(folder) for folder in options.bundles]
    shadows = [bundles.load(folder) for folder in options.shadows]
    url = engines.normalised(settings.database_url.get_secret_value())
    answering = [bundle for bundle in served if isinstance(bundle, Bundle)]
    priors, stopping = corrections(options.priors, answering), threading.Event()
    try:
        app = create_app(settings, served, url, priors, shadows, tune_garbage_collector, stopping)
    except DatabaseError as error:
        if not is_one_of_several:
            raise
        logger.error("worker not started, again in %.0f s: %s", RESTART_DELAY, error)
        time.sleep(RESTART_DELAY)
        raise SystemExit(EXIT_RESTART) from None
    if options.grpc_port is not None:
        from .grpc_server import serve_over_grpc  # needs the extra `grpc`

        serve_over_grpc(app, settings, options)
    drain_on_sigterm(app, settings.shutdown_grace, stopping.set)
    return app


def tune_garbage_collector() -> None:
    """Exempt what the start has made from collections, and make collections rare: each holds every request up."""
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION)
