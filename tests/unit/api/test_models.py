"""api.models: a version's files are read again once for all who ask for it meanwhile."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from builders import write_bundle
from eyas.v1 import model_service_pb2 as pb
from eyasd.api.models import ModelService
from eyasd.core.bundle import CheckedFile
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


class Slow(Models):
    """Reads nothing again until it may, and counts how often it began to, and at how many versions it was at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder / "models"))
        self.publish("m", write_bundle(folder / "bundle"), "job1")
        self.publish("m", write_bundle(folder / "another", job="job2"), "job2")
        self.began: list[int] = []
        self.at_work = self.most_at_work = 0
        self.may = threading.Event()
        self._read, self.check = self.check, self._slowly

    def _slowly(self, model: str, version: int) -> tuple[CheckedFile, ...]:
        self.began.append(version)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            assert self.may.wait(60)
            return self._read(model, version)
        finally:
            self.at_work -= 1


@pytest.fixture
def models(tmp_path: Path) -> Slow:
    return Slow(tmp_path)


async def test_files_are_read_again_once_for_all_who_ask_meanwhile_and_of_one_version_at_a_time(models: Slow) -> None:
    service = ModelService(models, None, timedelta(0))

    async def verified(version: int) -> list[str]:
        request = pb.GetModelVersionRequest(name=f"models/m/versions/{version}", verify=True)
        return [file.name for file in (await service.GetModelVersion(request, None)).version.files if not file.problem]

    asked = [asyncio.ensure_future(verified(version)) for version in (1, 1, 1, 2, 2)]
    async with asyncio.timeout(60):
        while not models.began:
            await asyncio.sleep(0)
    asked[0].cancel()  # others wait for the same
    models.may.set()
    _, *files = await asyncio.gather(*asked, return_exceptions=True)
    assert (models.began, models.most_at_work) == ([1, 2], 1)
    assert all(isinstance(named, list) and "model.onnx" in named for named in files)
    assert "model.onnx" in await verified(1)
    assert models.began == [1, 2, 1]
