"""api.models: what is deleted while a list is made is not in it, and hides nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from builders import write_bundle
from eyas.v1 import model_service_pb2 as pb
from eyasd.api.models import ModelService
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """With colours/1 to colours/3, and shapes/1."""
    models = Models(LocalStore(tmp_path / "models"))
    for number, name in enumerate(("colours", "colours", "colours", "shapes")):
        models.publish(name, write_bundle(tmp_path / f"bundle{number}"), f"job{number}")
    return models


async def test_a_version_that_is_deleted_meanwhile(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = models.versions("colours")
    models.delete("colours", 1, timedelta())
    models.delete("colours", 3, timedelta())
    monkeypatch.setattr(models, "versions", lambda _: seen)
    service = ModelService(models, None, timedelta())
    listed = await service.ListModelVersions(pb.ListModelVersionsRequest(parent="models/colours"), None)
    assert [version.name for version in listed.versions] == ["models/colours/versions/2"]
    model = (await service.GetModel(pb.GetModelRequest(name="models/colours"), None)).model
    assert model.create_time.ToDatetime() == models.manifest("colours", 2).create_time.replace(tzinfo=None)


async def test_a_model_that_is_deleted_meanwhile(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = models.names()
    models.delete("shapes", 1, timedelta())
    monkeypatch.setattr(models, "names", lambda: seen)
    listed = await ModelService(models, None, timedelta()).ListModels(pb.ListModelsRequest(), None)
    assert [model.name for model in listed.models] == ["models/colours"]
