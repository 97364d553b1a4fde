"""An API server with its controllers played by the test: kmock's, and what that lacks of the protocol of a watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import kmock
from aiohttp import web

from eyasd.jobs.kubernetes.objects import Object
from eyasd.jobs.kubernetes.rights import RIGHTS, RIGHTS_APART

JOBS = kmock.resource("batch/v1/jobs")
PODS = kmock.resource("v1/pods")
SERVICES = kmock.resource("v1/services")
SECRETS = kmock.resource("v1/secrets")
EVENTS = kmock.resource("v1/events")
REVIEWS = kmock.resource("authorization.k8s.io/v1/selfsubjectaccessreviews")
NAMESPACE = "ml"
ASKS = ("authorization.k8s.io", "selfsubjectaccessreviews", "create")  # as everybody may
EVERY_RIGHT = {ASKS, *((*what, verb) for what, verbs in (RIGHTS | RIGHTS_APART).items() for verb in verbs)}


class FakeCluster(kmock.KubernetesEmulator):
    """Versions, selectors, watches that go on from a version and forget, foreground deletion; and faults.

    Attributes:
        faults: what the next requests get instead of an answer, in their order: an action of kmock, such as `create`, and the
            response, or None for a connection that is cut; and whether that comes after it was done.
        log: of every pod.
        forbidden: what the client may not do, such as `create jobs`, if it asks.
        done: what the client has done, a verb of a resource of an API group; more than the trainer's rights it may not do.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for resource in (JOBS, PODS, SERVICES, SECRETS, EVENTS):
            self.resources[resource] = kmock.ResourceInfo(namespaced=True)
        self.faults: list[tuple[str, web.Response | None, bool]] = []
        self.log = "a line\n"
        self.forbidden: set[str] = set()
        self.done: set[tuple[str, str, str]] = set()
        self._version = 100
        self._oldest = 0
        self._events: list[tuple[int, kmock.resource, dict[str, Any]]] = []
        self._news = asyncio.Condition()
        self._watches: set[asyncio.Task[Any]] = set()

    async def put(self, resource: kmock.resource, thing: Object) -> None:
        """Makes or changes an object, as a controller does."""
        name = thing["metadata"]["name"]
        key = (resource, NAMESPACE, name)
        known = key in self.objects and not self.objects[key].deleted
        if known:
            self.objects[key].patch(thing)
        elif key in self.objects:
            self.objects[key].create(thing)
        else:
            self.objects[key] = thing
        await self._tell("MODIFIED" if known else "ADDED", resource, name)

    async def remove(self, resource: kmock.resource, name: str) -> None:
        """Deletes an object, as a controller does."""
        raw = self.read(resource, name)
        self.objects[resource, NAMESPACE, name].delete()
        await self._tell("DELETED", resource, name, raw)

    def read(self, resource: kmock.resource, name: str) -> Object:
        raw: Object = self.objects[resource, NAMESPACE, name].raw
        return raw

    def names(self, resource: kmock.resource) -> list[str]:
        return sorted(name for (kind, _, name), one in self.objects.items() if kind == resource and not one.deleted)

    def fail(self, action: str, status: int = 500, times: int = 1, **body: Any) -> None:
        """Has the next requests of an action refused."""
        self.faults += [(action, web.json_response(body, status=status), False) for _ in range(times)]

    def cut(self, action: str, *, after: bool = False) -> None:
        """Has the connection of the next request of an action cut, before it is done or after."""
        self.faults.append((action, None, after))

    def drop_watches(self) -> None:
        """Cuts the connections of all watches."""
        for watch in self._watches:
            watch.cancel()

    def forget(self) -> None:
        """Has what happened until now forgotten: no watch can go on from it."""
        self._oldest = self._version

    async def _tell(self, kind: str, resource: kmock.resource, name: str, raw: Object | None = None) -> None:
        async with self._news:
            self._version += 1
            if raw is None:
                self.objects[resource, NAMESPACE, name].patch({"metadata": {"resourceVersion": str(self._version)}})
                raw = self.read(resource, name)
            else:
                raw = {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self._version)}}
            self._events.append((self._version, resource, {"type": kind, "object": json.loads(json.dumps(raw))}))
            self._news.notify_all()

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        action = request.subresource or (request.action.value.lower() if request.action else "")
        fault = next((one for one in self.faults if one[0] == action), None)
        if fault is not None:
            self.faults.remove(fault)
        if fault is not None and not fault[2]:
            return fault[1] or self._cut(request)
        right = _right(request)
        self.done.add(right)
        if right not in EVERY_RIGHT:
            return web.json_response({"reason": "Forbidden", "message": f"the trainer has no right to {right}"}, status=403)
        if request.subresource == "log":
            return web.Response(text=self.log)
        if request.resource == REVIEWS:
            asked = request.data["spec"]["resourceAttributes"]
            right = f"{asked['verb']} {asked['resource']}{'/' * bool(asked['subresource'])}{asked['subresource']}"
            return web.json_response({"status": {"allowed": right not in self.forbidden}}, status=201)
        answer = await self._serve(request, action)
        return self._cut(request) if fault is not None else answer

    async def _serve(self, request: kmock.Request, action: str) -> web.StreamResponse:
        resource, name = request.resource, request.name
        if action == "delete" and (request.data or {}).get("propagationPolicy") == "Foreground" and name in self.names(resource):
            self.objects[resource, NAMESPACE, name].patch({"metadata": {"finalizers": ["foregroundDeletion"]}})
        if action == "create":
            if request.data["metadata"]["name"] in self.names(resource):
                return web.json_response({"code": 409, "reason": "AlreadyExists", "message": "there is one already"}, status=409)
            request.data["metadata"]["uid"] = f"uid-{self._version}"
        watch = asyncio.current_task() if action == "watch" else None
        if watch is not None:
            self._watches.add(watch)
        try:
            answer = await super()._handle(request)
        except asyncio.CancelledError:
            return self._cut(request)
        finally:
            self._watches.discard(watch)  # type: ignore[arg-type]
        if action in {"create", "delete"} and answer.status < 400:
            name = name or request.data["metadata"]["name"]
            await self._tell("ADDED" if action == "create" else "MODIFIED", resource, name)
        return answer

    def _cut(self, request: kmock.Request) -> web.StreamResponse:
        assert request._raw_request is not None
        assert request._raw_request.transport is not None
        request._raw_request.transport.abort()
        return web.Response()

    async def _serve_list(self, request: kmock.Request) -> Any:
        listed = await super()._serve_list(request)
        items = [one for one in listed["items"] if selected(one, request.params)]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    async def _serve_watch(self, request: kmock.Request) -> AsyncIterator[Any]:
        seen = int(request.params["resourceVersion"])
        yield b""
        if seen < self._oldest:
            yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
            return
        while True:
            async with self._news:
                while self._version <= seen:
                    await self._news.wait()
                fresh = [event for version, resource, event in self._events if version > seen and resource == request.resource]
                seen = self._version
            for event in fresh:
                if selected(event["object"], request.params):
                    yield event
            yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}


def _right(request: kmock.Request) -> tuple[str, str, str]:
    """Returns what a request takes the right to, as a Role has it."""
    assert request.resource is not None
    assert request.action is not None
    verb = {"fetch": "get"}.get(request.action.value.lower(), request.action.value.lower())
    part = f"/{request.subresource}" if request.subresource else ""
    return request.resource.group or "", f"{request.resource.plural}{part}", verb


def selected(one: Object, params: Any) -> bool:
    labels = one["metadata"].get("labels", {})
    wanted = [term.split("=") for term in params.get("labelSelector", "").split(",") if term]
    field, _, named = params.get("fieldSelector", "").partition("=")
    whose = one.get("involvedObject", {}) if field == "involvedObject.name" else one["metadata"]
    return all(labels.get(key) == value for key, value in wanted) and named in {"", whose.get("name")}
