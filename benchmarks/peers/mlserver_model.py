"""The classifier on MLServer, batched by the Open Inference Protocol: mlserver start FOLDER."""

import numpy as np
import shared
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    async def load(self) -> bool:
        self.session = shared.session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        batch = np.stack([shared.pixels(data) for data in Base64Codec.decode_input(payload.inputs[0])])
        answers = shared.answers(self.session, batch)
        outputs = [
            NumpyCodec.encode_output("index", np.array([[answer["index"]] for answer in answers])),
            NumpyCodec.encode_output("confidence", np.array([[answer["confidence"]] for answer in answers])),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
