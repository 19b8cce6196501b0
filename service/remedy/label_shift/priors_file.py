"""`priors.json`: a model's correction for other class proportions, as a remedy writes it and a server reads it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import ConfigurationError, first_problem
from ...inference.bundle import Bundle

if TYPE_CHECKING:
    from ...drift.temperature_scaling import PriorCorrection

FILE = "priors.json"

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ClassShare(BaseModel):
    """A class's share in the reference and in the span, with its interval."""

    model_config = ConfigDict(frozen=True)

    label: str
    reference: float
    estimated: float
    low: float
    high: float
    weight: Weight  # estimated over reference


class CalibrationValues(BaseModel):
    """Calibrated posteriors are softmax(slope log(p + 1e-6) + bias)."""

    model_config = ConfigDict(frozen=True)

    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    bias: tuple[Finite, ...]


class Priors(BaseModel):
    """The content of `priors.json`."""

    model_config = ConfigDict(frozen=True)

    model: str  # name:version
    sha256: str  # SHA-256 of model.onnx
    classes: tuple[ClassShare, ...]  # one a class, in the model's order
    calibration: CalibrationValues
    predictions: Annotated[int, Field(ge=1)] | None = None  # number that the shares were estimated from

    @property
    def identity(self) -> str:
        """A short text that is the same for files of the same content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def correction(self) -> "PriorCorrection":
        """The correction of the model's posteriors."""
        from ...drift.temperature_scaling import PriorCorrection  # scipy, which a server needs for nothing else

        weights = np.array([share.weight for share in self.classes])
        return PriorCorrection(self.calibration.slope, np.array(self.calibration.bias), weights)

    def write(self, folder: Path) -> Path:
        """Write `priors.json` into a folder and return its path."""
        path = folder / FILE
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path


def corrections(paths: Sequence[Path], bundles: Sequence[Bundle]) -> "dict[str, PriorCorrection]":
    """Return the correction of each model that a file of priors names, by name:version; raises as `read_priors`."""
    return {model: priors.correction for model, priors in read_priors(paths, bundles).items()}


def read_priors(paths: Sequence[Path], bundles: Sequence[Bundle]) -> dict[str, Priors]:
    """Return the priors of each model that a file names, by name:version.

    Raises
    ------
    ConfigurationError
        A file cannot be read, is of a model that is not served, of another model file, or of other classes.
    """
    served = {str(bundle.key): bundle for bundle in bundles}
    priors_by_model: dict[str, Priors] = {}
    for path in paths:
        priors = _read(path)
        bundle = served.get(priors.model)
        if bundle is None:
            raise ConfigurationError(f"--correct-priors: {path} is for {priors.model}; served are {', '.join(served)}")
        if priors.sha256 != bundle.sha256:
            raise ConfigurationError(
                f"--correct-priors: {path} was made for another model file of {priors.model} ({priors.sha256[:12]}…, "
                f"this one is {bundle.sha256[:12]}…): make it again with `tidemark remedy`"
            )
        if tuple(share.label for share in priors.classes) != bundle.labels:
            raise ConfigurationError(f"--correct-priors: {path} has other labels than {priors.model}")
        if priors.model in priors_by_model:
            raise ConfigurationError(f"--correct-priors: {path} is the second file for {priors.model}")
        priors_by_model[priors.model] = priors
    return priors_by_model


def _read(path: Path) -> Priors:
    try:
        priors = Priors.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"--correct-priors: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise ConfigurationError(f"--correct-priors: {path}: {first_problem(error)}") from None
    if len(priors.calibration.bias) != len(priors.classes):
        raise ConfigurationError(f"--correct-priors: {path}: bias must have a value a class")
    return priors
