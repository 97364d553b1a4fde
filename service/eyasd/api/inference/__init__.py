"""The Open Inference Protocol, version 2 (`inference.GRPCInferenceService`), for clients of Triton, KServe and their kin.

Imports what `api` may. Its messages live in a pool of descriptors of their own, see `messages`.
"""
