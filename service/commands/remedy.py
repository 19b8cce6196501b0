"""`tidemark remedy`: from a span of logged traffic to remedies, each with its measured improvement."""

import datetime as dt
import logging
from collections.abc import Sequence
from pathlib import Path

from ..drift import WindowTest
from ..errors import ConfigurationError, TidemarkError
from ..folders import require_empty
from ..inference import bundle as bundles
from ..inference.bundle import Bundle
from ..monitor.budget import pace_of, stream_budget
from ..remedy import span
from ..remedy.label_shift.corrected_posterior import model_of
from ..remedy.registry import REMEDIES, RemedySpec
from ..remedy.remedy_context import RemedyContext
from ..remedy.report import remedy_report
from ..remedy.report.pictures import pictures
from ..remedy.report.remedy_report import Picture, ReportJson, Skipped
from ..remedy.result import RemedyNotApplicable
from ..remedy.span import Span
from ..remedy.span_kinds import kinds_of
from ..settings import Settings
from ..store import streams
from ..store.open_database import open_database
from ..store.stream_status import StreamStatus
from .remedied_accuracy import with_rehearsed_accuracy

logger = logging.getLogger(__name__)


def create_remedies(
    stream: str,
    since: dt.datetime,
    until: dt.datetime,
    out: Path,
    names: Sequence[str] = (),
    bundle: Path | None = None,
    images: Path | None = None,
    force: bool = False,
) -> ReportJson:
    """Write remedies for a span of traffic, and a report of their improvements, to a new folder.

    Parameters
    ----------
    names : sequence of str
        The remedies to make; those for the shifts that are found unless given.
    bundle, images : Path or None
        What some remedies need: the model, and labelled images held out from fitting.
    force : bool
        Also export what does not improve.

    Returns
    -------
    The content of report.json.

    Raises
    ------
    TidemarkError
        No such stream or remedy, too few predictions, a folder in use, a bundle of another model; or a remedy that
        was asked for by name cannot be made.
    """
    specs = _requested_specs(names)
    require_empty(out)
    settings = Settings.load()
    loaded = None if bundle is None else bundles.load(bundle)
    with open_database(settings) as engine, engine.connect() as connection:
        traffic = span.load(connection, stream, since, until)
        status = StreamStatus.from_json(streams.require(connection, stream).status)
    run_time = stream_budget(settings, pace_of(status)).labels
    _check(loaded, traffic)
    logger.info("testing %d predictions of %s", len(traffic), stream)
    sample = traffic.sample
    test = WindowTest(traffic.reference, window_size=len(traffic))
    report = test(sample.embeddings, sample.probabilities, sample.properties)
    kinds = kinds_of(traffic, report, run_time)
    out.mkdir(parents=True, exist_ok=True)
    context = RemedyContext(traffic, report, kinds, out, loaded, images, force)
    return _create_remedies(
        context, specs or [entry for entry in REMEDIES if entry.kinds & kinds], is_requested=bool(names)
    )


def _create_remedies(context: RemedyContext, specs: Sequence[RemedySpec], is_requested: bool) -> ReportJson:
    remedies, skipped = [], []
    for entry in specs:
        logger.info("making %s", entry.name)
        try:
            remedies.append(entry.make(context))
        except RemedyNotApplicable as error:
            if is_requested:
                raise TidemarkError(f"{entry.name} {error}") from None
            skipped.append(Skipped(entry.name, str(error)))
    remedies = with_rehearsed_accuracy(context, remedies)
    reasons = {entry.name: "it was asked for by name" if is_requested else entry.why for entry in specs}
    images = [Picture(title, markup) for title, markup in pictures(context.span, context.seed)]
    return remedy_report.write(context, remedies, reasons, skipped, images)


def _requested_specs(names: Sequence[str]) -> list[RemedySpec]:
    remedies_by_name = {entry.name: entry for entry in REMEDIES}
    for name in names:
        if name not in remedies_by_name:
            raise ConfigurationError(f"--remedy: no remedy {name!r}; there are: {', '.join(remedies_by_name)}")
    return [entry for entry in REMEDIES if entry.name in names]


def _check(bundle: Bundle | None, traffic: Span) -> None:
    """Raise where the bundle is not the model that predicted."""
    if bundle is None:
        return
    model = model_of(traffic.stream)
    if str(bundle.key) != model or bundle.sha256 != traffic.sha256:
        raise ConfigurationError(
            f"--bundle: {bundle.folder} is {bundle.key} ({bundle.sha256[:12]}…), "
            f"the span was predicted by {model} ({traffic.sha256[:12]}…)"
        )
