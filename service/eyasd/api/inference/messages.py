"""The messages of protos/inference, in a pool of descriptors of their own.

tritonclient and others register the very same names in protobuf's default pool, which refuses a second message of a name; so
generated modules could not be imported into one process with them. The classes here are made from `protocol.binpb`, which
`make protos` writes, and are as fast as generated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message_factory import GetMessageClass

Message: TypeAlias = Any  # of a class that type checkers cannot know


def _read() -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(files(__package__).joinpath("protocol.binpb").read_bytes()).file:
        pool.Add(file)
    return pool


POOL: Final = _read()
SERVICE: Final[ServiceDescriptor] = POOL.FindServiceByName("inference.GRPCInferenceService")


class Descriptors:
    """What reflection asks of a pool, asked of the default one and of ours in turn."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def find(*arguments: Any) -> Any:
            try:
                return getattr(Default(), name)(*arguments)
            except KeyError:
                return getattr(POOL, name)(*arguments)

        return find


def message_class(name: str) -> Any:
    """Returns the class of a message of the package, such as `ModelInferRequest`."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


ModelConfig: Final = message_class("ModelConfig")
ModelConfigResponse: Final = message_class("ModelConfigResponse")
ModelInferResponse: Final = message_class("ModelInferResponse")
ModelMetadataResponse: Final = message_class("ModelMetadataResponse")
ModelReadyResponse: Final = message_class("ModelReadyResponse")
ModelStatistics: Final = message_class("ModelStatistics")
ModelStatisticsResponse: Final = message_class("ModelStatisticsResponse")
ModelStreamInferResponse: Final = message_class("ModelStreamInferResponse")
RepositoryIndexResponse: Final = message_class("RepositoryIndexResponse")
ServerLiveResponse: Final = message_class("ServerLiveResponse")
ServerMetadataResponse: Final = message_class("ServerMetadataResponse")
ServerReadyResponse: Final = message_class("ServerReadyResponse")
