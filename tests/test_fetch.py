"""Stage fetch: the lecture's files from a git server, the user's own, and nothing written when a check fails."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, run_in, small

from dognet import files
from dognet.fetch import fetch

COMMIT = "fc520f87ea3f16ab5b952a0f74abeeac8f130176"


@pytest.fixture
def course(lecture: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A git server on the loopback in place of the course's repository: its URL and commit."""
    repository = tmp_path / "served" / "course"
    (repository / "data").mkdir(parents=True)
    for name in ("train", "test"):
        content = (lecture / f"simple_images_{name}.csv").read_bytes()
        (repository / "data" / f"simple_images_{name}.csv").write_bytes(content)
    (repository / "data" / "mnist_train.csv").write_text("another file of the same folder\n")
    git = run_in(repository)
    git("git", "init", "--quiet")
    git("git", "add", "--all")
    git("git", "commit", "--quiet", "--message=data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--listen=127.0.0.1", f"--port={port}", f"--base-path={repository.parent}", "--export-all"]
    server = subprocess.Popen(["git", "daemon", *words])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)  # git daemon does not tell when it listens
        yield f"git://127.0.0.1:{port}/course", git("git", "rev-parse", "HEAD").stdout.strip()
    finally:
        server.terminate()
        server.wait()


def point_at(project: Path, url: str, commit: str) -> None:
    path = project / "data.dvc"
    pinned = path.read_text().replace(COMMIT, commit)
    path.write_text(pinned.replace("https://github.com/ben519/nnets-for-your-dog", url))


def test_the_lectures_images_come_through_data_dvc(project: Path, run: Run, course: tuple[str, str]) -> None:
    point_at(project, *course)
    answer = run("dognet", "data=lecture")
    assert "test      0.02174      1.0000" in answer.stdout
    assert sorted(path.name for path in (project / "data/raw/lecture").iterdir()) == [
        "simple_images_test.csv",
        "simple_images_train.csv",
    ]


def test_dvc_repro_fetches_the_lectures_images(project: Path, run: Run, course: tuple[str, str]) -> None:
    point_at(project, *course)
    config = project / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("data: generated", "data: lecture"))
    assert "test accuracy 1\n" in run("dvc", "repro").stdout


def test_without_a_network_both_ways_out_are_told_and_copying_works(project: Path, run: Run, lecture: Path) -> None:
    point_at(project, "git://127.0.0.1:1/nothing-listens", COMMIT)
    answer = run("dognet", "data=lecture", check=False)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "copy simple_images_train.csv and simple_images_test.csv into data/raw/lecture/, or use data=generated" in (
        answer.stderr
    )
    folder = project / "data" / "raw" / "lecture"
    folder.mkdir(parents=True)
    for path in lecture.glob("*.csv"):
        (folder / path.name).write_bytes(path.read_bytes())
    assert "1.0000" in run("dognet", "data=lecture").stdout


def test_a_lecture_file_with_one_other_byte_is_refused(project: Path, run: Run, lecture: Path) -> None:
    folder = project / "data" / "raw" / "lecture"
    folder.mkdir(parents=True)
    for path in lecture.glob("*.csv"):
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / "simple_images_test.csv"
    path.write_bytes(path.read_bytes().replace(b"105", b"106", 1))
    answer = run("dognet", "data=lecture", check=False)
    assert answer.returncode == 1
    assert "not the course's files, their sha256 differ" in answer.stderr
    assert not (project / "data" / "lecture").exists()


@pytest.fixture
def own(project: Path) -> Path:
    """Own images of a 1 x 3 bar, white is 1."""
    folder = project / "data" / "own"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("kind,a,b,c\n" + "dog,0,0.5,1\ncat,1,0.5,0\n" * 10)
    (folder / "test.csv").write_text("kind,a,b,c\ndog,0.1,0.4,1\ncat,0.9,0.5,0\n")
    return folder


OWN = ("data=csv", "data.label=kind", "data.positive=dog", "data.white=1", "ITERS=3000", "stepSize=2")


