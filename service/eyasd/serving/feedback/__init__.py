"""Whether answers were right, as callers find out afterwards: the ids that answers bear, and what is counted of them.

Imports `core`, `telemetry`, and of `serving` what is loaded.
"""
