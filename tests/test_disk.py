"""A disk that is full, or not to be written; folders with odd names: a clear line, nothing lost, and it goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import make_project, run_in, small

from dognet.runs.digest import folder_name
from dognet.runs.folder import FILES, PIPELINE, ended_runs, read_run, runs_folder
from dognet.stages.once import run_once

pytestmark = pytest.mark.integration

FULL = "No space left on device"


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of this size, mounted at the folder."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk with a project on it."""
    with mounted(tmp_path / "disk", "8m") as folder:
        yield make_project(folder)


def fill(disk: Path, left: int) -> Callable[[], None]:
    """Leave so many bytes of the disk; returns what frees it again."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(b"\0" * (free - left))
    return (disk / "filler").unlink


def test_a_run_on_a_full_disk_fails_at_any_file_and_succeeds_when_there_is_room(disk: Path) -> None:
    before = run_once(small(), disk)
    for kilobytes in range(0, 4096, 4):  # a file more each time or so
        settings = small(seed=kilobytes)
        folder = runs_folder(disk, settings.study) / folder_name(settings)
        make_room = fill(disk, 1024 * kilobytes)
        try:
            done = run_once(settings, disk)
        except OSError as error:
            assert FULL in str(error)
            assert [run.folder for run in ended_runs(disk / "experiments") if run.finished] == [before.folder]
            assert not list(folder.glob("*.part"))
        else:
            break
        finally:
            make_room()
        shutil.rmtree(folder, ignore_errors=True)
    assert kilobytes >= 4 * len(FILES)
    assert done == read_run(done.folder)


def test_a_sweep_on_a_full_disk_names_each_run_and_the_same_command_goes_on(disk: Path) -> None:
    run = run_in(disk)
    run("dognet", "ITERS=10", "tracking_uri=none")
    make_room = fill(disk, 16_384)
    words = ("dognet", "--multirun", "seed=1,2,3", "ITERS=20", "tracking_uri=none", "hydra/launcher=basic")
    answer = run(*words, check=False)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    failed = [line for line in answer.stderr.splitlines() if FULL in line]
    done = [each.settings.seed for each in ended_runs(disk / "experiments") if each.finished]
    assert [line.partition(": ")[2][:6] for line in failed] == [f"seed={k}" for k in (1, 2, 3) if k not in done]
    assert failed
    make_room()
    assert "already trained" in run("dognet", "ITERS=10", "tracking_uri=none").stdout
    assert "3/3" in run(*words).stdout


def test_a_full_disk_for_temporary_files_is_one_line_and_later_the_run_is_recorded(
    tmp_path: Path, empty_store: Path
) -> None:
    project = make_project(tmp_path / "project")
    shutil.copy(empty_store, project / "mlflow.db")
    run = run_in(project)
    for number, left in enumerate((8192, 16384, 24576)):
        with mounted(tmp_path / f"temporary {left}", "300k") as folder:
            fill(folder, left)  # with nothing left Python would look elsewhere
            answer = run("dognet", f"ITERS={10 + number}", "force=true", TMPDIR=str(folder))
        count = f"{number + 1} run{'s are' if number else ' is'} not recorded in MLflow ({folder}: {FULL})"
        assert answer.stderr == f"dognet: {count}: `dognet sync` records {'them' if number else 'it'}\n"
    assert run("dognet", "sync").stdout == "3 recorded, 0 were already there\n"


@pytest.mark.slow
def test_dvc_repro_on_a_full_disk_fails_and_the_same_command_goes_on(clone: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "60m") as folder:
        project = Path(shutil.copytree(clone, folder / "project"))
        run = run_in(project)
        for left in (50_000, 150_000, 300_000):
            make_room = fill(folder, left)
            answer = run("dvc", "repro", check=False)
            assert answer.returncode
            assert re.search(f"{FULL}|database or disk is full", answer.stdout + answer.stderr)
            make_room()
        assert "recorded in MLflow as run" in run("dvc", "repro").stdout
        assert read_run(project / PIPELINE).figures.test_accuracy == 1
        assert "up to date" in run("dvc", "repro").stdout


def test_a_folder_that_cannot_be_written_is_one_line(disk: Path) -> None:
    run = run_in(disk)
    run("dognet", "ITERS=10")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for words, way in {
        ("dognet", "ITERS=20", "tracking_uri=none"): "Read-only file system: '.*ITERS=20.*'",
        ("dognet", "--multirun", "seed=1,2", "tracking_uri=none"): "Read-only file system: '.*/adhoc/runs/.*'",
        ("dognet", "report", "adhoc"): "Read-only file system: '.*/experiments/adhoc/.*'",
        ("dognet", "sync", "--tracking-uri", f"sqlite:///{disk}/other.db"): "`dognet sync` records it",
    }.items():
        answer = run(*words, check=False)
        assert answer.returncode == 1, words
        assert answer.stderr.count("\n") == 1, answer.stderr
        assert answer.stderr.startswith("dognet")
        assert re.search(way, answer.stderr), answer.stderr


def test_a_project_may_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's" / 'a "b" $HOME' / "#1; x&y" / " trail " / "a,b=c" / "back\\slash" / "[x]*{y}" / "-犬"
    run = run_in(make_project(folder))
    answer = run("dognet", "--multirun", "seed=1,2", "ITERS=10")  # makes MLflow's store too
    assert "2/2" in answer.stdout
    assert answer.stderr == ""
    assert run("dognet", "sync").stdout == "0 recorded, 2 were already there\n"
    assert run("dognet", "report", "adhoc").stdout.endswith("\nexperiments/adhoc/report.md\n")


@pytest.mark.parametrize("name", ["100%25", "who?"])
def test_a_folder_whose_name_mlflow_cannot_take_is_one_line_and_trains_all_the_same(
    tmp_path: Path, empty_store: Path, name: str
) -> None:
    run = run_in(make_project(tmp_path / name))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    answer = run("dognet", "ITERS=10")
    assert answer.stderr.count("\n") == 1
    assert "MLflow can't open a SQLite file with % or ? in its path: set tracking_uri" in answer.stderr
    assert run("dognet", "sync", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db").stdout.startswith("1 recorded")
