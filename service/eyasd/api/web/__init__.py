"""The HTTP/JSON door, for those who have no gRPC: `POST /v1/models/MODEL:classify`, `POST /v1/feedback`. See `api.http_listen`.

Imports what `api` may, and aiohttp; `app` imports it only where it is switched on.
"""
