"""A real Prometheus, of the machine's own packages, which scrapes what it is told to and keeps the rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from ports import free_port

PROGRAM = shutil.which("prometheus")


class Prometheus:
    """Use it as a context manager.

    Attributes:
        address: of its pages and its API.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, str],
        rules: Sequence[Path],
        *,
        every: str = "1s",
        alertmanager: str | None = None,
        native_histograms: bool = False,
    ) -> None:
        """Writes down what it is to do.

        Args:
            folder: for what it keeps.
            targets: addresses of metrics, HOST:PORT, by the name of the scrape job.
            rules: files of rules.
            every: how often it scrapes, and reckons the rules.
            alertmanager: HOST:PORT of who is told of alerts.
            native_histograms: whether it asks for protocol buffers, and keeps the native histograms of them.
        """
        self._features = ",".join(["exemplar-storage", *(["native-histograms"] if native_histograms else [])])
        self._folder = folder
        self.address = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(file) for file in rules],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()],
        }
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Prometheus:
        assert PROGRAM
        command = [PROGRAM, f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data"]
        command += [f"--web.listen-address={self.address.removeprefix('http://')}", f"--enable-feature={self._features}"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*command, "--log.level=warn"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(URLError, ConnectionError):
                urlopen(f"{self.address}/-/ready").close()
                return self
            time.sleep(0.05)
        raise AssertionError((self._folder / "log").read_text())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the newest sample of each series."""
        result: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return result

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Returns the samples of each series, from time to time."""
        result: list[dict[str, Any]] = self._ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return result

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Returns the series that have single samples with traces."""
        result: list[dict[str, Any]] = self._ask("query_exemplars", query=expression, start=start, end=end)
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Returns each rule with its health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: Any) -> Any:
        address = f"{self.address}/api/v1/{what}?{urlencode(parameters)}"
        try:
            with urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except URLError as error:
            said = error.read().decode() if hasattr(error, "read") else str(error)  # an HTTPError tells what is wrong
            raise AssertionError(f"{parameters}: {said}") from error
