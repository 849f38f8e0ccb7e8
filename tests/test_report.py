"""A study's report and its list: which runs they are about, what they say of the others, and what is written where."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, edit, make_project, run_in, small

from dognet.errors import UserError
from dognet.runs.folder import RunError, read_manifest, read_run, write_manifest
from dognet.settings import bound
from dognet.stages.once import run_once
from dognet.study import find_study
from dognet.sweep import report
from dognet.sweep.grid import points_of_study
from dognet.sweep.members import run_to_keep
from dognet.sweep.report import write_report

pytestmark = pytest.mark.integration

STUDY = """# Which way?
#
# To be expected: another.
ITERS: 300
hydra:
  sweeper:
    params:
      stepSize: 0.3,3
      seed: range(3)
      data.train_rows: 200
      data.test_rows: 50
"""


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the study ``way`` has run."""
    root = make_project(tmp_path_factory.mktemp("answered") / "project")
    write_study(root, "way", STUDY)
    for point in points_of_study(root, find_study("way", root)):
        run_once(point.settings, root)
    return root


@pytest.fixture
def project(answered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answered, tmp_path / "project", symlinks=True))


def write_study(root: Path, name: str, text: str) -> None:
    (root / "experiments" / name).mkdir(parents=True, exist_ok=True)
    (root / "experiments" / name / "study.yaml").write_text(text)


def text_of(project: Path, study: str = "way") -> str:
    return write_report(study, project).path.read_text()


def run_folders(project: Path, study: str = "way") -> list[Path]:
    return sorted(path.parent for path in (project / "experiments" / study / "runs").glob("*/run.json"))


def rewrite(folder: Path, **metrics: float) -> None:
    """Give a run other figures, with checksums that hold."""
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics))
    write_manifest(folder, read_manifest(folder))


def make_of_other_code(folder: Path) -> None:
    """Make a run look like one of numeric code that is no more."""
    write_manifest(folder, read_manifest(folder).model_copy(update={"code": "0" * 64, "digest": "0" * 16}))


def train(project: Path, study: str, *settings: dict[str, Any]) -> None:
    """Train a small run of each of these settings."""
    for each in settings:
        images = {name.removeprefix("data."): value for name, value in each.items() if name.startswith("data.")}
        source = "generated" + "".join(f"-{name}-{value}" for name, value in images.items())
        usual = small(ITERS=30, study=study, source=source)
        data = usual.data.model_copy(update=images)
        run_once(usual.model_copy(update={"data": data} | {n: v for n, v in each.items() if "." not in n}), project)


