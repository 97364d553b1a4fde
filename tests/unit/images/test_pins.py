"""What the images are made of: pinned, with hashes, as `pyproject.toml` wants it, and without what a target is to be without."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = sorted((ROOT / "requirements").glob("*.txt"))


@cache
def asked() -> dict[str, tuple[list[str], list[str]]]:
    """Returns what `make pins` pins in each file: extras, and groups."""
    command = ["make", "--dry-run", "--old-file=setup", "pins"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace("\\\n", " ").splitlines()
    named = {re.findall(r"--output-file requirements/(\S+)", line)[0]: line for line in lines if "--output-file" in line}
    return {file: (re.findall(r"--extra (\S+)", line), re.findall(r"--group (\S+)", line)) for file, line in named.items()}


def wanted(extras: list[str], groups: list[str]) -> list[Requirement]:
    """Returns what extras and groups ask for."""
    lines = [one for name in extras for one in (*PROJECT["project"]["dependencies"], *extra(name))]
    return [Requirement(one) for one in lines + [one for name in groups for one in PROJECT["dependency-groups"][name]]]


def extra(name: str) -> list[str]:
    """Returns what an extra asks for, with what the extras of the project do that it names."""
    lines = PROJECT["project"]["optional-dependencies"][name]
    others = [inner for one in lines if one.startswith("eyas[") for inner in Requirement(one).extras]
    return [one for one in lines if not one.startswith("eyas[")] + [one for inner in others for one in extra(inner)]


def pins(file: Path) -> dict[str, Version]:
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==(\S+) \\$", file.read_text(), re.MULTILINE)}


def test_each_file_is_one_that_make_pins_writes() -> None:
    assert {file.name for file in FILES} == set(asked())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_line_is_a_version_with_hashes(file: Path) -> None:
    entries = re.split(r"\n(?! )", file.read_text().rstrip("\n"))
    wrong = [one for one in entries if not re.fullmatch(r"[a-z0-9-]+==\S+( \\\n +--hash=sha256:[0-9a-f]{64})+", one)]
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pins_are_what_the_project_asks_for(file: Path) -> None:
    have = pins(file)
    wrong = [str(one) for one in wanted(*asked()[file.name]) if one.name not in have or have[one.name] not in one.specifier]
    assert not wrong, "run `make pins`"


def test_layers_that_images_share_have_the_same_versions() -> None:
    every = {name: version for file in FILES for name, version in pins(file).items()}
    assert not [f"{file.stem}: {name}" for file in FILES for name, version in pins(file).items() if every[name] != version]
    layers = {file.stem: pins(file).keys() for file in FILES}
    assert layers["daemon"] <= layers["server-cpu"] <= layers["trainer"]
    assert layers["daemon"] <= layers["server"]


@pytest.mark.parametrize("name", ["daemon", "server", "server-cpu"])
def test_a_server_has_no_torch(name: str) -> None:
    assert not {"torch", "torchvision", "timm", "triton"} & pins(ROOT / f"requirements/{name}.txt").keys()
