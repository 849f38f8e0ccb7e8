"""What comes before the first command: the versions, their pins, the files that other sites read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, environment
from hydra.plugins.plugin import Plugin
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PYTHONS = [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]


def pins(name: str, python: str) -> dict[str, str]:
    """The pinned versions for a version of Python."""
    lines = (Requirement(line) for line in (REPOSITORY / name).read_text().splitlines() if not line.startswith("#"))
    return {pin.name: str(pin.specifier).removeprefix("==") for pin in lines if holds(pin, python)}


def holds(requirement: Requirement, python: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"})


def test_the_version_is_the_same_everywhere() -> None:
    changes = re.findall(r"^## (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == changes[0] == PROJECT["version"]


@pytest.mark.parametrize(
    ("name", "python"), [*(("constraints.txt", python) for python in PYTHONS), ("constraints-lowest.txt", PYTHONS[0])]
)
def test_every_dependency_is_pinned_within_its_bounds(name: str, python: str) -> None:
    pinned = pins(name, python)
    words = [*PROJECT["dependencies"], *(word for extra in PROJECT["optional-dependencies"].values() for word in extra)]
    asked = [requirement for requirement in map(Requirement, words) if holds(requirement, python)]
    outside = {each.name: pinned.get(each.name.lower()) for each in asked}
    for each in asked:
        if each.specifier.contains(outside[each.name] or "", prereleases=True):
            del outside[each.name]
    assert outside == {}


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_pins_name_no_address(name: str) -> None:
    lines = (REPOSITORY / name).read_text().splitlines()
    assert [line for line in lines if "/" in line or " @ " in line or line.startswith("-")] == []


def test_hydra_finds_the_plugins_by_their_entry_points() -> None:
    ours = [each.load() for each in entry_points(group="hydra.plugins") if each.name.startswith("dognet_")]
    assert {each.__name__ for each in ours} == {"ClusterLauncher", "SlurmLauncher", "StudySweeper"}
    assert all(issubclass(each, Plugin) for each in ours)


def test_the_workflow_tests_every_python_and_calls_what_ci_calls() -> None:
    job = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    called = {step["run"] for step in job["steps"] if "run" in step}
    assert {"make repro", "make test"} <= called <= set((REPOSITORY / ".ci" / "run").read_text().splitlines())


@pytest.mark.slow
def test_an_install_that_fails_names_the_package(tmp_path: Path) -> None:
    nowhere = environment(REPOSITORY) | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    venv = os.path.relpath(tmp_path, REPOSITORY)
    words = ["make", f"{venv}/installed", f"VENV={venv}", f"PYTHON={sys.executable}"]
    answer = subprocess.run(words, cwd=REPOSITORY, env=nowhere, capture_output=True, text=True)
    assert answer.returncode
    assert "The first package that this machine can't have:" in answer.stdout
    assert re.search(r"^ERROR: No matching distribution found for [\w-]+==\S+$", answer.stderr, re.MULTILINE)
