"""The classifier on LitServe, batched: python litserve_server.py PORT."""

import sys

import litserve
import numpy as np
import shared


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = shared.session()

    def decode_request(self, request):  # a type of the request would make it a query parameter or a body of JSON
        return shared.pixels(request["file"].file.read())

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> list[dict[str, float]]:
        return shared.answers(self.session, batch)

    def unbatch(self, output: list[dict[str, float]]) -> list[dict[str, float]]:
        return output

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=shared.MAX_BATCH, batch_timeout=shared.WAIT_SECONDS)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
