"""From images sent together or alone to their predictions: batches, bounds, refusals and what is observed."""

import asyncio
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded_png
from tests.support.predictors import predictor_of
from tidemark.errors import Overloaded
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.images import NotAnImage, TooManyPixels
from tidemark.inference.model import Model, ModelFailed
from tidemark.inference.predictions import Predictions, RequestRows
from tidemark.inference.predictor import Predictor, QueueFull, TooManyImages
from tidemark.inference.properties import measure

PIXELS = np.random.default_rng(5).integers(0, 256, (20, 8, 8), dtype=np.uint8)
LARGE = encoded_png(np.random.default_rng(6).integers(0, 256, (300, 200), dtype=np.uint8))
WIDE_IN_FEW_BYTES = encoded_png(np.zeros((400, 300), np.uint8))


@pytest.fixture
def bundle(make_mlp: Callable[..., Path], tmp_path: Path) -> Bundle:
    return init_bundle(make_mlp(), tmp_path / "bundle")


def test_predictions_are_the_model_s_and_the_properties_the_image_s(bundle: Bundle) -> None:
    async def scenario() -> list[Predictions]:
        predictor = predictor_of(bundle, threads=1)
        try:
            single = await asyncio.gather(*(predictor.predict([encoded_png(image)], {}) for image in PIXELS[:10]))
            several = await predictor.predict([encoded_png(image) for image in PIXELS[10:]], {})
        finally:
            await predictor.close()
        return [*single, several]

    answer = asyncio.run(scenario())
    assert [len(predictions) for predictions in answer] == [1] * 10 + [10]
    probabilities, embeddings = Model(bundle, threads=1).predict(PIXELS)
    expected = {
        "probabilities": probabilities,
        "embeddings": embeddings,
        "indices": probabilities.argmax(axis=1),
        "pixels": PIXELS,
    }
    for name, values in expected.items():
        together = np.concatenate([getattr(predictions, name) for predictions in answer])
        np.testing.assert_allclose(together, values, rtol=1e-4, atol=1e-6, err_msg=name)
    measured = np.concatenate([measure(*predictions.image_arrays) for predictions in answer])
    np.testing.assert_allclose(measured, measure(PIXELS, [8] * 20, [8] * 20), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("image", [LARGE, WIDE_IN_FEW_BYTES])
def test_large_images_take_the_other_road_to_the_same_place(bundle: Bundle, image: bytes) -> None:
    async def scenario() -> Predictions:
        predictor = predictor_of(bundle)
        answer = await predictor.predict([image], {})
        await predictor.close()
        return answer

    answer = asyncio.run(scenario())
    with Image.open(io.BytesIO(image)) as opened:
        small = np.asarray(opened.resize((8, 8), Image.Resampling.BILINEAR))
        size = opened.size
    np.testing.assert_allclose(answer.probabilities, Model(bundle).predict(small[None])[0], rtol=1e-4)
    assert (answer.image_arrays.widths[0], answer.image_arrays.heights[0]) == size


@pytest.mark.parametrize("filler", [encoded_png(PIXELS[0]), LARGE])
def test_a_bad_image_is_named_and_nothing_is_predicted(bundle: Bundle, filler: bytes) -> None:
    stages: list[str] = []

    async def scenario() -> None:
        predictor = predictor_of(bundle, max_pixels=100_000, observe=lambda stage, _: stages.append(stage))
        with pytest.raises(NotAnImage) as caught:
            await predictor.predict([filler, b"no image", filler], {})
        assert caught.value.item == 1
        with pytest.raises(TooManyPixels, match="300x400 pixels, at most 100000") as refused:
            await predictor.predict([filler, filler, WIDE_IN_FEW_BYTES], {})
        assert refused.value.item == 2
        assert len(await predictor.predict([filler], {})) == 1
        await predictor.close()

    asyncio.run(scenario())
    assert stages.count("infer") == 1


def test_the_bound_counts_images_that_are_still_being_decoded(bundle: Bundle) -> None:
    async def scenario() -> None:
        predictor = predictor_of(bundle, queue_limit=4)
        waiting = [asyncio.create_task(predictor.predict([LARGE, LARGE], {})) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="4 of 4 places are in use, 1 are needed"):
            await predictor.predict([LARGE], {})
        await asyncio.gather(*waiting)
        assert len(await predictor.predict([LARGE] * 4, {})) == 4
        with pytest.raises(NotAnImage):
            await predictor.predict([b"", b"", b"", b""], {})
        assert len(await predictor.predict([LARGE] * 4, {})) == 4
        await predictor.close()

    asyncio.run(scenario())


def test_more_images_than_the_queue_holds_are_refused_for_good(bundle: Bundle) -> None:
    async def scenario() -> None:
        predictor = predictor_of(bundle, queue_limit=4)
        with pytest.raises(TooManyImages, match="5 images in one request, at most 4 are accepted"):
            await predictor.predict([LARGE] * 5, {})
        with pytest.raises(TooManyImages):
            await predictor.predict_tensor(np.zeros((5, 1, 8, 8), np.uint8), {})
        await predictor.close()

    asyncio.run(scenario())


def test_an_input_that_the_model_fails_on_spoils_no_other(bundle: Bundle) -> None:
    async def scenario() -> None:
        predictor = predictor_of(bundle, wait_ms=20)
        good = asyncio.create_task(predictor.predict([encoded_png(PIXELS[0])], {}))
        bad = asyncio.create_task(predictor.predict_tensor(np.full((1, 1, 8, 8), 3e38, np.float32), {}))
        assert len(await good) == 1
        with pytest.raises(ModelFailed, match="NaN or infinity"):
            await bad
        await predictor.close()

    asyncio.run(scenario())


def test_every_stage_is_observed(bundle: Bundle) -> None:
    seen: dict[str, list[float]] = {}

    async def scenario() -> None:
        predictor = predictor_of(
            bundle, max_batch=4, observe=lambda stage, value: seen.setdefault(stage, []).append(value)
        )
        await predictor.predict([encoded_png(image) for image in PIXELS[:10]], {})
        await predictor.close()

    asyncio.run(scenario())
    assert seen["batch"] == [4, 4, 2]
    assert len(seen["decode"]) == 1
    assert all(0 <= value < 5 for stage in ("decode", "queue", "infer") for value in seen[stage])


def test_tags_come_back_with_their_own_rows_and_a_refusal_reaches_the_whole_batch(bundle: Bundle) -> None:
    batches: list[list[tuple[int, dict[str, str]]]] = []

    def finish(predictions: Predictions, requests: Sequence[RequestRows]) -> list[dict[str, str]]:
        batches.append([(len(predictions.rows(request.rows)), request.tags) for request in requests])
        if any(request.tags == {"full": "yes"} for request in requests):
            raise Overloaded("no room")
        return [request.tags for request in requests]

    async def scenario() -> None:
        predictor = Predictor(bundle, finish, wait_ms=20)
        image = encoded_png(PIXELS[0])
        first = [predictor.predict([image] * 2, {"a": "1"}), predictor.predict([image], {"a": "2"})]
        assert await asyncio.gather(*first) == [{"a": "1"}, {"a": "2"}]
        second = [predictor.predict([image], {"full": "yes"}), predictor.predict([image], {})]
        answers = await asyncio.gather(*second, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Overloaded, Overloaded]
        await predictor.close()

    asyncio.run(scenario())
    assert batches == [[(2, {"a": "1"}), (1, {"a": "2"})], [(1, {"full": "yes"}), (1, {})]]


def test_a_request_of_many_pixels_shares_the_decoder_with_others(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.inference.predictor.PIXELS_PER_TURN", 60_000)  # one LARGE image
    monkeypatch.setattr("tidemark.inference.predictor.cores", lambda: 1)
    finished: list[str] = []

    async def request(predictor: Predictor[Predictions], name: str, images: list[bytes]) -> None:
        await predictor.predict(images, {})
        finished.append(name)

    async def scenario() -> None:
        predictor = predictor_of(bundle, threads=1)
        await asyncio.gather(request(predictor, "many", [LARGE] * 12), request(predictor, "one", [LARGE]))
        await predictor.close()

    asyncio.run(scenario())
    assert finished == ["one", "many"]


def test_a_request_that_takes_too_long_to_decode_is_ended(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.inference.predictor.PIXELS_PER_TURN", 1)

    async def scenario() -> None:
        predictor = predictor_of(bundle, threads=1, patience=1e-9)
        try:
            with pytest.raises(Overloaded, match="1 of 3 images were decoded in 1e-09 s"):
                await predictor.predict([LARGE] * 3, {})
        finally:
            await predictor.close()

    asyncio.run(scenario())
