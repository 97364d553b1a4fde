"""What the Dockerfile promises: who runs, what starts, with which settings. The images themselves are tried by `make images`."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from eyasd.config import read_settings

ROOT = Path(__file__).parents[3]
TEXT = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
TARGETS = ("trainer", "server", "server-cpu")


@dataclass
class Stage:
    last: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)


def stages() -> dict[str, Stage]:
    """Returns the stages by their names, each with what it has from the one that it begins with."""
    found: dict[str, Stage] = {}
    stage = Stage()
    for word, rest in re.findall(r"^([A-Z]+) +(.*)$", TEXT, re.MULTILINE):
        if word == "FROM":
            before, _, name = rest.split()
            base = found.get(before, Stage())
            stage = found[name] = Stage(dict(base.last), dict(base.env))
        elif word in {"ENV", "ARG"}:
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            (stage.env if word == "ENV" else stage.arguments).update(pairs)
        stage.last[word] = rest
    return found


STAGES = stages()


@pytest.mark.parametrize("target", TARGETS)
def test_runs_as_a_number_that_is_not_root(target: str) -> None:
    assert STAGES[target].last["USER"] == "1000:1000"


@pytest.mark.parametrize("target", TARGETS)
def test_starts_without_a_shell(target: str) -> None:
    last = STAGES[target].last
    assert json.loads(last["ENTRYPOINT"]) == ["eyasd"]
    assert json.loads(last["CMD"]) == [target.removesuffix("-cpu")]
    python, module, name, address = json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])
    assert (python, module) == ("python", "-m")
    assert find_spec(name)
    port = STAGES[target].env["EYASD_API__LISTEN"].rpartition(":")[2]
    assert address == f"127.0.0.1:{port}"


@pytest.mark.parametrize("target", TARGETS)
def test_its_settings_are_settings(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last, env = STAGES[target].last, STAGES[target].env
    for name, value in env.items():
        if name.startswith("EYASD_"):
            monkeypatch.setenv(name, value)
    settings = read_settings(None, {})
    assert str(settings.data_dir) == last["VOLUME"]
    ports = {settings.api.listen.rpartition(":")[2], settings.telemetry.metrics_listen.rpartition(":")[2]}
    assert set(last["EXPOSE"].split()) == ports


@pytest.mark.parametrize("target", TARGETS)
def test_is_labelled_with_the_version_of_the_project(target: str) -> None:
    assert STAGES[target].arguments["VERSION"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [path for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE) for path in line.split()]
    allowed = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert copied
    for path in copied:
        assert (ROOT / path).exists()
        assert any(path == one or path.startswith(f"{one}/") for one in allowed), path
