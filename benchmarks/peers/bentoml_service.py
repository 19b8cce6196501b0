"""The classifier on BentoML, batched: bentoml serve bentoml_service:Classifier --port PORT."""

import bentoml
import numpy as np
import shared
from PIL.Image import Image


@bentoml.service(workers=1, traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.session = shared.session()

    @bentoml.api(batchable=True, max_batch_size=shared.MAX_BATCH, max_latency_ms=1000)
    def classify(self, images: list[Image]) -> list[dict[str, float]]:
        batch = [shared.fitted(image) for image in images]
        return shared.answers(self.session, np.stack(batch))
