"""Reports of windows and of labels as the seeded database has them."""

import datetime as dt
from uuid import UUID

from tidemark.store.label_evidence_json import AgreementJson, LabelEvidenceJson
from tidemark.store.report_json import WindowReportJson

AT = dt.datetime(2026, 1, 2, 14, 2, tzinfo=dt.UTC)
CLASSES = [str(digit) for digit in range(10)]
SHARES = dict.fromkeys(CLASSES, 0.1)
PROPERTIES = ("contrast", "brightness", "width")  # in the reference's order
IMAGES = 14
REFERENCE = 1


def prediction_id(row: int) -> UUID:
    """Return the id of a logged image."""
    return UUID(int=(int(AT.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | row)


def report() -> WindowReportJson:
    """Return a window report with every part that the pages show."""
    edges = [step / 24 for step in range(25)]
    shifted = {**SHARES, "3": 0.31}
    tests = (("mmd", 1e-5), ("ks", 0.02), ("mean", 0.001), ("proportions", 0.4), ("residual", 0.0004))
    return {
        "state": "tested",
        "size": 350,
        "duplicates": 0,
        "p_value": 1e-5,
        "drifted": True,
        "kind": "covariate",
        "summary": "Images are darker than in training (brightness 0.31 → 0.22) <b>",
        "tests": {name: {"statistic": 0.04, "p_value": p, "effect": 0.3} for name, p in tests},
        "label_shift": {
            "reference": SHARES,
            "estimated": shifted,
            "low": {name: share - 0.03 for name, share in shifted.items()},
            "high": {name: share + 0.03 for name, share in shifted.items()},
            "weights": SHARES,
            "moment_estimate": shifted,
        },
        "proportions": shifted,
        "performance": {
            "estimated_accuracy": 0.91,
            "low": 0.89,
            "high": 0.93,
            "reference_accuracy": 0.99,
            "interval_level": 0.95,
            "method": "confidence",
            "operations": [],
            "assumption_holds": False,
            "note": "The images themselves changed: label a sample.",
        },
        "properties": [
            {"name": "brightness", "p_value": 1e-9, "effect": -0.8, "reference_mean": 0.31, "window_mean": 0.22},
            {"name": "contrast", "p_value": 0.2, "effect": 0.1, "reference_mean": 0.4, "window_mean": 0.41},
            {"name": "width", "p_value": 1.0, "effect": 0.0, "reference_mean": 28.0, "window_mean": 28.0},
        ],
        "histograms": [
            {"name": name, "edges": edges, "reference": [1 / 24] * 24, "window": [step / 276 for step in range(24)]}
            for name in PROPERTIES
        ],
        "witnesses": [
            {
                "id": str(prediction_id(row)),
                "score": 3.2 - row / 10,
                "nearest": 40 + row,
                "neighbours": [{"row": near, "label": "3", "distance": 0.6 + near / 10} for near in range(3)],
            }
            for row in range(IMAGES)
        ],
        "reference": REFERENCE,
        "classes_moved": [
            {"name": "3", "reference_share": 0.1, "window_share": 0.31, "embedding_shift": 0.42},
            {"name": "8", "reference_share": 0.1, "window_share": 0.04, "embedding_shift": None},
        ],
        "design_effect": None,
    }


def concept() -> WindowReportJson:
    """Return the report of a concept shift."""
    swapped: AgreementJson = {
        "name": "3",
        "n": 20,
        "accuracy": 0.4,
        "low": 0.22,
        "high": 0.61,
        "promised": 0.98,
        "instead": {"8": 2, "5": 10},
    }
    course = [((AT + dt.timedelta(seconds=n)).isoformat(), 20 * n, max(0.0, n - 20.0)) for n in range(31)]
    labels: LabelEvidenceJson = {
        "n": 60,
        "accuracy": 0.8,
        "low": 0.68,
        "high": 0.88,
        "promised": 0.98,
        "classes": [swapped],
        "disagreeing": [str(prediction_id(0)), str(prediction_id(1))],
        "since": AT.isoformat(),
        "evidence": {"history": course, "threshold": 9.2, "change": 420},
    }
    result = report()
    result["kind"] = "concept"
    result["summary"] = (
        "Labels that come back disagree with the model, most where the model says 3: accuracy 0.98 → 0.80 on them"
    )
    result["labels"] = labels
    return result
