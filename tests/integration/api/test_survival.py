"""What a stream's model survives, by API."""

from sqlalchemy import update

from tests.support.drifting import Drifting
from tests.support.seed import SURVIVAL
from tidemark.store import tables


def test_what_the_model_survives_is_served_where_its_reference_was_rehearsed(drifting: Drifting) -> None:
    def get(stream: str) -> tuple[int, dict[str, object]]:
        answer = drifting.client.get("/drift/survival", params={"stream": stream})
        return answer.status_code, answer.json()

    status, problem = get("pets:3")
    assert status == 404
    assert "has no rehearsals" in str(problem["detail"])
    with drifting.engine.begin() as connection:
        connection.execute(update(tables.references).values(survival=SURVIVAL))
    status, body = get("pets:3")
    assert status == 200
    assert body == {"stream": "pets:3", **SURVIVAL}
    assert get("none:1")[0] == 404
    assert drifting.client.get("/drift/survival").status_code == 422
