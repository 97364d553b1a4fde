"""The only table from methods to roles: who may call what, whose model it is about, and whether it is a change to be taken down.

A method that is missing here is answered to nobody who is not an admin, and a test sees to it that none is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from eyasd.access.roles import Role

Models = Callable[[Any], Iterable[str]]


class Rule(NamedTuple):
    """What a method takes.

    Attributes:
        roles: of which the caller needs one; an admin needs none of them.
        models: returns the models that a request is about, for all of which he needs it; where they cannot be told by the request,
            the service sees to it.
        everywhere: whether he needs it for every model there is, as what is changed is not of one of them.
        changes: whether it is taken down.
        open: whether everybody may.
    """

    roles: frozenset[Role] = frozenset()
    models: Models | None = None
    everywhere: bool = False
    changes: bool = False
    open: bool = False


def model_of(name: str) -> str:
    """Returns the model of `models/MODEL` and of what is below it; any other name as it is, which no method takes."""
    parts = name.split("/", 2)
    return parts[1] if len(parts) > 1 and parts[0] == "models" else name


def _named(*fields: str) -> Models:
    """Returns what reads the models of fields that hold names; one that is empty names none."""

    def read(request: Any) -> Iterable[str]:
        return [model_of(name) for field in fields if (name := getattr(request, field))]

    return read


def _within(field: str) -> Models:
    """Returns what reads the model of a message within the request, by the name that it has."""

    def read(request: Any) -> Iterable[str]:
        return [model_of(getattr(request, field).name)]

    return read


def _plain(field: str) -> Models:
    """Returns what reads the model of a field that holds nothing but its name."""

    def read(request: Any) -> Iterable[str]:
        return [name] if (name := getattr(request, field)) else []

    return read


def _evaluated(request: Any) -> Iterable[str]:
    return [model_of(name) for name in (request.model, *request.other_models)]


def _streamed(request: Any) -> Iterable[str]:
    return [model_of(request.options.model)] if request.HasField("options") else []


def _deleted(request: Any) -> Iterable[str]:
    return [model_of(name) for name in (request.parent, *request.names)]


OPEN: Final = Rule(open=True)
# An attempt of a job has a token of its own, and takes no other.
OWN: Final = Rule()
# What everybody may know who has any role for the model: what there is, and how good it is.
_ANY: Final = frozenset(Role)
_CLASSIFY, _TRAIN, _ADMIN = (frozenset({role}) for role in (Role.CLASSIFY, Role.TRAIN, Role.ADMIN))
UNKNOWN: Final = Rule(_ADMIN, everywhere=True, changes=True)
CLASSIFY: Final = Rule(_CLASSIFY, _named("model"))
FEEDBACK: Final = Rule(frozenset({Role.FEEDBACK}))
SEES: Final = Rule(_ANY)

_V1: Final = {
    "ClassificationService": {"Classify": CLASSIFY, "ClassifyStream": Rule(_CLASSIFY, _streamed)},
    "FeedbackService": {"ReportFeedback": FEEDBACK},
    "ModelService": {
        "ListModels": SEES,
        "GetModel": Rule(_ANY, _named("name")),
        "ListModelVersions": Rule(_ANY, _named("parent")),
        "GetModelVersion": Rule(_ANY, _named("name")),
        "GetReport": Rule(_TRAIN, _named("name")),  # which shows pictures of the dataset
        "ListAliasRecords": Rule(_ANY, _named("parent")),
        "GetPolicy": Rule(_ANY, _named("name")),
        "GetTraffic": Rule(_ANY, _named("name")),
        "ListTrafficRecords": Rule(_ANY, _named("parent")),
        "DeleteModelVersion": Rule(_ADMIN, _named("name"), changes=True),
        "SetAlias": Rule(_ADMIN, _named("name", "version"), changes=True),
        "RollbackAlias": Rule(_ADMIN, _named("name"), changes=True),
        "SetPolicy": Rule(_ADMIN, _within("policy"), changes=True),
        "SetTraffic": Rule(_ADMIN, _within("traffic"), changes=True),
    },
    "CaptureService": {
        "GetCapturePolicy": Rule(_ANY, _named("name")),
        "SetCapturePolicy": Rule(_ADMIN, _within("policy"), changes=True),
        "ListCapturedPictures": Rule(_TRAIN, _named("parent")),
        "GetCapturedPicture": Rule(_TRAIN, _named("name")),
        "LabelCapturedPictures": Rule(_TRAIN, _named("parent"), changes=True),
        "DeleteCapturedPictures": Rule(_ADMIN, _deleted, changes=True),
    },
    "DatasetService": {
        "CheckUpload": Rule(_TRAIN),
        "UploadDataset": Rule(_TRAIN, changes=True),
        "CreateDataset": Rule(_TRAIN, changes=True),
        "GetDataset": Rule(_TRAIN),
        "ListDatasets": Rule(_TRAIN),
        "DeleteDataset": Rule(_TRAIN, everywhere=True, changes=True),
    },
    "TrainingService": {
        "Train": Rule(_TRAIN, _named("model", "base_version"), changes=True),
        "Evaluate": Rule(_TRAIN, _evaluated, changes=True),
        "InspectDataset": Rule(_TRAIN, _named("version"), changes=True),
    },
    # Of whose model a job is, the job says.
    "JobService": {
        "GetJob": Rule(_TRAIN),
        "ListJobs": Rule(_TRAIN),
        "WatchJob": Rule(_TRAIN),
        "CancelJob": Rule(_TRAIN, changes=True),
        "PauseJob": Rule(_TRAIN, changes=True),
        "ResumeJob": Rule(_TRAIN, changes=True),
        "ReportProgress": OWN,
    },
}
_INFERENCE: Final = {
    # They tell no more than health checks do.
    "ServerLive": OPEN,
    "ServerReady": OPEN,
    "ServerMetadata": SEES,
    "ModelReady": Rule(_ANY, _plain("name")),
    "ModelMetadata": Rule(_ANY, _plain("name")),
    "ModelConfig": Rule(_ANY, _plain("name")),
    "ModelInfer": Rule(_CLASSIFY, _plain("model_name")),
    "ModelStreamInfer": Rule(_CLASSIFY, _plain("model_name")),
    "RepositoryIndex": SEES,
    "ModelStatistics": Rule(_ANY, _plain("name")),
}
RULES: Final = {
    **{f"/eyas.v1.{service}/{method}": rule for service, methods in _V1.items() for method, rule in methods.items()},
    **{f"/inference.GRPCInferenceService/{method}": rule for method, rule in _INFERENCE.items()},
    # Probes bear no token.
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": SEES,  # which names every model
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": SEES,
}


def rule_of(path: str) -> Rule:
    """Returns what a method takes, by its path."""
    return RULES.get(path, UNKNOWN)
