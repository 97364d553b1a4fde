"""What is soaked: a server of two acceptors with their engines, and a trainer, on one repository."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final

from builders import write_bundle, write_pictures
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from ports import free_port
from trainers import TESTS, Trainer

# Served all the time by one version; of `harmed`, hostile requests may do what they can.
STAYS, SWAPPED, HARMED, LEARNED = "kept", "swapped", "colours", "learned"
GAINS: Final = (0.05, 0.06, 0.07, 0.08)
_END_SECONDS: Final = 60.0


def _is_ready(http: str) -> bool:
    """Returns whether an HTTP door says so; before there is one, nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{http}/v1/health") as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):  # while nobody listens, a connection may be to itself
        return False


class Daemons:
    """Two daemons as on one machine.

    Attributes:
        store: the folder that both keep everything in which others than they themselves have to see.
        models: of the repository, for whoever publishes.
        bundles: folders of bundles that can be published, each of another network.
        photos: folder of the datasets `good` and `bad`.
        http: address of the server's HTTP door.
        pages: addresses of the pages of metrics, of the server and of the trainer.
        temporary: folder of both daemons' temporary files.
    """

    def __init__(self, folder: Path, leak: str = "") -> None:
        self.store = folder / "store"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.models = Models(LocalStore(self.store / "models"))
        self.photos = folder / "photos"
        self.bundles = [write_bundle(folder / f"bundle{gain}", gain=gain, explainable=True) for gain in GAINS]
        for number, name in enumerate((STAYS, SWAPPED, HARMED, HARMED)):
            self.models.publish(name, self.bundles[0], f"first{number}")
            self.models.aliases.set(name, "production", 1, actor="test", reason="")
        for name in ("good", "bad"):
            write_pictures(self.photos / name, {"blue": 12, "red": 12})
        self.http = f"127.0.0.1:{free_port()}"
        pages = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.pages = dict(zip(("server", "trainer"), pages, strict=True))
        programs = TESTS / "faults" / "programs"
        both: dict[str, object] = {
            "REGISTRY__URL": f"file://{self.store / 'models'}",
            "REGISTRY__KEEP_DAYS": 0,
            "DATASETS__KEEP_DAYS": 0.001,
            "EYAS_TEST_RUNS": folder / "runs",
            "EYAS_TEST_APART": 1,
        }
        server = {
            "SERVING__ACCEPTORS": 2,
            "SERVING__CACHE_BYTES": 120_000,
            "CAPTURE__MAX_BYTES": 2_000_000,
            "CAPTURE__MEMORY_BYTES": 2_000_000,
            "API__HTTP_LISTEN": self.http,
            "TELEMETRY__METRICS_LISTEN": pages[0],
        }
        trainer = {"JOBS__MAX_RUNNING": 2, "TELEMETRY__METRICS_LISTEN": pages[1], "TRAINING__CACHE_BYTES": 4_000_000}
        planted = {"EYAS_TEST_PLANT": leak} if leak else {}
        self.server = Trainer(folder / "server", programs, role="server", **both, **server, **planted)
        self.trainer = Trainer(folder / "trainer", programs, **both, **trainer)

    def start(self) -> None:
        """Starts both, and returns when they answer."""
        for one in (self.server, self.trainer):
            one.start(TMPDIR=str(self.temporary))
        for one in (self.server, self.trainer):
            one.client().close()
        while not _is_ready(self.http):
            time.sleep(0.1)

    @property
    def pids(self) -> tuple[int, int]:
        """The processes of the server and of the trainer."""
        assert self.server.process is not None
        assert self.trainer.process is not None
        return self.server.process.pid, self.trainer.process.pid

    def end(self) -> dict[str, int]:
        """Tells both to end, and returns how they did."""
        ended = {}
        for name, one in (("server", self.server), ("trainer", self.trainer)):
            if one.process is None:
                continue
            one.process.send_signal(signal.SIGTERM)
            try:
                ended[name] = one.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                ended[name] = -signal.SIGKILL
            one.end()
        return ended
