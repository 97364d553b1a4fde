"""The gRPC server under the services: the calls of gRPC's completion queue, handed to the event loop in bunches.

Imports grpc; knows no service. grpc.aio does the same at a fifth of the speed; docs/architecture.md says why and how much.
"""

from eyasd.api.door.call import Aborted, ServerCall, Threshold
from eyasd.api.door.door import Door, Refusal

__all__ = ["Aborted", "Door", "Refusal", "ServerCall", "Threshold"]