def rows(text: str) -> list[list[str]]:
    """The cells of the tables' rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def row(text: str, *cells: str) -> list[str]:
    """The cells of the row that begins with these."""
    return next(found for found in rows(text) if tuple(found[: len(cells)]) == cells)


# --- what stands in a report


def test_the_same_runs_give_the_same_bytes(project: Path) -> None:
    folder = project / "experiments"
    names = [
        f"way/{name}" for name in ("report.md", "report.json", "loss.svg", "gap.svg", "accuracy.svg", "weights.svg")
    ]
    contents = []
    for _ in range(2):
        write_report("way", project)
        contents.append({name: (folder / name).read_bytes() for name in (*names, "README.md")})
        for name in contents[0]:
            (folder / name).unlink()
    assert contents[0] == contents[1]


def test_the_report_has_question_answer_table_pictures_and_what_was_expected(project: Path) -> None:
    text = text_of(project)
    paragraphs = text.split("\n\n")
    assert paragraphs[0] == "# Which way?"
    answer = r"\*\*No run reached 99 % test accuracy\. The best reached \S+ % \(baseline \S+ %\)\.\*\*"
    assert re.match(answer, paragraphs[1])
    assert len(row(text, "0.3")) == len(row(text, "stepSize")) == 7
    parts = [
        "| stepSize | ",
        "- Solved: ",
        "![loss](",
        "![accuracy](",
        "## Overfitting",
        "![gap](",
        "Neighbouring settings have at most 3 seeds",
    ]
    parts += ["## The best run", "![weights](", "## How to repeat it", "    dognet --multirun experiment=way"]
    places = [next(k for k, paragraph in enumerate(paragraphs) if paragraph.startswith(part)) for part in parts]
    assert places == sorted(places)
    assert paragraphs[-1].strip() == "To be expected: another."
    assert "Incomplete" not in text


def test_the_table_is_computed_over_the_seeds(project: Path) -> None:
    for folder, accuracy in zip(run_folders(project), (0.99, 0.95, 1.0, 0.2, 0.3, 0.4), strict=True):
        rewrite(folder, test_accuracy=accuracy, train_loss=1 - accuracy / 2, baseline=0.6)
    text = text_of(project)
    assert row(text, "0.3")[1:5] == ["2 of 3 (21 to 94 %)", "98.00 (95.00 to 99.67)", "99, 95, 100", "0.51"]
    assert row(text, "3")[1:5] == ["0 of 3 (0 to 56 %)", "30.00 (20.00 to 36.67)", "20, 30, 40", "0.85"]
    assert "is solved by some runs at stepSize 0.3 (2 of 3); by no run at stepSize 3.**" in text


def test_the_best_run_is_chosen_by_validation_loss_never_by_test_accuracy(project: Path) -> None:
    folders = run_folders(project)
    for folder in folders:
        rewrite(folder, test_accuracy=1.0, test_loss=0.1, train_loss=0.1, validation_loss=0.5)
    rewrite(folders[3], test_accuracy=0.1, test_loss=0.9, train_loss=0.9, validation_loss=0.4)
    assert f"`{folders[3].name}` has the lowest validation loss, 0.4 nats." in text_of(project)
    weights = (project / "experiments" / "way" / "weights.svg").read_bytes()
    assert weights == (folders[3] / "weights.svg").read_bytes()


def test_without_validation_images_the_best_run_is_chosen_by_train_loss(project: Path) -> None:
    train(project, "own", *({"seed": seed, "data.validation": 0.0} for seed in (1, 2)))
    first, second = run_folders(project, "own")
    rewrite(first, test_accuracy=1.0, train_loss=0.5)
    rewrite(second, test_accuracy=0.1, train_loss=0.4)
    text = text_of(project, "own")
    assert f"`{second.name}` has the lowest train loss, 0.4 nats." in text
    assert "Overfitting" not in text


def test_runs_on_different_validation_images_have_no_best(project: Path) -> None:
    train(project, "own", *({"seed": 1, "data.validation": n} for n in (50.0, 60.0)))
    assert "There is none: the runs have different images" in text_of(project, "own")


def test_the_best_run_has_its_confusion_counts(project: Path) -> None:
    folders = run_folders(project)
    for folder in folders:
        rewrite(folder, validation_loss=0.5)
    counts = {"true_positives": 11, "false_negatives": 2, "false_positives": 3, "true_negatives": 34}
    rewrite(folders[1], validation_loss=0.1, test_accuracy=0.9, balanced_accuracy=0.88, baseline=0.74, **counts)
    text = text_of(project)
    assert "Its test accuracy is 90 % (baseline 74 %), its balanced accuracy 88 %.\n" in text
    assert row(text, "test images") == ["test images", "answer: checkerboard", "answer: not checkerboard"]
    assert row(text, "checkerboard") == ["checkerboard", "11", "2"]
    assert row(text, "not checkerboard") == ["not checkerboard", "3", "34"]
    path = folders[1] / "metrics.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in counts}
    path.write_text(json.dumps(old))  # as dognet wrote it before it counted
    write_manifest(folders[1], read_manifest(folders[1]))
    assert "answer: " not in text_of(project)


def test_the_study_file_says_what_counts_as_solved(project: Path) -> None:
    write_study(project, "way", STUDY.replace("ITERS", "solved: 0.5\nITERS", 1))
    assert write_report("way", project).answer.startswith("The task (50 % test accuracy, baseline 6")


def test_what_every_run_has_is_a_sentence_and_no_column(project: Path) -> None:
    images = "method=gradient_descent dtype=float64 data.positive=checkerboard` and the images in `data/generated-"
    assert f"Every run has `hiddenNodes=4 ITERS=300 {images}" in text_of(project)
    for folder in run_folders(project)[3:]:
        shutil.rmtree(folder)
    text = text_of(project)
    assert f"Every finished run has `hiddenNodes=4 stepSize=0.3 ITERS=300 {images}" in text
    assert row(text, "solved")
    train(project, "own", {"data.positive": "checkerboard"}, {"data.positive": "triangle"}, {"stepSize": 1.0})
    make_of_other_code(next(folder for folder in run_folders(project, "own") if "stepSize=1.0" in folder.name))
    text = text_of(project, "own")
    assert (
        "Every finished run has `hiddenNodes=4 stepSize=0.3 ITERS=30 seed=123 method=gradient_descent dtype=float64`.\n"
        in text
    )
    assert row(text, "data.positive", "solved")
    assert [row(text, label)[1] for label in ("checkerboard", "triangle")] == ["0 of 1 (0 to 79 %)"] * 2


# --- runs that are not there


def test_an_incomplete_grid_is_named_with_what_is_missing(project: Path) -> None:
    missing, failing, changed, damaged, *_ = run_folders(project)
    shutil.rmtree(missing)
    shutil.rmtree(failing)
    (failing / "weights.npz").mkdir(parents=True)  # its place is taken
    with pytest.raises(IsADirectoryError):
        run_once(points_of_study(project, find_study("way", project))[1].settings, project)
    make_of_other_code(changed)
    (damaged / "weights.npz").write_bytes(b"")
    text = text_of(project)
    assert "**Incomplete: 2 of 6 runs are finished.**" in text
    lines = re.findall("- `.*", text)
    assert lines[0] == "- `stepSize=0.3 seed=0`: not run yet"
    assert lines[1].startswith("- `stepSize=0.3 seed=1`: failed: IsADirectoryError: ")
    assert lines[2] == "- `stepSize=0.3 seed=2`: numeric code changed: run it again"
    assert lines[3].startswith("- `stepSize=3.0 seed=0`: weights.npz: changed since it was written")
    assert "(incomplete)" in (project / "experiments" / "README.md").read_text()


def test_many_missing_runs_are_counted_by_reason(project: Path) -> None:
    train(project, "own", *({"seed": seed} for seed in range(10)))
    folders = run_folders(project, "own")
    for folder in folders[:7]:
        make_of_other_code(folder)
    for folder in folders[7:9]:
        (folder / "weights.npz").unlink()
    names = [f"`{folder.name}`" for folder in folders]
    assert text_of(project, "own").split("## Missing runs\n\n")[1].splitlines()[:3] == [
        f"- 7 runs: numeric code changed: run it again: {', '.join(names[:3])}, …",
        f"- 2 runs: weights.npz: missing: {', '.join(names[7:9])}",
        "",
    ]


def test_a_study_without_a_finished_run_is_refused_with_the_way_out(project: Path) -> None:
    for folder in run_folders(project):
        make_of_other_code(folder)
    error = "study way has no finished run of its grid: dognet --multirun experiment=way"
    with pytest.raises(UserError, match=f"^{error}$"):
        write_report("way", project)
    with pytest.raises(UserError, match=r"^no study wya, there are way$"):
        write_report("wya", project)


def test_runs_beside_the_grid_leave_the_report_as_it_is(project: Path) -> None:
    before = text_of(project)
    (point, *_) = points_of_study(project, find_study("way", project))
    beside = run_once(point.settings.model_copy(update={"stepSize": 3.0, "ITERS": 900}), project)
    rewrite(beside.folder, train_loss=1e-6)
    assert text_of(project) == before
    assert run_to_keep("way", project).settings.ITERS == 300


def test_a_partial_sweep_does_not_replace_a_complete_report(project: Path) -> None:
    before = text_of(project)
    shutil.rmtree(run_folders(project)[0])
    told = "5 of 6 runs of way are finished, and the existing report has all: dognet report way replaces it"
    with pytest.raises(UserError, match=f"^{told}$"):
        write_report("way", project, replace_complete=False)
    assert (project / "experiments" / "way" / "report.md").read_text() == before
    assert "Incomplete: 5 of 6" in text_of(project)
    shutil.rmtree(run_folders(project)[0])
    write_report("way", project, replace_complete=False)  # the report that is there is incomplete too


# --- studies without a file


@pytest.mark.parametrize(
    ("settings", "pictures"),
    [
        ([{"seed": 1}, {"seed": 2}], {"loss", "gap", "accuracy", "weights"}),
        (
            [{"hiddenNodes": h, "stepSize": s} for h in (1, 2) for s in (0.1, 1.0)],
            {"loss", "gap", "accuracy", "weights"},
        ),
        ([{"hiddenNodes": 1 + h, "stepSize": 0.1 + h, "ITERS": 10 + h} for h in (0, 1)], {"loss", "gap", "weights"}),
        ([{"dtype": "float32"}, {"dtype": "float64"}], {"loss", "gap", "weights"}),
        ([{"ITERS": ITERS} for ITERS in (0, 10, 20)], {"loss", "gap", "accuracy", "weights"}),
        ([{}], {"loss", "gap", "accuracy", "weights"}),
    ],
)
def test_a_sweep_without_a_study_file_is_reported_too(
    project: Path, settings: list[dict[str, Any]], pictures: set[str]
) -> None:
    train(project, "own", *settings)
    folder = project / "experiments" / "own"
    folder.joinpath("accuracy.svg").write_text("of an older report")
    assert text_of(project, "own").startswith("# What do the runs of own show?\n")
    assert {path.stem for path in folder.glob("*.svg")} == pictures
    assert "dognet --multirun study=own …" in (folder / "report.md").read_text()


def test_other_code_and_damage_are_left_out_and_named(project: Path) -> None:
    train(project, "own", *({"seed": seed} for seed in (1, 2, 3, 4)))
    one, other, _, damaged = run_folders(project, "own")
    make_of_other_code(one)
    make_of_other_code(other)
    (damaged / "curve.csv").write_text("iteration\n")
    text = text_of(project, "own")
    assert "**Incomplete: 1 of 4 runs are finished.**" in text
    assert f"- `{one.name}`: numeric code changed: run it again\n- `{other.name}`: numeric code changed" in text
    assert f"- `{damaged.name}`: curve.csv: changed since it was written" in text


def test_images_that_have_changed_are_not_taken_for_the_same(project: Path) -> None:
    train(project, "own", {"seed": 1}, {"seed": 2})
    usual = small(ITERS=30, study="own", source="generated", seed=3)
    run_once(usual.model_copy(update={"data": usual.data.model_copy(update={"seed": 34})}), project)
    text = text_of(project, "own")
    assert row(text, "images", "solved")
    assert sorted(cells[1] for cells in rows(text)[2:]) == ["0 of 1 (0 to 79 %)", "0 of 2 (0 to 66 %)"]
    assert "dtype=float64 data.positive=checkerboard`.\n" in text


def test_images_are_named_by_their_folder(project: Path) -> None:
    train(project, "own", *({"seed": seed, "data.seed": 33 + seed // 3} for seed in (1, 2, 3, 4)))
    text = text_of(project, "own")
    assert row(text, "data", "solved")
    assert [row(text, f"generated-seed-{seed}")[1] for seed in ("33", "34")] == ["0 of 2 (0 to 66 %)"] * 2


def test_runs_on_different_images_have_no_best(project: Path) -> None:
    train(project, "own", *({"data.train_rows": rows, "seed": seed} for rows in (50, 60) for seed in (1, 2)))
    text = text_of(project, "own")
    assert "There is none: the runs have different images, and losses on different images can't be compared." in text
    assert [row(text, f"generated-train_rows-{each}")[1] for each in ("50", "60")] == ["0 of 2 (0 to 66 %)"] * 2
    with pytest.raises(
        UserError, match=r"^own has runs on different images, whose losses can't be compared: name a run"
    ):
        run_to_keep("own", project)


def test_a_report_is_written_where_the_images_are_gone(project: Path) -> None:
    train(project, "own", {"seed": 1}, {"seed": 2})
    shutil.rmtree(project / "data")
    assert "weights.svg" not in text_of(project, "own")


# --- the run to keep


def test_the_run_to_keep_is_a_folder_or_the_best_of_a_study(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = run_folders(project)
    for folder in run_folders(project):
        rewrite(folder, validation_loss=0.5)
    rewrite(second, validation_loss=0.1)
    assert run_to_keep("way", project) == read_run(second)
    assert run_to_keep(str(first), project) == read_run(first)
    assert run_to_keep(f"{project}/experiments/way/", project) == read_run(second)
    project.with_name("link").symlink_to(project)
    assert run_to_keep(f"{project.with_name('link')}/experiments/way", project) == read_run(second)
    (second / "curve.csv").write_text("")
    assert run_to_keep("way", project) == read_run(first)
    assert capsys.readouterr().err.startswith("way: skipped stepSize=0.3 seed=1: curve.csv: changed since it was")
    with pytest.raises(RunError, match=r"curve\.csv: changed since"):
        run_to_keep(str(second), project)


def test_what_has_no_run_to_keep_is_refused_in_one_line(project: Path) -> None:
    folder = project / "experiments" / "own" / "runs" / "seed=1"
    folder.mkdir(parents=True)
    for name, error in {
        "pipeline": "pipeline has no finished run: dvc repro",
        str(folder): f"{folder}: no run has ended here",
        "own": "study own has no finished run: dognet --multirun study=own …",
        "nothing": "no study nothing, there are own, way",
        "elsewhere/way": f"study must be {bound('study')}, got 'elsewhere/way'",
    }.items():
        with pytest.raises(UserError) as caught:
            run_to_keep(name, project)
        assert str(caught.value) == error


# --- files and the command


def arguments(*studies: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return parser.parse_args(studies)


def test_the_list_of_studies_has_the_answer_of_each(project: Path) -> None:
    write_study(project, "bar", STUDY.replace("Which way?", "This | that?").replace("range(3)", "7"))
    (point, *_) = points_of_study(project, find_study("bar", project))
    run_once(point.settings, project)
    reports = {name: write_report(name, project) for name in ("way", "bar")}
    listing = (project / "experiments" / "README.md").read_text()
    assert f"| [way](way/report.md) | Which way? | {reports['way'].answer} |" in listing
    assert f"| [bar](bar/report.md) | This &#124; that? | {reports['bar'].answer} (incomplete) |" in listing


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff", b'{"question": "Which way?"}', None])
def test_a_damaged_report_hinders_no_other(project: Path, damage: bytes | None) -> None:
    write_study(project, "bar", STUDY)
    folder = project / "experiments" / "bar"
    (folder / "report.md").write_text("# Which way?\n")
    if damage is not None:
        (folder / "report.json").write_bytes(damage)
    write_report("way", project)
    assert "[way]" in (project / "experiments" / "README.md").read_text()
    assert "[bar]" not in (project / "experiments" / "README.md").read_text()


def test_studies_that_cannot_be_reported_take_a_line_each(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = "hydra: {sweeper: {params: {seed: '1,2'}}}"
    monkeypatch.chdir(project)
    for name, text in {"a": "seed: {", "b": f"ITERS: many\n{grid}", "c": grid.replace("1,2", "((")}.items():
        write_study(project, name, text)
        (project / "experiments" / name / "runs").mkdir()
    with pytest.raises(UserError) as caught:
        report.command(arguments(), project)
    bad, word, grid = str(caught.value).splitlines()
    assert bad.startswith(f"study a: {project}/experiments/a/study.yaml: ")
    assert word == "study b: ITERS must be a whole number from 0 to 10^15, got 'many'"
    assert grid.startswith("study c: ")
    answer = report.read_report(project / "experiments" / "way").answer
    assert capsys.readouterr().out == f"{answer}\nexperiments/way/report.md\n"


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no study has runs yet: dognet --multirun experiment=width$"):
        report.command(arguments(), make_project(tmp_path / "project"))


def test_a_report_cannot_leave_its_folder(project: Path) -> None:
    shutil.copytree(project / "experiments" / "way" / "runs", project / "elsewhere" / "runs")
    for study in ("../elsewhere", str(project / "elsewhere")):
        with pytest.raises(UserError, match=r"^study must be a plain name: "):
            write_report(study, project)
    assert [path.name for path in (project / "elsewhere").iterdir()] == ["runs"]


def test_a_sweep_ends_in_the_report_that_the_command_writes_again(clone: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(clone, tmp_path / "project", symlinks=True))
    write_study(project, "way", STUDY)
    run = run_in(project)
    swept = run("dognet", "--multirun", "experiment=way", "hydra/launcher=basic", "tracking_uri=none").stdout
    before = (project / "experiments" / "way" / "report.md").read_bytes()
    again = run("dognet", "report", "way").stdout
    assert swept.splitlines()[-2:] == again.splitlines()
    assert again.splitlines()[1] == "experiments/way/report.md"
    assert (project / "experiments" / "way" / "report.md").read_bytes() == before


def test_a_sweep_with_nothing_to_do_leaves_the_report_as_it_is(project: Path, run: Run) -> None:
    words = ("dognet", "--multirun", "ITERS=5", "data.train_rows=50", "hydra/launcher=basic", "tracking_uri=none")
    report = project / "experiments" / "adhoc" / "report.md"
    first = run(*words, "seed=1,2").stdout.splitlines()
    written = report.stat().st_mtime_ns
    again = run(*words, "seed=1,2").stdout.splitlines()
    assert again == ["study adhoc: 2 runs, 2 finished, 0 to do", *first[-2:]]
    assert report.stat().st_mtime_ns == written
    run(*words, "seed=1,2,3")
    assert report.stat().st_mtime_ns > written


def test_a_sweep_with_nothing_to_do_reports_its_own_runs_after_conf_has_changed(project: Path, run: Run) -> None:
    (project / "experiments" / "own").mkdir()
    (project / "experiments" / "own" / "study.yaml").write_text("hydra: {sweeper: {params: {seed: 1}}}\n")
    sweep = ("dognet", "--multirun", "experiment=own", "hydra/launcher=basic", "tracking_uri=none")
    (project / "conf" / ".#config.yaml").symlink_to("nowhere")  # as an editor leaves it
    answers = []
    for before, after in (("10000", "5"), ("5", "500"), ("500", "5")):
        edit(project / "conf" / "config.yaml", f"ITERS: {before} ", f"ITERS: {after} ")
        run(*sweep)
        answers.append((project / "experiments" / "own" / "report.md").read_text())
    assert answers[0] == answers[2] != answers[1]
