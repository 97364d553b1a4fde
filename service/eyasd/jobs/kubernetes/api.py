"""The API server of a cluster, in JSON: four verbs, and objects that are followed as they change.

On aiohttp, which Eyas has already, rather than on a client of 50 to 100 MB: such clients leave what is hard to their callers, to
begin a watch again where it was dropped or forgotten. Authentication is the token of the pod that the daemon runs in; anybody else
is let in by `kubectl proxy`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from typing import Any, Final, Self

import aiohttp

from eyasd.core.errors import StartupFailed
from eyasd.jobs.kubernetes.objects import Object

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONNECT_SECONDS: Final = 10
_CALL_SECONDS: Final = 30
# After which the API server ends a watch; a connection that has been silent for longer is dead.
_WATCH_SECONDS: Final = 300
_WATCH_SLACK_SECONDS: Final = 30
_LASTING_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LAST_PAUSE_SECONDS: Final = 30.0
_TRANSIENT: Final = frozenset({401, 408, 429, 500, 502, 503, 504})
_CONFLICT: Final = 409
_GONE: Final = 410
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404

JOBS: Final = "/apis/batch/v1/namespaces/{}/jobs"
PODS: Final = "/api/v1/namespaces/{}/pods"
SERVICES: Final = "/api/v1/namespaces/{}/services"
SECRETS: Final = "/api/v1/namespaces/{}/secrets"
EVENTS: Final = "/api/v1/namespaces/{}/events"


class ApiFailed(Exception):
    """The API server refused, or could not be asked.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        reason: Kubernetes' word for it, such as `AlreadyExists`.
        message: for a person.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def transient(self) -> bool:
        """Whether the same may succeed later; a quota that is used up now may be free then."""
        return self.status == 0 or self.status in _TRANSIENT or (self.status == _FORBIDDEN and "exceeded quota" in self.message)

    @property
    def exists(self) -> bool:
        """Whether there is such an object already."""
        return self.status == _CONFLICT and self.reason == "AlreadyExists"

    @property
    def missing(self) -> bool:
        """Whether there is no such object."""
        return self.status == _NOT_FOUND


