"""From encoded picture to label: admission, decoding, batching, the ONNX session, and the fleet of loaded versions.

Imports `core`, `telemetry`, the registry's port as a protocol, numpy and ONNX Runtime; never torch, gRPC or another wing.
"""
