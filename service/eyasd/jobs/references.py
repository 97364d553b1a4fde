"""What names in a request lead to now: versions by their numbers, datasets by their places; and whether a job can be made of them.

An alias may move, and a dataset be uploaded anew, before the job begins: it keeps what was meant when it was accepted. Blocking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from eyasd.core.answers import ANSWERS, Split
from eyasd.core.errors import DatasetNotFound, InvalidArgument, UploadNotFound
from eyasd.core.form import form_at
from eyasd.core.names import ModelRef, check_text, names_upload, parse_dataset_ref
from eyasd.core.places import place_of
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.warmstart import inherited
from eyasd.registry.datasets import Datasets
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models

# Said of every place alike, so that nobody learns what there is. By the error's reason `eyas train ./photos` uploads what it names.
_NO_PLACE: Final = (
    "This trainer reads no folder of its machine and no bucket for its callers: upload the dataset (`eyas upload`), or have the "
    "operator name the places that may be read (training.data_roots)."
)


class References:
    """What names lead to."""

    def __init__(self, models: Models, datasets: Datasets, frozen: Frozen, roots: Sequence[str] | None) -> None:
        """Remembers where to look; datasets must lie below the roots, see `core.places`; None lets uploaded ones alone be read."""
        self._models, self._datasets, self._frozen, self._roots = models, datasets, frozen, roots

    def named(self, dataset: str) -> str:
        """Returns a dataset as its job names it: the place of one, or the version of an uploaded one that is meant now.

        Raises:
            InvalidArgument: it is none that is read, or lies where it may not.
            NotFound: there is no such dataset.
        """
        if names_upload(dataset):
            ref = parse_dataset_ref(dataset, "dataset")
            return str(replace(ref, version=self._datasets.get(ref).version))
        place = place_of(check_text(dataset, "dataset"))
        if self._roots is None:
            raise DatasetNotFound(_NO_PLACE, dataset=dataset)
        form_at(place, self._roots)
        return dataset

    def with_demanded_variants(self, model: str, spec: TrainSpec) -> TrainSpec:
        """Returns a specification with the variants that the model's policy demands, asked for or not."""
        record = self._models.policies.get(model)
        demanded = record.policy.required_variants if record else ()
        return replace(spec, variants=tuple(dict.fromkeys((*spec.variants, *demanded))))

    def base_version(self, ref: ModelRef, spec: TrainSpec) -> ModelRef:
        """Returns the version that `ref` names now, by its number.

        Raises:
            NotFound: there is no such version.
            InvalidArgument: a training as specified cannot start from it.
        """
        version = ModelRef(ref.model, version=self._models.resolve(ref))
        inherited(spec, self._models.manifest(version.model, version.version or 0), str(version))
        return version

    def dataset_of(self, version: ModelRef, dataset: str, split: Split | None) -> str:
        """Returns the dataset to score a version on: the one that was named, or the one that it was trained on.

        Raises:
            InvalidArgument: neither a dataset nor a split is named, or the version did not note its splits.
            DatasetNotFound: what it was trained on is not there any more.
        """
        manifest = self._models.manifest(version.model, version.version or 0)
        if split and ANSWERS not in manifest.files:
            raise InvalidArgument(
                "split", f"{version} was published without {ANSWERS}, so its {split} split is not known: name a dataset alone."
            )
        if dataset:
            return dataset
        if not split:
            raise InvalidArgument(
                "dataset", "Neither a dataset nor a split is named: name one, so that there is something to score."
            )
        return self.own_dataset(version)

    def own_dataset(self, version: ModelRef) -> str:
        """Returns the dataset that a version was trained on. Raises DatasetNotFound where that is not there any more."""
        dataset = self._models.manifest(version.model, version.version or 0).lineage.dataset
        if self._roots is None and not names_upload(dataset):
            raise DatasetNotFound(f"{version} was trained on {dataset!r}. {_NO_PLACE}", dataset=dataset)
        try:
            self.named(dataset)
        except (DatasetNotFound, UploadNotFound):
            raise DatasetNotFound(
                f"{version} was trained on {dataset!r}, which is not there any more: name the dataset that holds its pictures now.",
                dataset=dataset,
            ) from None
        return dataset

    def frozen(self, base: ModelRef | None, spec: TrainSpec) -> TrainSpec:
        """Returns a specification with the captured pictures that it adds named one by one, by a list that is frozen now.

        Args:
            base: the version that the training starts from, by its number; None is none.
            spec: as asked for.

        Raises:
            InvalidArgument: there is no base, or it did not note its splits; or there are no such pictures.
        """
        if spec.add_captured is None:
            return spec
        if base is None:
            raise InvalidArgument(
                "spec.add_captured",
                "Captured pictures are added to what a version was trained on: name it as the base version, such as "
                "clothing@production.",
            )
        if ANSWERS not in self._models.manifest(base.model, base.version or 0).files:
            raise InvalidArgument(
                "spec.add_captured",
                f"{base} was published without {ANSWERS}, so its test split is not known and nothing could be compared with it: "
                "train it anew first.",
            )
        return replace(spec, add_captured=self._frozen.freeze(base.model, spec.add_captured, spec.captured_days))

    def comparable(self, refs: tuple[ModelRef, ...]) -> tuple[ModelRef, ...]:
        """Returns the versions that the references name now, by their numbers.

        Raises:
            NotFound: there is no such version.
            InvalidArgument: two are the same, or they are not of one kind.
        """
        versions = tuple(ModelRef(ref.model, version=self._models.resolve(ref)) for ref in refs)
        several = [self._models.manifest(one.model, one.version or 0).thresholds is not None for one in versions]
        for place, version in enumerate(versions[1:], 1):
            if (same := versions.index(version)) < place:
                raise InvalidArgument(
                    "other_models", f"{refs[same]} and {refs[place]} are both {version}: name two versions, or only one of the two."
                )
            if several[place] is not several[0]:
                single, multi = (versions[several.index(kind)] for kind in (False, True))
                raise InvalidArgument(
                    "other_models",
                    f"{multi} gives a picture any number of labels, and {single} one, so they cannot be compared: name others.",
                )
        return versions

    def retraced(self, ref: ModelRef, dataset: str) -> tuple[str, InspectionSpec]:
        """Returns the dataset and the specification by which the training of the version that `ref` names now is retraced.

        Args:
            ref: of the version.
            dataset: where its dataset lies now; "" is where it was.

        Raises:
            NotFound: there is no such version.
            BrokenBundle: its manifest is damaged.
        """
        version = ModelRef(ref.model, version=self._models.resolve(ref))
        lineage = self._models.manifest(version.model, version.version or 0).lineage
        return dataset or lineage.dataset, InspectionSpec(lineage.backbone, lineage.seed, version)