class Pauses:
    """How long to wait between tries that fail, ever longer, and never all at the same time."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE_SECONDS

    async def sleep(self) -> None:
        """Waits."""
        await asyncio.sleep(uniform(self._next / 2, self._next))  # noqa: S311 -- no secret
        self._next = min(self._next * 2, _LAST_PAUSE_SECONDS)

    def reset(self) -> None:
        """Begins anew, as a try has succeeded."""
        self._next = _FIRST_PAUSE_SECONDS


@dataclass(frozen=True, slots=True)
class Access:
    """How the API server is reached.

    Attributes:
        url: such as https://10.0.0.1:443.
        account: folder of the service account's `token` and `ca.crt`; None where none is needed.
    """

    url: str
    account: Path | None = None

    @classmethod
    def within(cls, environment: Mapping[str, str], account: Path = _ACCOUNT) -> Self:
        """Returns the access of a pod to its own cluster.

        Raises:
            StartupFailed: this is not a pod, or one without a service account.
        """
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").is_file():
            raise StartupFailed(
                "kubernetes.image is set, and this is no pod with a service account: run the trainer in the cluster, or set "
                "kubernetes.api_url to that of `kubectl proxy`."
            )
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", account)

    def namespace(self) -> str | None:
        """Returns the namespace of the pod, None where this is no pod."""
        return (self.account / "namespace").read_text().strip() if self.account else None


class Cluster:
    """The API server, through connections that belong to one event loop."""

    def __init__(self, access: Access) -> None:
        """Connects with the first call."""
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()

    async def create(self, collection: str, body: Object) -> Object:
        """Makes an object; returns it as it was made."""
        return await self._call("POST", collection, json=body)

    async def list(self, collection: str, **selectors: str) -> Object:
        """Returns the list of the objects that selectors match, `labelSelector` or `fieldSelector`."""
        return await self._call("GET", collection, params=selectors)

    async def delete(self, collection: str, name: str) -> None:
        """Deletes an object: it is gone when all that it owns is."""
        await self._call("DELETE", f"{collection}/{name}", json={"propagationPolicy": "Foreground"})

    async def log(self, collection: str, name: str, *, lines: int, most_bytes: int) -> str:
        """Returns the end of what a pod's container has written."""
        params = {"tailLines": str(lines)}
        async with self._asked("GET", f"{collection}/{name}/log", params=params) as response:
            return (await response.read())[-most_bytes:].decode(errors="replace")

    async def follow(self, collection: str, **selectors: str) -> AsyncGenerator[dict[str, Object], None]:
        """Yields the objects that selectors match, by name, at once and whenever they have changed.

        Never ends by itself: a watch that is dropped is taken up where it was, and one that can not be is begun with a list.

        Raises:
            ApiFailed: it is refused for good.
        """
        pauses = Pauses()
        version: str | None = None
        found: dict[str, Object] = {}
        while True:
            start = time.monotonic()
            try:
                if version is None:
                    listed = await self.list(collection, **selectors)
                    found = {one["metadata"]["name"]: one for one in listed["items"]}
                    version = listed["metadata"]["resourceVersion"]
                    yield dict(found)
                async for kind, one in self._watch(collection, version, selectors):
                    pauses.reset()
                    version = one["metadata"]["resourceVersion"]
                    if kind == "BOOKMARK":
                        continue
                    found.pop(one["metadata"]["name"], None)
                    if kind != "DELETED":
                        found[one["metadata"]["name"]] = one
                    yield dict(found)
            except ApiFailed as error:
                if error.status == _GONE:  # the version is so old that what happened since is forgotten
                    version = None
                elif not error.transient:
                    raise
            if time.monotonic() - start > _LASTING_SECONDS:
                pauses.reset()
            await pauses.sleep()  # also where the server has ended the watch, as it does from time to time

    async def _watch(self, collection: str, version: str, selectors: Mapping[str, str]) -> AsyncIterator[tuple[str, Object]]:
        params = {
            **selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_WATCH_SECONDS + _WATCH_SLACK_SECONDS)
        async with self._asked("GET", collection, params=params, timeout=timeout) as response:
            buffer = b""
            async for chunk in response.content.iter_any():  # an object may be longer than aiohttp's lines
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _failed(int(event["object"].get("code", 0)), event["object"])
                    yield event["type"], event["object"]

    async def _call(self, method: str, path: str, **how: Any) -> Object:
        async with self._asked(method, path, **how) as response:
            answer: Object = await response.json()
            return answer

    @asynccontextmanager
    async def _asked(self, method: str, path: str, **how: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request; whatever fails in it, or while the answer is read, is ApiFailed."""
        account = self._access.account
        try:
            if self._session is None:
                tls = ssl.create_default_context(cafile=str(account / "ca.crt")) if account else True
                timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
                self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=tls))
            if account is not None:  # the token changes every hour
                token = (account / "token").read_text().strip()
                how["headers"] = {**how.get("headers", {}), "Authorization": f"Bearer {token}"}
            async with self._session.request(method, self._access.url + path, **how) as response:
                if response.status >= 400:
                    raise await _refusal(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            what = str(error) or type(error).__name__
            raise ApiFailed(0, "Unreachable", f"the API server at {self._access.url} did not answer: {what}") from error


async def _refusal(response: aiohttp.ClientResponse) -> ApiFailed:
    try:
        said = json.loads(await response.read())
    except ValueError:  # of a proxy in between
        said = {}
    return _failed(response.status, said)


def _failed(code: int, status: Object) -> ApiFailed:
    return ApiFailed(code, str(status.get("reason", "")), str(status.get("message", "")) or f"HTTP status {code}")
