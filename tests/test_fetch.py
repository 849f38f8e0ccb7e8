"""Stage fetch: the lecture's files from a git server or DVC's remote, the user's own, and what it does only once."""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Run, edit, run_in, small

from dognet.conf import compose
from dognet.errors import ImagesError
from dognet.project import PACKAGE
from dognet.settings import Settings
from dognet.stages.fetch import fetch, load


@pytest.fixture
def run(project: Path) -> Run:
    """Runs a command in ``project``, and records nothing."""
    return functools.partial(run_in(project), MLFLOW_TRACKING_URI="none")


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
    git("git", "config", "uploadpack.allowFilter", "true")  # as GitHub has it
    other = git("git", "rev-parse", "HEAD:data/mnist_train.csv").stdout.strip()
    (repository / ".git" / "objects" / other[:2] / other[2:]).unlink()  # a clone of everything fails
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


def point_at(project: Path, url: str, commit: str = "0" * 40) -> None:
    """Make a repository the one of the course."""
    path = project / "conf" / "data" / "lecture.yaml"
    text = re.sub("^url: .*", f"url: {url}", path.read_text(), flags=re.MULTILINE)
    path.write_text(re.sub("^rev: .*", f"rev: {commit}", text, flags=re.MULTILINE))


def use(project: Path, data: str) -> None:
    """Choose the images of `dvc repro`."""
    edit(project / "conf" / "config.yaml", "data: generated", f"data: {data}")


def copy_lecture(lecture: Path, project: Path) -> Path:
    """Copy the course's files to where they belong."""
    folder = project / "data" / "raw" / "lecture"
    folder.mkdir(parents=True)
    for path in lecture.glob("*.csv"):
        shutil.copyfile(path, folder / path.name)
    return folder


def test_the_lectures_images_come_from_the_courses_repository(
    project: Path, run: Run, course: tuple[str, str], tmp_path: Path
) -> None:
    point_at(project, *course)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    answer = run("dognet", "data=lecture", TMPDIR=str(scratch))
    assert "test        0.02174      1.0000" in answer.stdout
    names = sorted(str(path.relative_to(project)) for path in (project / "data").rglob("*.csv"))
    raw, made = "data/raw/lecture/simple_images_", "data/lecture/"
    made_names = [f"{made}{part}.csv" for part in ("test", "train", "validation")]
    assert names == [*made_names, f"{raw}test.csv", f"{raw}train.csv"]
    assert not list(scratch.iterdir())
    changed = run("git", "status", "--porcelain").stdout.split()
    assert set(changed) == {"M", "conf/data/lecture.yaml"}


def test_dvc_repro_fetches_the_lectures_images_as_data_dvc_pins_them(
    project: Path, run: Run, course: tuple[str, str], tmp_path: Path
) -> None:
    point_at(project, *course)
    use(project, "lecture")
    assert "data.dvc" in run("dvc", "status", "data.dvc").stdout
    assert "test accuracy 1 (baseline 0.636)\n" in run("dvc", "repro").stdout
    assert run("git", "status", "--porcelain", "data.dvc").stdout == ""
    assert "up to date" in run("dvc", "status").stdout

    run("dvc", "remote", "add", "--default", "team", str(tmp_path / "team"))  # a team's remote instead of the course
    run("dvc", "push", "data.dvc")
    shutil.rmtree(project / "data" / "raw")
    shutil.rmtree(project / ".dvc" / "cache")
    point_at(project, "git://127.0.0.1:1/nothing-listens")
    run("dvc", "pull", "data.dvc")
    assert len(list((project / "data" / "raw" / "lecture").iterdir())) == 2
    shutil.rmtree(project / "data" / "raw")
    shutil.rmtree(project / "data" / "lecture")
    run("dognet", "data=lecture", "ITERS=1")
    assert len(list((project / "data" / "raw" / "lecture").iterdir())) == 2


def test_without_a_network_one_line_names_both_ways_out_and_copying_works(
    project: Path, run: Run, lecture: Path
) -> None:
    point_at(project, "git://127.0.0.1:1/nothing-listens")
    answer = run("dognet", "data=lecture", check=False)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert (
        "copy simple_images_train.csv and simple_images_test.csv into data/raw/lecture/, or use data=generated, which"
        " makes similar images" in answer.stderr
    )
    copy_lecture(lecture, project)
    assert "test        0." in run("dognet", "data=lecture", "ITERS=10").stdout


