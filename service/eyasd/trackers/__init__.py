"""Trackers of experiments, MLflow and TensorBoard, which are told what the ledger has taken down, and never hold a job up.

Imports `core`, `registry` and `telemetry`; never torch, gRPC or the trainer. What a tracker needs is imported where one is set.
"""
