"""Good requests of every method, for `calls` to vary: what is drawn at random seldom gets past a method's first field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from builders import kept_answers, lineage, picture, write_bundle, write_pictures
from eyas.v1 import capture_service_pb2 as capture
from eyas.v1 import classification_service_pb2 as classification
from eyas.v1 import dataset_service_pb2 as datasets
from eyas.v1 import feedback_service_pb2 as feedback
from eyas.v1 import job_pb2
from eyas.v1 import job_service_pb2 as jobs
from eyas.v1 import model_service_pb2 as models
from eyas.v1 import training_service_pb2 as training
from eyasd.api.inference.messages import message_class
from eyasd.core.capture import CaptureReason
from eyasd.core.captured import CapturedPrediction, Sighting
from eyasd.registry.captured import Captured
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from uploads import blob, manifest, open_uploads, put, upload

# No hostile request knows it, so that none can take it away.
KEPT: Final = "kept"
# Of a stream: so many requests a call.
STREAMED: Final = 3
_MODEL: Final = "models/colours"
_ALIAS: Final = f"{_MODEL}/aliases/production"
_VERSION: Final = f"{_MODEL}/versions/2"
_FILES: Final = {"red/1.png": picture(), "blue/1.png": picture((20, 30, 220))}
_LATE: Final = b"content that is still to come"
_TRAIN: Final = "/eyas.v1.TrainingService/Train"


class Planted:
    """What a daemon's data folder holds before it starts, and what hostile requests may know of it.

    Attributes:
        photos: a folder of labelled pictures.
        captured: names of pictures of production.
    """

    def __init__(self, folder: Path) -> None:
        """Writes it below `folder`: three models, of which `kept` is nobody's to know, datasets, and captured pictures."""
        data = folder / "data"
        self.photos = write_pictures(folder / "photos", {"red": 2, "blue": 2})
        kept = Models(LocalStore(data / "models"))
        origin = lineage(dataset=str(self.photos))
        colours = write_bundle(folder / "colours", explainable=True, kept=kept_answers(), lineage=origin)
        several = write_bundle(folder / "tags", thresholds=(0.5, 0.5, 0.5))
        for model, version, bundle in (
            ("colours", 1, colours),
            ("colours", 2, colours),
            ("colours", 3, colours),
            ("colours", 4, colours),
            ("tags", 1, several),
            (KEPT, 1, several),
        ):
            kept.publish(model, bundle, f"job{version}")
            if version < 3:  # of the others one is tried beside it, and one deleted
                kept.aliases.set(model, "production", version, actor="test", reason="")
        kept.aliases.set("colours", "canary", 1, actor="test", reason="")
        uploads = open_uploads(data)
        for name in ("photos", "gone"):
            upload(uploads, name, _FILES)
        put(uploads, _FILES)
        pictures = Captured(LocalStore(data / "captured"))
        self.captured = [
            f"{_MODEL}/captured/" + pictures.keep("colours", picture((220, 30, number)), _sighting()).id for number in range(3)
        ]


def _sighting() -> Sighting:
    seen = (CapturedPrediction("red", 0.6), CapturedPrediction("blue", 0.4))
    return Sighting(
        version=1,
        time=datetime.now(UTC),
        reasons=(CaptureReason.LOW_MARGIN,),
        worth=800,
        predictions=seen,
        confidence=0.6,
        margin=0.2,
    )


async def seeds(planted: Planted, channel: grpc.aio.Channel) -> tuple[Mapping[str, list[list[bytes]]], list[str]]:
    """Returns requests that a daemon answers OK, by the path of the method, and the names of its jobs, the first at work.

    Args:
        planted: before it was started.
        channel: to it; five trainings are submitted, and a picture is classified.
    """

    async def ask(path: str, request: Any, answer: Any) -> Any:
        return answer.FromString(await channel.unary_unary(path)(request.SerializeToString()))

    train = training.TrainRequest(model="models/fresh", dataset=str(planted.photos))
    names = [(await ask(_TRAIN, train, training.TrainResponse)).job.name for _ in range(5)]
    await ask("/eyas.v1.JobService/PauseJob", jobs.PauseJobRequest(name=names[3]), jobs.PauseJobResponse)
    shown = classification.ClassifyRequest(model=_MODEL, images=[classification.Image(content=picture())])
    answer = await ask("/eyas.v1.ClassificationService/Classify", shown, classification.ClassifyResponse)
    prediction = answer.results[0].classification.prediction_id
    made = {**_of_the_contract(planted, names, prediction), **_of_others()}
    at_work = jobs.GetJobRequest(name=names[0])
    while (await ask("/eyas.v1.JobService/GetJob", at_work, jobs.GetJobResponse)).job.state != job_pb2.JOB_STATE_RUNNING:
        await asyncio.sleep(0.05)
    good = {
        path: [[one.SerializeToString() for one in (call if isinstance(call, list) else [call])] for call in calls]
        for path, calls in made.items()
    }
    return good, names