def test_a_lecture_file_with_one_other_byte_is_refused(project: Path, run: Run, lecture: Path) -> None:
    folder = copy_lecture(lecture, project)
    for part in ("test", "train"):
        path = folder / f"simple_images_{part}.csv"
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"105", b"106", 1))
        answer = run("dognet", "data=lecture", check=False)
        assert answer.returncode == 1
        assert f"simple_images_{part}.csv: not the course's file, its sha256 differs" in answer.stderr
        assert not (project / "data" / "lecture").exists()
        path.write_bytes(whole)


@pytest.fixture
def own(project: Path) -> Path:
    """Own images of a 1 x 3 bar, white is 1."""
    folder = project / "data" / "own"
    (folder / "train.csv").write_text("kind,a,b,c\n" + "dog,0,0.5,1\ncat,1,0.5,0\n" * 10)
    (folder / "test.csv").write_text("kind,a,b,c\ndog,0.1,0.4,1\ncat,0.9,0.5,0\n")
    return folder


OWN = ("data=csv", "data.label=kind", "data.positive=dog", "data.white=1", "ITERS=3000", "stepSize=2")


def describe(project: Path) -> None:
    """Describe the own images in conf/."""
    use(project, "csv")
    edit(project / "conf" / "config.yaml", "stepSize: 0.3", "stepSize: 2")
    edit(project / "conf" / "config.yaml", "ITERS: 10000", "ITERS: 3000")
    settings = project / "conf" / "data" / "csv.yaml"
    for old, new in (("label: label ", "label: kind "), ("positive: checkerboard", "positive: dog"), ("255", "1  ")):
        edit(settings, old, new)


def test_own_images_train(own: Path, run: Run, project: Path) -> None:
    assert "test        0.0" in run("dognet", *OWN).stdout
    written = next(project.glob("data/csv-*/train.csv")).read_text()
    assert written.startswith("label,a,b,c\ndog,0.0,127.5,255.0\n")


def test_dvc_repro_notices_a_changed_file_in_data_own(own: Path, run: Run, project: Path) -> None:
    describe(project)
    assert "test accuracy 1 (baseline 0.5)\n" in run("dvc", "repro").stdout
    assert "up to date" in run("dvc", "repro").stdout
    (own / "test.csv").write_text((own / "test.csv").read_text() + "cat,0.1,0.4,1\ncat,0.1,0.4,1\n")
    assert "test accuracy 0.5 (baseline 0.75), balanced accuracy 0.6667\n" in run("dvc", "repro").stdout


@pytest.mark.parametrize("place", ["elsewhere/train.csv", "data/own/../../elsewhere/train.csv"])
def test_a_file_outside_of_data_own_is_for_dognet_and_dvc_repro_says_why(
    own: Path, run: Run, project: Path, place: str
) -> None:
    (project / "elsewhere").mkdir()
    shutil.move(own / "train.csv", project / "elsewhere" / "train.csv")
    assert "test        0.0" in run("dognet", *OWN, f"data.train={place}").stdout
    describe(project)
    edit(project / "conf" / "data" / "csv.yaml", "data/own/train.csv", place)
    answer = run("dvc", "repro", check=False)
    assert answer.returncode
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("fetch: "))
    assert line == (
        f"fetch: data.train must be a file in data/own/, which dvc repro depends on, got {os.path.normpath(place)}: "
        "move it there, or train with dognet data=csv"
    )


@pytest.mark.slow
def test_experiments_in_dvcs_copy_find_own_images_and_never_older_ones(own: Path, run: Run, project: Path) -> None:
    describe(project)
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message=own images")

    def content(name: str, path: str) -> str:
        ref = run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").stdout.strip()
        return run("git", "show", f"{ref}:{path}").stdout

    def accuracy(name: str) -> float:
        return float(json.loads(content(name, "experiments/pipeline/metrics.json"))["test_accuracy"])

    def images(name: str) -> str:
        deps = yaml.safe_load(content(name, "dvc.lock"))["stages"]["fetch"]["deps"]
        return str(next(dep["md5"] for dep in deps if dep["path"] == "data/own"))

    run("dvc", "exp", "run", "--temp", "--name", "first")
    assert accuracy("first") == 1
    (own / "test.csv").write_text((own / "test.csv").read_text() + "cat,0.1,0.4,1\ncat,0.1,0.4,1\n")
    run("dvc", "exp", "run", "--temp", "--name", "second")
    assert accuracy("second") == 0.5
    run("dvc", "exp", "run", "--queue", "--name", "third", "-S", "conf/config.yaml:seed=5")
    run("dvc", "exp", "run", "--run-all", "--jobs=1")
    assert accuracy("third") == 0.5
    assert images("first") != images("second") == images("third")  # dvc.lock has the hash of the files that were used


