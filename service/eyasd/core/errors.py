"""Every error that a caller of Eyas can be told of.

The tree knows nothing of gRPC: `api/errors.py` is the only place where an error becomes a status code. A message is one
sentence or two: what is wrong, with which value, and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta


class EyasError(Exception):
    """Root of the tree.

    Attributes:
        message: for a person; holds no secret and no path of the server that the caller did not send.
        metadata: the values of the message, for a program.
        version: of the model that was asked, if one had been found to answer.
    """

    version: int | None = None

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}

    @property
    def reason(self) -> str:
        """The class's name in UPPER_SNAKE_CASE, stable for programs: `ModelNotFound` is `MODEL_NOT_FOUND`."""
        return reason_of(type(self))


class InvalidArgument(EyasError):
    """A value of the request is malformed or out of range.

    Attributes:
        field: path of the offending field in the request, such as `spec.dropout`.
    """

    def __init__(self, field: str, message: str, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.field = field


class Unauthenticated(EyasError):
    """The caller does not show who he is, or not as he has to."""


class PermissionDenied(EyasError):
    """The caller is known, and has not the role that this takes."""


class UndecodableImage(EyasError):
    """The bytes are not a picture that Eyas reads, or are cut short."""


class ImageTooLarge(UndecodableImage):
    """The picture is over a limit; it was refused before it was decoded."""


class DecoderEnded(UndecodableImage):
    """The process that decoded the picture has crashed, or took too long and was ended; the picture is not tried again."""


class BadDataset(EyasError):
    """The dataset cannot be read, or cannot be trained on or scored as it stands."""


class NotFound(EyasError):
    """Something named in the request does not exist."""


class DatasetNotFound(NotFound):
    """There is no such folder or file on the trainer's machine."""


class UploadNotFound(NotFound):
    """There is no uploaded dataset of this name, or it has no such version."""


class ModelNotFound(NotFound):
    """There is no such model."""


class VersionNotFound(NotFound):
    """The model has no such version."""


class AliasNotFound(NotFound):
    """The model has no such alias."""


class CapturedNotFound(NotFound):
    """There is no such captured picture of the model, or not any more."""


class JobNotFound(NotFound):
    """There is no such job."""

    def __init__(self, job: str) -> None:
        super().__init__(f"There is no job {job!r}: `eyas jobs` lists them.", job=job)


class RequestIdReused(EyasError):
    """The request id belongs to an earlier request with other contents."""


class AliasConflict(EyasError):
    """Somebody else moved the alias at the same moment."""


class PromotionRefused(EyasError):
    """The model's policy demands more of a version than it has."""


class PolicyConflict(EyasError):
    """Somebody else changed the policy at the same moment."""


class TrafficConflict(EyasError):
    """Somebody else changed the canary or the shadow at the same moment."""


class NothingToRollBack(EyasError):
    """The alias points to the only version it ever pointed to, or all that came after it was rolled back already."""


class VersionInUse(EyasError):
    """An alias points to the version, or did so not long ago, so it is not deleted."""


class DatasetInUse(EyasError):
    """A job that has not ended uses the dataset, so it is not deleted."""


class UploadTooLarge(EyasError):
    """The dataset, or all of them together, would take more than the operator allows."""


class DigestMismatch(EyasError):
    """Content that was uploaded is not what its digest and size say."""


class ContentMissing(EyasError):
    """A dataset names content that is not there, or not any more: upload what is missing, then make the dataset."""


class UploadConflict(EyasError):
    """A piece does not continue what is there of its content: ask what is missing, and go on from there."""


class DatasetConflict(EyasError):
    """Somebody else made a version of the dataset at the same moment."""


class JobEnded(EyasError):
    """The job has ended, so it cannot be changed any more."""


class LeaseLost(EyasError):
    """The attempt of a job is not the writer's any more: another replica has taken it over, or it has ended."""


class NoUnknownRule(EyasError):
    """The version has no rule by which it could call a picture unknown."""


class NotExplainable(EyasError):
    """The version's network has no class-activation maps."""


class WeightsNotFound(EyasError):
    """No pre-trained weights were found for the backbone."""


class ParityFailed(EyasError):
    """The exported ONNX file does not give the trained network's answers."""


class Overloaded(EyasError):
    """The queue is full, or the deadline cannot be met; the work was refused before it began.

    Attributes:
        retry_after: when there will probably be room again.
    """

    def __init__(self, message: str, retry_after: timedelta, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.retry_after = retry_after


class QuotaExceeded(EyasError):
    """The caller has as much already, in jobs that wait or in uploaded datasets, as he may."""


class DeadlineExceeded(EyasError):
    """The caller's deadline passed while the request waited."""


class MessageLate(DeadlineExceeded):
    """The message of a call took so long to come whole that it was given up."""


class Unavailable(EyasError):
    """Eyas cannot answer now, and may be able to later: it is going down, or a model is not ready.

    Attributes:
        retry_after: when it probably can; None where nobody knows.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.retry_after = retry_after


class OutOfMemory(Unavailable):
    """The device's memory does not hold what one picture takes."""

    def __init__(self) -> None:
        super().__init__(
            "The server's device has too little memory left for one picture: send it again later; if that does not help, its "
            "operator has to free memory, or serve fewer versions."
        )


class StreamEnded(Unavailable):
    """The server takes no more of this stream; what it had taken is answered, or kept, and the rest belongs on another stream."""


class StreamIdle(DeadlineExceeded):
    """Nothing came from a stream's caller, or no answer was taken, for so long that the stream was given up."""


class BrokenBundle(EyasError):
    """A model version is damaged: a file is missing, was changed, or does not answer as it did when it was made."""


class StorageFailed(EyasError):
    """A file could not be written or read: no space, no permission, or a failing disk."""


class DatabaseAway(StorageFailed):
    """The job database does not answer; what was asked of it may be asked again."""


class TrainerFailed(EyasError):
    """The training program ended without saying why."""


class TrainerOutOfMemory(TrainerFailed):
    """The memory of the trainer's machine, or of its GPU, did not hold what the training takes."""


class StartupFailed(EyasError):
    """The daemon cannot start with this configuration on this machine. Never reaches a caller."""


def reason_of(error: type[EyasError]) -> str:
    """Returns the error's stable name for programs, UPPER_SNAKE_CASE."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).upper()


def all_errors(root: type[EyasError] = EyasError) -> list[type[EyasError]]:
    """Returns every class of the tree below `root`, and `root`, parents first."""
    return [root] + [error for child in root.__subclasses__() for error in all_errors(child)]
