"""`tidemark label next` and `tidemark label import`: the list to label as a file, and labels from one."""

import csv
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.support.labelling import STREAM, Desk
from tests.support.predictions import write
from tidemark.cli import app
from tidemark.errors import TidemarkError
from tidemark.serving.shadow import shadow_id
from tidemark.store import feedback, models
from tidemark.store.logged import logged


@pytest.fixture(autouse=True)
def environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)


def run(*words: Any) -> Result:
    result = CliRunner().invoke(app, ["label", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def facts(*words: Any) -> Any:
    return json.loads(run(*words, "--json").stdout)


def test_the_list_is_drawn_once_written_filled_in_and_imported(desk: Desk, tmp_path: Path) -> None:
    desk.log(120)
    path = tmp_path / "labels.csv"
    first_round = facts("next", "--stream", STREAM, "--count", 40, "--out", path)
    assert first_round["open"] == len(first_round["requests"]) > 10
    assert facts("next", "--stream", STREAM)["requests"] == first_round["requests"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [item["id"] for item in first_round["requests"]]
    lines = ["id,label", *(f"{row['id']},{desk.predicted[row['id']]}" for row in rows)]
    path.write_text("\n".join(lines))
    assert facts("import", path) == {"accepted": len(rows), "refused": 0}
    printed = run("next", "--stream", STREAM).stdout
    assert f"{len(rows)} labelled and 0 open" in printed
    assert f"on {len(rows)} labels" in printed


def test_relabel_is_the_list_of_what_to_label_next(desk: Desk) -> None:
    desk.log(120)
    requests = facts("next", "--stream", STREAM, "--count", 20)["requests"]
    result = CliRunner().invoke(app, ["relabel", "--stream", STREAM, "--json"])
    assert json.loads(result.stdout)["requests"] == requests != []


def test_tasks_of_label_studio_hold_their_images(desk: Desk, tmp_path: Path) -> None:
    desk.log(60)
    path = tmp_path / "tasks.json"
    facts("next", "--stream", STREAM, "--out", path)
    tasks = json.loads(path.read_text())
    for task in tasks:
        assert task["data"]["image"].startswith("data:image/jpeg;base64,")
        label = desk.predicted[task["data"]["prediction_id"]]
        task["annotations"] = [{"was_cancelled": False, "result": [{"value": {"choices": [label]}}]}]
    path.write_text(json.dumps(tasks))
    assert facts("import", path)["accepted"] == len(tasks)


def test_labels_count_for_a_model_in_shadow_too(desk: Desk, tmp_path: Path) -> None:
    desk.log(1)
    (key,) = desk.predicted
    with desk.engine.begin() as connection:
        models.register(connection, "pets", "4", "1" * 64, ["ant", "bee", "cat"])
        shadow = shadow_id(UUID(key), "pets:4")
        write(connection, logged("pets:4", shadow.bytes, np.array([[0.5, 0.3, 0.2]]), np.zeros((1, 6))))
    path = tmp_path / "labels.csv"
    path.write_text(f"id,label\n{key},bee\n")
    assert facts("import", path) == {"accepted": 1, "refused": 0}
    with desk.engine.connect() as connection:
        assert feedback.labels_of(connection, [shadow]) == {shadow: 1}


def test_a_row_without_the_id_of_a_prediction_is_refused_and_the_others_are_stored(desk: Desk, tmp_path: Path) -> None:
    desk.log(1)
    (key,) = desk.predicted
    path = tmp_path / "labels.csv"
    path.write_text(f"id,label\nrow 7,bee\n{key},bee\n")
    assert facts("import", path) == {"accepted": 1, "refused": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "key\n1\n", "columns id and label"),
        ("a.csv", "id,label\nx,cat\n", "'x': the id is not a UUID"),
        ("a.csv", "\udcff,label\n", "not text in UTF-8"),
        ("a.csv", "id,label\nffffffff-ffff-ffff-ffff-ffffffffffff,cat\n", "no label was stored"),
        ("a.json", "{", "a.json"),
        ("missing/a.csv", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    desk: Desk, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, errors="surrogateescape")
    with pytest.raises(TidemarkError, match=message):
        run("import", tmp_path / name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stream", "no:1"], "no stream"),
        (["--stream", STREAM], "at least 50"),
        (["--stream", STREAM, "--out", "a.txt"], ".csv or .json"),
    ],
)
def test_what_cannot_be_listed_is_one_line(desk: Desk, words: list[str], message: str) -> None:
    with pytest.raises(TidemarkError, match=message):
        run("next", *words)
