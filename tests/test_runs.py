"""The run folder: only a whole one counts, whatever happened to its files."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dognet import files
from dognet.network import InputError, NNet
from dognet.runs.digest import code_digest, digest, folder_name, trajectory
from dognet.runs.folder import (
    FILES,
    RunError,
    ended_runs,
    longest_shorter,
    read_manifest,
    read_run,
    reason_to_train,
    write_manifest,
)
from dognet.runs.folder import finished as finished_run
from dognet.runs.run import CURVE, ImagesId, curve_text
from dognet.settings import Generated, Settings, TrainingSettings
from dognet.stages.once import run_once
from dognet.sweep import single


def settings(**changes: Any) -> Settings:
    data = Generated(kind="generated", positive="checkerboard", train_rows=200, test_rows=50, seed=1)
    values = {"hiddenNodes": 2, "stepSize": 0.5, "ITERS": 120, "seed": 4, "dtype": "float64", "study": "s"}
    execution = {"force": False, "plan": False, "threads": 1, "tracking_uri": None}
    return Settings.model_validate(values | execution | {"data": data, "source": "generated"} | changes)


IMAGES = ImagesId(source="generated", positive="checkerboard", pixels=("a", "b"), train_sha256="a")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return run_once(settings(), tmp_path).folder


def test_pictures_of_the_run_of_before_go_when_it_is_trained_again(finished: Path) -> None:
    for name in ("curve.png", "curve.svg", "of the user.png"):
        (finished / name).write_bytes(b"a picture")
    run_once(settings(force=True), finished.parents[3])
    assert [path.name for path in finished.iterdir() if path.suffix in (".png", ".svg")] == ["of the user.png"]


def test_a_finished_run_reads_as_it_was_written(finished: Path) -> None:
    run = read_run(finished)
    assert run.finished
    assert sorted(path.name for path in finished.iterdir()) == sorted([*FILES, "run.json"])
    assert run.curve().index[0] == 0
    assert run.curve().loc[120].to_dict() == {name: getattr(run.figures, name) for name in CURVE[:2]}
    assert run.settings == TrainingSettings(hiddenNodes=2, stepSize=0.5, ITERS=120, seed=4, dtype="float64")
    assert run.images == ImagesId(
        source="generated",
        positive="checkerboard",
        pixels=("pixel0", "pixel1", "pixel2", "pixel3"),
        train_rows=200,
        seed=1,
        train_sha256=files.sha256(finished.parents[3] / "data" / "generated" / "train.csv"),
    )
    assert run.manifest.study == "s"
    assert run.manifest.digest == run.figures.digest
    assert run.manifest.code == code_digest("gradient_descent")
    assert NNet.load(finished / "weights.npz").W1.shape == (5, 2)


@pytest.mark.soak
@pytest.mark.parametrize("name", [*FILES, "run.json"])
def test_a_file_that_is_cut_or_changed_at_any_byte_is_refused_by_name(finished: Path, name: str) -> None:
    path, rng = finished / name, random.Random(name)
    content = path.read_bytes()
    step = 1 if "DOGNET_SOAK" in os.environ or len(content) < 2000 else 3
    damages = [content[:length] for length in range(0, len(content.rstrip()), step)]
    for k in range(0, len(content), step):
        damages.append(content[:k] + bytes([content[k] ^ 1 << rng.randrange(8)]) + content[k + 1 :])
    damages += [content + b"x", b"[]", b"{}"]
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            run = read_run(finished)
        except RunError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
        else:  # white space between the values of run.json is all that may change
            assert name == "run.json"
            assert run.manifest.model_dump(mode="json") | {"checksum": "x"} == json.loads(content) | {"checksum": "x"}
    path.unlink()
    with pytest.raises(RunError, match=name.replace(".", r"\.") + ": missing"):
        read_run(finished)
    assert list(ended_runs(finished)) == []


@pytest.mark.soak
def test_weights_changed_at_any_bit_are_refused_or_the_same(finished: Path) -> None:
    path = finished / "weights.npz"
    content, net = path.read_bytes(), NNet.load(path)
    refused = 0
    step = 1 if "DOGNET_SOAK" in os.environ else 3  # every third comes to every bit of a byte
    for k in range(0, 8 * len(content), step):
        path.write_bytes(content[: k // 8] + bytes([content[k // 8] ^ 1 << k % 8]) + content[k // 8 + 1 :])
        try:
            other = NNet.load(path)
        except InputError as error:
            assert str(error).startswith(f"{path} is not a complete network file")
            refused += 1
        else:  # the date of a part of the archive, for one
            assert np.array_equal(net.W1, other.W1)
            assert np.array_equal(net.W2, other.W2)
            assert list(net.y_classes) == list(other.y_classes)
    assert refused > 4 * len(content) / step


@pytest.mark.parametrize("name", [*FILES, "run.json"])
def test_nobody_believes_a_run_with_a_changed_byte(finished: Path, name: str) -> None:
    root, name_of_result = finished.parents[3], read_run(finished).figures.digest
    path = finished / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"e", b"f", 1) if name == "run.json" else content[:-2] + b"~" + content[-1:])
    assert finished_run(finished, name_of_result) is None  # a sweep doesn't skip it, a report names it as unfinished
    assert run_once(settings(ITERS=130), root).manifest.continued_from is None
    assert [run.folder for run in ended_runs(finished)] == []  # nor is it recorded in MLflow
    assert run_once(settings(), root).figures.digest == name_of_result
    assert path.read_bytes() == content or name in ("run.json", "weights.npz")


def test_a_file_that_vanishes_while_it_is_verified_is_missing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(path: Path) -> None:  # as another process does that trains the run again
        raise FileNotFoundError(path)

    monkeypatch.setattr("dognet.runs.folder.sha256", remove)
    with pytest.raises(RunError, match=r"config\.yaml: missing"):
        read_run(finished)


def test_a_damaged_run_is_trained_again(finished: Path) -> None:
    before = (finished / "weights.npz").read_bytes()
    (finished / "weights.npz").write_bytes(b"half")
    root = finished.parents[3]
    assert run_once(settings(), root).folder == finished
    assert (finished / "weights.npz").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_run_that_is_trained_anew_is_there_until_the_training_is_over(
    finished: Path, error: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(error):
        run_once(settings(force=True), finished.parents[3], callback=interrupt)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_a_forced_training_that_fails_leaves_the_run_of_other_code(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    for module in ("digest", "folder"):
        monkeypatch.setattr(f"dognet.runs.{module}.code_digest", lambda _: "edited since")
    monkeypatch.setattr("dognet.stages.once.train", fail)
    with pytest.raises(MemoryError):
        run_once(settings(force=True), finished.parents[3])
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_a_picture_that_cannot_be_drawn_leaves_the_run_finished(finished: Path) -> None:
    (finished / "weights.svg").mkdir()
    with pytest.raises(OSError, match=r"weights\.svg"):
        single.train(settings(force=True, tracking_uri="none"), finished.parents[3], [])
    assert read_run(finished).finished


def forced(root: Path, start: Any) -> None:
    """Train at the moment when all others do."""
    start.wait()
    run_once(settings(force=True), root)


def test_four_trainings_of_one_run_at_once_leave_it_whole(finished: Path) -> None:
    context, root = multiprocessing.get_context("forkserver"), finished.parents[3]
    context.set_forkserver_preload(["dognet.stages.once"])
    for _ in range(5):
        start = context.Barrier(4)
        processes = [context.Process(target=forced, args=(root, start)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
        assert read_run(finished).finished


def test_the_digest_changes_with_what_changes_the_result_and_with_nothing_else() -> None:
    def of(test: str = "b", images: dict[str, Any] | None = None, **changes: Any) -> str:
        return digest(settings(**changes), IMAGES.model_copy(update=images or {}), test)

    digests = {of(), of(hiddenNodes=3), of(stepSize=0.6), of(ITERS=7), of(seed=5), of(dtype="float32")}
    digests |= {of(test="c"), of(images={"train_sha256": "c"}), of(images={"positive": "triangle"})}
    digests |= {of(images={"validation_sha256": "c"}), of(images={"validation_sha256": "d"})}
    assert len(digests) == 11
    assert of(study="other", force=True, plan=True, threads=2, tracking_uri="http://x", source="other") == of()
    assert of(images={"source": "other"}) == of()


class WithDecay(Settings):
    decay: float = 0


def test_a_setting_that_has_its_default_renames_nothing_and_changes_no_digest() -> None:
    old = settings()
    new = WithDecay.model_validate(old.model_dump())
    names = set(TrainingSettings.model_fields)
    TrainingSettings.model_fields["decay"] = WithDecay.model_fields["decay"]
    try:
        for function in (folder_name, lambda each: digest(each, IMAGES, "b"), lambda each: trajectory(each, IMAGES)):
            assert function(new) == function(old)
            assert function(new.model_copy(update={"decay": 0.1})) != function(old)
        assert folder_name(new.model_copy(update={"decay": 0.1})) == f"{folder_name(old)},decay=0.1"
    finally:
        del TrainingSettings.model_fields["decay"]
    assert set(TrainingSettings.model_fields) == names


def test_the_code_counts_as_python_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def digest_of(code: str) -> str:
        (tmp_path / "network" / "methods").mkdir(parents=True, exist_ok=True)
        (tmp_path / "network" / "nnet.py").write_text(code)
        for name in ("__init__", "guess"):
            (tmp_path / "network" / "methods" / f"{name}.py").touch()
        monkeypatch.setattr("dognet.runs.digest.PACKAGE", tmp_path)
        code_digest.cache_clear()
        return code_digest("guess")

    try:
        plain = digest_of("def f(x):\n    return x + 1\n")
        assert digest_of('"""A module."""\n\ndef f(x):\n    """Add."""\n    # one\n    return (x + 1)\n') == plain
        assert digest_of("def f(x):\n    return x + 2\n") != plain
    finally:
        monkeypatch.undo()
        code_digest.cache_clear()


def test_ITERS_validation_and_test_images_do_not_change_the_trajectory() -> None:
    assert trajectory(settings(), IMAGES) == trajectory(settings(ITERS=9), IMAGES)
    with_validation = IMAGES.model_copy(update={"validation_sha256": "b"})
    assert trajectory(settings(), IMAGES) == trajectory(settings(), with_validation)
    assert trajectory(settings(), IMAGES) != trajectory(settings(seed=9), IMAGES)
    assert trajectory(settings(), IMAGES) != trajectory(settings(), IMAGES.model_copy(update={"train_sha256": "b"}))


def test_text_files_carry_ten_digits(finished: Path) -> None:
    assert curve_text([(3, 1 / 3, 2 / 3)]).splitlines()[1] == "3,0.3333333333,0.6666666667"
    for value in json.loads((finished / "metrics.json").read_text()).values():
        assert isinstance(value, str) or float(f"{value:.10g}") == value


@pytest.mark.parametrize("shorter", [0, 50, 100, 115])
def test_a_longer_run_resumes_from_the_longest_shorter_one(tmp_path: Path, shorter: int) -> None:
    for ITERS in (0, shorter):
        run_once(settings(ITERS=ITERS), tmp_path)
    alone = run_once(settings(study="alone"), tmp_path)
    went_on = run_once(settings(), tmp_path)
    assert went_on.manifest.continued_from == folder_name(settings(ITERS=shorter))
    assert went_on.manifest.sha256 == alone.manifest.sha256
    forced = run_once(settings(force=True), tmp_path)
    assert forced.manifest.continued_from is None


def test_no_run_resumes_from_a_damaged_one(tmp_path: Path) -> None:
    shorter = run_once(settings(ITERS=50), tmp_path)
    (shorter.folder / "weights.npz").write_bytes(b"half")
    assert run_once(settings(), tmp_path).manifest.continued_from is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "\udcff")
    assert path.read_text() == "whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_failed_run_keeps_settings_error_and_traceback(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError):
        run_once(settings(stepSize=1e308, dtype="float32"), tmp_path)
    (failed,) = ended_runs(tmp_path)
    assert not failed.finished
    assert failed.settings.stepSize == 1e308
    assert failed.manifest.error is not None
    assert "no longer finite" in failed.manifest.error
    assert "Traceback" in (failed.folder / "traceback.txt").read_text()
    assert not (failed.folder / "weights.npz").exists()


@pytest.mark.parametrize("study", ["../../../up", "/abs", "..", ""])
def test_a_run_of_a_study_that_is_no_plain_name_is_refused(finished: Path, study: str) -> None:
    write_manifest(finished, read_manifest(finished).model_copy(update={"study": study}))  # as a stranger may send it
    with pytest.raises(RunError) as caught:
        read_run(finished)
    assert str(caught.value) == f"{finished / 'run.json'}: study: not a plain name"


OLD_MANIFEST = {  # as dognet 0.1 wrote it
    "status": "finished",
    "study": "s",
    "start": "2026-11-01T10:00:00.000+00:00",
    "seconds": 0.1,
    "digest": "0123456789abcdef",
    "trajectory": "0123456789abcdef",
    "sha256": {"config.yaml": "0" * 64},
    "checksum": "0123456789abcdef",
}


def test_a_run_of_dognet_0_1_is_recognised_and_trained_again(finished: Path) -> None:
    before, root = read_run(finished), finished.parents[3]
    (finished / "run.json").write_text(json.dumps(OLD_MANIFEST))
    with pytest.raises(RunError) as caught:
        read_run(finished)
    assert str(caught.value) == f"{finished / 'run.json'}: made by dognet 0.1, whose runs this version trains again"
    assert list(ended_runs(finished)) == []
    assert before.manifest.test_sha256 is not None
    assert reason_to_train(finished, before.images, before.manifest.test_sha256) == "made by dognet 0.1"
    again = run_once(settings(), root)
    assert again.manifest.sha256 == before.manifest.sha256
    moved = Path(shutil.move(root, root.with_name("made by dognet 0.1"))) / finished.relative_to(root)
    (moved / "curve.csv").write_text("")
    assert reason_to_train(moved, before.images, before.manifest.test_sha256) == "damaged"


def test_every_reason_to_train_is_named(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_run(finished)
    assert run.manifest.test_sha256 is not None

    def reason(folder: Path = finished, test: str = run.manifest.test_sha256, **images: str) -> str:
        return reason_to_train(folder, run.images.model_copy(update=images), test)

    assert reason(finished.parent / "other") == "new"
    os.utime(finished / "run.json", (0, 0))  # as from an archive without times: it is there
    assert reason(test="other") == "images changed"
    changes = {"train_sha256", "validation_sha256", "positive"}
    assert {reason(test="other"), *(reason(**{change: "other"}) for change in changes)} == {"images changed"}
    with monkeypatch.context() as context:
        context.setattr("dognet.runs.folder.code_digest", lambda _: "other")
        assert reason() == "numeric code changed"
    (finished / "curve.csv").write_text("half")
    assert reason() == "damaged"
    with pytest.raises(FloatingPointError):
        run_once(settings(stepSize=1e308, dtype="float32"), finished.parents[3])
    (failed,) = (each for each in ended_runs(finished.parent) if not each.finished)
    assert reason(failed.folder) == "failed"


def test_runs_below_a_symbolic_link_are_found(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished.parent)
    assert [run.folder.name for run in ended_runs(tmp_path / "link")] == [finished.name]
    (finished.parent / "round").symlink_to(finished.parent)  # never ends
    assert [run.folder.name for run in ended_runs(tmp_path / "link")] == [finished.name]
    linked = tmp_path / "link" / finished.name.replace("ITERS=120", "ITERS=130")
    shorter = longest_shorter(linked, settings(ITERS=130), read_run(finished).images)
    assert shorter is not None