def _of_the_contract(planted: Planted, names: list[str], prediction: str) -> dict[str, list[Any]]:
    running, cancelled, paused, resumed, asked = names
    first, second, third = planted.captured
    image = classification.Image(content=picture())
    listed = blob(manifest(_FILES))
    whole = datasets.Blob(sha256=bytes.fromhex(listed.sha256), size_bytes=listed.size_bytes)
    late = blob(_LATE)
    coming = datasets.Blob(sha256=bytes.fromhex(late.sha256), size_bytes=late.size_bytes)
    pieces = [
        datasets.UploadDatasetRequest(pieces=[datasets.BlobPiece(blob=coming, offset=at, content=_LATE[at : at + 10])])
        for at in range(0, len(_LATE), 10)
    ]
    spec = training.TrainRequest().spec
    spec.backbone, spec.seed, spec.epochs, spec.learning_rate, spec.optimizer, spec.loss = "auto", 3, 2, 0.001, 1, 1
    spec.budget.FromSeconds(60)
    spec.variants.append(3)
    v1 = {
        "CaptureService": {
            "GetCapturePolicy": [capture.GetCapturePolicyRequest(name=f"{_MODEL}/capture")],
            "SetCapturePolicy": [
                capture.SetCapturePolicyRequest(
                    policy={"name": f"{_MODEL}/capture", "enabled": True, "reasons": [4], "percent": 1, "max_images": 9}
                )
            ],
            "ListCapturedPictures": [
                capture.ListCapturedPicturesRequest(parent=_MODEL, page_size=2),
                capture.ListCapturedPicturesRequest(parent=_MODEL, reasons=[4], labels=2, predicted_label="red"),
            ],
            "GetCapturedPicture": [capture.GetCapturedPictureRequest(name=first)],
            "LabelCapturedPictures": [
                capture.LabelCapturedPicturesRequest(parent=_MODEL, pictures=[{"name": second, "labels": ["red"]}])
            ],
            "DeleteCapturedPictures": [capture.DeleteCapturedPicturesRequest(parent=_MODEL, names=[third])],
        },
        "ClassificationService": {
            "Classify": [
                classification.ClassifyRequest(model=_MODEL, images=[image, image], top_k=2, explain=True, routing_key="one"),
                classification.ClassifyRequest(model="models/tags", images=[image], priority=3),
            ],
            "ClassifyStream": [
                [
                    classification.ClassifyStreamRequest(options={"model": _MODEL, "top_k": 1, "ordered": True}),
                    classification.ClassifyStreamRequest(picture={"id": "1", "image": image}),
                    classification.ClassifyStreamRequest(picture={"id": "2", "image": image}),
                ]
            ],
        },
        "DatasetService": {
            "CheckUpload": [datasets.CheckUploadRequest(blobs=[whole], name="datasets/photos", file_count=2, size_bytes=9)],
            "UploadDataset": [pieces],
            "CreateDataset": [datasets.CreateDatasetRequest(name="datasets/photos", manifest=whole)],
            "GetDataset": [datasets.GetDatasetRequest(name="datasets/photos/versions/1")],
            "ListDatasets": [datasets.ListDatasetsRequest(page_size=1)],
            "DeleteDataset": [datasets.DeleteDatasetRequest(name="datasets/gone/versions/1")],
        },
        "FeedbackService": {
            "ReportFeedback": [feedback.ReportFeedbackRequest(feedback=[{"prediction_id": prediction, "true_labels": ["blue"]}])]
        },
        "JobService": {
            "GetJob": [jobs.GetJobRequest(name=running)],
            "ListJobs": [jobs.ListJobsRequest(page_size=2)],
            "WatchJob": [jobs.WatchJobRequest(name=asked, from_sequence=1)],
            "CancelJob": [jobs.CancelJobRequest(name=cancelled)],
            "PauseJob": [jobs.PauseJobRequest(name=paused)],
            "ResumeJob": [jobs.ResumeJobRequest(name=resumed)],
        },
        "ModelService": {
            "ListModels": [models.ListModelsRequest(page_size=1)],
            "GetModel": [models.GetModelRequest(name=_MODEL)],
            "ListModelVersions": [models.ListModelVersionsRequest(parent=_MODEL, page_size=1)],
            "GetModelVersion": [models.GetModelVersionRequest(name=_VERSION, verify=True)],
            "GetReport": [models.GetReportRequest(name=_VERSION)],
            "DeleteModelVersion": [models.DeleteModelVersionRequest(name=f"{_MODEL}/versions/3")],
            "SetAlias": [
                models.SetAliasRequest(name=f"{_MODEL}/aliases/canary", version=_VERSION, reason="better"),
                models.SetAliasRequest(name=_ALIAS, version=_VERSION, force=True),
            ],
            "GetPolicy": [models.GetPolicyRequest(name=f"{_MODEL}/policy")],
            "SetPolicy": [
                models.SetPolicyRequest(
                    policy={
                        "name": f"{_MODEL}/policy",
                        "aliases": ["production"],
                        "bounds": [{"figure": "accuracy", "at_least": 0.5}],
                        "max_label_drop": 0.5,
                    }
                )
            ],
            "RollbackAlias": [models.RollbackAliasRequest(name=f"{_MODEL}/aliases/canary", expected_version=_VERSION)],
            "ListAliasRecords": [models.ListAliasRecordsRequest(parent=_ALIAS, page_size=1)],
            "GetTraffic": [models.GetTrafficRequest(name=f"{_MODEL}/traffic")],
            "SetTraffic": [
                models.SetTrafficRequest(
                    traffic={
                        "name": f"{_MODEL}/traffic",
                        "canary": {"target": f"{_MODEL}/versions/4", "percent": 5, "min_requests": 10, "max_error_rate": 0.1},
                        "shadow": {"target": f"{_MODEL}/versions/1", "percent": 1},
                    },
                    reason="a trial",
                )
            ],
            "ListTrafficRecords": [models.ListTrafficRecordsRequest(parent=f"{_MODEL}/traffic", page_size=1)],
        },
        "TrainingService": {
            "Train": [
                training.TrainRequest(model="models/fresh", dataset="datasets/photos", spec=spec, request_id="request-1"),
                training.TrainRequest(model=_MODEL, dataset=str(planted.photos), base_version=_ALIAS, alias="canary", priority=1),
            ],
            "Evaluate": [
                training.EvaluateRequest(model=_VERSION, dataset="datasets/photos", other_models=[f"{_MODEL}/versions/1"]),
                training.EvaluateRequest(model=_VERSION, split=1),
            ],
            "InspectDataset": [training.InspectDatasetRequest(dataset=str(planted.photos), seed=1, request_id="request-2")],
        },
    }
    # Last of its service, as the lines of a job whose pod they are of: those of no pod are nobody's.
    lines = [json.dumps({"time": "2026-01-02T03:04:05Z", "message": f"line {number}"}) for number in range(1, 4)]
    v1["JobService"]["ReportProgress"] = [[jobs.ReportProgressRequest(first=at, lines=[line]) for at, line in enumerate(lines, 1)]]
    return {f"/eyas.v1.{service}/{method}": calls for service, methods in v1.items() for method, calls in methods.items()}


