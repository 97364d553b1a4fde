"""The processes of one training, each with a device of its own, and what they tell each other.

Knows rows, flags and tensors, not training. A process alone is its own group: each of its answers is what it was given. Sums of
tensors go from device to device; all else goes over the CPU's network, so that no step waits for a GPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined] # documented, but not listed
from torch.distributed.rendezvous import rendezvous

from eyasd.training.journal import Interrupted
from eyasd.training.launch import LISTENER
from eyasd.training.machine import rank_and_world

_Value = TypeVar("_Value")

# Longer than the slowest thing that others wait for, the writing of a checkpoint. A process that died is noticed at once; a node
# that went down without a word, or a network that is cut, only so.
_SILENCE_SECONDS: Final = 600.0
SILENCE: Final = "EYAS_SILENCE_SECONDS"
_LAST_SECONDS: Final = 3.0  # to ask whether others have failed
_LOOK_SECONDS: Final = 0.2
_CALL: Final = "call"
_FAILED: Final = "failed"


class FailedElsewhere(Interrupted):
    """Another process of the training failed before this one, and says why."""


class PeersLost(Exception):
    """The other processes of the training do not answer: the network's fault, or that of a node."""


class Ranks:
    """A process alone.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        local_world: number of those on this machine, which share its processors.
    """

    rank: int = 0
    world: int = 1
    local_world: int = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the work of the group."""

    @property
    def first(self) -> bool:
        """Whether this is the process that prepares, decides by the clock, and writes."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns what this process has to do of some rows: a run of them, nearly as long as everyone's, perhaps empty."""
        return rows

    def any(self, flag: bool) -> bool:
        """Returns whether any process says so."""
        return flag

    def broadcast(self, value: _Value) -> _Value:
        """Returns the value of the first process."""
        return value

    def gather(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Returns the arrays of all processes, joined along their first axis in the order of the ranks."""
        return np.concatenate(parts)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor, float32 and on this process's device, by its sum over all processes, the same bits in each."""

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by that of the first process."""

    def wait(self) -> None:
        """Returns once every process is here."""

    def call(self, work: object) -> None:
        """Tells the others, which wait in `called`, what to do; the first process alone may."""

    def called(self, check: Callable[[], None]) -> object:  # noqa: ARG002 -- alone, nobody calls
        """Waits until the first process calls; returns what it has to do, or None where nothing more is.

        Args:
            check: raises where the wait is to end.
        """
        return None


ALONE: Final = Ranks()


class Group(Ranks):
    """One of several processes."""

    def __init__(self, store: Store, rank: int, world: int, local_rank: int, local_world: int) -> None:
        """Takes a device; the others are met at the first call.

        Args:
            store: through which the processes find each other.
            rank: number of this process, from 0.
            world: number of processes.
            local_rank: number among those of this machine.
            local_world: number of processes of this machine.
        """
        self.rank, self.world, self.local_world = rank, world, local_world
        self._store, self._calls = store, 0
        self._silence = silence()
        self._control: Any = None  # a group as torch's own functions take it
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank % torch.cuda.device_count())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the work of the group.

        Raises:
            FailedElsewhere: the error follows from that of another process.
        """
        if error is None:
            if self.first:
                self._store.set(f"{_CALL}{self._calls}", "")
            if self._control is not None:
                dist.destroy_process_group()
        elif isinstance(error, Exception) and not self._is_first_to_fail():
            raise FailedElsewhere from error

    def _is_first_to_fail(self) -> bool:
        try:
            return _within(_LAST_SECONDS, lambda: int(self._store.add(_FAILED, 1))) == 1
        except TimeoutError:
            return True  # as far as anybody can tell
        except dist.DistError:  # the process that kept the store is gone
            return False

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `Ranks.share`."""
        return np.array_split(rows, self.world)[self.rank]

    def any(self, flag: bool) -> bool:
        """See `Ranks.any`."""
        flags = torch.tensor([flag], dtype=torch.int32)
        with self._answered():
            dist.all_reduce(flags, dist.ReduceOp.MAX, self._control)
        return bool(flags)

    def broadcast(self, value: _Value) -> _Value:
        """See `Ranks.broadcast`."""
        box = [value]
        with self._answered():
            dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """See `Ranks.gather`."""
        boxes: list[Sequence[NDArray[np.float32]]] = [[] for _ in range(self.world)]
        with self._answered():
            dist.all_gather_object(boxes, parts, group=self._control)
        return np.concatenate([part for box in boxes for part in box])

    def add(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks.add`; in one message, as hundreds of small ones would each wait for the network."""
        vector = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._answered():
            dist.all_reduce(vector)
        for tensor, part in zip(tensors, torch.split(vector, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks.copy`."""
        for tensor in tensors:
            whole = tensor.contiguous()  # a network's weights may lie channels last
            with self._answered():
                dist.broadcast(whole, src=0)
            tensor.copy_(whole)

    def wait(self) -> None:
        """See `Ranks.wait`."""
        with self._answered():
            dist.barrier(self._control)

    def call(self, work: object) -> None:
        """See `Ranks.call`."""
        self._store.set(f"{_CALL}{self._calls}", "come")
        self._meet()
        self.broadcast(work)

    def called(self, check: Callable[[], None]) -> object:
        """See `Ranks.called`."""
        key = f"{_CALL}{self._calls}"
        try:
            while not _within(self._silence.total_seconds(), lambda: self._store.check([key])):
                check()
                time.sleep(_LOOK_SECONDS)
            if not self._store.get(key):
                return None
        except dist.DistError:  # the first process is gone, well or not: its own exit status says which
            return None
        except TimeoutError as error:
            raise _lost("the first does not answer") from error
        self._meet()
        return self.broadcast(None)

    def _meet(self) -> None:
        self._calls += 1
        if self._control is not None:
            return
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        with self._answered():
            dist.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.world, timeout=self._silence)
            self._control = dist.new_group(backend="gloo", timeout=self._silence)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Makes what the network has to say of the others a sentence."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # of all backends
            raise _lost(str(error).strip().partition("\n")[0]) from error


def _lost(said: str) -> PeersLost:
    return PeersLost(
        f"The processes that train together cannot reach each other any more ({said}): look at the network between their nodes, "
        "and at what became of the others."
    )


def _within(seconds: float, ask: Callable[[], _Value]) -> _Value:
    """Returns what a store answers. Where its connection is dead, it would wait for the kernel's quarter of an hour itself.

    Raises:
        TimeoutError: it has not answered for so long.
    """
    answer: Future[_Value] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001 -- raised by whoever waits
            answer.set_exception(error)

    Thread(target=work, daemon=True).start()
    return answer.result(seconds)


def silence() -> timedelta:
    """Returns how long a process waits for the others before it gives them up."""
    return timedelta(seconds=float(os.environ.get(SILENCE, _SILENCE_SECONDS)))


def connect() -> Ranks:
    """Returns the group that the environment names in torchrun's words: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and so on."""
    environment, (rank, world) = os.environ, rank_and_world()
    if world == 1:
        return ALONE
    if LISTENER in environment:  # of `eyasd.training.launch`: the port is open already, so that nobody else can take it
        listener = int(environment[LISTENER]) if rank == 0 else None
        address = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
        store: Store = TCPStore(*address, world, rank == 0, silence(), master_listen_fd=listener)
    else:
        store, rank, world = next(rendezvous("env://", timeout=silence()))
    local_rank = int(environment.get("LOCAL_RANK", rank))
    return Group(store, rank, world, local_rank, int(environment.get("LOCAL_WORLD_SIZE", world)))
