"""Label rounds over HTTP: drawn with known probabilities, skipped, measured."""

import pytest
from fastapi.testclient import TestClient

from tests.support.drifting import arrays
from tests.support.labelling import CLASSES, STREAM, Desk
from tests.support.predictions import new_ids, write
from tidemark.serving import label_desk
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


def test_the_next_two_targets_are_offered(desk: Desk) -> None:
    desk.log(600)
    keys = [item["id"] for item in desk.start(count=600).json()["requests"]]
    desk.label(*keys[:15])
    desk.label(*keys[15:30], right=False)
    assert [target["half_width"] for target in desk.next()["targets"]] == [0.1, 0.05]


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
    keys = [item["id"] for item in desk.start(count=60).json()["requests"]]
    desk.label(*keys[:10])
    desk.label(*keys[10:20], right=False)  # so many that the accuracy is cut neither at 0 nor at 1
    accuracy = desk.next()["accuracy"]
    desk.label(keys[21], keys[23], right=False)
    current = desk.next()
    assert current["accuracy"] == accuracy
    assert (current["round"]["labelled"], current["round"]["waiting"]) == (22, 2)
    desk.label(keys[20])
    current = desk.next()
    assert (current["accuracy"]["labels"], current["round"]["waiting"]) == (22, 1)
    assert current["accuracy"]["accuracy"] != accuracy["accuracy"]
    page = desk.client.get("/label", params={"stream": STREAM}).text
    assert "1 label that came another way will count once the images before are labelled" in page


def test_a_round_has_no_more_requests_than_its_bound_and_states_their_probability(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_desk, "MAX_DRAWN", 20)
    desk.log(100)
    drawn = desk.start(count=1000).json()
    assert drawn["round"]["requested"] == len(drawn["requests"]) == 20
    assert [item["probability"] for item in drawn["requests"]] == [pytest.approx(0.2)] * 20


@pytest.mark.parametrize(("bound", "limit"), [("count", 1000), ("population", 20_000)])
def test_a_larger_round_than_the_bounds_is_422(desk: Desk, bound: str, limit: int) -> None:
    desk.log(60)
    assert desk.start(**{bound: limit}).status_code == 201
    answer = desk.start(**{bound: limit + 1})
    assert answer.status_code == 422
    assert f"less than or equal to {limit}" in answer.text


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
