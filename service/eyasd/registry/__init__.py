"""Where model versions and their aliases are kept.

Imports `core` only; knows nothing of training, serving or jobs.
"""
