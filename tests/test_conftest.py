"""What the tests copy of this project."""

from __future__ import annotations

import pytest
from conftest import is_ours


@pytest.mark.parametrize(
    "name", ["experiments/width/study.yaml", "experiments/README.md", "data/own/README.md", "a.py"]
)
def test_a_clone_has_the_files_of_the_project(name: str) -> None:
    assert is_ours(name)


@pytest.mark.parametrize("name", ["experiments/mine/study.yaml", "experiments/mine/a.svg", "data/own/train.csv", ""])
def test_a_clone_has_no_study_or_image_that_the_user_added(name: str) -> None:
    assert not is_ours(name)
