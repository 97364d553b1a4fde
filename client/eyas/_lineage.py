"""What a version was made of: the client's values, and the messages they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from eyas._findings import SplitSizes, split_sizes
from eyas._settings import SettingValue, settings
from eyas.v1 import lineage_pb2


@dataclass(frozen=True, slots=True)
class Conditions:
    """What decides a training beside its dataset and its hyper-parameters; the fields are those of `eyas.v1.Conditions`."""

    code_version: str
    packages: Mapping[str, str]
    device: str
    weights_source: str | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version was made of, beside what `ModelVersion` says of it; the fields are those of `eyas.v1.Lineage`.

    Attributes:
        split_sizes: None in versions made before it was noted; so `settings`.
        settings: what the caller asked for, and nothing else.
        recipe: every hyper-parameter as it was used, as text.
    """

    dataset: str
    split_sizes: SplitSizes | None
    settings: Mapping[str, SettingValue] | None
    seed: int
    recipe: Mapping[str, str]
    conditions: Conditions
    duration: timedelta
    attempt: int


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a version, the SHA-256 of what was published, and what is wrong with it now; "" where nothing is known to be."""

    name: str
    sha256: str
    problem: str


def lineage(message: lineage_pb2.Lineage) -> Lineage:
    """Returns the value."""
    return Lineage(
        dataset=message.dataset,
        split_sizes=split_sizes(message.split_sizes) if message.HasField("split_sizes") else None,
        settings=settings(message.spec) if message.HasField("spec") else None,
        seed=message.seed,
        recipe=dict(sorted(message.recipe.items())),
        conditions=conditions(message.conditions),
        duration=message.duration.ToTimedelta(),
        attempt=message.attempt,
    )


def conditions(message: lineage_pb2.Conditions) -> Conditions:
    """Returns the value."""
    source = message.weights_source if message.HasField("weights_source") else None
    return Conditions(message.code_version, dict(sorted(message.packages.items())), message.device, source)


def bundle_files(messages: Iterable[lineage_pb2.BundleFile]) -> tuple[BundleFile, ...]:
    """Returns the values."""
    return tuple(BundleFile(message.name, message.sha256, message.problem) for message in messages)
