"""From a batch of logged predictions to the window report that is stored and shown."""

import numpy as np
from numpy.typing import NDArray

from ..drift import Reference
from ..store.log_batch import PredictionBatch
from ..store.report_json import HistogramJson, NeighbourJson, WitnessJson
from .prepared_reference import PreparedReference
from .stored_report import StoredReport

NEIGHBOURS = 3  # reference rows that are shown next to each witness
BINS = 24  # bins of a property's histogram


def explain(prepared: PreparedReference, batch: PredictionBatch) -> StoredReport:
    """Test a batch against the reference.

    Where the reference keeps thumbnails, each witness has its neighbours among the rows that they show.
    """
    reference = prepared.reference
    properties = batch.complete_properties if reference.properties is not None else None
    context = None if prepared.context is None else prepared.context.values(batch.times, batch.tags)
    report = prepared.test(batch.embeddings, batch.probabilities, properties, context)
    rows = [witness.row for witness in report.witnesses]
    witnesses = [
        WitnessJson(id=str(batch.uuids[witness.row]), score=witness.score, nearest=witness.nearest)
        for witness in report.witnesses
    ]
    if prepared.neighbours is not None and rows:
        sample = reference.check(batch.embeddings[rows], batch.probabilities[rows])
        for witness_json, nearest in zip(witnesses, prepared.neighbours(sample, NEIGHBOURS), strict=True):
            witness_json["neighbours"] = [
                NeighbourJson(row=neighbour.row, label=neighbour.label, distance=neighbour.distance)
                for neighbour in nearest
            ]
    predicted = np.bincount(batch.probabilities.argmax(axis=1), minlength=reference.classes) / len(batch)
    return StoredReport(
        window=report,
        reference_id=prepared.reference_id,
        witnesses=tuple(witnesses),
        proportions=dict(zip(reference.class_names, predicted.tolist(), strict=True)),
        histograms=tuple(_histograms(reference, properties)),
    )


def _histograms(reference: Reference, properties: NDArray[np.float32] | None) -> list[HistogramJson]:
    if properties is None or reference.properties is None:
        return []
    histograms: list[HistogramJson] = []
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


def _shares(values: NDArray[np.float32], edges: NDArray[np.float64]) -> list[float]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [round(share, 5) for share in (counts / len(values)).tolist()]
