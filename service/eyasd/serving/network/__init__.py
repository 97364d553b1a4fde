"""A version's network in ONNX Runtime: how much of the machine it takes, on which device and in which precision it runs.

Imports `core`, numpy, structlog and ONNX Runtime; knows no registry, queue or process.
"""
