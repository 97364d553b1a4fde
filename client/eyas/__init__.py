"""The Python client of Eyas.

    import eyas

    with eyas.Client("127.0.0.1:50051") as client:
        job = client.wait(client.train("/photos", "clothing").id)
        print(job.evaluation.accuracy)
        print(client.classify("clothing", "shirt.jpg").label)

Needs grpcio, protobuf and google.rpc alone; imports nothing of the daemon.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eyas._public import *  # noqa: F403
else:
    # The daemon needs the generated code in eyas.v1 alone, and would wait a tenth of a second for the client at every start.
    def __getattr__(name: str) -> object:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(name)  # a module of the client's own, which Python goes on to import
        found = globals()[name] = getattr(import_module("eyas._public"), name)
        return found

    def __dir__() -> list[str]:
        return import_module("eyas._public").__all__
