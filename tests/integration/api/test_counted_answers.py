"""An answer leaves before it is counted, and is counted before anything that is asked later."""

import asyncio

from starlette.types import Message

from tests.support.images import png
from tidemark.inference.bundle import Bundle
from tidemark.server.app import create_app
from tidemark.settings import Settings

SCOPE = {
    **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "POST"},
    **{"path": "/predict", "raw_path": b"/predict", "query_string": b"", "root_path": "", "state": {}},
    **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
    "headers": [(b"host", b"localhost"), (b"content-type", b"image/png"), (b"content-length", b"%d" % len(png()))],
}


def test_an_answer_leaves_before_it_is_counted(bundle: Bundle, settings: Settings, url: str) -> None:
    app = create_app(settings, (bundle,), url, None, ())
    counted: list[tuple[int, int, int]] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": png(), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            count()

    def count() -> None:
        metrics = app.state.server.models.find_answering().metrics
        counted.append((metrics.stage_total("total").count, metrics.stage_total("log").count, metrics.images_run()))

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            for _ in range(2):
                await app(dict(SCOPE), receive, send)
                await asyncio.sleep(0)
                count()

    asyncio.run(scenario())
    first_answer, first_turn, second_answer, second_turn = counted
    assert (first_answer[0], second_answer[0]) == (0, 1)
    assert (first_turn, second_turn) == ((1, 1, 1), (2, 2, 2))
