"""From encoded picture to label: the classifier and the fleet of loaded versions. Queues, traffic, engines and networks have rooms.

Imports `core`, `telemetry`, the registry's port as a protocol, numpy and ONNX Runtime; never torch, gRPC or another wing.
"""
