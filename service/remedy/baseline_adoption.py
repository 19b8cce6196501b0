"""What a model is compared with because of a remedy: its bundle's traffic, or the class proportions it corrects for."""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Connection

from ..alerts.adopted_baseline import CORRECTED_PRIORS, adopt
from ..alerts.lifecycle import Alerts
from ..drift import Reference
from ..inference.bundle import AnyBundle, Bundle
from ..store import references, streams
from ..store.baselines import BaselineDraft
from .bundle_baseline import read_baseline
from .label_shift.accepted_priors import traffic_of_mix
from .label_shift.priors_file import Priors

logger = logging.getLogger(__name__)


def adopt_baselines(
    connection: Connection, alerts: Alerts, bundles: Sequence[AnyBundle], priors: Mapping[str, Priors], at: dt.datetime
) -> None:
    """Compare models with what their remedies were made for: at the start of a server, and once a reference is built.

    A model without a reference is left for later.

    Parameters
    ----------
    bundles : sequence of bundles
        The models; those that no remedy made are left as they are.
    priors : mapping
        The class proportions that answers are corrected for, by name:version.
    """
    for bundle in bundles:
        name = str(bundle.key)
        baseline = read_baseline(bundle.folder) if isinstance(bundle, Bundle) else None
        if baseline is not None:
            note = f"traffic of {baseline.stream} that bundle {bundle.sha256[:12]} was made for"
            draft = BaselineDraft(baseline.what, baseline.span, baseline.arrays, "a remedy's bundle", note)
            _adopt(connection, alerts, name, draft, at)
    for name, corrected in priors.items():
        reference = _reference(connection, name)
        if reference is not None and reference.labels is not None:
            note = f"class proportions that answers are corrected for ({corrected.identity})"
            draft = BaselineDraft("mix", (at, at), traffic_of_mix(reference, corrected), CORRECTED_PRIORS, note)
            _adopt(connection, alerts, name, draft, at)


def _adopt(connection: Connection, alerts: Alerts, name: str, draft: BaselineDraft, at: dt.datetime) -> None:
    """Adopt traffic that the model's reference can be compared with; other traffic is left out with a warning."""
    reference, stream = _reference(connection, name), streams.find(connection, name)
    if reference is None or stream is None:
        return
    arrays, properties = draft.arrays, draft.arrays.get("properties")
    if properties is None and reference.properties is not None:  # the monitor takes those of rows of the reference, too
        properties = np.resize(reference.properties, (len(arrays["embeddings"]), reference.properties.shape[1]))
    try:
        reference.accept(arrays["embeddings"], arrays["probabilities"], properties, draft.what)
    except ValueError as error:
        logger.warning("%s is compared with its reference, not with what its remedy was made for: %s", name, error)
        return
    adopt(connection, alerts, stream, draft, at)


def _reference(connection: Connection, name: str) -> Reference | None:
    """Return the reference of a model's stream, or None."""
    stream = streams.find(connection, name)
    if stream is None or stream.reference_id is None:
        return None
    return Reference.from_arrays(references.load(connection, stream.reference_id))
