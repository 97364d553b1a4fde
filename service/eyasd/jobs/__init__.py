"""Trainings and evaluations as jobs: the ledger says what is wanted, a process does it, the scheduler brings the two together.

Imports `core`, `telemetry` and `registry`; never torch, gRPC or the trainer, which is a program it starts.
"""
