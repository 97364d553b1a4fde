"""Pictures of production that are kept, labelled and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from eyasd.core.capture import CaptureReason
from eyasd.core.captured import CapturedPrediction, GivenLabels, LabelSource, Sighting
from eyasd.core.errors import CapturedNotFound
from eyasd.registry.captured import Captured, identity
from eyasd.storage.local import LocalStore
from faults.crash.scenario import Ack, Scenario

_NOW: Final = datetime(2026, 11, 26, tzinfo=UTC)
_PICTURES: Final = {"one": b"a picture", "two": b"another", "three": b"a third"}
_SEEN: Final = Sighting(
    version=1,
    time=_NOW,
    reasons=(CaptureReason.WRONG,),
    worth=950,
    predictions=(CapturedPrediction("red", 0.9),),
    confidence=0.9,
    margin=0.8,
)


class Capture(Scenario[Captured]):
    """Three pictures are kept and labelled, and one of them is deleted."""

    def open(self, root: Path) -> Captured:
        return Captured(LocalStore(root / "captured"))

    def act(self, opened: Captured, ack: Ack) -> None:
        for name, content in _PICTURES.items():
            opened.keep("colours", content, _SEEN)
            ack(f"kept {name}")
            opened.label("colours", identity(content), GivenLabels(("blue",), _NOW, LabelSource.PERSON, "ann"))
            ack(f"labelled {name}")
        opened.drop("colours", [identity(_PICTURES["two"])])
        ack("deleted two")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        captured = self.open(root)
        found = {picture.id: picture for picture in captured.pictures("colours")}
        for name, content in _PICTURES.items():
            picture = found.get(identity(content))
            if picture is not None and captured.read("colours", picture.id) != content:
                yield f"{name} is not what was kept"
            deleting = name == "two" and "labelled three" in acked
            if f"kept {name}" in acked and picture is None and not deleting:
                yield f"{name} was kept and is not there"
            if f"labelled {name}" in acked and not deleting and (picture is None or picture.labels != ("blue",)):
                yield f"{name} was labelled and has no label"
        if "deleted two" in acked and _is_there(captured, "two"):
            yield "two was deleted and is there"

    def settled(self, root: Path) -> Iterator[str]:
        captured = self.open(root)
        if {picture.id for picture in captured.labelled("colours")} != {identity(_PICTURES[name]) for name in ("one", "three")}:
            yield "other pictures are there than were kept"
        if _is_there(captured, "two"):
            yield "two is there again"


def _is_there(captured: Captured, name: str) -> bool:
    try:
        captured.read("colours", identity(_PICTURES[name]))
    except CapturedNotFound:
        return False
    return True
