"""Errors meant for the people who run Tidemark: one line that says what was expected, what came and what to do."""

from typing import TypeVar

from pydantic import ValidationError

E = TypeVar("E", bound=BaseException)


class TidemarkError(Exception):
    """Base of every error whose text is shown to a user as it is."""


class ConfigurationError(TidemarkError):
    """A setting or a command's argument cannot be used."""


class DatabaseError(TidemarkError):
    """The database cannot be reached, or its schema is not the one this version needs."""


class ReferenceMismatch(TidemarkError):
    """A reference is missing, or belongs to another model file."""


class NotAcceptable(TidemarkError):
    """Traffic cannot become a stream's baseline now; the text says why and what would change that."""


class Overloaded(TidemarkError):
    """The queue or the spool is full: try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownModel(TidemarkError):
    """No model of this server has the name or version that a request asks for."""


class InvalidPredictions(TidemarkError):
    """Predictions of another server do not fit their model, or are not probability distributions."""


class NothingToLabel(TidemarkError):
    """A stream has too few predictions to draw some for labelling; the text says how many are missing."""


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic reports, in one line that names the field."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def without_frames(error: E) -> E:
    """Return an expected error that is passed on as a value, without the frames that it came through and its causes.

    The frames refer to the error as the error to them: with the images that they hold they would wait for the garbage
    collector, which holds up all requests.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
