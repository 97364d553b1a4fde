"""A tracking server of MLflow as far as Eyas speaks to it, with its limits and its manners; and one that fails as the test says.

What it refuses, and in which words, is what MLflow 3.17 with a database answered to the same requests.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_STATUSES = {"SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"}


class Refusal(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that are gone."""


class FakeMlflow:
    """A server on a port of its own.

    Attributes:
        url: its address.
        requests: the paths that were asked for, in order; also those that failed.
        fault: what becomes of a request, by its number in `requests`: `500`, `hang`, `drop` (nothing is done), `lose` (it is
            done, and the answer lost), or "".
        runs: by id, `info`, `params`, `tags`, `datasets`, and `metrics`: (step,
            milliseconds, value) of each, in the order of their arrival.
        models: by name, `versions` by number, and `aliases`.
        artifacts: by path.
        authorization: what a request has to carry.
        kept_by: scheme of the artifacts' addresses.
    """

    def __init__(self) -> None:
        self.fault: Callable[[int], str] = lambda _: ""
        self.requests: list[str] = []
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.authorization: str | None = None
        self.kept_by = "mlflow-artifacts:"
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def run_of(self, job: str) -> dict[str, Any]:
        """Returns the one run of a job."""
        (found,) = [run for run in self.runs.values() if run["tags"]["eyas.job"] == job]
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # which would wait 40 ms for the second half of each answer

            def log_message(self, *_: object) -> None: ...

            def answer(self) -> None:
                url = urlsplit(self.path)
                path, query = url.path.removeprefix("/api/2.0/"), dict(parse_qsl(url.query))
                body = self._body()
                with fake._lock:
                    number = len(fake.requests)
                    fake.requests.append(path)
                fault = fake.fault(number)
                if fault == "hang":
                    fake._ending.wait()
                known = self.headers.get("Authorization") == fake.authorization
                status, said = fake._answer(fault, self.command, path, query, body) if known else (401, b"{}")
                if fault in {"hang", "drop", "lose"}:
                    self.close_connection = True
                else:
                    self._say(status, said)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names of http.server

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    content = b""
                    while size := int(self.rfile.readline(), 16):
                        content += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return content
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _say(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        return Handler

    def _answer(self, fault: str, *request: Any) -> tuple[int, bytes]:
        if fault in {"hang", "drop", "500"}:
            return 500, b"<html>an upstream is away</html>"
        with self._lock:
            try:
                return 200, json.dumps(self._do(*request)).encode()
            except Refusal as error:
                status = 404 if error.code == "RESOURCE_DOES_NOT_EXIST" else 400
                return status, json.dumps({"error_code": error.code, "message": str(error)}).encode()

    def _do(self, method: str, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        if path.startswith("mlflow-artifacts/artifacts/") and method == "PUT":
            self.artifacts[path.removeprefix("mlflow-artifacts/artifacts/")] = body
            return {}
        asked = json.loads(body) if body else query
        answer: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, "_" + re.sub(r"\W", "_", path.removeprefix("mlflow/")))
        return answer(asked)

    def _experiments_get_by_name(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["experiment_name"]
        if name not in self.experiments:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{name}'")
        return {"experiment": {"experiment_id": self.experiments[name], "name": name}}

    def _experiments_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"experiments": [{"experiment_id": number, "name": name} for name, number in self.experiments.items()]}

    def _experiments_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["name"] in self.experiments:
            raise Refusal("RESOURCE_ALREADY_EXISTS", f"Experiment(name={asked['name']}) already exists.")
        self.experiments[asked["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[asked["name"]]}

    def _runs_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        run, experiment = f"run{len(self.runs) + 1}", asked["experiment_id"]
        if experiment not in self.experiments.values():
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={experiment} exists")
        info = {"run_id": run, "experiment_id": experiment, "status": "RUNNING", "lifecycle_stage": "active"}
        info |= {"run_name": asked["run_name"], "start_time": asked["start_time"]}
        info["artifact_uri"] = f"{self.kept_by}/{experiment}/{run}/artifacts"
        self.runs[run] = {
            "info": info,
            "params": {},
            "metrics": {},
            "datasets": [],
            "tags": {one["key"]: one["value"] for one in asked["tags"]},
        }
        return {"run": self._shown(run)}

    def _runs_get(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"run": self._shown(self._there(asked["run_id"]))}

    def _runs_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        match = re.fullmatch(r"tags\.`(.+)` = '(.*)'", asked["filter"])
        assert match
        found = [
            run
            for run, kept in self.runs.items()
            if kept["info"]["experiment_id"] in asked["experiment_ids"] and kept["tags"].get(match[1]) == match[2]
        ]
        return {"runs": [self._shown(run) for run in found[: asked["max_results"]]]} if found else {}

    def _runs_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["status"] in _STATUSES
        info = self.runs[self._there(asked["run_id"], active=True)]["info"]
        info.update({key: asked[key] for key in ("status", "end_time", "run_name") if key in asked})
        return {"run_info": info}

    def _runs_log_batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[self._there(asked["run_id"], active=True)]
        metrics, params, tags = (asked.get(what, []) for what in ("metrics", "params", "tags"))
        if len(metrics) > 1000 or len(params) > 100 or len(tags) > 100:
            raise Refusal("INVALID_PARAMETER_VALUE", "A batch can contain at most 1000 metrics, 100 params, 100 tags.")
        for one in [*params, *tags]:
            if len(one["value"]) > 500 or len(one["key"]) > 250:
                raise Refusal("INVALID_PARAMETER_VALUE", f"'{one['key']}' is too long.")
        for one in metrics:
            if not re.fullmatch(r"[/\w.\- :]+", one["key"]):
                raise Refusal("INVALID_PARAMETER_VALUE", f"Invalid value {one['key']!r} for parameter 'metrics.name'.")
        for one in params:
            if run["params"].setdefault(one["key"], one["value"]) != one["value"]:
                raise Refusal("INVALID_PARAMETER_VALUE", f"Changing param values is not allowed: {one['key']}.")
        for one in metrics:
            point = (one["step"], one["timestamp"], one["value"])
            history = run["metrics"].setdefault(one["key"], [])
            if point not in history:  # its database's primary key
                history.append(point)
        run["tags"].update({one["key"]: one["value"] for one in tags})
        return {}

    def _runs_log_inputs(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[self._there(asked["run_id"], active=True)]
        for one in asked["datasets"]:
            kept = one["dataset"] | {tag["key"]: tag["value"] for tag in one["tags"]}
            assert len(kept["digest"]) <= 36
            if kept not in run["datasets"]:
                run["datasets"].append(kept)
        return {}

    def _registered_models_get(self, asked: dict[str, Any]) -> dict[str, Any]:
        model = self._model(asked["name"])
        aliases = [{"alias": alias, "version": version} for alias, version in model["aliases"].items()]
        return {"registered_model": {"name": asked["name"]} | ({"aliases": aliases} if aliases else {})}

    def _registered_models_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["name"] in self.models:
            raise Refusal("RESOURCE_ALREADY_EXISTS", "Registered Model already exists.")
        self.models[asked["name"]] = {"versions": {}, "aliases": {}, "made": 0}
        return {"registered_model": {"name": asked["name"]}}

    def _model_versions_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["source"].startswith(("/", "file:")):
            raise Refusal("INVALID_PARAMETER_VALUE", f"Invalid model version source: '{asked['source']}'.")
        model = self._model(asked["name"])
        model["made"] += 1
        number = str(model["made"])
        tags = {one["key"]: one["value"] for one in asked["tags"]}
        model["versions"][number] = {
            "source": asked["source"],
            "run": asked.get("run_id", ""),
            "tags": tags,
            "description": asked.get("description", ""),
        }
        return {"model_version": {"name": asked["name"], "version": number}}

    def _model_versions_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        match = re.fullmatch(r"name='(.+)'", asked["filter"])
        assert match
        versions = self.models.get(match[1], {"versions": {}})["versions"]
        first = int(asked.get("page_token", 0))
        shown = [
            {"name": match[1], "version": number, "tags": [{"key": key, "value": value} for key, value in kept["tags"].items()]}
            for number, kept in versions.items()
        ]
        more = {"next_page_token": str(first + 2)} if first + 2 < len(shown) else {}  # a page is small, to be turned
        return {"model_versions": shown[first : first + 2]} | more

    def _model_versions_delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        model = self._model(asked["name"])
        del model["versions"][asked["version"]]
        model["aliases"] = {alias: number for alias, number in model["aliases"].items() if number != asked["version"]}
        return {}

    def _registered_models_alias(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["alias"].lower() == "latest":
            raise Refusal("INVALID_PARAMETER_VALUE", "'latest' alias name (case insensitive) is reserved.")
        model = self._model(asked["name"])
        assert asked["version"] in model["versions"]
        model["aliases"][asked["alias"]] = asked["version"]
        return {}

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self.models:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found")
        return self.models[name]

    def _there(self, run: str, *, active: bool = False) -> str:
        if run not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Run with id={run} not found")
        if active and self.runs[run]["info"]["lifecycle_stage"] != "active":
            raise Refusal("INVALID_PARAMETER_VALUE", f"The run {run} must be in the 'active' state. Current state is deleted.")
        return run

    def _shown(self, run: str) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self.runs[run]["tags"].items()]
        return {"info": self.runs[run]["info"], "data": {"tags": tags}}
