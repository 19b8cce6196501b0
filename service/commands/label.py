"""`tidemark label next` and `tidemark label import`: which predictions to label, and labels from a file."""

from pathlib import Path
from typing import TypedDict

import orjson

from ..errors import TidemarkError
from ..serving import label_desk, label_files
from ..serving.feedback import labelled_predictions, labels_by_id
from ..serving.shadow import shadow_id
from ..settings import Settings
from ..store import feedback, models, streams
from ..store.open_database import open_database
from ..store.prediction_id import time_of

BY = "command line"  # name that is recorded for requests of labels from a command
SUFFIXES = (".csv", ".json")  # suffixes of the files that are read and written


class LabelAccuracy(TypedDict):
    """The accuracy on the population of a round, with its 95 % interval."""

    accuracy: float
    low: float
    high: float
    labels: int


class AccuracyTarget(TypedDict):
    """So many more labels make the interval so wide."""

    half_width: float
    labels: int


class OpenRequest(TypedDict):
    """A prediction to be labelled."""

    id: str
    at: str
    probability: float  # probability with which it was drawn


class LabelRoundFacts(TypedDict):
    """The printed content of `tidemark label next`."""

    stream: str
    population: int
    open: int
    labelled: int
    waiting: int  # labels that count once the requests before theirs are labelled or skipped
    skipped: int
    accuracy: LabelAccuracy | None
    targets: list[AccuracyTarget]
    requests: list[OpenRequest]


def label_next(stream: str, count: int | None, out: Path | None) -> LabelRoundFacts:
    """Return the open requests of a stream's newest label round, and the accuracy so far; write them to a file.

    Parameters
    ----------
    count : int, optional
        Draw so many predictions for a new round first; without it one is drawn only where there is none.
    out : Path, optional
        A `.csv` file, or a `.json` file for Label Studio.

    Raises
    ------
    TidemarkError
        No such stream, too few predictions, or a file of another name.
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise TidemarkError(f"--out: expected a name that ends with .csv or .json, got {out}")
    with open_database(Settings.load()) as engine:
        with engine.begin() as connection:
            row = streams.require(connection, stream)
            state = label_desk.round_state(connection, row)
            if count is not None or state is None:
                label_desk.start_round(connection, row, BY, count or label_desk.DRAWN)
                state = label_desk.round_state(connection, row)
        if state is None:
            raise RuntimeError("a label round that was just stored is missing")
        requests = state.open_requests
        times = {item.prediction_id: time_of(item.prediction_id).isoformat() for item in requests}
        if out is not None and out.suffix == ".csv":
            out.write_text(label_files.to_csv(requests, times), encoding="utf-8")
        elif out is not None:
            with engine.connect() as connection:
                images = label_desk.logged_images(connection, [item.prediction_id for item in requests])
            tasks = label_files.to_label_studio(requests, images)
            if requests and not tasks:
                raise TidemarkError("no image is stored of these predictions (TIDEMARK_THUMBNAILS was off): use .csv")
            out.write_bytes(orjson.dumps(tasks, option=orjson.OPT_INDENT_2))
    measured = state.accuracy
    return {
        "stream": stream,
        "population": state.label_round.population,
        "open": len(requests),
        "labelled": state.labelled,
        "waiting": state.waiting,
        "skipped": state.skipped,
        "accuracy": None
        if measured is None
        else {"accuracy": measured.accuracy, "low": measured.low, "high": measured.high, "labels": measured.labels},
        "targets": [{"half_width": target.half_width, "labels": target.labels} for target in state.targets],
        "requests": [
            {"id": str(item.prediction_id), "at": times[item.prediction_id], "probability": item.probability}
            for item in requests
        ],
    }


def import_labels(path: Path) -> dict[str, int]:
    """Store the labels of a CSV file with the columns `id` and `label`, or of Label Studio's export.

    Labels count for the predictions of models in shadow too, as those that come to `/feedback` do.

    Raises
    ------
    TidemarkError
        The file cannot be read, or holds labels and none of them can be stored.
    """
    try:
        data = path.read_bytes()
        is_json = path.suffix == ".json"
        items = label_files.from_label_studio(orjson.loads(data)) if is_json else label_files.from_csv(data)
    except OSError as error:
        raise TidemarkError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise TidemarkError(f"{path}: {error}") from None
    labels, invalid = labels_by_id(items)
    if invalid and not labels:
        raise TidemarkError(f"{path}: no label was stored: {invalid[0].id[:40]!r}: {invalid[0].reason}")
    with open_database(Settings.load()) as engine, engine.begin() as connection:
        predictions = feedback.find(connection, list(labels))
        rows, rejected = labelled_predictions(predictions, labels)
        accepted = len(rows)
        for name in models.ids(connection):
            shadow_labels = {shadow_id(key, name): names for key, names in labels.items()}
            shadow_predictions = feedback.find(connection, list(shadow_labels))
            rows += labelled_predictions(shadow_predictions, shadow_labels).rows
        if labels and not accepted:
            raise TidemarkError(f"{path}: no label was stored: no logged prediction has these ids, or no such labels")
        if rows:
            feedback.save(connection, rows)
    return {"accepted": accepted, "refused": len(invalid) + len(labels.keys() - predictions.keys()) + len(rejected)}
