"""The commands that README shows, run as they stand: they print what it says they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run

IN_PLACE = {  # what a test runs instead, in the environment that there is
    "make repro": "dvc repro",
    "make test": "python -m pytest --version",
}
NOT_HERE = {"dognet-ui": "it serves until it is stopped; test_ui.py starts it"}


def shown() -> Iterator[tuple[str, list[str]]]:
    """Each command in README's console blocks, with the lines shown below it."""
    for block in re.findall(r"```console\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = piece.rstrip("\n").split("\n")
            yield command.partition("  #")[0].strip(), lines


def pattern(lines: list[str]) -> str:
    """The lines as a pattern: … is anything, and seconds are as they come."""
    text = re.escape("\n".join(lines))
    return re.sub(r"[\d\\.]+(?=\\ s\b)", lambda _: r"[\d.]+", text).replace("…", "(?s:.*)")


def test_every_command_of_the_readme_prints_what_it_shows(project: Path, run: Run) -> None:
    commands = list(shown())
    assert len(commands) >= 5
    for command, lines in commands:
        if command in NOT_HERE:
            continue
        answer = run("bash", "-c", IN_PLACE.get(command, command))
        assert re.search(pattern(lines), answer.stdout), f"{command}\n{answer.stdout}\n{answer.stderr}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *map(str, Path("docs").glob("*.md"))])
def test_links_lead_somewhere(name: str) -> None:
    page = REPOSITORY / name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
