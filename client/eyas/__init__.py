"""The Python client of Eyas.

    import eyas

    with eyas.Client("127.0.0.1:50051") as client:
        job = client.wait(client.train("/photos", "clothing").id)
        print(job.evaluation.accuracy)
        print(client.classify("clothing", "shirt.jpg").label)

Needs grpcio, protobuf and google.rpc alone; imports nothing of the daemon.
"""

from eyas import aio
from eyas._client import Client
from eyas._comparison import ChangedPicture, Comparison, FigureDifference, LabelChange, VersionCost
from eyas._errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    EyasError,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    JobCancelled,
    JobFailed,
    NotFound,
    Overloaded,
    PermissionDenied,
    ServerError,
    Unauthenticated,
    Unavailable,
    UndecodableImage,
    Unsupported,
)
from eyas._evaluation import Evaluation, Figure, Interval, LabelMetrics, ReliabilityBin
from eyas._findings import (
    DatasetReport,
    DuplicateFile,
    DuplicateGroup,
    Duplicates,
    LabelCounts,
    PictureCount,
    PictureSize,
    PictureStatistics,
    SplitSizes,
    Suspect,
    Suspects,
    UnreadableFile,
)
from eyas._lineage import BundleFile, Conditions, Lineage
from eyas._policy import Policy
from eyas._report import Report
from eyas._settings import SettingValue
from eyas._traffic import Canary, Shadow, Traffic
from eyas._types import (
    Alias,
    Classification,
    EpochMetrics,
    Job,
    JobEvent,
    JobState,
    JobType,
    Model,
    ModelVersion,
    Parity,
    Prediction,
    Priority,
    Progress,
    ServingState,
    Timing,
)
from eyas._unknown import ConfidenceRule, DistributionRule, Unknown, UnknownReason, UnknownRules
from eyas._variants import Fidelity, Precision, Variant

__all__ = [
    "Alias",
    "AlreadyExists",
    "BundleFile",
    "Canary",
    "ChangedPicture",
    "Classification",
    "Client",
    "Comparison",
    "Conditions",
    "ConfidenceRule",
    "Conflict",
    "DatasetReport",
    "DeadlineExceeded",
    "DistributionRule",
    "DuplicateFile",
    "DuplicateGroup",
    "Duplicates",
    "EpochMetrics",
    "Evaluation",
    "EyasError",
    "FailedPrecondition",
    "Fidelity",
    "FieldViolation",
    "Figure",
    "FigureDifference",
    "Interval",
    "InvalidArgument",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "JobState",
    "JobType",
    "LabelChange",
    "LabelCounts",
    "LabelMetrics",
    "Lineage",
    "Model",
    "ModelVersion",
    "NotFound",
    "Overloaded",
    "Parity",
    "PermissionDenied",
    "PictureCount",
    "PictureSize",
    "PictureStatistics",
    "Policy",
    "Precision",
    "Prediction",
    "Priority",
    "Progress",
    "ReliabilityBin",
    "Report",
    "ServerError",
    "ServingState",
    "SettingValue",
    "Shadow",
    "SplitSizes",
    "Suspect",
    "Suspects",
    "Timing",
    "Traffic",
    "Unauthenticated",
    "Unavailable",
    "UndecodableImage",
    "Unknown",
    "UnknownReason",
    "UnknownRules",
    "UnreadableFile",
    "Unsupported",
    "Variant",
    "VersionCost",
    "aio",
]