def _of_others() -> dict[str, list[Any]]:
    shape = {"name": "encoded", "datatype": "BYTES", "shape": [1]}
    asked = message_class("ModelInferRequest")(
        model_name="colours", id="one", inputs=[{**shape, "contents": {"bytes_contents": [picture()]}}]
    )
    pixels = message_class("ModelInferRequest")(
        model_name="colours",
        model_version="2",
        inputs=[{"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3]}],
        outputs=[{"name": "probabilities", "parameters": {"classification": {"int64_param": 2}}}],
        raw_input_contents=[bytes(32 * 32 * 3)],
    )
    inference = {
        "ServerLive": [message_class("ServerLiveRequest")()],
        "ServerReady": [message_class("ServerReadyRequest")()],
        "ModelReady": [message_class("ModelReadyRequest")(name="colours", version="1")],
        "ServerMetadata": [message_class("ServerMetadataRequest")()],
        "ModelMetadata": [message_class("ModelMetadataRequest")(name="colours")],
        "ModelConfig": [message_class("ModelConfigRequest")(name="colours", version="production")],
        "ModelInfer": [asked, pixels],
        "ModelStreamInfer": [list(islice(cycle([asked, pixels]), STREAMED))],
        "RepositoryIndex": [message_class("RepositoryIndexRequest")(ready=True)],
        "ModelStatistics": [message_class("ModelStatisticsRequest")(name="colours", version="2")],
    }
    health = {
        "Check": [health_pb2.HealthCheckRequest(service=_MODEL)],
        "List": [health_pb2.HealthListRequest()],
        "Watch": [health_pb2.HealthCheckRequest()],
    }
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    return {
        **{f"/inference.GRPCInferenceService/{method}": calls for method, calls in inference.items()},
        **{f"/grpc.health.v1.Health/{method}": calls for method, calls in health.items()},
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": [[listing] * STREAMED],
    }
