"""Attempts as Jobs of a Kubernetes cluster: what is asked of it, how that is watched, and what its words mean.

Imports `core` and what `jobs` is beside it, and aiohttp, in `api` alone.
"""
