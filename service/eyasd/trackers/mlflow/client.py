"""MLflow's REST interface, as far as Eyas uses it. Knows requests and answers, not jobs.

The server is asked at its address and nowhere else, with what Eyas knows itself by; so whoever has it, or is in its place, can send
those requests nowhere, and neither fill the memory nor hold the daemon.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import quote, unquote

import aiohttp

from eyasd.trackers.follower import TrackerAway, TrackerRefuses

GONE: Final = "RESOURCE_DOES_NOT_EXIST"
EXISTS: Final = "RESOURCE_ALREADY_EXISTS"
_SECONDS: Final = 15.0  # of a call
_UPLOAD_SECONDS: Final = 600.0  # of which the server may need most to hand a large file on
# Of these the server would take the same request another time: once it has a token it knows, or less to do.
_LATER: Final = (401, 403, 408, 429)
_MOST_SAID: Final = 300
# A page of 200 versions with all that Eyas says of them has less than one.
_MOST_BYTES: Final = 8 * 1024 * 1024


class Refused(TrackerRefuses):
    """The server will never do this.

    Attributes:
        code: MLflow's word for why.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message[:_MOST_SAID]}")
        self.code = code


class Client:
    """Of one server. Belongs to one event loop."""

    def __init__(self, url: str, user: str, token: str) -> None:
        """Connects to nothing yet.

        Args:
            url: http:// or https://, of the server.
            user: whose password the token is; "" is nobody.
            token: goes with each request; "" is none.
        """
        self._url = url.rstrip("/")
        self._headers = {"Accept-Encoding": "identity"}  # what is not compressed is as large as it comes
        if token and not user:
            self._headers["Authorization"] = f"Bearer {token}"
        if user:
            self._headers["Authorization"] = f"Basic {b64encode(f'{user}:{token}'.encode()).decode()}"
        self._opened: aiohttp.ClientSession | None = None

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Returns an answer; raises what `post` does."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any], method: str = "POST") -> dict[str, Any]:
        """Returns the answer to a body.

        Raises:
            TrackerAway: there is none, or the server cannot do it now.
            Refused: it never will.
        """
        return await self._call(method, path, json=body)

    async def upload(self, path: str, file: BinaryIO) -> None:
        """Writes a file to those that the server keeps itself, such as `1/RUN/artifacts/report.html`.

        Raises what `post` does, and TrackerRefuses where the place, which the server has named, is not among those.
        """
        parts = unquote(path).split("/")
        if not {"", ".", ".."}.isdisjoint(parts):
            raise TrackerRefuses(f"The server keeps artifacts at {path[:_MOST_SAID]!r}, which is no place below its own.")
        await self._call("PUT", f"-artifacts/artifacts/{'/'.join(quote(part, safe='') for part in parts)}", data=file)

    async def close(self) -> None:
        """Closes its connections."""
        if self._opened is not None:
            await self._opened.close()

    async def _call(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(headers=self._headers, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        limit = aiohttp.ClientTimeout(total=_UPLOAD_SECONDS if "data" in what else _SECONDS, sock_connect=_SECONDS)
        address = f"{self._url}/api/2.0/mlflow{path if path.startswith('-') else '/' + path}"
        try:
            async with self._opened.request(method, address, timeout=limit, allow_redirects=False, **what) as answer:
                return _understood(answer.status, (await _content(answer)).decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise TrackerAway(f"{type(error).__name__} {error}".strip()) from error


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """Returns what an answer holds. Raises TrackerAway where it is no answer to anything that is asked here."""
    if 300 <= answer.status < 400:
        raise TrackerAway(
            f"it answered {answer.status}, a redirect, which is not followed: is trackers.mlflow.url the server's own address?"
        )
    content = bytearray()
    async for some in answer.content.iter_any():
        content += some
        if len(content) > _MOST_BYTES:
            raise TrackerAway(f"its answer has more than {_MOST_BYTES:,} bytes")
    return bytes(content)


def _understood(status: int, text: str) -> dict[str, Any]:
    """Returns the document of an answer; raises what `Client.post` does."""
    try:
        said = json.loads(text or "{}")
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict):
        if status < 300:
            return said
        if 400 <= status < 500 and status not in _LATER and "error_code" in said:
            raise Refused(str(said["error_code"]), str(said.get("message", "")))
    raise TrackerAway(
        f"it answered {status}, {text[:_MOST_SAID].strip()!r}: is trackers.mlflow.url the address of an MLflow server?"
    )
