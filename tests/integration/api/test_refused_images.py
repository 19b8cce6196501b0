from fastapi.testclient import TestClient

from tests.support.images import png


def test_the_overview_says_which_images_are_refused(client: TestClient) -> None:
    for _ in range(5):
        client.post("/predict", content=png()[:30], headers={"Content-Type": "image/png"})
    assert "5 of 5 images for pets:3 were refused within the last hour: not an image." in client.get("/").text
