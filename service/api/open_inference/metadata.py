"""Metadata of the server and its models, by the Open Inference Protocol and Triton's extensions of it."""

from importlib.metadata import version as installed_version

from fastapi import APIRouter, Response
from pydantic import BaseModel

from ...serving.counters import StageTotal
from ...serving.model_registry import ServedModel
from ..endpoints.health import readiness
from ..problems import documented
from ..server_state import State
from .models import MODEL_PATH, VERSION_PATH, PathModel, TensorSpec, input_spec, output_specs

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
PLATFORM = "onnxruntime_onnx"  # name by which clients know models that ONNX Runtime runs

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(Ready):
    name: str


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    name: str
    data_type: str
    dims: list[int]


class ModelConfig(BaseModel):
    """The part of Triton's model configuration that clients such as perf_analyzer read."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class Duration(BaseModel):
    count: int
    ns: int


class InferenceStats(BaseModel):
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStats(BaseModel):
    name: str
    version: str
    inference_count: int
    execution_count: int
    inference_stats: InferenceStats
    batch_stats: list[Duration] = []


class Statistics(BaseModel):
    model_stats: list[ModelStats]


class RepositoryModel(BaseModel):
    name: str
    version: str
    state: str = "READY"
    reason: str = ""


@router.get("", summary="Server metadata")
async def server() -> ServerMetadata:
    return ServerMetadata(name="tidemark", version=installed_version("tidemark"), extensions=EXTENSIONS)


@router.get("/health/live", summary="The process lives")
async def live() -> Live:
    return Live(live=True)


@router.get("/health/ready", summary="The server may get traffic", responses=documented(503))
async def ready(state: State, response: Response) -> Ready:
    """Answer as `/readyz` does."""
    readiness_report = await readiness(state)
    response.status_code = 200 if readiness_report.ready else 503
    return Ready(ready=readiness_report.ready)


@router.get("/models/stats", summary="Statistics of all models")
async def all_statistics(state: State) -> Statistics:
    """Return the counts of this server process since its start."""
    return Statistics(model_stats=[_statistics(model) for model in state.models.answering])


@router.get(MODEL_PATH, summary="Model metadata", responses=documented(404))
@router.get(VERSION_PATH, summary="Model metadata", responses=documented(404))
async def model_metadata(model: PathModel, state: State) -> ModelMetadata:
    bundle = model.bundle
    return ModelMetadata(
        name=bundle.name,
        versions=[other.bundle.version for other in state.models.versions(bundle.name)],
        platform=PLATFORM,
        inputs=[_tensor_metadata(input_spec(model))],
        outputs=[_tensor_metadata(output) for output in output_specs(model)],
    )


@router.get(f"{MODEL_PATH}/ready", summary="The model may get traffic", responses=documented(404, 503))
@router.get(f"{VERSION_PATH}/ready", summary="The model may get traffic", responses=documented(404, 503))
async def model_ready(model: PathModel, state: State, response: Response) -> ModelReady:
    """Answer as `/readyz` does: the model is loaded before the server answers at all."""
    readiness_report = await readiness(state)
    response.status_code = 200 if readiness_report.ready else 503
    return ModelReady(name=model.bundle.name, ready=readiness_report.ready)


@router.get(f"{MODEL_PATH}/config", summary="Model configuration", responses=documented(404))
@router.get(f"{VERSION_PATH}/config", summary="Model configuration", responses=documented(404))
async def model_config(model: PathModel, state: State) -> ModelConfig:
    """Describe the model as Triton's model configuration does."""
    return ModelConfig(
        name=model.bundle.name,
        platform=PLATFORM,
        backend="onnxruntime",
        max_batch_size=state.settings.max_batch,
        input=[_tensor_config(input_spec(model))],
        output=[_tensor_config(output) for output in output_specs(model)],
    )


@router.get(f"{MODEL_PATH}/stats", summary="Statistics of a model", responses=documented(404))
@router.get(f"{VERSION_PATH}/stats", summary="Statistics of a model", responses=documented(404))
async def model_statistics(model: PathModel) -> Statistics:
    """Return the counts of this server process since its start."""
    return Statistics(model_stats=[_statistics(model)])


@router.post("/repository/index", summary="The models of this server")
async def repository_index(state: State) -> list[RepositoryModel]:
    """List the models that answer."""
    return [RepositoryModel(name=model.bundle.name, version=model.bundle.version) for model in state.models.answering]


def _tensor_metadata(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _tensor_config(spec: TensorSpec) -> TensorConfig:
    data_type = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return TensorConfig(name=spec.name, data_type=data_type, dims=spec.shape[1:] or [1])


def _statistics(model: ServedModel) -> ModelStats:
    totals = {stage: model.metrics.stage_total(stage) for stage in ("total", "queue", "decode", "infer", "log")}
    failures = model.metrics.failed_requests()
    answered = totals["total"].count - failures
    return ModelStats(
        name=model.bundle.name,
        version=model.bundle.version,
        inference_count=model.metrics.images_run(),
        execution_count=totals["infer"].count,
        inference_stats=InferenceStats(
            success=Duration(count=answered, ns=int(totals["total"].seconds * 1e9)),
            fail=Duration(count=failures, ns=0),
            queue=_duration(totals["queue"]),
            compute_input=_duration(totals["decode"]),
            compute_infer=_duration(totals["infer"]),
            compute_output=_duration(totals["log"]),
        ),
    )


def _duration(total: StageTotal) -> Duration:
    return Duration(count=total.count, ns=int(total.seconds * 1e9))
