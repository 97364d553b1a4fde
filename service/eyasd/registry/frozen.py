"""Lists of captured pictures that trainings add, and the pictures of one, laid out for a job.

    MODEL/frozen/SHA256.json    a `FrozenList`, in the store of captured pictures

A list is kept for good, and its pictures as long as others: what retention or a person has removed since is left out, and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from eyasd.core import document
from eyasd.core.capture import CaptureReason
from eyasd.core.captured import CapturedPicture
from eyasd.core.errors import CapturedNotFound, InvalidArgument
from eyasd.core.frozen import LABELLED, FrozenList, FrozenPicture, digest_of
from eyasd.core.jobdir import CAPTURED_LIST
from eyasd.registry.captured import Captured

_REQUESTS_AT_ONCE: Final = 16


class Frozen:
    """The lists in a store of captured pictures."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured

    def freeze(self, model: str, wanted: str, days: float | None) -> str:
        """Returns the SHA-256 of a list, which is made unless it is there.

        Args:
            model: whose captured pictures are wanted.
            wanted: `LABELLED`, or the SHA-256 of a list that was frozen before.
            days: no older ones; None is any.

        Raises:
            InvalidArgument: there is no such list, or no picture for it.
            StorageFailed: the store cannot be read or written.
        """
        store = self._captured.store
        if wanted != LABELLED:
            if not store.exists(_key(model, wanted)):
                raise InvalidArgument(
                    "spec.add_captured",
                    f"There is no list {wanted[:12]}... of captured pictures of {model}: ask for {LABELLED}, which freezes one.",
                )
            return wanted
        since = datetime.now(UTC) - timedelta(days=days) if days is not None else None
        found = [frozen for one in self._captured.labelled(model) if (frozen := _frozen(one)) and not (since and one.time < since)]
        if not found:
            within = f" within {days:g} days" if days is not None else ""
            raise InvalidArgument(
                "spec.add_captured",
                f"No labelled picture of {model} was captured{within}: turn capturing on (eyas capture {model} --on), and label "
                f"what comes (eyas captured {model}), or let callers report true labels.",
            )
        content = FrozenList(model, tuple(found)).to_bytes()
        digest = digest_of(content)
        store.create(_key(model, digest), content)
        return digest

    def lay_out(self, model: str, digest: str, place: Path) -> None:
        """Writes the pictures of a list, as far as they are there, and what is left of the list.

        Args:
            model: of the list.
            digest: its SHA-256.
            place: folder, made if need be.

        Raises:
            InvalidArgument: there is no such list any more.
            StorageFailed: the store cannot be read.
            OSError: the folder cannot be written.
        """
        try:
            listed = document.load(FrozenList, self._captured.store.read(_key(model, digest)))
        except FileNotFoundError:
            raise InvalidArgument("spec.add_captured", f"The list {digest[:12]}... of captured pictures is gone.") from None
        place.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            there = list(threads.map(lambda one: self._lay_out_picture(model, one, place), listed.pictures))
        kept: Sequence[FrozenPicture] = [one for one, is_there in zip(listed.pictures, there, strict=True) if is_there]
        (place / CAPTURED_LIST).write_bytes(replace(listed, pictures=tuple(kept), removed=len(there) - len(kept)).to_bytes())

    def _lay_out_picture(self, model: str, picture: FrozenPicture, place: Path) -> bool:
        """Returns whether a picture is there, and writes it unless an earlier attempt did."""
        try:
            content = self._captured.read(model, picture.id)
        except CapturedNotFound:
            (place / picture.id).unlink(missing_ok=True)
            return False
        (place / picture.id).write_bytes(content)
        return True


def _frozen(picture: CapturedPicture) -> FrozenPicture | None:
    if picture.labels is None:
        return None
    return FrozenPicture(picture.id, tuple(sorted(picture.labels)), picture.time, CaptureReason.SAMPLE in picture.reasons)


def _key(model: str, digest: str) -> str:
    return f"{model}/frozen/{digest}.json"
