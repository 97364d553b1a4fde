"""Objects by key, on a disk or in an object store.

Imports `core` only; knows nothing of what the objects are.
"""
