"""Where a version comes from -> messages of the contract; the half of `api.convert` that knows lineages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from eyas.v1 import evaluation_pb2, lineage_pb2
from eyasd.api.specification import asked_message
from eyasd.core.bundle import CheckedFile, Manifest
from eyasd.core.types import Conditions, SplitSizes


def lineage_message(manifest: Manifest) -> lineage_pb2.Lineage:
    """Returns the message."""
    lineage, sizes, duration = manifest.lineage, manifest.dataset_report.split_sizes, Duration()
    duration.FromTimedelta(timedelta(seconds=lineage.duration_seconds))
    return lineage_pb2.Lineage(
        dataset=lineage.dataset,
        split_sizes=split_sizes(sizes) if sizes else None,
        spec=asked_message(lineage.spec) if lineage.spec else None,
        seed=lineage.seed,
        recipe=lineage.recipe,
        conditions=conditions_message(Conditions(lineage.code_version, lineage.packages, lineage.device, lineage.weights_source)),
        duration=duration,
        attempt=lineage.attempt,
    )


def conditions_message(conditions: Conditions) -> lineage_pb2.Conditions:
    """Returns the message."""
    return lineage_pb2.Conditions(
        code_version=conditions.code_version,
        packages=conditions.packages,
        device=conditions.device,
        weights_source=conditions.weights_source,
    )


def split_sizes(sizes: SplitSizes) -> evaluation_pb2.SplitSizes:
    """Returns the message."""
    return evaluation_pb2.SplitSizes(train=sizes.train, validation=sizes.validation, test=sizes.test)


def files_message(manifest: Manifest, checked: Sequence[CheckedFile]) -> list[lineage_pb2.BundleFile]:
    """Returns a message a file: what was found where they were read, and otherwise what the manifest says of them."""
    files = checked or [CheckedFile(name, digest, "") for name, digest in manifest.files.items()]
    return [lineage_pb2.BundleFile(name=file.name, sha256=file.sha256, problem=file.problem) for file in files]
