"""Where a version comes from -> messages of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from eyas.v1 import lineage_pb2
from eyasd.api.messages.findings import split_sizes
from eyasd.api.messages.specification import asked_message
from eyasd.api.messages.times import duration
from eyasd.core.bundle import CheckedFile, Manifest
from eyasd.core.tasks import Conditions


def lineage_message(manifest: Manifest) -> lineage_pb2.Lineage:
    """Returns the message."""
    lineage, sizes = manifest.lineage, manifest.dataset_report.split_sizes
    return lineage_pb2.Lineage(
        dataset=lineage.dataset,
        split_sizes=split_sizes(sizes) if sizes else None,
        spec=asked_message(lineage.spec) if lineage.spec else None,
        seed=lineage.seed,
        recipe=lineage.recipe,
        conditions=conditions_message(Conditions(lineage.code_version, lineage.packages, lineage.device, lineage.weights_source)),
        duration=duration(timedelta(seconds=lineage.duration_seconds)),
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


def files_message(manifest: Manifest, checked: Sequence[CheckedFile]) -> list[lineage_pb2.BundleFile]:
    """Returns a message a file: what was found where they were read, and otherwise what the manifest says of them."""
    files = checked or [CheckedFile(name, digest, "") for name, digest in manifest.files.items()]
    return [lineage_pb2.BundleFile(name=file.name, sha256=file.sha256, problem=file.problem) for file in files]
