"""One ONNX file in ONNX Runtime on one device.

Knows arrays and execution providers; nothing of pictures, models' names or queues.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from eyasd.core import bundle
from eyasd.core.errors import BrokenBundle
from eyasd.core.graph import check_graph
from eyasd.core.variants import Precision
from eyasd.serving.network.bound import Bound, run_options
from eyasd.serving.network.ladder import ladder, next_size
from eyasd.serving.network.providers import CPU, CUDA, Gpu, nodes_elsewhere, provider_options, session_options

# Sessions that are opened at once each want the process's one place for an arena that they share.
_SHARING: Final = threading.Lock()
_NEXT_TO_NOTHING: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of N pictures.

    Attributes:
        probabilities: float32 [N, C], each row in 0..1.
        ood_scores: float32 [N], larger = less like the training pictures; None where the network has no such output.
        feature_maps: float32 [N, F, h, w], what the head sees before it is pooled; None where nobody asked, or the network has no
            such output.
    """

    probabilities: NDArray[np.float32]
    ood_scores: NDArray[np.float32] | None = None
    feature_maps: NDArray[np.float32] | None = None


class Session:
    """A loaded network. `run` may be called from any thread; on a GPU, one call at a time.

    Attributes:
        without_graphs: why a network on CUDA is not run as CUDA graphs; "" where it is, and elsewhere.
        elsewhere: how many nodes of each kind another provider runs than the one that was asked for.
    """

    def __init__(
        self,
        model: bytes,
        *,
        provider: str,
        threads: int,
        max_batch_size: int,
        precision: Precision = Precision.FP32,
        gpu: Gpu | None = None,
        arena_bytes: int = 0,
    ) -> None:
        """Loads the network.

        Args:
            model: content of the file. Loaded from memory, so what runs is what was verified, and the file cannot name others.
            provider: execution provider; if it is not the one in use afterwards, that is an error.
            threads: for the operators of one run; on a GPU one is enough.
            max_batch_size: the largest batch `run` is called with.
            precision: of the file, for its name in messages.
            gpu: what a session on a GPU is told.
            arena_bytes: most of the host's memory that it may take on a CPU, to open and to run; 0 is no bound.

        Raises:
            BrokenBundle: the file is no network of the bundle's form, or the provider cannot run it.
        """
        check_graph(model, precision.file)
        self._provider = provider
        self._sizes = ladder(max_batch_size)
        self._bound: dict[int, Bound] = {}
        self._max_batch_size = max_batch_size
        self.without_graphs = ""

        def opened(graphs: bool) -> ort.InferenceSession:
            settings = gpu or Gpu()
            return _open(
                model,
                session_options(provider, threads),
                provider_options(provider, precision=precision, max_batch_size=max_batch_size, gpu=settings, graphs=graphs),
                arena_bytes,
            )

        try:
            try:
                self._session = opened(graphs=provider == CUDA)
            except Exception as error:
                if provider != CUDA:
                    raise
                # Most often because a node has no kernel for CUDA, which a second try tells from other reasons.
                self._session = opened(graphs=False)
                self.without_graphs = str(error)
            inputs = {i.name: i.type for i in self._session.get_inputs()}
            outputs = {o.name: o.type for o in self._session.get_outputs()}
        except Exception as error:  # ONNX Runtime raises its own kinds, and UnicodeDecodeError on damaged files
            raise BrokenBundle(f"{precision.file} cannot be loaded: {error}") from error
        if inputs != {bundle.INPUT: "tensor(uint8)"} or outputs.get(bundle.PROBABILITIES) != "tensor(float)":
            raise BrokenBundle(f"{precision.file} has inputs {inputs} and outputs {outputs}; it was not made by Eyas.")
        if self._session.get_providers()[0] != provider:
            raise BrokenBundle(f"{precision.file} cannot run on {provider}; ONNX Runtime offers {self._session.get_providers()}.")
        self.elsewhere = nodes_elsewhere(self._session, provider)
        self._outputs = [name for name in (bundle.PROBABILITIES, bundle.OOD_SCORE) if name in outputs]
        self._has_maps = bundle.FEATURE_MAP in outputs

    def run(self, images: NDArray[np.uint8], maps: bool = False) -> Outputs:
        """Returns what the network says of each picture.

        Args:
            images: uint8 [N, H, W, 3], RGB, with 1 <= N <= max_batch_size.
            maps: whether the feature maps are wanted too, if the network has them: a copy of 4 * F * h * w bytes a picture.
        """
        if self._provider == CPU:
            found = self._fetch(images, maps)
        elif maps and self._has_maps:
            found = {name: rows[: len(images)] for name, rows in self._fetch(self._padded(images), maps).items()}
        else:
            found = self._on_buffers(len(images)).run(images)
        return Outputs(found[bundle.PROBABILITIES], found.get(bundle.OOD_SCORE), found.get(bundle.FEATURE_MAP))

    def warm(self, image: NDArray[np.uint8]) -> None:
        """Runs every batch shape that will occur, twice: the first run of a shape allocates and, on a GPU, chooses kernels.

        On CUDA it also compares replayed runs with others, and gives the graphs up where they differ.

        Args:
            image: uint8 [H, W, 3], any picture.
        """
        for size in [1, self._max_batch_size] if self._provider == CPU else self._sizes:
            batch = np.repeat(image[None], size, axis=0)
            for _ in range(2):
                self.run(batch)
            if self._provider == CUDA and not self.without_graphs:
                self.without_graphs = self._bound[size].check_graph(image)
        if self.without_graphs:
            for bound in self._bound.values():
                bound.graph = False

    def _fetch(self, images: NDArray[np.uint8], maps: bool) -> dict[str, NDArray[np.float32]]:
        """Returns the outputs, in arrays that ONNX Runtime allocates."""
        names = [*self._outputs, bundle.FEATURE_MAP] if maps and self._has_maps else self._outputs
        options = None if self._provider == CPU else run_options()
        return dict(zip(names, self._session.run(names, {bundle.INPUT: images}, options), strict=True))

    def _on_buffers(self, count: int) -> Bound:
        """Returns the buffers for so many pictures, made when they are first wanted."""
        size = next_size(self._sizes, count)
        if size not in self._bound:
            shapes = {value.name: value.shape[1:] for value in (*self._session.get_inputs(), *self._session.get_outputs())}
            self._bound[size] = Bound(
                self._session,
                (size, *shapes[bundle.INPUT]),
                {name: shapes[name] for name in self._outputs},
                device="cuda",
                graph=self._provider == CUDA and not self.without_graphs,
            )
        return self._bound[size]

    def _padded(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the pictures, and black ones up to a size that was warmed."""
        missing = next_size(self._sizes, len(images)) - len(images)
        return np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)]) if missing else images


def _open(
    model: bytes, options: ort.SessionOptions, providers: Sequence[tuple[str, Mapping[str, str]]], arena_bytes: int
) -> ort.InferenceSession:
    """Returns a session that keeps no copy of the file.

    Without its fall-back ONNX Runtime neither tries another provider nor prints so on standard output, and needs the file no more.
    """
    with _bounded(options, arena_bytes):
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    session._model_bytes = None
    return session


@contextmanager
def _bounded(options: ort.SessionOptions, arena_bytes: int) -> Iterator[None]:
    """Gives the session that is opened in the block an arena of its own that does not grow beyond a bound, unless that is 0.

    Only arenas that sessions share have one. So each session has one to share, which goes with it, as the next takes its place.
    """
    if not arena_bytes:
        yield
        return
    options.add_session_config_entry("session.use_env_allocators", "1")
    with _SHARING:
        _share_arena(arena_bytes)
        try:
            yield
        finally:
            _share_arena(_NEXT_TO_NOTHING)


def _share_arena(size_bytes: int) -> None:
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": size_bytes}))