def test_traps_in_own_images_are_a_line_each_when_the_images_are_read(own: Path, run: Run, project: Path) -> None:
    words = ("dognet", *OWN, "data.white=255", "ITERS=5")
    lines = [
        "data/own/train.csv: no pixel is above 1, where white is 255: is data.white right?",
        "data/own/test.csv: no pixel is above 1, where white is 255: is data.white right?",
        "data/own/train.csv: pixel columns with one value, neither black nor white, in all rows: b",
    ]
    assert run(*words).stderr.splitlines() == [f"dognet: {line}" for line in lines]
    assert run(*words, "seed=2").stderr == ""  # the images are there
    assert run(*words, "--multirun", "seed=3,4", "hydra/launcher=basic").stderr == ""
    describe(project)
    edit(project / "conf" / "data" / "csv.yaml", "white: 1  ", "white: 255")
    said = run("dvc", "repro").stderr.splitlines()
    assert [line for line in said if "csv: " in line] == [f"fetch: {line}" for line in lines]


def test_a_label_that_is_spelt_otherwise_is_suggested(own: Path, run: Run) -> None:
    for positive in ("Dog", "' dog'"):
        answer = run("dognet", *OWN, f"data.positive={positive}", check=False)
        assert answer.returncode == 1
        assert answer.stderr.endswith(" (data.positive), its labels are cat, dog: did you mean 'dog'?\n")


def test_own_images_may_be_compressed(own: Path, run: Run) -> None:
    for name in ("train", "test"):
        (own / f"{name}.csv.gz").write_bytes(gzip.compress((own / f"{name}.csv").read_bytes().replace(b",", b";")))
        (own / f"{name}.csv").unlink()
    files = (f"data.{name}=data/own/{name}.csv.gz" for name in ("train", "test"))
    assert "test        0.0" in run("dognet", *OWN, *files).stdout


def test_nothing_is_written_when_a_check_fails(own: Path, run: Run, project: Path) -> None:
    (own / "test.csv").write_text("kind,a,b,c\ndog,0.1,0.4,1.5\ncat,0.9,0.5,0\n")
    answer = run("dognet", *OWN, check=False)
    assert answer.returncode == 1
    assert answer.stderr.endswith("test.csv, row 2, column c: must be a number from 0 to 1 (data.white), got '1.5'\n")
    assert [path.name for path in (project / "data").iterdir()] == ["own"]


@pytest.mark.parametrize(("name", "place"), [("own", "own"), ("pets", "pets")])
def test_own_files_are_never_written_over(own: Path, run: Run, project: Path, name: str, place: str) -> None:
    if place != "own":
        shutil.copytree(own, project / "data" / place)
    text = (project / "conf" / "data" / "csv.yaml").read_text().replace("data/own", f"data/{place}")
    (project / "conf" / "data" / f"{name}.yaml").write_text(text.replace("validation: 0.2", "validation: 2"))
    settings = {"label: label ": "label: kind", "positive: checkerboard ": "positive: dog", "white: 255": "white: 1"}
    for old, new in settings.items():
        edit(project / "conf" / "data" / f"{name}.yaml", old, new)
    before = {path: path.read_bytes() for path in (project / "data" / place).iterdir()}
    answer = run("dognet", f"data={name}", "ITERS=1", check=False)
    assert {path: path.read_bytes() for path in (project / "data" / place).iterdir()} == before
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert f"data/{name}/ is " in line


def test_dvc_keeps_own_images_that_were_added(own: Path, run: Run, project: Path) -> None:
    run("dvc", "add", "--quiet", "data/own/train.csv", "data/own/test.csv")
    run("dvc", "remote", "add", "--quiet", "--default", "store", str(project.parent / "store"))
    run("dvc", "push", check=False)  # nobody has the course's images
    assert len([path for path in (project.parent / "store").rglob("*") if path.is_file()]) == 2
    (own / "train.csv").write_text((own / "train.csv").read_text() + "cat,1,0.5,0\n")
    assert "data/own/train.csv.dvc:" in run("dvc", "status").stdout
    run("dvc", "checkout", check=False)
    assert (own / "test.csv").is_file()


def test_a_file_of_an_unknown_user_is_one_line(run: Run) -> None:
    answer = run("dognet", "data=csv", "data.train=~nobody-here/train.csv", check=False)
    assert answer.stderr.endswith("/~nobody-here/train.csv: no such file (data.train)\n")
    assert answer.stderr.count("\n") == 1


