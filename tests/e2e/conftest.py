"""Real processes and real pictures: `eyasd` and `eyas` as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ports import free_port
from processes import children

BIN = Path(sys.executable).parent
# Photographs of clothes, 10 labels, in train/, validation/ and test/; beside the repository on the machines that have them.
CLOTHING = Path(os.environ.get("EYAS_TEST_PHOTOS", Path(__file__).parents[3] / "shared/data/clothing"))


class House:
    """A daemon that can be stopped, killed and started again on the same data folder."""

    def __init__(self, data_dir: Path, log: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, role: str = "all", **environment: str) -> None:
        command = [BIN / "eyasd", role, "--data-dir", self.data_dir, "--listen", self.address]
        settings = {"EYASD_API__LAME_DUCK_SECONDS": "0", "EYASD_TRAINING__HUB": "false"} | environment
        settings["EYASD_TELEMETRY__METRICS_LISTEN"] = self.metrics
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, env=os.environ | settings)
        deadline = time.monotonic() + 100
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                if self.eyas("models", "--json", check=False).returncode == 0:
                    return
            time.sleep(0.02)
        pytest.fail(self._log.read_text())

    def engines(self) -> list[int]:
        """Returns the processes that run the versions."""
        assert self._process is not None
        return children("eyasd.serving.engine", self._process.pid)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(60)

    def copy(self, role: str, place: Path, **environment: str) -> None:
        """Runs `eyasd backup` or `eyasd restore`."""
        command = [BIN / "eyasd", role, place, "--data-dir", self.data_dir]
        subprocess.run(command, check=True, env=os.environ | environment)

    def eyas(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command; nothing it prints may be a traceback."""
        environment = os.environ | {"EYAS_ADDRESS": self.address, "COLUMNS": "100"}
        done = subprocess.run([BIN / "eyas", *arguments], capture_output=True, text=True, env=environment, timeout=280, check=False)
        assert "Traceback" not in done.stderr + done.stdout
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self._log.read_text()[-3000:]}"
        return done

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.eyas(*arguments, "--json").stdout)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for lock in self.data_dir.glob("jobs/*/lock"):  # a trainer that outlived its daemon
            with suppress(ValueError, ProcessLookupError):
                os.killpg(int(lock.read_text()), signal.SIGKILL)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data", tmp_path / "eyasd.log")
    yield made
    made.end()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of handwritten digits, 60 of each."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for digit in range(10):
        (folder / str(digit)).mkdir()
        for number, pixels in enumerate(data.images[data.target == digit][:60]):
            grey = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
            grey.resize((64, 64), Image.Resampling.BICUBIC).save(folder / str(digit) / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """Four labels of photographs, split; where there are no photographs, digits in the same form."""
    folder = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 40), ("validation", 10), ("test", 12)):
        for label in ("pants", "shoes", "dress", "hat") if CLOTHING.is_dir() else "0123":
            source = CLOTHING / split / label if CLOTHING.is_dir() else digits / label
            (folder / split / label).mkdir(parents=True)
            files = sorted(source.iterdir())
            offset = 0 if CLOTHING.is_dir() else {"train": 0, "validation": 40, "test": 48}[split]
            for file in files[offset : offset + count]:
                shutil.copy(file, folder / split / label)
    return folder
