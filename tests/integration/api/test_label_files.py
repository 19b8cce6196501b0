"""Label rounds as files: exported, filled in or annotated, and imported again."""

import csv
import io
import json
from uuid import UUID
from xml.etree import ElementTree

import pytest

from tests.support.labelling import CLASSES, STREAM, Desk


def test_a_csv_is_filled_in_and_sent_back(desk: Desk) -> None:
    desk.log(120)
    desk.start(count=30)
    text = desk.client.get("/labels/export", params={"stream": STREAM}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) > 10
    for row in rows[:-3]:
        row["label"] = desk.predicted[row["id"]]
    filled = io.StringIO()
    writer = csv.DictWriter(filled, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    answer = desk.client.post("/labels/import", content=filled.getvalue(), headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["accepted"]) == (202, len(rows) - 3)
    assert {item["id"] for item in desk.next()["requests"]} == {row["id"] for row in rows[-3:]}


def test_tasks_of_label_studio_go_out_with_images_and_come_back_annotated(desk: Desk) -> None:
    desk.log(120)
    desk.start(count=30)
    query = {"stream": STREAM, "format": "label-studio"}
    tasks = desk.client.get("/labels/export", params=query).json()
    assert all(task["data"]["image"].startswith("data:image/jpeg;base64,") for task in tasks)
    interface = desk.client.get("/labels/export", params=query | {"format": "label-studio-interface"}).text
    assert [choice.get("value") for choice in ElementTree.fromstring(interface).iter("Choice")] == CLASSES
    for number, task in enumerate(tasks):
        task["id"] = number
        choice = {"from_name": "label", "to_name": "image", "type": "choices"}
        label = desk.predicted[task["data"]["prediction_id"]]
        cancelled = {"was_cancelled": True, "result": []}
        task["annotations"] = [
            {"was_cancelled": False, "result": [choice | {"value": {"choices": [label]}}]},
            cancelled,
        ]
    tasks[0]["annotations"] = []
    answer = desk.client.post("/labels/import", json=tasks[:10])
    assert answer.json()["accepted"] == 9
    minimal = [{"id": 1, "prediction_id": task["data"]["prediction_id"], "label": "cat"} for task in tasks[10:]]
    assert desk.client.post("/labels/import", json=minimal).json()["accepted"] == len(tasks) - 10
    assert [item["id"] for item in desk.next()["requests"]] == [tasks[0]["data"]["prediction_id"]]


def test_without_stored_images_the_export_for_label_studio_is_refused_with_the_reason(desk: Desk) -> None:
    desk.log(80, pictures=False)
    first_round = desk.start(count=20).json()
    assert {item["thumbnail"] for item in first_round["requests"]} == {None}
    answer = desk.client.get("/labels/export", params={"stream": STREAM, "format": "label-studio"})
    assert answer.status_code == 409
    assert "TIDEMARK_THUMBNAILS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "content", "status", "detail"),
    [
        ("text/plain", b"id,label", 415, "text/csv"),
        ("text/csv", b"key,label\n1,cat\n", 422, "columns id and label"),
        ("text/csv", b"\xff\xfe", 422, "UTF-8"),
        ("text/csv", b'id,label\n"a', 422, "CSV"),
        ("application/json", b"{", 400, "JSON"),
        ("application/json", b"{}", 422, "list of tasks"),
        ("application/json", b"[1]", 422, "task 0"),
        ("application/json", b'[{"data": {}}]', 422, "prediction_id"),
        ("application/json", b'[{"prediction_id": "x", "label": "cat"}]', 422, "not a UUID"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(
    desk: Desk, kind: str, content: bytes, status: int, detail: str
) -> None:
    answer = desk.client.post("/labels/import", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_a_label_is_read_up_to_256_characters(desk: Desk) -> None:
    desk.log(1)
    [key] = desk.predicted
    label = "x" * 300
    for content, kind in (
        (f"id,label\n{key},{label}\n", "text/csv"),
        (json.dumps([{"prediction_id": key, "label": label}]), "application/json"),
    ):
        answer = desk.client.post("/labels/import", content=content, headers={"Content-Type": kind})
        assert [item["label"] for item in answer.json()["rejected"]] == ["x" * 256]


def test_too_many_labels_in_a_file_are_413(desk: Desk) -> None:
    lines = "\n".join(["id,label", *(f"{UUID(int=number)},cat" for number in range(10_001))])
    answer = desk.client.post("/labels/import", content=lines, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 413
