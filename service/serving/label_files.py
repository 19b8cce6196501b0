"""Files of label requests and of labels: CSV, and the JSON of Label Studio."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from uuid import UUID
from xml.sax.saxutils import quoteattr

from ..inference.thumbnails import MEDIA_TYPE
from ..store.label_rounds import LabelRequest
from .feedback import FeedbackItem
from .label_desk import LoggedImage

FIELDS = ("id", "label", "probability", "predicted_at")
CONTROL = "label"  # the name of the choices in Label Studio's labelling interface
MAX_LABEL_LENGTH = 256  # characters of a label that are read


class LabelStudioImage(TypedDict):
    """The data of a task: the image as a data URL, and what comes back with its label."""

    image: str
    prediction_id: str
    probability: float


class LabelStudioTask(TypedDict):
    """A task of Label Studio."""

    data: LabelStudioImage


def to_csv(requests: Sequence[LabelRequest], times: Mapping[UUID, str]) -> str:
    """Return requests as CSV, with an empty column `label` to be filled in."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(
        (item.prediction_id, "", f"{item.probability:.6f}", times[item.prediction_id]) for item in requests
    )
    return buffer.getvalue()


def to_label_studio(requests: Sequence[LabelRequest], images: Mapping[UUID, LoggedImage]) -> list[LabelStudioTask]:
    """Return the requests whose images are stored as tasks of Label Studio; each task holds its image.

    References
    ----------
    https://labelstud.io/guide/task_format
    """
    tasks: list[LabelStudioTask] = []
    for item in requests:
        image = images.get(item.prediction_id)
        if image is None or image.thumbnail is None:
            continue
        data: LabelStudioImage = {
            "image": f"data:{MEDIA_TYPE};base64,{base64.b64encode(image.thumbnail).decode()}",
            "prediction_id": str(item.prediction_id),
            "probability": item.probability,
        }
        tasks.append({"data": data})
    return tasks


def labelling_interface(classes: Sequence[str]) -> str:
    """Return the labelling interface of a Label Studio project for these classes, as XML."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in classes)
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="{CONTROL}" toName="image" choice="single" showInLine="true">\n{choices}\n  </Choices>\n'
        "</View>\n"
    )


def from_csv(data: bytes) -> list[FeedbackItem]:
    """Return the labels of a CSV file with the columns `id` and `label`; rows with an empty label are left out.

    Raises
    ------
    ValueError
        A column is missing, or the content is not CSV in UTF-8.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise ValueError("expected a first line with the columns id and label")
        rows = [(row["id"] or "", row["label"] or "") for row in reader]
    except UnicodeDecodeError:
        raise ValueError("the CSV is not text in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"the CSV cannot be read: {error}") from None
    return [FeedbackItem(key.strip(), label[:MAX_LABEL_LENGTH]) for key, label in rows if label.strip()]


def from_label_studio(tasks: Any) -> list[FeedbackItem]:
    """Return the labels of an export of Label Studio, in its format JSON or JSON-MIN.

    Of several annotations of a task the last one that was not cancelled counts; tasks without one are left out.

    Raises
    ------
    ValueError
        Not a list of tasks, or a task that does not name its prediction.
    """
    if not isinstance(tasks, list):
        raise ValueError("expected Label Studio's export: a list of tasks")
    items = []
    for place, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise ValueError(f"task {place} is not an object")
        data = task.get("data")
        key = (data if isinstance(data, dict) else task).get("prediction_id")
        if not isinstance(key, str):
            raise ValueError(f"task {place} has no prediction_id: it was not exported from here")
        label = _annotated_label(task["annotations"]) if "annotations" in task else task.get(CONTROL)
        if isinstance(label, str) and label.strip():
            items.append(FeedbackItem(key, label[:MAX_LABEL_LENGTH]))
    return items


def _annotated_label(annotations: Any) -> str | None:
    """Return the choice of the last annotation that was not cancelled, or None."""
    label: str | None = None
    for annotation in annotations if isinstance(annotations, list) else ():
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        results = annotation.get("result")
        for result in results if isinstance(results, list) else ():
            value = result.get("value") if isinstance(result, dict) else None
            choices = value.get("choices") if isinstance(value, dict) else None
            if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], str):
                label = choices[0]
    return label
