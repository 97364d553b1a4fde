"""Which version a request for a model goes to: aliases, canaries, shadows, and the judgement on a canary.

Imports `core`, `telemetry` and structlog; knows versions by number, no pictures, queues or engines.
"""
