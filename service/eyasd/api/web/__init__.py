"""The HTTP/JSON door: `POST /v1/models/MODEL:classify`, for those who have no gRPC; off unless `api.http_listen` is set.

Imports what `api` may, and aiohttp; `app` imports it only where it is switched on.
"""
