"""From a batch of logged predictions to the window report that is stored and shown."""

from typing import Any

import numpy as np

from ..drift import Reference
from ..store.predictions import Batch
from .prepared_reference import Watcher

NEIGHBOURS = 3  # of each witness
BINS = 24  # of a property's histogram


def explain(watcher: Watcher, batch: Batch) -> dict[str, Any]:
    """Test a batch against the reference and return its report.

    Beside what the test says, the report names the witnesses by their ids and holds what charts need: the shares
    of predicted labels and the histograms of image properties, reference beside window. Where the reference keeps
    thumbnails, each witness has its neighbours among the rows that they show.
    """
    reference = watcher.reference
    properties = batch.properties if reference.properties is not None else None
    report: dict[str, Any] = watcher.test(batch.embeddings, batch.probabilities, properties).to_dict()
    report["reference"] = watcher.reference_id
    rows = [witness.pop("row") for witness in report["witnesses"]]
    for row, witness in zip(rows, report["witnesses"], strict=True):
        witness["id"] = str(batch.ids[row])
    if watcher.neighbours is not None and rows:
        least = reference.check(batch.embeddings[rows], batch.probabilities[rows])
        for witness, nearest in zip(report["witnesses"], watcher.neighbours(least, NEIGHBOURS), strict=True):
            witness["neighbours"] = [neighbour._asdict() for neighbour in nearest]
    predicted = np.bincount(batch.probabilities.argmax(axis=1), minlength=reference.classes) / len(batch)
    report["proportions"] = dict(zip(reference.class_names, predicted.tolist(), strict=True))
    report["histograms"] = _histograms(reference, properties)
    return report


def _histograms(reference: Reference, properties: Any) -> list[dict[str, Any]]:
    if properties is None or reference.properties is None:
        return []
    histograms = []
    for name, before, now in zip(reference.property_names, reference.properties.T, properties.T, strict=True):
        low, high = np.quantile(np.concatenate([before, now]), [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        histograms.append(
            {
                "name": name,
                "edges": edges.tolist(),
                "reference": _shares(before, edges),
                "window": _shares(now, edges),
            }
        )
    return histograms


def _shares(values: Any, edges: Any) -> list[float]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [round(share, 5) for share in (counts / len(values)).tolist()]