def test_own_images_train_without_their_sha256(own: Path, run: Run, project: Path) -> None:
    assert "test      0.0" in run("dognet", *OWN).stdout
    written = next(project.glob("data/csv-*/train.csv")).read_text()
    assert written.startswith("label,a,b,c\ndog,0.0,127.5,255.0\n")


def test_dvc_repro_wants_the_sha256_of_own_images_and_prints_them(own: Path, run: Run, project: Path) -> None:
    config, settings = project / "conf" / "config.yaml", project / "conf" / "data" / "csv.yaml"
    config.write_text(config.read_text().replace("data: generated", "data: csv"))
    text = settings.read_text().replace("label: label ", "label: kind ").replace("white: 255", "white: 1")
    settings.write_text(text.replace("positive: checkerboard", "positive: dog"))
    answer = run("dvc", "repro", check=False)
    assert answer.returncode
    lines = [f'{name}_sha256: "{files.sha256(own / (name + ".csv"))}"' for name in ("train", "test")]
    assert "fetch: conf/data/csv.yaml must hold the sha256 of your files; paste:\n" + "\n".join(lines) in answer.stderr
    settings.write_text("\n".join([line for line in settings.read_text().splitlines() if "sha256" not in line] + lines))
    run("dvc", "repro")
    (own / "train.csv").write_text((own / "train.csv").read_text() + "dog,0,0,1\n")
    assert "Data and pipelines are up to date" in run("dvc", "repro").stdout
    settings.write_text(settings.read_text().replace(lines[0], 'train_sha256: "' + "0" * 64 + '"'))
    assert "must hold the sha256" in run("dvc", "repro", check=False).stderr


def test_nothing_is_written_when_a_check_fails(own: Path, run: Run, project: Path) -> None:
    (own / "test.csv").write_text("kind,a,b,c\ndog,0.1,0.4,1.5\ncat,0.9,0.5,0\n")
    answer = run("dognet", *OWN, check=False)
    assert answer.returncode == 1
    assert answer.stderr.endswith("test.csv, row 2, column c: must be a number from 0 to 1 (data.white), got '1.5'\n")
    assert [path.name for path in (project / "data").iterdir()] == ["own"]


def test_a_missing_own_file_is_told_with_its_setting(run: Run) -> None:
    answer = run("dognet", "data=csv", check=False)
    assert answer.stderr.endswith("data/own/train.csv: no such file (data.train)\n")
    assert answer.returncode == 1


def test_files_with_the_same_content_stay_untouched(project: Path, run: Run) -> None:
    run("dognet", "ITERS=0")
    path = project / "data" / "generated" / "train.csv"
    before = path.stat().st_mtime_ns
    run("dognet", "ITERS=1")
    assert path.stat().st_mtime_ns == before
    path.write_text("tampered")
    run("dognet", "ITERS=2")
    assert path.read_text().startswith("label,pixel0")


def test_a_mistake_in_the_images_leaves_the_finished_run_as_it_is(own: Path, run: Run, project: Path) -> None:
    folder = project / run("dognet", *OWN, "tracking_uri=none").stdout.splitlines()[-1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    good = (own / "test.csv").read_text()
    (own / "test.csv").write_text(good.replace("0.4", "dog"))
    assert run("dognet", *OWN, "tracking_uri=none", check=False).returncode == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(list(folder.parent.iterdir())) == 1
    (own / "test.csv").write_text(good)
    assert ", already trained" in run("dognet", *OWN, "tracking_uri=none").stdout


def test_generated_images_changed_between_two_runs_of_one_process_are_made_again(tmp_path: Path) -> None:
    folder = fetch(small(), tmp_path)
    file = folder / "test.csv"
    made = file.read_bytes()
    for damage in (made.replace(b"1", b"2", 1), b"", None):
        file.unlink() if damage is None else file.write_bytes(damage)
        assert fetch(small(), tmp_path) == folder
        assert file.read_bytes() == made
    assert fetch(small(data=dataclasses.replace(small().data, seed=5)), tmp_path)
    assert file.read_bytes() != made