def test_an_own_file_that_is_missing_is_named(run: Run) -> None:
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
    folder = project / run("dognet", *OWN).stdout.splitlines()[-1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    good = (own / "test.csv").read_text()
    (own / "test.csv").write_text(good.replace("0.4", "dog"))
    assert run("dognet", *OWN, check=False).returncode == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(list(folder.parent.iterdir())) == 1
    (own / "test.csv").write_text(good)
    assert ", already trained" in run("dognet", *OWN).stdout


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_generated_images_changed_between_two_runs_of_one_process_are_made_again(tmp_path: Path, part: str) -> None:
    images, folder = fetch(small(), tmp_path), tmp_path / "data" / "generated"
    file = folder / f"{part}.csv"
    made = file.read_bytes()
    for damage in (made.replace(b"1", b"2", 1), b"", None):
        file.unlink() if damage is None else file.write_bytes(damage)
        assert fetch(small(), tmp_path) == images
        assert file.read_bytes() == made
    fetch(small(data=small().data.model_copy(update={"seed": 5})), tmp_path)
    assert file.read_bytes() != made


def test_a_new_module_of_the_images_makes_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "dognet"
    shutil.copytree(PACKAGE / "data", package / "data", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("dognet.stages.fetch.PACKAGE", package)
    fetch(small(), tmp_path)
    known = (tmp_path / "data" / "generated" / "fetched.json").read_bytes()
    (package / "data" / "lines.py").write_text("WIDTH = 3\n")
    fetch(small(), tmp_path)
    assert (tmp_path / "data" / "generated" / "fetched.json").read_bytes() != known


def test_images_that_are_there_cost_a_look_at_sizes_and_times(
    own: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = compose(project, ["++".join(["", word]) if word.startswith("data.") else word for word in OWN])
    fetch(settings, project)
    (folder,) = project.glob("data/csv-*")
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def load(*_: object) -> None:
        raise AssertionError("the images are read again")

    monkeypatch.setattr("dognet.stages.fetch.load", load)
    fetch(settings, project)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    os.utime(own / "test.csv")
    with pytest.raises(AssertionError, match="read again"):
        fetch(settings, project)


def test_a_link_where_dognet_writes_its_copies_is_refused(own: Path, project: Path) -> None:
    (project / "data" / "csv").mkdir()
    link = project / "data" / "csv" / "train.csv"
    link.symlink_to(own / "train.csv")
    file = project / "conf" / "data" / "csv.yaml"
    edit(file, "data/own/train.csv", "data/csv/train.csv")
    with pytest.raises(ImagesError, match="data/csv/ is for dognet's copies"):
        fetch(compose(project, ["data=csv"]), project)
    assert link.is_symlink()


def test_the_courses_images_are_made_once(project: Path, lecture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def load_and_count(settings: Settings, root: Path) -> object:
        made.append(settings.source)
        return load(settings, root)

    monkeypatch.setattr("dognet.stages.fetch.load", load_and_count)
    brought = project / "data" / "raw" / "lecture"
    monkeypatch.setattr(
        "dognet.stages.fetch.bring_lecture", lambda *_: brought.exists() or copy_lecture(lecture, project)
    )
    for _ in range(3):
        fetch(compose(project, ["data=lecture"]), project)
    assert made == ["lecture"]


def test_a_file_that_is_saved_while_it_is_read_is_read_again(
    own: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = compose(project, ["++".join(["", word]) if word.startswith("data.") else word for word in OWN])
    text = (own / "test.csv").read_text()

    def warn(*_: object) -> None:
        (own / "test.csv").write_text(text + "cat,0.1,0.4,1\n")

    monkeypatch.setattr("dognet.stages.fetch.warn", warn)
    fetch(settings, project)
    fetch(settings, project)
    (written,) = project.glob("data/csv-*/test.csv")
    assert len(written.read_text().splitlines()) == 1 + 3


def test_of_many_labels_the_first_are_named_and_the_others_counted(own: Path, project: Path) -> None:
    with (own / "train.csv").open("a") as file:
        file.writelines(f"{n},0,0.5,1\n" for n in range(8))
    settings = compose(
        project,
        [
            "++data.positive=bird" if "positive" in word else f"++{word}" if word.startswith("data.") else word
            for word in OWN
        ],
    )
    with pytest.raises(ImagesError, match=r"its labels are 0, 1, 2, 3, 4 and 5 more$"):
        fetch(settings, project)


def test_a_sweep_over_the_label_keeps_one_copy_of_the_images(project: Path) -> None:
    for positive in ("checkerboard", "triangle", "bright line"):
        images = fetch(compose(project, [f"data.positive={positive}"]), project)
        assert images.positive == positive
    assert [path.name for path in (project / "data").iterdir() if path.name != "own"] == ["generated"]
    with pytest.raises(ImagesError, match="no row with label 'square'"):
        fetch(compose(project, ["data.positive=square"]), project)
