"""The versions that are loaded because requests named their numbers, within a budget of memory.

Those that aliases, canaries and shadows point to are always loaded and never have to go; what is left of the budget is for the
others, of which the least recently named goes first. Knows numbers of bytes; who measures or estimates them is the fleet's affair.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Mapping
from typing import Final

from eyasd.core.bundle import Manifest
from eyasd.core.device import Transport
from eyasd.core.errors import Unavailable
from eyasd.serving.engine.loading import EngineOptions
from eyasd.serving.traffic.routes import Version

# The weights, and what ONNX Runtime makes of them; a loaded file of 96 MB holds 2.1 times as much (onnxruntime 1.32).
_FILE_SHARE: Final = 2.1
# What a network keeps between its layers, in bytes for each of a picture's pixels: a process that has warmed
# tf_efficientnet_lite0 of 224 pixels with batches of 8 holds 192 MiB, of which this is about a half.
_PIXEL_BYTES: Final = 240
# The interpreter, numpy and ONNX Runtime: an engine process whose network is next to nothing (37 MB, CPython 3.11).
_PROCESS_BYTES: Final = 36_000_000
_NAMED: Final = 5


def estimate_bytes(manifest: Manifest, options: EngineOptions) -> int:
    """Returns about how much memory a version will take once it is loaded and warm; afterwards its engines say it."""
    network = _FILE_SHARE * manifest.model_bytes + _PIXEL_BYTES * manifest.preprocess.crop_px**2 * options.max_batch_size
    process = _PROCESS_BYTES if options.transport is Transport.PROCESS else 0
    return options.count * (round(network) + process)


class Demand:
    """Which versions were named, and which of them have to go."""

    def __init__(self, budget_bytes: int) -> None:
        """Remembers none; the budget is for all loaded versions together."""
        self._budget_bytes = budget_bytes
        self._named: OrderedDict[Version, None] = OrderedDict()

    def name(self, version: Version) -> None:
        """Notes that a request has just named a version."""
        self._named[version] = None
        self._named.move_to_end(version)

    def __contains__(self, version: object) -> bool:
        """Returns whether a version was named, and has not had to go since."""
        return version in self._named

    def forget(self, kept: Container[Version]) -> None:
        """Forgets those that are not loaded, nor being loaded."""
        for version in [version for version in self._named if version not in kept]:
            del self._named[version]

    def excess(self, held: Mapping[Version, int], pinned: Container[Version], more: int = 0) -> list[Version]:
        """Returns the named versions that have to go, so that the rest fits as far as it can.

        Args:
            held: bytes of each loaded version, and of each that is being loaded.
            pinned: those that stay whatever happens.
            more: bytes that are to fit beside them.
        """
        over, gone = sum(held.values()) + more - self._budget_bytes, []
        for version in self._named:
            if over <= 0:
                break
            if version in held and version not in pinned:
                gone.append(version)
                over -= held[version]
        return gone

    def room(self, version: Version, need: int, held: Mapping[Version, int], pinned: Collection[Version]) -> list[Version]:
        """Returns the named versions that have to go, so that another one fits; the arguments are those of `excess`.

        Raises:
            Unavailable: it does not fit, even then; says which versions hold the memory.
        """
        others = {key: size for key, size in held.items() if key != version}
        gone = self.excess(others, pinned, need)
        left = {key: size for key, size in others.items() if key not in gone}
        if sum(left.values()) + need > self._budget_bytes:
            largest = sorted(left, key=lambda key: -left[key])
            holders = ", ".join(f"{model}/{number} ({_megabytes(left[model, number])})" for model, number in largest[:_NAMED])
            more = f" and {len(largest) - _NAMED} more" if len(largest) > _NAMED else ""
            raise Unavailable(
                f"it takes about {_megabytes(need)}, which does not fit into the {_megabytes(self._budget_bytes)} of "
                f"serving.memory_bytes beside {holders or 'nothing'}{more}: point aliases, canaries and shadows to fewer "
                "versions, or allow more memory."
            )
        return gone


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
