"""Which pictures of production are kept to learn from, and the thread that keeps them.

Imports `core`, `telemetry`, and of `serving` the nouns, what is loaded and who watches; knows stores through a port alone.
"""
