"""What those are told who watch answers: drift, capture. Watching delays no answer: it is told once the answer is out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from eyasd.serving.answer import Labelled
from eyasd.serving.cache import Said
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.question import Picture


class Seen(NamedTuple):
    """A picture that has been answered.

    Attributes:
        loaded: the version that answered.
        picture: as the caller sent it.
        pixels: uint8 [H, W, 3], as the network saw it; None where nobody wanted them, or the cache knew the answer.
        said: by the network.
        labelled: what the caller is told.
        routed: whether the caller asked for production, and the traffic's rules chose the version.
    """

    loaded: LoadedVersion
    picture: Picture
    pixels: NDArray[np.uint8] | None
    said: Said
    labelled: Labelled
    routed: bool


class Watcher(Protocol):
    """Looks at answers. Both calls come from the event loop of the calls, so both must return at once."""

    def wants(self, loaded: LoadedVersion) -> bool:
        """Returns whether the pixels of the next picture are wanted, which are copied then."""

    def see(self, seen: Seen) -> None:
        """Takes note of a picture that has been answered."""
