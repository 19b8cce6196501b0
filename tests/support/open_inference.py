"""Requests of the Open Inference Protocol."""

import json
from typing import Any

import numpy as np
from sqlalchemy import Engine

from tests.support.predictions import await_logged
from tests.support.request_content import RequestContent
from tidemark.store import models
from tidemark.store.log_batch import PredictionBatch

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
RAW = PIXELS.transpose(0, 3, 1, 2)
LENGTH = "Inference-Header-Content-Length"


def binary(values: np.ndarray, datatype: str = "FP32", **more: Any) -> RequestContent:
    """What tritonclient sends: JSON, then the tensor's bytes."""
    parameters = {"binary_data_size": values.nbytes}
    tensor = {"name": "image", "shape": list(values.shape), "datatype": datatype, "parameters": parameters}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return {"content": head + values.tobytes(), "headers": {LENGTH: str(len(head))}}


def logged(engine: Engine, count: int) -> PredictionBatch:
    """Return the logged predictions of pets:3 once there are `count` of them."""
    with engine.connect() as connection:
        model_id = models.register(connection, "pets", "3", "", [])
    return await_logged(engine, model_id, count)
