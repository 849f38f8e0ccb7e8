from __future__ import annotations

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import run_in

STUDY = """# Which way?
#
# To be expected: another.
ITERS: 300
hydra:
  sweeper:
    params:
      stepSize: 0.3,3
      seed: range(3)
"""


@pytest.fixture(scope="session")
def answered(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the study ``way`` has run."""
    folder = Path(shutil.copytree(clone, tmp_path_factory.mktemp("answered") / "project"))
    (folder / "experiments" / "way").mkdir()
    (folder / "experiments" / "way" / "study.yaml").write_text(STUDY)
    run_in(folder)("dognet", "--multirun", "experiment=way", "hydra/launcher=basic", "tracking_uri=none")
    return folder


@pytest.fixture
def project(answered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answered, tmp_path / "project"))


def report(project: Path, study: str = "way") -> str:
    run_in(project)("dognet-report", study)
    return (project / "experiments" / study / "report.md").read_text()


def run_folders(project: Path) -> list[Path]:
    return sorted(path.parent for path in (project / "experiments" / "way" / "runs").glob("*/run.json"))


def rewrite(folder: Path, **metrics: float) -> None:
    """Give a run other figures, with checksums that hold."""
    path, summary = folder / "metrics.json", folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics))
    info = json.loads(summary.read_text())
    del info["checksum"]
    info["sha256"]["metrics.json"] = sha256(path.read_bytes()).hexdigest()
    info["checksum"] = sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()[:16]
    summary.write_text(json.dumps(info))


def said(project):
    """The answer of the report, as it is printed."""
    return report(project).split("\n\n")[1].strip("*")


def row(text: str, *cells: str) -> list[str]:
    """The cells of the table's row that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return next(found for found in rows if tuple(found[: len(cells)]) == cells)


def test_a_sweep_ends_in_the_report_that_the_command_writes_again_byte_for_byte(project):
    folder = project / "experiments"
    names = ("README.md", "way/report.md", "way/loss.svg", "way/accuracy.svg", "way/weights.svg")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    report(project)
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_the_report_has_question_answer_table_pictures_and_what_was_expected(project):
    text = report(project)
    paragraphs = text.split("\n\n")
    assert paragraphs[0] == "# Which way?"
    assert re.fullmatch(r"\*\*.*solve.*\.\*\*", paragraphs[1])
    assert len(row(text, "0.3")) == len(row(text, "stepSize")) == 7
    assert {"![loss](loss.svg)", "![accuracy](accuracy.svg)", "![weights](weights.svg)"} < set(paragraphs)
    assert "    dognet --multirun experiment=way" in paragraphs
    assert paragraphs[-1].strip() == "To be expected: another."
    assert "Incomplete" not in text


def test_the_table_is_computed_over_the_seeds(project):
    for folder, accuracy in zip(run_folders(project), (0.99, 0.95, 1.0, 0.2, 0.3, 0.4), strict=True):
        rewrite(folder, test_accuracy=accuracy, train_loss=1 - accuracy / 2)
    text = report(project)
    assert row(text, "0.3")[1:6] == ["2 of 3", "0.9800", "0.0265", "0.9500", "0.51"]
    assert row(text, "3")[1:6] == ["0 of 3", "0.3000", "0.1000", "0.2000", "0.85"]
    assert "**At no stepSize does every seed solve it; some do at 0.3 (2 of 3); none at 3.**" in text


def test_the_best_run_is_chosen_by_train_loss_never_by_test_accuracy(project):
    folders = run_folders(project)
    for folder in folders:
        rewrite(folder, test_accuracy=1.0, train_loss=0.5)
    rewrite(folders[3], test_accuracy=0.1, train_loss=0.4)
    text = report(project)
    assert f"Chosen by the least train loss, never by test accuracy: `{folders[3].name}`" in text
    weights = (project / "experiments" / "way" / "weights.svg").read_bytes()
    assert weights == (folders[3] / "weights.svg").read_bytes()


def test_an_incomplete_grid_is_named_with_what_is_missing(project):
    missing, failing = run_folders(project)[0], run_folders(project)[1]
    shutil.rmtree(missing)
    shutil.rmtree(failing)
    (failing / "weights.npz").mkdir(parents=True)  # its place is taken
    words = ("experiment=way", "stepSize=0.3", "seed=1", "hydra/launcher=basic", "tracking_uri=none")
    assert run_in(project)("dognet", "--multirun", *words, check=False).returncode == 1
    text = report(project)
    assert "**Incomplete: 4 of 6 runs are finished**" in text
    assert "- `stepSize=0.3 seed=0`: not run" in text
    assert "- `stepSize=0.3 seed=1`: IsADirectoryError: " in text
    assert row(text, "0.3")[1] == "0 of 1"
    assert "(incomplete)" in (project / "experiments" / "README.md").read_text()


def test_runs_of_other_images_or_code_are_not_in_the_report(project):
    code = project / "src" / "dognet" / "descent.py"
    code.write_text(code.read_text().replace("import numpy as np", "import numpy as np\n\nCHANGED = True", 1))
    answer = run_in(project)("dognet-report", "way", check=False)
    assert answer.returncode == 1
    told = "dognet-report: study way has no finished run of its grid: dognet --multirun experiment=way\n"
    assert answer.stderr == told


def test_runs_beside_the_grid_leave_the_report_as_it_is(project):
    before = report(project)
    words = ("experiment=way", "stepSize=1", "seed=1", "hydra/launcher=basic", "tracking_uri=none")
    run_in(project)("dognet", "--multirun", *words)
    assert report(project) == before


@pytest.mark.parametrize(
    ("words", "pictures"),
    [
        ("seed=1,2", {"loss", "accuracy", "weights"}),
        ("hiddenNodes=1,2 stepSize=0.1,0.3,1", {"loss", "accuracy", "weights"}),
        ("hiddenNodes=1,2 stepSize=0.1,1 seed=1,2 dtype=float32,float64", {"loss", "weights"}),
        ("dtype=float32,float64", {"loss", "weights"}),
        ("ITERS=0,10,20", {"loss", "accuracy", "weights"}),
        ("seed=1", {"loss", "accuracy", "weights"}),
    ],
)
def test_a_sweep_without_a_study_file_is_reported_too(project, words, pictures):
    more = ("study=own", "hydra/launcher=basic", "tracking_uri=none")
    run_in(project)("dognet", "--multirun", *more, "ITERS=30", *words.split())
    folder = project / "experiments" / "own"
    assert {path.stem for path in folder.glob("*.svg")} == pictures
    assert (folder / "report.md").read_text().startswith("# What the runs in own show\n")


def test_a_report_of_a_study_without_a_file_leaves_out_other_code_and_damaged_runs_and_names_them(project):
    words = ("dognet", "--multirun", "study=own", "hydra/launcher=basic", "tracking_uri=none", "ITERS=30")
    run_in(project)(*words, "seed=1,2,3")
    code = project / "src" / "dognet" / "descent.py"
    code.write_text(code.read_text().replace("import numpy as np", "import numpy as np\n\nCHANGED = True", 1))
    run_in(project)(*words, "seed=3,4,5")
    damaged = next((project / "experiments/own/runs").glob("*seed=5"))
    (damaged / "curve.csv").write_text("iteration\n")
    text = report(project, "own")
    assert "**Incomplete: 2 of 5 runs are finished**" in text
    for seed in (1, 2):
        assert f"- `seed={seed}`: of other images or other code: run it again\n" in text
    assert f"- `run={damaged.name}`: curve.csv: not as it was written (its sha256 differs from run.json's)\n" in text
    assert re.search(r"\*\*No run solves it, which takes a test accuracy of 99 %; they reach [5-7][\d.]* %\.\*\*", text)


def test_runs_of_images_that_have_changed_are_not_taken_for_the_same(project):
    words = ("dognet", "--multirun", "study=own", "hydra/launcher=basic", "tracking_uri=none", "ITERS=30")
    run_in(project)(*words, "seed=1,2")
    images = project / "conf" / "data" / "generated.yaml"
    images.write_text(images.read_text().replace("seed: 33", "seed: 34"))
    run_in(project)(*words, "seed=3,4")
    text = report(project, "own")
    assert row(text, "data.seed")
    assert [row(text, seed)[1] for seed in ("33", "34")] == ["0 of 2"] * 2
    run_in(project)(*words[:2], "study=named", *words[3:], "data.seed=33,34")
    assert not re.search(r"\bimages \|", report(project, "named"))


def test_a_damaged_run_of_a_grid_is_named_with_its_file(project):
    (run_folders(project)[0] / "weights.npz").write_bytes(b"")
    text = report(project)
    assert "- `stepSize=0.3 seed=0`: weights.npz: not as it was written (its sha256 differs from run.json's)\n" in text


def test_the_end_of_a_part_of_a_sweep_leaves_a_report_of_all_as_it_is(project):
    before = (project / "experiments" / "way" / "report.md").read_bytes()
    for folder in run_folders(project)[1:]:
        shutil.rmtree(folder)
    words = ("experiment=way", "stepSize=0.3", "seed=0,1", "hydra/launcher=basic", "tracking_uri=none")
    answer = run_in(project)("dognet", "--multirun", *words)
    told = (
        "no report: 2 of 6 runs of way are finished, and the report that is there has all: dognet-report way replaces"
    )
    assert answer.stdout.splitlines()[-1].startswith(told)
    assert (project / "experiments" / "way" / "report.md").read_bytes() == before
    assert "Incomplete: 2 of 6" in report(project)


def test_runs_on_different_images_have_none_to_keep(project):
    words = ("dognet", "--multirun", "study=own", "hydra/launcher=basic", "tracking_uri=none", "ITERS=30")
    run_in(project)(*words, "data.train_rows=50,60", "seed=1,2")
    text = report(project, "own")
    assert "No run is the one to keep: losses on different images don't compare." in text
    assert [row(text, rows)[1] for rows in ("50", "60")] == ["0 of 2"] * 2
    answer = run_in(project)("dognet-export", "own", check=False)
    assert answer.stderr.startswith("dognet-export: own has runs on different images, whose losses don't compare")


def test_a_run_beside_the_grid_is_not_the_one_to_keep(project):
    words = ("experiment=way", "stepSize=3", "seed=0,1", "ITERS=900", "hydra/launcher=basic", "tracking_uri=none")
    run_in(project)("dognet", "--multirun", *words)
    kept = re.search(r"never by test accuracy: `(.*?)`", report(project))[1]
    assert "ITERS=300" in kept
    assert run_in(project)("dognet-export", "way").stdout.startswith(f"experiments/way/runs/{kept}: ")


@pytest.mark.parametrize("kept", [b"", b"# Which way?\n", b"\xff"])
def test_a_report_that_was_cut_short_hinders_no_other(project, kept):
    (project / "experiments" / "width" / "report.md").write_bytes(kept)
    before = (project / "experiments" / "way" / "report.md").read_bytes()
    answer = run_in(project)("dognet-report", "way")
    assert (answer.stdout, answer.stderr) == (f"{said(project)}\nexperiments/way/report.md\n", "")
    assert (project / "experiments" / "way" / "report.md").read_bytes() == before


def test_a_study_that_cannot_be_reported_is_told_in_one_line_and_the_others_are_reported(project):
    folder, grid = project / "experiments", "hydra: {sweeper: {params: {seed: '1,2'}}}"
    for name, text in {
        "a-bad": "seed: {",
        "b-word": f"ITERS: many\n{grid}",
        "c-grid": grid.replace("1,2", "(("),
    }.items():
        (folder / name / "runs").mkdir(parents=True)
        (folder / name / "study.yaml").write_text(text)
    answer = run_in(project)("dognet-report", check=False)
    assert answer.returncode == 1
    assert answer.stdout == f"{said(project)}\nexperiments/way/report.md\n"
    bad, word, grid = answer.stderr.splitlines()
    assert bad.startswith(f"dognet-report: study a-bad: {folder}/a-bad/study.yaml: while parsing")
    assert word == "dognet-report: study b-word: ITERS must be a whole number from 0 to 10^15, got 'many'"
    assert grid.startswith("dognet-report: study c-grid: 'seed=((' can't be read: brackets")


def test_a_report_cannot_leave_its_folder(project):
    shutil.copytree(project / "experiments" / "way" / "runs", project / "elsewhere" / "runs")
    for study in ("../elsewhere", str(project / "elsewhere")):
        answer = run_in(project)("dognet-report", study, check=False)
        assert answer.returncode == 1
        assert answer.stderr.startswith("dognet-report: study must be a plain name: ")
        assert answer.stderr.count("\n") == 1
    assert [path.name for path in (project / "elsewhere").iterdir()] == ["runs"]


def test_nothing_to_report_is_told(tmp_path):
    answer = run_in(tmp_path)("dognet-report", check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "dognet-report: no study has runs yet: dognet --multirun experiment=width\n"


def test_the_list_of_studies_has_the_answer_of_each(project):
    listing = (project / "experiments" / "README.md").read_text()
    reports = sorted((project / "experiments").glob("*/report.md"))
    assert len(reports) >= 6
    for path in reports:
        question, answer = path.read_text().split("\n\n")[:2]
        assert (
            f"| [{path.parent.name}]({path.parent.name}/report.md) | {question[2:]} | {answer.strip('*')} |" in listing
        )
