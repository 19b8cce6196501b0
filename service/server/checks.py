"""Checks before a server opens its port, of conditions that would make every worker process fail."""

import datetime as dt
import logging
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from sqlalchemy import Connection, Engine

from ..alerts.adopted_baseline import withdraw_corrected_priors
from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..errors import ConfigurationError, DatabaseError
from ..inference import bundle as bundles
from ..inference.bundle import BASELINE_FILE, AnyBundle, Bundle
from ..remedy.label_shift.priors_file import Priors, read_priors
from ..settings import Settings
from ..store import engine as engines
from ..store import models, rights, schema, streams
from .parent import has_supervisor
from .serve_options import ServeOptions

DATABASE_PAUSE = 0.5  # seconds between two attempts to reach the database

logger = logging.getLogger(__name__)


def check(options: ServeOptions, url: str) -> None:
    """Check bundles, priors, database, schema and rights, and register the models; those that a remedy made are
    compared with what it was made for from now on.

    Raises
    ------
    ConfigurationError
        Two bundles have the same name and version, or a shadow model would receive no images.
    DatabaseError
        The database cannot be used with this version or this role.
    ReferenceMismatch
        The stored reference belongs to another model file.
    """
    _check_grpc(options)
    answering, served = _load(options)
    priors = read_priors(options.priors, answering)
    engine = engines.connect(url)
    try:
        await_database(engine)
        schema.check(engine)
        rights.check(engine)
        with engine.begin() as connection:
            for bundle in served:
                models.register(
                    connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels), bundle.former_sha256
                )
            _withdraw_priors(connection, answering, priors)
            if priors or any((bundle.folder / BASELINE_FILE).exists() for bundle in served):
                _adopt(connection, served, priors)
    finally:
        engine.dispose()


def _check_grpc(options: ServeOptions) -> None:
    if options.grpc_port is not None and find_spec("grpc") is None:
        raise ConfigurationError("--grpc-port needs the extra `grpc`: pip install 'tidemark[grpc]'")


def _withdraw_priors(connection: Connection, answering: Sequence[Bundle], priors: Mapping[str, Priors]) -> None:
    """Compare models whose priors are not corrected any more with what they were compared with before."""
    for bundle in answering:
        stream = streams.find(connection, str(bundle.key))
        if stream is not None and str(bundle.key) not in priors:
            withdraw_corrected_priors(connection, stream, dt.datetime.now(dt.UTC))


def _adopt(connection: Connection, served: Sequence[AnyBundle], priors: Mapping[str, Priors]) -> None:
    """Compare models with what their remedies were made for."""
    from ..remedy.baseline_adoption import adopt_baselines  # scipy, which a server needs for nothing else

    settings = Settings.load()
    alerts = Alerts(open_queue(""), settings.webhook_urls, settings.public_url)
    adopt_baselines(connection, alerts, served, priors, dt.datetime.now(dt.UTC))


def await_database(engine: Engine) -> None:
    """Raise if the database cannot be used; a child of `up`, which has just used it, waits until it is back."""
    while True:
        try:
            return engines.check(engine)
        except DatabaseError:
            if not has_supervisor():
                raise
            time.sleep(DATABASE_PAUSE)


def _load(options: ServeOptions) -> tuple[list[Bundle], list[AnyBundle]]:
    """Return the bundles that answer, and all of them."""
    loaded = [("--bundle", bundles.load_any(folder)) for folder in options.bundles]
    answering = [bundle for _, bundle in loaded if isinstance(bundle, Bundle)]
    if options.shadows and not answering:
        raise ConfigurationError("--shadow: no --bundle has a model that answers, whose images could be passed on")
    served: dict[str, AnyBundle] = {}
    for option, bundle in [*loaded, *(("--shadow", bundles.load(folder)) for folder in options.shadows)]:
        name = str(bundle.key)
        if name in served:
            raise ConfigurationError(
                f"{option}: {served[name].folder} and {bundle.folder} are both {name}; change a version"
            )
        if not isinstance(bundle, Bundle):
            logger.info("%s is served elsewhere: there is no %s in %s", name, bundles.MODEL_FILE, bundle.folder)
        served[name] = bundle
    return answering, list(served.values())
