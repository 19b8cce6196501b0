"""The models of this server: those that answer, the first being the default, and those whose predictions it logs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UnknownModel
from ..inference.bundle import AnyBundle, Bundle
from ..inference.predictor import Predictor
from ..model_key import ModelKey
from .counters import ModelMetrics
from .prediction_logger import LoggedPredictions
from .shadow import Shadow


@dataclass(frozen=True)
class RegisteredModel:
    """A model whose predictions this server logs: it answers, runs in shadow, or is served elsewhere."""

    bundle: AnyBundle
    model_id: int  # id of its row in Postgres
    metrics: ModelMetrics

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.bundle.name, self.bundle.version)

    @property
    def name(self) -> str:
        """The model as `name:version`."""
        return str(self.key)


@dataclass(frozen=True)
class ServedModel(RegisteredModel):
    """A model that answers, with what does it."""

    bundle: Bundle
    predictor: Predictor[LoggedPredictions]
    corrected: bool = False  # True if answers are corrected for other class proportions
    shadows: tuple[Shadow, ...] = ()  # models that receive the images that this one has answered


class ModelRegistry:
    """The models of this server in the order of the command line; at least one."""

    def __init__(self, models: Sequence[RegisteredModel]) -> None:
        self.served = tuple(models)
        self.answering = tuple(model for model in models if isinstance(model, ServedModel))
        self.shadows = tuple(shadow for model in self.answering for shadow in model.shadows)

    def find(self, *names: str) -> RegisteredModel:
        """Return the model that has one of these names, as `name` or `name:version`: the first of several versions.

        Raises
        ------
        UnknownModel
            This server has no such model.
        """
        for name in names:
            for model in self.served:
                if name in (model.name, model.bundle.name):
                    return model
        raise UnknownModel(f"no model {names[0]}, this server has {', '.join(model.name for model in self.served)}")

    def find_version(self, name: str, version: str) -> RegisteredModel:
        """Return one version of a model.

        Raises
        ------
        UnknownModel
            This server does not have that version.
        """
        for model in self.served:
            if model.key == (name, version):
                return model
        raise UnknownModel(
            f"no version {version} of {name}, this server has {', '.join(model.name for model in self.served)}; "
            "start it with a model.toml of that version to log it"
        )

    def find_answering(self, *names: str) -> ServedModel:
        """Return the model with one of these names that is to answer; without names the default.

        Raises
        ------
        UnknownModel
            This server has no such model, or it does not answer.
        """
        for model in self.answering:
            if not names or model.name in names or model.bundle.name in names:
                return model
        registered = self.find(*names) if names else self.served[0]
        if isinstance(registered.bundle, Bundle):
            raise UnknownModel(
                f"{registered.name} runs in shadow: it receives the default model's images, and no others"
            )
        raise UnknownModel(f"{registered.name} is served elsewhere: send what it answers there to POST /observe")

    def versions(self, name: str) -> list[ServedModel]:
        """Return the models that answer and share a name."""
        return [model for model in self.answering if model.bundle.name == name]
