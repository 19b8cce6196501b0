"""Label rounds over HTTP: drawn with known probabilities, exported, imported, skipped, measured."""

import csv
import io
from uuid import UUID
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from tests.support.drifting import arrays
from tests.support.labelling import CLASSES, STREAM, Desk
from tests.support.predictions import new_ids, write
from tidemark.store import label_rounds, streams
from tidemark.store.logged import logged


def test_a_round_is_drawn_in_random_order_and_states_its_probabilities(desk: Desk) -> None:
    desk.log(300)
    answer = desk.start(count=60)
    assert answer.status_code == 201
    first_round = answer.json()
    assert first_round["classes"] == CLASSES
    assert first_round["round"]["population"] == 300
    assert 30 < first_round["round"]["requested"] == len(first_round["requests"]) < 100
    assert first_round["round"]["by"] == "anonymous"
    assert first_round["accuracy"] is None
    keys = [item["id"] for item in first_round["requests"]]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(desk.predicted)
    order = list(desk.predicted)
    assert [order.index(key) for key in keys] != sorted(order.index(key) for key in keys)
    assert all(0 < item["probability"] <= 1 for item in first_round["requests"])
    assert first_round["requests"][0]["thumbnail"] == f"/predictions/{keys[0]}/thumbnail"
    assert desk.next(limit=1)["requests"] == first_round["requests"][:1]


def test_labels_measure_the_accuracy_and_say_what_more_would_give(desk: Desk) -> None:
    desk.log(300)
    keys = [item["id"] for item in desk.start(count=80).json()["requests"]]
    desk.label(*keys[:15])
    desk.label(*keys[15:25], right=False)
    current_round = desk.next()
    assert current_round["round"]["labelled"] == current_round["accuracy"]["labels"] == 25
    assert current_round["accuracy"]["low"] < 0.7 < current_round["accuracy"]["high"]
    assert (
        0
        <= current_round["accuracy"]["low"]
        < current_round["accuracy"]["accuracy"]
        < current_round["accuracy"]["high"]
        <= 1
    )
    assert keys[24] not in {item["id"] for item in current_round["requests"]}
    widths = [target["half_width"] for target in current_round["targets"]]
    assert widths == sorted(widths, reverse=True)
    assert all(0 < target["labels"] <= len(keys) - 25 for target in current_round["targets"])


def test_predictions_with_a_label_are_not_drawn_and_count_as_what_they_are(desk: Desk) -> None:
    """Half of the predictions were reported as wrong before: they stand for no others."""
    desk.log(100)
    keys = list(desk.predicted)
    desk.label(*keys[:50], right=False)
    assert desk.start(count=200).status_code == 201
    first = desk.next(limit=200)
    assert {item["id"] for item in first["requests"]} == set(keys[50:])
    assert first["round"]["population"] == 100
    assert first["accuracy"] is None
    desk.label(*keys[50:])
    assert desk.next()["accuracy"]["accuracy"] == pytest.approx(0.5)


def test_a_report_of_an_error_counts_once_the_predictions_before_are_labelled(desk: Desk) -> None:
    desk.log(200)
    keys = [item["id"] for item in desk.start(count=40).json()["requests"]]
    desk.label(*keys[:6])
    accuracy = desk.next()["accuracy"]
    desk.label(keys[7], keys[20], right=False)
    current = desk.next()
    assert current["accuracy"] == accuracy
    assert (current["round"]["labelled"], current["round"]["waiting"]) == (8, 2)
    desk.label(keys[6])
    current = desk.next()
    assert (current["accuracy"]["labels"], current["round"]["waiting"]) == (8, 1)
    assert current["accuracy"]["accuracy"] < accuracy["accuracy"]
    page = desk.client.get("/label", params={"stream": STREAM}).text
    assert "1 label that came another way will count once the images before are labelled" in page


def test_where_each_prediction_has_a_label_there_is_nothing_to_draw(desk: Desk) -> None:
    desk.log(60)
    desk.label(*desk.predicted)
    answer = desk.start()
    assert (answer.status_code, "has a label" in answer.json()["detail"]) == (409, True)


def test_a_skipped_prediction_is_not_asked_for_again(desk: Desk) -> None:
    desk.log(80)
    first = desk.start(count=20).json()["requests"][0]["id"]
    body = {"stream": STREAM, "id": first}
    assert desk.client.post("/labels/skip", json=body).status_code == 204
    current_round = desk.next()
    assert current_round["round"]["skipped"] == 1
    assert first not in {item["id"] for item in current_round["requests"]}
    other = {"stream": STREAM, "id": "ffffffff-ffff-ffff-ffff-ffffffffffff"}
    assert desk.client.post("/labels/skip", json=other).status_code == 404
    desk.label(first)
    assert desk.client.post("/labels/skip", json=body).status_code == 404
    assert desk.next()["round"]["skipped"] == 0


def test_before_the_first_round_there_is_nothing_to_label(desk: Desk) -> None:
    current_round = desk.next()
    assert (current_round["round"], current_round["requests"], current_round["targets"]) == (None, [], [])
    export = desk.client.get("/labels/export", params={"stream": STREAM})
    assert export.text == "id,label,probability,predicted_at\n"


@pytest.mark.parametrize("path", ["/labels/next", "/labels/export"])
def test_a_stream_that_does_not_exist_is_404(desk: Desk, path: str) -> None:
    assert desk.client.get(path, params={"stream": "no:1"}).status_code == 404
    assert desk.client.post("/labels/rounds", json={"stream": "no:1"}).status_code == 404


def test_too_few_predictions_are_409_with_what_is_needed(desk: Desk) -> None:
    desk.log(20)
    answer = desk.start()
    assert answer.status_code == 409
    assert "20 predictions" in answer.json()["detail"]
    assert "at least 50" in answer.json()["detail"]


def test_a_stream_without_a_reference_is_409(client: TestClient) -> None:
    answer = client.post("/labels/rounds", json={"stream": STREAM})
    assert answer.status_code == 409
    assert "reference build" in answer.json()["detail"]


def test_ten_rounds_of_a_stream_are_stored(desk: Desk) -> None:
    desk.log(60)
    numbers = [desk.start(count=10).json()["round"]["id"] for _ in range(12)]
    with desk.engine.connect() as connection:
        assert label_rounds.requests(connection, numbers[0]) == []
        assert label_rounds.requests(connection, numbers[2]) != []


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


def test_too_many_labels_in_a_file_are_413(desk: Desk) -> None:
    lines = "\n".join(["id,label", *(f"{UUID(int=number)},cat" for number in range(10_001))])
    answer = desk.client.post("/labels/import", content=lines, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 413


def test_the_population_of_a_slice_is_the_slice(desk: Desk) -> None:
    values = arrays(100)
    tags = [b'{"camera":"7"}', b"{}"] * 50
    batch = logged(STREAM, new_ids(100), values["probabilities"], values["embeddings"], None, tags)
    with desk.engine.begin() as connection:
        write(connection, batch)
        stream = streams.find(connection, STREAM)
        assert stream is not None
        connection.exec_driver_sql(
            "INSERT INTO streams (model_id, slice, reference_id) VALUES (%s, 'camera=7', %s)",
            (stream.model_id, stream.reference_id),
        )
    first_round = desk.start(stream=f"{STREAM}/camera=7", count=50).json()
    assert first_round["round"]["population"] == 50
    assert {str(item["tags"]) for item in first_round["requests"]} == {"{'camera': '7'}"}
