"""The pages through the front door."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, update
from typer.main import get_command

from tests.support.seed import Seeded
from tests.support.seed_reports import prediction_id
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.cli import app
from tidemark.pages import evidence_history, report_images
from tidemark.pages import guidance as guidance
from tidemark.store import tables

MOST = 100_000  # bytes
JSON = {"Accept": "application/json"}


def test_windows_of_a_stream_by_page(client: TestClient, seeded: Seeded) -> None:
    page = client.get("/windows", params={"stream": seeded.stream}).text
    assert f'<a href="/windows/{seeded.window}">' in page
    assert "1 of 13 windows drifted" in page
    older = client.get("/windows", params={"stream": seeded.stream, "before": seeded.window}, headers=JSON).json()
    assert len(older["windows"]) == 12
    assert client.get("/windows?stream=none:1").status_code == 404


def test_alert_page_opens_with_its_escaped_sentence(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert "<h1>Images are darker than in training &lt;b&gt; since 2 Jan 14:26 UTC</h1>" in page


def test_estimated_accuracy_comes_with_its_interval_and_its_reservation(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert re.search(r"0\.99 → 0\.91</b> \(0\.89–0\.93\)\s*<small><b>An upper guess\.</b> The images themselves", page)
    assert "Method: confidence, 95% interval." in page
    assert re.search(r"0\.90</b> \(0\.80–0\.96\) <small>The last 50 labels", page)


def test_metrics_name_the_method_of_the_estimated_accuracy_and_what_the_shift_costs(
    seeded: Seeded, engine: Engine
) -> None:
    samples = [
        sample for family in DriftCollector(engine).collect() for sample in family.samples if "_accuracy" in sample.name
    ]
    values = {sample.name: sample.value for sample in samples if sample.labels["slice"] == "camera=7"}
    methods = {sample.labels.get("method") for sample in samples if sample.name == "tidemark_estimated_accuracy"}
    assert methods == {"confidence"}
    assert values["tidemark_estimated_accuracy"] == pytest.approx(0.91)
    assert values["tidemark_accuracy_cost"] == pytest.approx(0.08)
    assert values["tidemark_accuracy_cost_low"] == pytest.approx(0.06)
    assert values["tidemark_accuracy_cost_high"] == pytest.approx(0.10)


def test_remedy_s_command_can_be_copied_and_run_as_it_is(client: TestClient, seeded: Seeded) -> None:
    command = re.findall("<code>(tidemark remedy .*?)</code>", client.get(seeded.alert).text, re.S)[0]
    words = ["tidemark", "remedy", "--stream", "mnist:1/camera=7", "--since", "2026-01-02T14:26:35Z", "--out", "remedy"]
    assert shlex.split(command.replace("\\\n", "")) == words
    commands: Any = get_command(app)
    parameters = commands.commands["remedy"].make_context("remedy", words[2:]).params
    assert parameters["since"].isoformat() == "2026-01-02T14:26:35+00:00"


def test_the_manual_has_what_the_pages_link_to() -> None:
    heading = guidance.MANUAL_URL.partition("#")[2].replace("-", " ")
    assert f"## {heading}" in (Path(__file__).parents[3] / "README.md").read_text().lower()


def test_concept_alert_says_what_the_labels_say(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.concept_alert).text
    advice = (
        "disagree with the model, most where the model says 3 since 2 Jan 14:01 UTC; accuracy 0.98 → 0.80 (0.68–0.88)"
    )
    assert advice in page
    assert re.search(r'<th scope="row">3</th><td>20</td><td>40% <small>22%–61%</small></td><td>98%</td>', page)
    assert "5 ×10, 8 ×2" in page
    assert "10.0 nats after 600 labels; alarm above 9.2; change estimated at label 420" in page
    assert "Newest images whose labels disagree" in page
    assert page.count('alt="image predicted 3"') == 2
    assert "calibrated confidence was 0.98 on these 60 labels" in page


def test_images_come_with_their_nearest_reference_images(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert page.count('alt="image predicted 3"') == 11
    assert page.count('alt="reference image of 3, 0.60 deviations away"') == 12
    assert page.count('<img src="data:image/jpeg;base64,') == 11 + 3 * 12
    images = client.get(seeded.alert, headers=JSON).json()["images"]
    assert images[0]["thumbnail"] == f"/predictions/{prediction_id(0)}/thumbnail"
    assert images[0]["neighbours"][2]["thumbnail"] == "/references/1/thumbnails/2"
    assert images[11]["logged"] is False


def test_images_without_thumbnails_are_described_by_their_neighbours(
    client: TestClient, engine: Engine, seeded: Seeded
) -> None:
    with engine.begin() as connection:
        connection.execute(update(tables.predictions).values(thumbnail=None))
    page = client.get(seeded.alert).text
    assert 'alt="image predicted' not in page
    assert page.count('alt="reference image of 3') == 3 * 12


def test_without_thumbnails_images_are_ids_and_properties(client: TestClient, engine: Engine, seeded: Seeded) -> None:
    with engine.begin() as connection:
        connection.execute(update(tables.predictions).values(thumbnail=None))
        connection.execute(update(tables.references).values(thumbnails=None))
    page = client.get(seeded.alert).text
    assert "<img" not in page
    assert str(prediction_id(0)) in page
    assert "brightness 0.125 (0.31)" in page
    assert "score 3.20, most like reference row 40" in page


def test_alert_page_draws_the_evidence_until_the_alert(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert "6.3 nats after 3,000 predictions; alarm above 4.9" in page
    assert "change estimated at prediction 2,950, between 2,920 and 2,970" in page
    assert "5,900 predictions" not in page


def test_resolved_alert_does_not_show_a_later_change(client: TestClient, engine: Engine, seeded: Seeded) -> None:
    with engine.begin() as connection:
        connection.execute(update(tables.alerts).values(state="resolved"))
    page = client.get(seeded.alert).text
    assert "change estimated at prediction 2,950; from" in page  # where the stream was at the alert's `since`


def test_window_page_draws_stored_evidence_where_the_history_has_gone(
    client: TestClient, engine: Engine, seeded: Seeded
) -> None:
    with engine.begin() as connection:
        connection.execute(delete(tables.evidence_points))
    page = client.get(f"/windows/{seeded.window}").text
    assert "6.0 nats after 3,000 predictions; this window is predictions 2,650 to 3,000" in page


@pytest.mark.parametrize(("bound", "most"), [("MAX_POINTS", 10), ("MAX_WINDOWS", 4)])
def test_a_chart_of_evidence_has_a_bounded_number_of_points(
    client: TestClient, engine: Engine, seeded: Seeded, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    if bound == "MAX_WINDOWS":
        with engine.begin() as connection:
            connection.execute(delete(tables.evidence_points))
    whole = client.get(seeded.alert, headers=JSON).json()["past"]["history"]
    monkeypatch.setattr(evidence_history, bound, most)
    history = client.get(seeded.alert, headers=JSON).json()["past"]["history"]
    assert len(whole) > most >= len(history) > 0
    assert history == whole[-len(history) :]


def test_properties_are_drawn_worst_first_without_constant_ones(client: TestClient, seeded: Seeded) -> None:
    page = client.get(f"/windows/{seeded.window}").text
    assert page.index("Brightness (0 to 1)") < page.index("Contrast (0 to 1)")
    assert "Width (pixels)" not in page


def test_least_typical_images_say_what_is_logged(client: TestClient, seeded: Seeded) -> None:
    page = client.get(f"/windows/{seeded.window}").text
    assert len(re.findall(r'href="/predictions/[\w-]+"', page)) == 11
    assert f"{prediction_id(11)}, no longer kept" in page
    assert "Predicted <b>3</b> at 75%, labelled <b>8</b>" in page
    assert "brightness 0.125 (0.31), contrast 0.4 (0.4)" in page
    assert "camera=7" in page
    assert "score 3.20, nearest reference 0.60 away, a 3" in page


def test_the_properties_that_shifted_most_are_named_for_each_image(
    client: TestClient, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_images, "MAX_PROPERTIES", 1)
    page = client.get(f"/windows/{seeded.window}").text
    assert "brightness 0.125 (0.31)" in page
    assert "contrast 0.4 (0.4)" not in page


def test_classes_that_moved_are_a_table(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert '<th scope="row">3</th><td>10%</td><td>31%</td><td>0.42</td>' in page
    assert '<th scope="row">8</th><td>10%</td><td>4%</td><td>–</td>' in page


def test_every_chart_has_a_text_alternative(client: TestClient, seeded: Seeded) -> None:
    page = client.get(seeded.alert).text
    assert page.count("<svg") == len(re.findall(r'role="img" aria-label="[^"]{20,}"', page)) == 4


@pytest.mark.parametrize("report", [{}, {"state": "warming_up", "tests": {}, "performance": None, "label_shift": None}])
def test_page_of_a_window_that_was_not_tested(
    client: TestClient, engine: Engine, seeded: Seeded, report: dict[str, object]
) -> None:
    content = {"size": 20, "p_value": 1.0, "kind": "none", "summary": "Warming up"} | report
    with engine.begin() as connection:
        connection.execute(update(tables.windows).values(report=content))
    page = client.get(f"/windows/{seeded.window}")
    assert (page.status_code, "not tested" in page.text) == (200, True)


def test_pages_are_small_with_all_their_pictures(client: TestClient, seeded: Seeded) -> None:
    for path in ("/", seeded.alert, seeded.concept_alert, f"/windows/{seeded.window}"):
        assert len(client.get(path).content) < MOST


def test_json_at_the_same_address(client: TestClient, seeded: Seeded) -> None:
    window = client.get(f"/windows/{seeded.window}", headers=JSON).json()
    assert (window["kind"], window["past"]["span"]) == ("covariate", [2650, 3000])
    alert = client.get(seeded.alert, headers=JSON).json()
    assert (alert["state"], alert["past"]["change"], len(alert["images"])) == ("firing", 2950, 12)


def test_missing_pages_answer_404_in_both_forms(client: TestClient) -> None:
    page = client.get("/windows/999")
    assert (page.status_code, "no window 999" in page.text) == (404, True)
    assert client.get("/windows/999", headers=JSON).json() == {"detail": "no window 999"}
    assert client.get("/alerts/01920000-0000-7000-8000-000000000009/page").status_code == 404
    assert client.get("/static/routes.py").status_code == 404


def test_pages_need_no_inline_script_or_style_and_no_other_host(client: TestClient, seeded: Seeded) -> None:
    for path in ("/", seeded.alert, f"/windows/{seeded.window}"):
        page = client.get(path).text
        assert "style=" not in page
        assert "<script>" not in page
        assert all(
            address.startswith(("/", "data:")) for address in re.findall(r'(?:src|rel="\w+" href)="([^"]*)', page)
        )
    for name in ("style.css", "live.js", "copy.js"):
        assert client.get(f"/static/{name}").status_code == 200


def test_the_page_of_a_stream_shows_what_the_model_survives(client: TestClient, seeded: Seeded) -> None:
    page = client.get("/windows", params={"stream": "mnist:1/camera=7"}).text
    assert "What the model survives" in page
    assert re.search(r'<span class="holds"><b>0\.92</b> at -0\.7</span>', page)
    assert re.search(r'<span class="falls"><b>0\.87</b> at 1\.3</span>', page)
    assert re.search(r'<span class="breaks"><b>0\.41</b> at 2\.2</span>', page)
    body = client.get("/windows", params={"stream": "mnist:1/camera=7"}, headers={"Accept": "application/json"}).json()
    assert len(body["survival"]["shifts"]) == 8
    assert "Left out: mild: fog; 12 mixtures of two operations" in page
    assert "#survival" in client.get(seeded.alert).text
