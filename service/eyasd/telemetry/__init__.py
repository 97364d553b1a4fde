"""Instruments: metrics and logs, as values that are handed to the rooms which use them.

Imports prometheus-client, structlog and `core`; no other room.
"""
