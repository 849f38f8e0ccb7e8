"""What the commands print on a terminal of 80 columns, and into a file."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import environment, make_project, run_in, with_forks

pytestmark = pytest.mark.integration

FEW = "tracking_uri=none", "data.train_rows=60", "data.test_rows=40"
FIVE = "hiddenNodes=2,10", "stepSize=0.25,0.001", "ITERS=0,20", "seed=1,100", "dtype=float64,float32"
NAMES = [words.partition("=")[0] for words in FIVE]
VALUES = [words.partition("=")[2].split(",") for words in FIVE]
FIGURES = ["train loss", "test accuracy", "seconds", "time left"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without runs."""
    return make_project(tmp_path / "project")


def on_terminal(project: Path, *words: str, **more: str) -> str:
    """What a command writes on a terminal of 24 lines and 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shell = with_forks(environment(project))
    usual = {name: value for name, value in shell.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        words, cwd=project, env=usual | more, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        text = b"".join(iter(lambda: read(ours), b"")).decode()
    os.close(ours)
    assert process.returncode == 0, text
    return text


def read(terminal: int) -> bytes:
    """What comes next; nothing when the last program has left the terminal."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def table(lines: list[str]) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Each run's line, and where in it the columns' headings stand."""
    head = next(line for line in lines if line.split()[:1] == NAMES[:1])
    found = {name: head.find(name) for name in NAMES + FIGURES if name in head}
    for line in lines:
        if re.match(r" *\d+/32 ", line):
            yield line, {name: (begin, begin + len(name)) for name, begin in found.items()}


def test_a_sweeps_table_fits_a_narrow_terminal_and_its_columns_stand_below_their_headings(project: Path) -> None:
    text = on_terminal(project, "dognet", "--multirun", "study=five", "hydra/launcher=basic", *FEW, *FIVE)
    lines = text.replace("\r\n", "\n").splitlines()
    assert max(map(len, lines)) <= 80
    rows = list(table(lines))
    assert len(rows) == 32
    for line, columns in rows:
        assert list(columns) == NAMES + FIGURES[:2]  # whole ones only
        for (name, (begin, end)), values in zip(columns.items(), [*VALUES, None, None], strict=True):
            if values is None:
                assert re.match(r"\d\.\d+ *$|\d\.\d+  ", line[begin:])
            elif name == "dtype":
                assert line[begin:].split()[0] in values
            else:
                assert line[:end].split()[-1] in values  # numbers end where the heading does
                assert line[end : end + 1] in ("", " ")
    assert "\x1b" not in text


def test_a_sweeps_table_in_a_file_is_whole_whatever_the_terminal(project: Path) -> None:
    answer = run_in(project)("dognet", "--multirun", "study=five", "hydra/launcher=basic", *FEW, *FIVE, COLUMNS="80")
    assert "\x1b" not in answer.stdout + answer.stderr
    assert "\r" not in answer.stdout + answer.stderr
    rows = list(table(answer.stdout.splitlines()))
    assert [int(line.split("/")[0]) for line, _ in rows] == list(range(1, 33))
    for _, columns in rows:
        assert list(columns) == NAMES + FIGURES
    assert answer.stderr == ""


def test_a_reader_that_has_seen_enough_ends_no_run(project: Path) -> None:
    words = f"dognet --multirun seed=range(6) ITERS=2000 {' '.join(FEW)} | head -1"
    answer = subprocess.run(
        ["bash", "-c", words.replace("range(6)", "'range(6)'")],
        cwd=project,
        env=with_forks(environment(project)),
        capture_output=True,
        text=True,
    )
    assert answer.stdout.startswith("study adhoc: 6 runs")
    assert answer.stderr == ""
    assert len(list(project.glob("experiments/adhoc/runs/*/run.json"))) == 6


def test_a_long_value_is_cut_where_it_begins_and_only_on_a_terminal(project: Path) -> None:
    run_in(project)("dognet", "ITERS=0", *FEW)
    source = next((project / "data").iterdir())
    files = [f"{'x' * 70}-{name}.csv" for name in ("first", "second")]
    for name in files:
        shutil.copy(source / "train.csv", project / name)
    words = (
        "dognet",
        "--multirun",
        "hydra/launcher=basic",
        "data=csv",
        f"data.train={','.join(files)}",
        "ITERS=0",
        "tracking_uri=none",
    )
    words = (*words, f"data.test={source.relative_to(project)}/test.csv", "data.positive=checkerboard", "force=true")
    shown = on_terminal(project, *words)
    assert [file for file in files if re.search(rf"/2  +…{file[-19:]}  0\.\d+ ", shown)] == files
    assert max(map(len, shown.splitlines())) <= 80
    in_file = run_in(project)(*words).stdout
    assert [file for file in files if f"/2  {file}" in in_file.replace("   ", "  ")] == files


def test_help_fits_a_screen(project: Path) -> None:
    lines = on_terminal(project, "dognet", "--help").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("settings", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_runs_bar_is_shown_on_a_terminal_without_colours(project: Path, settings: dict[str, str]) -> None:
    text = on_terminal(project, "dognet", "ITERS=3000", "tracking_uri=none", **settings)
    assert re.search(r"\d+% \|.*iterations, .* left", text)
    assert "\x1b[" not in text
    assert max(len(line) for line in re.split(r"[\r\n]+", text)) <= 80


def test_a_run_in_a_file_has_no_bar(project: Path) -> None:
    answer = run_in(project)("dognet", "ITERS=3000", "tracking_uri=none")
    assert (answer.stderr, len(answer.stdout.splitlines())) == ("", 7)
    assert "\r" not in answer.stdout
