"""api.permissions: no method of any service is missing, and each is judged by the models that its request is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from eyas.v1 import capture_service_pb2, classification_service_pb2, model_service_pb2, training_service_pb2
from eyasd.access.roles import Role
from eyasd.api.inference.messages import SERVICE
from eyasd.api.permissions import OPEN, OWN, RULES, UNKNOWN, model_of, rule_of
from eyasd.api.server import _REGISTER
from eyasd.api.web.door import METHODS
from eyasd.api.web.door import RULES as ROUTES

PAGE = Path(__file__).parents[3] / "docs/operations.md"
OTHERS = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
METHODS_OF_ALL = {
    f"/{service.full_name}/{method.name}"
    for file in (*(file for _, file in _REGISTER.values()), *OTHERS)
    for service in file.services_by_name.values()
    for method in service.methods
}


def test_every_method_is_in_the_table_and_nothing_else_is() -> None:
    assert len(METHODS_OF_ALL) > 50
    assert RULES.keys() == METHODS_OF_ALL
    assert METHODS.keys() == ROUTES.keys()


def test_what_is_open_is_what_probes_ask() -> None:
    opened = {path for path, rule in RULES.items() if rule is OPEN}
    assert opened == {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    }
    assert all(rule.roles or rule in {OPEN, OWN} for rule in RULES.values())


def test_a_method_that_nobody_has_thought_of_is_for_admins() -> None:
    assert rule_of("/eyas.v1.ModelService/DropEverything") is UNKNOWN
    assert (UNKNOWN.roles, UNKNOWN.everywhere, UNKNOWN.changes, UNKNOWN.open) == ({Role.ADMIN}, True, True, False)


@pytest.mark.parametrize("path", [path for path in RULES if path.startswith("/eyas.v1.")])
def test_what_changes_something_is_taken_down(path: str) -> None:
    # Reading, classifying and reporting answers are no changes; an attempt of a job writes what its job says anyway.
    reads = re.search(r"/(Get|List|Check|Watch|Classify|ReportFeedback|ReportProgress)", path) is not None
    assert RULES[path].changes is not reads


MESSAGES = {
    f"/{service.full_name}/{method.name}": method.input_type
    for _, file in _REGISTER.values()
    if file.package == "eyas.v1"
    for service in file.services_by_name.values()
    for method in service.methods
}
NAMES_A_MODEL = {
    path
    for path, message in MESSAGES.items()
    if {"name", "parent", "model", "policy", "traffic", "options"} & {field.name for field in message.fields}
    and "DatasetService" not in path
    and "JobService" not in path
}


def test_a_request_that_names_a_model_is_judged_by_it() -> None:
    assert {path for path in NAMES_A_MODEL if RULES[path].models is None} == set()
    named = [method.name for method in SERVICE.methods if {"name", "model_name"} & set(method.input_type.fields_by_name)]
    assert [name for name in named if RULES[f"/{SERVICE.full_name}/{name}"].models is None] == []
    assert len(named) == 6


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("models/hats", "hats"),
        ("models/hats/versions/3", "hats"),
        ("models/hats/aliases/production", "hats"),
        ("models/hats/captured/ab/c", "hats"),
        ("models/", ""),
        ("hats", "hats"),
        ("datasets/hats", "datasets/hats"),
        ("", ""),
    ],
)
def test_whose_model_a_name_is(name: str, model: str) -> None:
    assert model_of(name) == model


def test_each_model_of_a_request_counts() -> None:
    train = training_service_pb2.TrainRequest(model="models/hats", base_version="models/shoes/versions/1")
    assert list(RULES["/eyas.v1.TrainingService/Train"].models(train)) == ["hats", "shoes"]
    evaluate = training_service_pb2.EvaluateRequest(model="models/hats", other_models=["models/caps/versions/2"])
    assert list(RULES["/eyas.v1.TrainingService/Evaluate"].models(evaluate)) == ["hats", "caps"]
    stream = RULES["/eyas.v1.ClassificationService/ClassifyStream"].models
    message = classification_service_pb2.ClassifyStreamRequest()
    assert list(stream(message)) == []
    message.options.model = "models/hats"
    assert list(stream(message)) == ["hats"]
    gone = capture_service_pb2.DeleteCapturedPicturesRequest(parent="models/hats", names=["models/caps/captured/a"])
    assert list(RULES["/eyas.v1.CaptureService/DeleteCapturedPictures"].models(gone)) == ["hats", "caps"]
    policy = model_service_pb2.SetPolicyRequest()
    policy.policy.name = "models/hats/policy"
    assert list(RULES["/eyas.v1.ModelService/SetPolicy"].models(policy)) == ["hats"]


def test_the_page_for_operators_says_what_each_role_opens() -> None:
    _, _, table = PAGE.read_text().partition("| with | methods |")
    rows = dict(re.findall(r"^\| ([^|-]+) \| (.*) \|$", table.partition("\n\n")[0], re.MULTILINE))
    told = {with_: set(re.findall(r"`([A-Z]\w+)`", methods)) for with_, methods in rows.items()}
    wanted: dict[str, set[str]] = {}
    for path, rule in RULES.items():
        one = f"`{next(iter(rule.roles))}`" if len(rule.roles) == 1 else "any role" if rule.roles else "an attempt's own token"
        wanted.setdefault("no credential" if rule is OPEN else one, set()).add(path.rpartition("/")[2])
    assert told == wanted
