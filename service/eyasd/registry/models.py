"""Models and their versions, laid out so that any Triton server can serve the repository as it stands.

    MODEL/config.pbtxt              for Triton: the shapes of the newest version
    MODEL/VERSION/claim             the job that may write this version, and in which attempt
    MODEL/VERSION/model.onnx ...    the bundle, see `registry.bundles`; manifest.json comes last and is the commit point

A version exists when its manifest does. A publication that is cut short leaves a claimed number without a manifest, which no
reader sees. The same attempt of the job takes it up again; a later one makes it void: of the attempts of a job one publishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from eyasd.core import bundle
from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.errors import (
    AliasNotFound,
    BrokenBundle,
    EyasError,
    InvalidArgument,
    LeaseLost,
    ModelNotFound,
    PromotionRefused,
    VersionInUse,
    VersionNotFound,
)
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.promotion import AliasRecord, Finding, Policy
from eyasd.core.traffic import Canary, Shadow, TrafficRecord
from eyasd.registry.aliases import Aliases
from eyasd.registry.bundles import Bundles
from eyasd.registry.capturing import Capturing
from eyasd.registry.following import Following
from eyasd.registry.looks import Looks
from eyasd.registry.policies import Policies, judge
from eyasd.registry.traffic import Traffic
from eyasd.registry.triton import triton_config
from eyasd.storage.store import Store

# Beside the files of a version that is being deleted; stays, so that nobody publishes it again.
_DELETED: Final = "deleted"
_CLAIM: Final = "claim"
# Beside those of a version that an attempt was about to publish when a later one took over.
_VOID: Final = "void"
_KEPT: Final = frozenset({_DELETED, _CLAIM, _VOID})


class Models:
    """The models in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.aliases = Aliases(store)
        self.policies = Policies(store)
        self.looks = Looks(store)
        self.traffic = Traffic(store)
        self.capturing = Capturing(store)
        self._bundles = Bundles(store)
        self.manifest, self.fetch, self.check = self._bundles.manifest, self._bundles.fetch, self._bundles.check
        self.fetch_into = self._bundles.fetch_into
        self.end_canary = self.traffic.end_canary
        self.pointers = Following(store, self.aliases, self.traffic, self.capturing).pointers

    def names(self) -> list[str]:
        """Returns the models that have a version, sorted."""
        return [model for model in self._store.children("") if any(self._committed(model))]

    def versions(self, model: str) -> list[int]:
        """Returns the model's versions, oldest first.

        Raises:
            ModelNotFound: it has none.
        """
        versions = sorted(self._committed(model))
        if not versions:
            known = ", ".join(self.names()[:10]) or "none yet"
            raise ModelNotFound(f"There is no model {model!r}; the models are: {known}. Train it, or name another.", model=model)
        return versions

    def current_aliases(self, model: str) -> dict[str, AliasRecord]:
        """Returns where the model's aliases point."""
        return self.aliases.current(model)

    def resolve(self, ref: ModelRef) -> int:
        """Returns the version that `ref` names.

        Raises:
            ModelNotFound: there is no such model.
            VersionNotFound: it has no such version.
            AliasNotFound: it has no such alias.
        """
        if ref.version is not None:
            if not self._store.exists(f"{ref.model}/{ref.version}/{bundle.MANIFEST}"):
                versions = self.versions(ref.model)
                raise VersionNotFound(
                    f"Model {ref.model!r} has no version {ref.version}; its newest is {versions[-1]}.",
                    model=ref.model,
                    version=ref.version,
                )
            return ref.version
        alias = ref.alias or ""
        record = self.aliases.get(ref.model, alias)
        if record is None:
            versions = self.versions(ref.model)
            known = ", ".join(self.current_aliases(ref.model)) or "none"
            raise AliasNotFound(
                f"Model {ref.model!r} has no alias {alias!r}; its aliases are: {known}. Set it, or name a version, "
                f"such as {ref.model}/{versions[-1]}.",
                model=ref.model,
                alias=alias,
            )
        return record.version

    def answers(self, model: str, version: int) -> KeptAnswers | None:
        """Returns what a version keeps of its splits; None where it was published without. Raises BrokenBundle."""
        if ANSWERS not in self.manifest(model, version).files:
            return None
        return KeptAnswers.from_bytes(self.fetch(model, version, ANSWERS))

    def publish(self, model: str, folder: Path, job: str, attempt: int = 1) -> int:
        """Makes the bundle in `folder` a version of the model, and returns its number.

        Safe to repeat, and safe to cut short at any point: a job has at most one version. Where an earlier attempt of it has
        published one, it is that; where one is about to, nothing comes of it.

        Args:
            model: gets the version; is made where there is none.
            folder: holds the bundle.
            job: that made it.
            attempt: of the job.

        Raises:
            LeaseLost: a later attempt of the job publishes.
            BrokenBundle: the folder does not hold a sound bundle.
            StorageFailed: the repository could not be written; what was there before is as it was.
        """
        manifest = bundle.read_manifest((folder / bundle.MANIFEST).read_bytes())
        version = self._claim(model, job, attempt)
        prefix = f"{model}/{version}"
        if self._is_settled(model, version):
            return version
        self._store.write(f"{model}/config.pbtxt", triton_config(model, manifest).encode())
        self._bundles.write(model, version, folder)
        # Whoever voids a number looks for the manifest after that: of the two, at least one sees the other.
        if self._store.exists(f"{prefix}/{_VOID}"):
            self._bundles.delete(model, version, _KEPT)
            raise _over(job, attempt)
        return version

    def promote(
        self, model: str, alias: str, version: int, *, actor: str, reason: str, force: bool = False, told: Sequence[Finding] = ()
    ) -> AliasRecord:
        """Points an alias to a version if the model's policy allows it; returns the record in force.

        Args:
            model: of the version.
            alias: is made where there is none.
            version: exists.
            actor: who asks for it.
            reason: why.
            force: move it even if the policy refuses, which the record then says.
            told: what was found in it before, which belongs to the evidence.

        Raises:
            PromotionRefused: the policy demands more, or cannot judge what is damaged; the message says what.
            AliasConflict: somebody else moved the alias at the same moment.
        """
        record, holder = self.policies.get(model), self.aliases.get(model, alias)
        findings: tuple[Finding, ...] = ()
        if record and alias in record.policy.aliases and (holder is None or holder.version != version):
            findings = self._judged(record.policy, model, version, holder)
        refusals = [finding.sentence for finding in findings if not finding.met]
        if refusals and not force:
            raise PromotionRefused(
                f"{model}@{alias} stays where it is: of {model}/{version}, {'; '.join(refusals)}. "
                "Train a better version, change the policy, or force it.",
                model=model,
                alias=alias,
                version=version,
            )
        moved = self.aliases.set(
            model,
            alias,
            version,
            actor=actor,
            reason=reason,
            evidence=tuple(finding.sentence for finding in (*told, *findings)),
            forced=bool(refusals),
            after=holder.record if holder else 0,
        )
        if any(self._store.exists(f"{model}/{version}/{mark}") for mark in (_DELETED, _VOID)):
            if holder:
                self.rollback(model, alias, actor="eyasd", reason="the version was deleted at the same moment", expected=version)
            raise VersionNotFound(f"{model}/{version} was deleted at the same moment.", model=model, version=version)
        if alias == PRODUCTION:
            self.traffic.end_promoted(model, version, self.aliases.leads_to)
        return moved

    def set_traffic(
        self, model: str, canary: Canary | None, shadow: Shadow | None, *, actor: str, reason: str, after: int | None = None
    ) -> TrafficRecord:
        """Puts a canary and a shadow in force, see `Traffic.set`.

        Raises:
            NotFound: the model has no alias `production`, or there is no such target.
            InvalidArgument: a target is in production.
            TrafficConflict: somebody else changed it since the caller looked, or at the same moment.
        """
        production = self.resolve(ModelRef(model, alias=PRODUCTION)) if canary or shadow else None
        before, versions = self.traffic.get(model), []
        for name, part in (("canary", canary), ("shadow", shadow)):
            # One that stays as it was is not judged again, so that it never keeps the other one from being changed.
            if part is not None and part != (getattr(before, name) if before else None):
                versions.append(self.resolve(part.target))
                if versions[-1] == production:
                    says = f"{part.target} is in production, so it cannot be its {name}: name another version."
                    raise InvalidArgument(f"traffic.{name}.target", says)
        record = self.traffic.set(model, canary, shadow, actor=actor, reason=reason, after=after)
        for version in versions:
            if self._store.exists(f"{model}/{version}/{_DELETED}"):
                says = f"{model}/{version} was deleted at the same moment"
                self.traffic.set(model, None, None, actor="eyasd", reason=says, after=record.record)
                raise VersionNotFound(f"{says}.", model=model, version=version)
        return record

    def _judged(self, policy: Policy, model: str, version: int, holder: AliasRecord | None) -> tuple[Finding, ...]:
        """Returns what the policy finds in a version beside the one that the alias points to; damage of either is a refusal."""
        try:
            before = self.manifest(model, holder.version) if holder else None
            answers: tuple[KeptAnswers | None, KeptAnswers | None] = (None, None)
            if holder and policy.no_significant_loss:
                answers = (self.answers(model, version), self.answers(model, holder.version))
            manifest = self.manifest(model, version)
        except BrokenBundle as error:
            return (Finding(f"it cannot be judged: {error.message.rstrip('.')}", met=False),)
        return judge(policy, manifest, before, answers, self.looks.count(model, manifest.evaluation.test_split))

    def rollback(self, model: str, alias: str, *, actor: str, reason: str, expected: int | None = None) -> AliasRecord:
        """Points an alias to where it pointed before; see `Aliases.rollback`. Raises VersionNotFound where that was deleted."""

        def check(version: int) -> None:
            if not self._store.exists(f"{model}/{version}/{bundle.MANIFEST}"):
                raise VersionNotFound(
                    f"{model}@{alias} pointed to version {version} before, which was deleted since: set it to another one.",
                    model=model,
                    version=version,
                )

        return self.aliases.rollback(model, alias, actor=actor, reason=reason, expected=expected, check=check)

    def delete(self, model: str, version: int, keep: timedelta) -> None:
        """Deletes a version for good; its number is never given again.

        A mark comes first, then a look at the aliases, and then the manifest goes, with which the version ends. Who points an alias
        to it looks for the mark after that; so of a deletion and a promotion at the same moment at least one sees the other.

        Args:
            model: of the version.
            version: to delete.
            keep: how long a version is kept after the last alias has left it.

        Raises:
            ModelNotFound: there is no such model.
            VersionNotFound: it has no such version.
            VersionInUse: an alias points to it, or did so within `keep`; or it is a canary or a shadow.
        """
        self.resolve(ModelRef(model, version=version))
        prefix = f"{model}/{version}"
        self._refuse_if_held(model, version, keep)  # so that nobody who is killed leaves a mark on a version that stays
        self._store.create(f"{prefix}/{_DELETED}", b"")
        try:
            self._refuse_if_held(model, version, keep)
        except EyasError:
            self._store.delete(f"{prefix}/{_DELETED}")
            raise
        self._bundles.delete(model, version, _KEPT)

    def tidy(self, keep: timedelta) -> None:
        """Ends what was cut short of deletions, and of publications that became void: else their files stay for good.

        Args:
            keep: see `delete`.
        """
        for model in self._store.children(""):
            for mark in (_DELETED, _VOID):
                for number in map(int, filter(str.isdecimal, self._store.having(model, mark))):
                    if not _KEPT.issuperset(self._store.children(f"{model}/{number}")):
                        with suppress(VersionInUse):
                            self._refuse_if_held(model, number, keep)
                            self._bundles.delete(model, number, _KEPT)

    def _refuse_if_held(self, model: str, version: int, keep: timedelta) -> None:
        """Raises VersionInUse."""
        self.traffic.refuse_if_held(model, version)
        for alias, record in self.aliases.current(model).items():
            name, left = f"{model}@{alias}", self.aliases.left(model, alias, version)
            if record.version == version:
                raise VersionInUse(f"{name} points to version {version}: point it elsewhere first.", model=model, version=version)
            if left is not None and left + keep > datetime.now(UTC):
                raise VersionInUse(
                    f"{name} pointed to version {version} until {left:%Y-%m-%d %H:%M} UTC; it is kept for a rollback until "
                    f"{left + keep:%Y-%m-%d %H:%M} UTC.",
                    model=model,
                    version=version,
                )

    def _claim(self, model: str, job: str, attempt: int) -> int:
        """Returns the number that an attempt writes, or that an earlier one has published.

        An attempt claims a number and then looks for those of others, so of two at the same time at least one sees the other: the
        earlier one gives up, or the later one voids its number.
        """
        claims = self._claims(model, job)
        if attempt not in claims and not any(self._is_settled(model, number) for number in claims.values()):
            numbers = sorted(self._numbers(model))
            number = numbers[-1] + 1 if numbers else 1
            while not self._store.create(f"{model}/{number}/{_CLAIM}", f"{job} {attempt}".encode()):
                number += 1
            claims = self._claims(model, job)
        for number in claims.values():
            if self._is_settled(model, number):
                return number
        if attempt not in claims or max(claims) > attempt:
            raise _over(job, attempt)
        mine = claims.pop(attempt)
        for number in claims.values():
            self._store.create(f"{model}/{number}/{_VOID}", f"{job} {attempt}".encode())
            self._bundles.delete(model, number, _KEPT)
        return mine

    def _claims(self, model: str, job: str) -> dict[int, int]:
        """Returns the numbers that the attempts of a job have claimed, by attempt; without those that are void."""
        found = {}
        for number in self._numbers(model):
            with suppress(FileNotFoundError):
                by, _, attempt = self._store.read(f"{model}/{number}/{_CLAIM}").decode().partition(" ")
                if by == job and not self._store.exists(f"{model}/{number}/{_VOID}"):
                    found[int(attempt or 0)] = number  # 0 of a claim that was made before attempts were told apart
        return found

    def _is_settled(self, model: str, number: int) -> bool:
        """Returns whether a number is a version, or was one."""
        return any(self._store.exists(f"{model}/{number}/{name}") for name in (bundle.MANIFEST, _DELETED))

    def _numbers(self, model: str) -> Iterator[int]:
        return (int(name) for name in self._store.children(model) if name.isdecimal())

    def _committed(self, model: str) -> Iterator[int]:
        return (int(name) for name in self._store.having(model, bundle.MANIFEST) if name.isdecimal())


def _over(job: str, attempt: int) -> LeaseLost:
    return LeaseLost(f"A later attempt of job {job} publishes its version: attempt {attempt} is over.", job=job, attempt=attempt)
