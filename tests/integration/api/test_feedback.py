"""True labels as clients send them: what can be stored is stored, and the rest is listed with its reason."""

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.bundles import observed_bundle
from tests.support.images import png
from tests.support.wait import until
from tidemark.inference.bundle import AnyBundle

Serve = Callable[..., TestClient]
UNKNOWN = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def predicted(client: TestClient) -> str:
    answer = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
    return str(answer.json()["predictions"][0]["id"])


def fed(client: TestClient, *items: tuple[str, Any]) -> Any:
    return client.post("/feedback", json={"items": [{"id": key, "label": label} for key, label in items]})


def test_unknown_labels_are_listed_and_the_others_are_stored(client: TestClient) -> None:
    first, second = predicted(client), predicted(client)
    answer = fed(client, (first, "bee"), (second, "eleven"), (UNKNOWN, "bee"), ("no-uuid", "bee"))
    assert answer.status_code == 202
    content = answer.json()
    assert (content["accepted"], content["unknown"]) == (1, [UNKNOWN])
    assert [(item["id"], item["label"]) for item in content["rejected"]] == [("no-uuid", "bee"), (second, "eleven")]
    assert "no such label" in content["rejected"][1]["reason"]
    text = client.get("/metrics").text
    assert 'tidemark_feedback_rejected_total{reason="rejected"} 2.0' in text
    assert 'tidemark_feedback_rejected_total{reason="unknown_id"} 1.0' in text


def test_if_no_label_can_be_stored_the_status_says_so(client: TestClient) -> None:
    key = predicted(client)
    answer = fed(client, (key, "eleven"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["rejected"][0]["id"] == key
    assert key in answer.json()["detail"]


def test_a_label_that_no_model_has_is_422_also_for_an_unknown_prediction(client: TestClient) -> None:
    answer = fed(client, (UNKNOWN, "eleven"))
    assert answer.status_code == 422
    assert answer.json()["rejected"][0]["label"] == "eleven"
    assert fed(client, (UNKNOWN, "bee")).status_code == 202


def test_a_request_has_a_bounded_number_of_labels_with_ids_of_a_bounded_length(client: TestClient) -> None:
    assert fed(client, *[(UNKNOWN, "bee")] * 10_000).status_code == 202
    for items in ([(UNKNOWN, "bee")] * 10_001, [("x" * 65, "bee")]):
        answer = fed(client, *items)
        assert answer.status_code == 422
        assert "at most" in answer.text


@pytest.mark.parametrize("label", ["Löwe", unicodedata.normalize("NFD", "Löwe"), " Löwe "])
def test_a_label_is_the_same_in_every_unicode_form(client: TestClient, label: str) -> None:
    assert fed(client, (predicted(client), label)).json()["accepted"] == 1


@pytest.fixture
def digits(serve: Serve, tmp_path: Any) -> TestClient:
    bundle: AnyBundle = observed_bundle(tmp_path / "digits", labels=("0", "1", "2"))
    return serve(bundle, alone=True)


@pytest.mark.parametrize("label", [2, 2.0, "2", "2 "])
def test_a_number_is_a_label(digits: TestClient, label: Any) -> None:
    row = {"probabilities": [0.5, 0.25, 0.25], "embedding": [0.0, 1.0]}
    (key,) = digits.post("/observe", json={"model": "far", "predictions": [row]}).json()["ids"]
    assert fed(digits, (key, label)).json()["accepted"] == 1


@pytest.mark.parametrize("label", [None, [], {}])
def test_a_label_that_is_neither_text_nor_number_is_422(client: TestClient, label: Any) -> None:
    assert fed(client, (predicted(client), label)).status_code == 422


def test_the_later_of_two_labels_counts(client: TestClient) -> None:
    key = predicted(client)
    assert fed(client, (key, "ant"), (key, "bee")).json()["accepted"] == 1
    assert fed(client, (key, "cat")).json()["accepted"] == 1


def stored(client: TestClient, key: str) -> Any:
    until(lambda: client.get(f"/predictions/{key}").status_code == 200, "the prediction arrives in Postgres")
    return client.get(f"/predictions/{key}").json()["feedback"]


@pytest.mark.parametrize("labels", [("bee", "eleven"), ("eleven", "bee"), ("ant", "bee", "eleven")])
def test_a_label_that_the_model_lacks_holds_up_no_other_of_its_prediction(
    client: TestClient, labels: tuple[str, ...]
) -> None:
    key = predicted(client)
    answer = fed(client, *((key, label) for label in labels))
    assert answer.status_code == 202
    content = answer.json()
    assert (content["accepted"], content["unknown"]) == (1, [])
    assert [(item["id"], item["label"]) for item in content["rejected"]] == [(key, "eleven")]
    assert stored(client, key) == "bee"


def test_each_label_of_a_prediction_that_its_model_lacks_is_listed(client: TestClient) -> None:
    key = predicted(client)
    for target in (key, UNKNOWN):
        answer = fed(client, (target, "eleven"), (target, "twelve"))
        assert answer.status_code == 422
        assert [item["label"] for item in answer.json()["rejected"]] == ["eleven", "twelve"]
    answer = fed(client, (UNKNOWN, "bee"), (UNKNOWN, "eleven")).json()
    assert (answer["unknown"], [item["label"] for item in answer["rejected"]]) == ([UNKNOWN], ["eleven"])
