"""The model repository: versions, aliases, traffic, deletions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from builders import write_bundle
from eyasd.core.errors import VersionInUse, VersionNotFound
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Canary
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from faults.crash.scenario import Ack, Scenario


def models_in(root: Path) -> Models:
    return Models(LocalStore(root / "models"))


def wrong_versions(models: Models, model: str = "m") -> Iterator[str]:
    """Yields what is wrong with any version that a reader sees, or any alias."""
    versions = models.versions(model) if model in models.names() else []
    for version in versions:
        yield from (f"version {version}: {file.name}: {file.problem}" for file in models.check(model, version) if file.problem)
    for alias, record in models.current_aliases(model).items():
        if record.version not in versions:
            yield f"{alias} leads to version {record.version}, which is none of {versions}"
        numbers = [one.record for one in models.aliases.history(model, alias)]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the records of {alias} are {numbers}"


def hidden_files(root: Path) -> Iterator[str]:
    """Yields what writers that were killed have left in a store, once that was swept."""
    LocalStore(root).sweep(0)
    yield from (f"{path} is left" for path in root.rglob(".*"))


class Publish(Scenario[tuple[Models, Path]]):
    """What a daemon does with a finished training: a version, a look at its test split, and an alias."""

    def lay(self, root: Path) -> None:
        models = models_in(root)
        models.publish("m", write_bundle(root / "first"), "job1")
        models.promote("m", "production", 1, actor="test", reason="")
        write_bundle(root / "made", job="job2", gain=0.06)

    def open(self, root: Path) -> tuple[Models, Path]:
        return models_in(root), root / "made"

    def act(self, opened: tuple[Models, Path], ack: Ack) -> None:
        models, made = opened
        version = models.publish("m", made, "job2")
        ack(f"version {version}")
        models.looks.add("m", "split", version, "job2")
        models.promote("m", "production", version, actor="test", reason="")
        ack("production")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        models = models_in(root)
        yield from wrong_versions(models)
        versions, production = models.versions("m"), models.resolve(ModelRef("m", alias="production"))
        # Where the folder of a number was made, and the number not claimed, the next one is taken.
        if versions not in ([1], [1, 2], [1, 3]) or any(f"version {versions[-1]}" != one for one in acked if "version" in one):
            yield f"the versions are {versions}"
        if production not in versions or ("production" in acked and production == 1):
            yield f"production is {production}"

    def settled(self, root: Path) -> Iterator[str]:
        models = models_in(root)
        yield from self.check(root, ["production"])
        if models.looks.count("m", "split") != 1:
            yield "looks are counted twice, or not at all"
        yield from hidden_files(root / "models")


class Alias(Scenario[Models]):
    """What operators do to the traffic of a model."""

    def lay(self, root: Path) -> None:
        models = models_in(root)
        for number in (1, 2, 3):
            models.publish("m", write_bundle(root / f"made{number}", gain=0.05 + number / 100), f"job{number}")
        models.promote("m", "production", 1, actor="test", reason="")

    def open(self, root: Path) -> Models:
        return models_in(root)

    def act(self, opened: Models, ack: Ack) -> None:
        opened.promote("m", "production", 2, actor="test", reason="better")
        ack("production")
        opened.promote("m", "staging", 1, actor="test", reason="new")
        ack("staging")
        opened.set_traffic("m", Canary(ModelRef("m", version=3), 0.1), None, actor="test", reason="")
        ack("canary")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        models = models_in(root)
        yield from wrong_versions(models)
        aliases, traffic = models.current_aliases("m"), models.traffic.get("m")
        production, staging = (aliases[name].version if name in aliases else None for name in ("production", "staging"))
        if production not in (1, 2) or ("production" in acked and production != 2):
            yield f"production is {production}"
        if staging not in (None, 1) or ("staging" in acked and staging is None):
            yield f"staging is {staging}"
        if "canary" in acked and (traffic is None or traffic.canary is None):
            yield "there is no canary"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["production", "staging", "canary"])
        models = models_in(root)
        counts = [len(models.aliases.history("m", alias)) for alias in ("production", "staging")] + [
            len(models.traffic.history("m"))
        ]
        if counts != [2, 1, 1]:
            yield f"there are {counts} records"
        yield from hidden_files(root / "models")


class Delete(Scenario[Models]):
    """A deletion, and one that is refused."""

    def lay(self, root: Path) -> None:
        Alias().lay(root)

    def open(self, root: Path) -> Models:
        return models_in(root)

    def act(self, opened: Models, ack: Ack) -> None:
        with suppress(VersionNotFound):
            opened.delete("m", 2, timedelta(0))
        ack("deleted")
        try:
            opened.delete("m", 1, timedelta(0))
        except VersionInUse:
            ack("refused")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        models = models_in(root)
        yield from wrong_versions(models)
        versions = models.versions("m")
        if versions not in ([1, 2, 3], [1, 3]) or ("deleted" in acked and 2 in versions):
            yield f"the versions are {versions}"
        models.promote("m", "staging", 1, actor="test", reason="")  # nobody has deleted it
        models.promote("m", "staging", 3, actor="test", reason="")

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["deleted", "refused"])
        models_in(root).tidy(timedelta(0))
        left = {path.name for path in (root / "models/m/2").iterdir() if not path.name.startswith(".")}
        if left != {"claim", "deleted"}:
            yield f"{sorted(left)} are left of a deleted version"
        if models_in(root).publish("m", write_bundle(root / "made4", job="job4"), "job4") != 4:
            yield "a number was given again"
        yield from hidden_files(root / "models")
