"""Instruments: metrics, logs and traces, as values that are handed to the rooms which use them.

Imports prometheus-client, structlog and `core`, and OpenTelemetry once a collector is set; no other room.
"""
