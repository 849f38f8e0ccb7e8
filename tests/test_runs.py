"""The run folder: only a whole one counts, whatever happened to its files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dognet import files, pipeline, runs, sync, tracking
from dognet.config import Config, Data
from dognet.network import InputError, NNet
from dognet.runs import RunError


def settings(**changes: Any) -> Config:
    data = Data(kind="generated", positive="checkerboard", train_rows=200, test_rows=50, seed=1)
    values = {"hiddenNodes": 2, "stepSize": 0.5, "ITERS": 120, "seed": 4, "dtype": "float64", "study": "s"}
    return Config(**(values | {"data": data, "source": "generated"} | changes))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return pipeline.run(settings(), tmp_path).folder


def test_a_finished_run_reads_as_it_was_written(finished: Path) -> None:
    run = runs.read(finished)
    assert run.finished
    assert sorted(path.name for path in finished.iterdir()) == sorted([*runs.FILES, "run.json"])
    assert run.curve()[0][0] == 0
    assert run.curve()[-1] == (120, run.metrics["train_loss"], run.metrics["train_accuracy"])
    assert run.config == {
        "hiddenNodes": 2,
        "stepSize": 0.5,
        "ITERS": 120,
        "seed": 4,
        "dtype": "float64",
        "data": {
            "source": "generated",
            "positive": "checkerboard",
            "train_rows": 200,
            "seed": 1,
            "train_sha256": files.sha256(finished.parents[3] / "data" / "generated" / "train.csv"),
        },
    }
    assert isinstance(run.net(), NNet)


@pytest.mark.parametrize("name", [*runs.FILES, "run.json"])
def test_a_file_that_is_cut_or_changed_at_any_byte_is_refused_by_its_name(finished: Path, name: str) -> None:
    path, rng = finished / name, random.Random(name)
    content = path.read_bytes()
    step = 50 if name in runs.PICTURES else 1  # of a picture no figure is read
    damages = [content[:length] for length in range(0, len(content.rstrip()), step)]
    for k in range(0, len(content), step):
        damages.append(content[:k] + bytes([content[k] ^ 1 << rng.randrange(8)]) + content[k + 1 :])
    damages += [content + b"x", b"[]", b"{}"]
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            run = runs.read(finished)
        except RunError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
        else:  # white space between the values of run.json is all that may change
            assert name == "run.json"
            assert json.dumps(run.info)[:-1] == json.dumps(json.loads(content)).partition(', "checksum"')[0]
    path.unlink()
    with pytest.raises(RunError, match=name.replace(".", r"\.") + ": missing"):
        runs.read(finished)
    assert list(runs.over(finished)) == []


def test_weights_changed_at_any_bit_are_refused_or_the_same(finished: Path) -> None:
    path = finished / "weights.npz"
    content, net = path.read_bytes(), NNet.load(path)
    refused = 0
    for k in range(8 * len(content)):
        path.write_bytes(content[: k // 8] + bytes([content[k // 8] ^ 1 << k % 8]) + content[k // 8 + 1 :])
        try:
            other = NNet.load(path)
        except InputError as error:
            assert str(error).startswith(f"{path} is not a whole network file")
            refused += 1
        else:  # the date of a part of the archive, for one
            assert all(np.array_equal(*pair) for pair in zip(net.weights(), other.weights(), strict=True))
            assert list(net.y_classes) == list(other.y_classes)
    assert refused > 4 * len(content)


@pytest.mark.parametrize("name", [*runs.FILES, "run.json"])
def test_nobody_believes_a_run_with_a_changed_byte(finished: Path, name: str) -> None:
    root, digest = finished.parents[3], runs.read(finished).info["digest"]
    path = finished / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"e", b"f", 1) if name == "run.json" else content[:-2] + b"~" + content[-1:])
    assert runs.finished(finished, digest) is None  # a sweep doesn't skip it, a report names it as unfinished
    assert "continued_from" not in pipeline.run(settings(ITERS=130), root).info
    recorder = sync.Recorder(f"sqlite:///{root}/mlflow.db", root)
    recorder.catch_up(finished)
    assert recorder.damaged
    assert not recorder.trouble
    assert tracking.recorded(recorder.uri, "s") in (set(), None)
    assert pipeline.run(settings(), root).info["digest"] == digest
    assert path.read_bytes() == content or name in ("run.json", "weights.npz")


def test_a_damaged_run_is_trained_again(finished: Path) -> None:
    before = (finished / "weights.npz").read_bytes()
    (finished / "weights.npz").write_bytes(b"half")
    root = finished.parents[3]
    assert pipeline.run(settings(), root).folder == finished
    assert (finished / "weights.npz").read_bytes() == before


def test_a_run_that_is_trained_anew_is_there_until_the_training_is_over(finished: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(settings(force=True), finished.parents[3], report=interrupt)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_the_digest_changes_with_what_changes_the_result_and_with_nothing_else() -> None:
    def digest(config: Config, train: str = "a", test: str = "b") -> str:
        return runs.digest(runs.describe(config, train), test)

    digests = {digest(settings())}
    digests |= {digest(settings(**{name: value})) for name, value in (("hiddenNodes", 3), ("stepSize", 0.6))}
    digests |= {digest(settings(**{name: value})) for name, value in (("ITERS", 7), ("seed", 5), ("dtype", "float32"))}
    digests |= {digest(settings(), train="c"), digest(settings(), test="c")}
    triangles = Data(kind="generated", positive="triangle", train_rows=200, test_rows=50, seed=1)
    digests.add(digest(settings(data=triangles)))
    assert len(digests) == 9
    assert digest(settings(study="other", force=True, tracking_uri="http://x")) == digest(settings())


def test_the_code_counts_as_python_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def digest_of(code: str) -> str:
        (tmp_path / "nnet.py").write_text(code)
        monkeypatch.setattr(runs.nnet, "__file__", str(tmp_path / "nnet.py"))
        runs.code_digest.cache_clear()
        return runs.code_digest()

    try:
        plain = digest_of("def f(x):\n    return x + 1\n")
        assert digest_of('"""A module."""\n\ndef f(x):\n    """Add."""\n    # one\n    return (x + 1)\n') == plain
        assert digest_of("def f(x):\n    return x + 2\n") != plain
    finally:
        monkeypatch.undo()
        runs.code_digest.cache_clear()


def test_ITERS_and_test_images_do_not_change_the_trajectory() -> None:
    one, other = runs.describe(settings(), "a"), runs.describe(settings(ITERS=9), "a")
    assert runs.trajectory(one) == runs.trajectory(other)
    assert runs.trajectory(one) != runs.trajectory(runs.describe(settings(), "b"))


def test_text_files_carry_ten_digits(finished: Path) -> None:
    assert runs.curve_row(3, 1 / 3, 2 / 3) == "3,0.3333333333,0.6666666667\n"
    for value in json.loads((finished / "metrics.json").read_text()).values():
        assert isinstance(value, str) or float(f"{value:.10g}") == value


@pytest.mark.parametrize("shorter", [0, 50, 100, 115])
def test_a_longer_run_goes_on_from_the_longest_shorter_one(tmp_path: Path, shorter: int) -> None:
    for ITERS in (0, shorter):
        pipeline.run(settings(ITERS=ITERS), tmp_path)
    alone = pipeline.run(settings(study="alone"), tmp_path)
    went_on = pipeline.run(settings(), tmp_path)
    assert went_on.info["continued_from"] == runs.folder_name(settings(ITERS=shorter))
    assert went_on.info["sha256"] == alone.info["sha256"]
    forced = pipeline.run(settings(force=True), tmp_path)
    assert "continued_from" not in forced.info


def test_a_damaged_shorter_run_is_not_gone_on_from(tmp_path: Path) -> None:
    shorter = pipeline.run(settings(ITERS=50), tmp_path)
    (shorter.folder / "weights.npz").write_bytes(b"half")
    assert "continued_from" not in pipeline.run(settings(), tmp_path).info


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "\udcff")
    assert path.read_text() == "whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_failed_run_keeps_settings_error_and_traceback(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError):
        pipeline.run(settings(stepSize=1e308), tmp_path)
    (failed,) = runs.over(tmp_path)
    assert not failed.finished
    assert failed.config["stepSize"] == 1e308
    assert "no longer finite" in failed.info["error"]
    assert "Traceback" in (failed.folder / "traceback.txt").read_text()
    assert not (failed.folder / "weights.npz").exists()
