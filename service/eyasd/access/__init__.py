"""Who a caller is and what he may do: tokens, JSON web tokens, certificates, roles, limits, and the record of changes.

Imports `core` and `telemetry` only; knows no gRPC and no HTTP, nor which method takes which role.
"""
