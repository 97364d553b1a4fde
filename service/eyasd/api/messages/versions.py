"""Versions -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import model_pb2
from eyasd.api.errors import status_of
from eyasd.api.messages.evaluation import evaluation_message
from eyasd.api.messages.lineage import files_message, lineage_message
from eyasd.api.messages.times import timestamp
from eyasd.api.messages.variants import precision_number, variant_message
from eyasd.core.bundle import CheckedFile, Manifest
from eyasd.core.errors import BrokenBundle, EyasError
from eyasd.core.names import ModelRef, job_name, version_name
from eyasd.core.unknown import UnknownRules
from eyasd.core.variants import Precision
from eyasd.serving.catalog import ServingState


def version_message(
    model: str,
    version: int,
    manifest: Manifest,
    state: ServingState | None,
    error: EyasError | None,
    precision: Precision | None = None,
    checked: tuple[CheckedFile, ...] = (),
) -> model_pb2.ModelVersion:
    """Returns the message.

    Args:
        model: of the version.
        version: its number.
        manifest: its own.
        state: of the version on the daemon; None where that does not serve.
        error: why it could not be loaded.
        precision: what it runs in; None of a version that is not loaded.
        checked: what was found where its files were read.

    Raises:
        BrokenBundle: the manifest holds a number that the contract has no room for.
    """
    try:
        return model_pb2.ModelVersion(
            name=version_name(model, version),
            create_time=timestamp(manifest.create_time),
            labels=manifest.labels,
            backbone=manifest.lineage.backbone,
            image_size_px=manifest.preprocess.crop_px,
            size_bytes=manifest.model_bytes,
            sha256=manifest.files["model.onnx"],
            evaluation=evaluation_message(manifest.evaluation),
            parity=model_pb2.Parity(
                examples=manifest.parity.examples,
                max_logit_difference=manifest.parity.max_logit_difference,
                mean_logit_difference=manifest.parity.mean_logit_difference,
                batch_sizes=manifest.parity.batch_sizes,
            ),
            job=job_name(manifest.lineage.job),
            dataset_digest=manifest.dataset_report.digest,
            weights_source=manifest.lineage.weights_source,
            multi_label=manifest.thresholds is not None,
            serving_state=f"SERVING_STATE_{state.upper() if state else 'UNSPECIFIED'}",
            serving_error=status_of(error) if error else None,
            base_version=named(manifest.lineage.base_version),
            lineage=lineage_message(manifest),
            files=files_message(manifest, checked),
            unknown=_unknown_rules(manifest.unknown, manifest.labels) if manifest.unknown else None,
            explainable=manifest.feature_map is not None,
            variants=map(variant_message, manifest.variants),
            serving_precision=precision_number(precision) if precision else None,
        )
    except ValueError as wrong:  # protobuf's, of a number that has no room in its field
        raise BrokenBundle(f"The manifest of {model}/{version} says what cannot be told ({wrong}): train it anew.") from wrong


def damaged_version_message(model: str, version: int, error: EyasError) -> model_pb2.ModelVersion:
    """Returns the message of a version whose manifest cannot be read, so that nothing else is known of it."""
    return model_pb2.ModelVersion(
        name=version_name(model, version), serving_state="SERVING_STATE_FAILED", serving_error=status_of(error)
    )


def named(version: ModelRef | None) -> str:
    """Returns the resource name; "" of none."""
    return version_name(version.model, version.version or 0) if version else ""


def _unknown_rules(rules: UnknownRules, labels: tuple[str, ...]) -> model_pb2.UnknownRules:
    distribution, confidence = rules.distribution, rules.confidence
    return model_pb2.UnknownRules(
        distribution=model_pb2.DistributionRule(
            method=distribution.method,
            threshold=distribution.threshold,
            known_share=distribution.known_share,
            refused=distribution.refused,
        )
        if distribution
        else None,
        confidence=model_pb2.ConfidenceRule(
            min_precision=confidence.min_precision,
            thresholds=[
                model_pb2.LabelThreshold(label=label, threshold=threshold)
                for label, threshold in zip(labels, confidence.thresholds, strict=True)
            ],
        )
        if confidence
        else None,
    )
