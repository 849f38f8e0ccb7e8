"""What a run keeps on its way, and the pictures that are made of it: in its folder, as PNG, in MLflow."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import run_in, small
from mlflow import MlflowClient
from PIL import Image

from dognet import images, pipeline, plots, runs
from dognet.network import NNet

PNG = [name.replace(".svg", ".png") for name in runs.PICTURES]


def kept(folder: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    with np.load(folder / "snapshots.npz", allow_pickle=False) as arrays:
        return {int(k): (arrays["W1"][i], arrays["W2"][i]) for i, k in enumerate(arrays["iterations"])}


def test_a_run_keeps_its_weights_as_a_training_of_that_length_has_them(tmp_path: Path) -> None:
    run = pipeline.run(small(ITERS=350), tmp_path)
    X, y = images.split(images.read(next(tmp_path.glob("data/*/train.csv"))), "checkerboard")
    assert list(kept(run.folder)) == [0, 10, 30, 100, 300, 350]
    for iteration, (W1, W2) in kept(run.folder).items():
        net = NNet()
        net.fit(X, y, 4, 0.3, iteration, 123)
        assert (W1 == net.W1).all()
        assert (W2 == net.W2).all()
    assert (kept(run.folder)[350][0] == run.net().weights()[0]).all()


@pytest.mark.parametrize("shorter", [0, 30, 77, 300])
def test_a_run_that_goes_on_keeps_what_one_from_scratch_keeps(tmp_path: Path, shorter: int) -> None:
    pipeline.run(small(ITERS=shorter), tmp_path / "in two")
    went_on, whole = (pipeline.run(small(ITERS=350), tmp_path / where) for where in ("in two", "in one"))
    assert "continued_from" in went_on.info
    for name in ("snapshots.npz", "curve.csv", *runs.PICTURES):
        assert (went_on.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_of_very_many_weights_only_the_last_are_kept(tmp_path: Path) -> None:
    few = dataclasses.replace(small().data, train_rows=20, test_rows=20)
    run = pipeline.run(small(ITERS=11, hiddenNodes=20_000, data=few), tmp_path)
    assert list(kept(run.folder)) == [11]
    assert run.curve()[-2][0] == 10


def words(folder: Path, picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)", (folder / picture).read_text(encoding="utf-8"))


def test_the_pictures_show_the_test_images_as_predict_takes_them(tmp_path: Path) -> None:
    run = pipeline.run(small(ITERS=300), tmp_path)
    table = images.read(next(tmp_path.glob("data/*/test.csv")))
    X, y = images.split(table, "checkerboard")
    wrong = int((run.net().predict(X) != y).sum())
    assert wrong
    shown = words(run.folder, "mistakes.svg")
    assert any(text.startswith(f"{wrong} of 50 test images") for text in shown)
    yhat = run.net().predict(X, type="probs")
    surest = max(np.abs(yhat - 0.5)[run.net().predict(X) != y])
    assert {f"{0.5 + surest:.3f}", f"{0.5 - surest:.3f}"} & set(shown)
    counts = table["label"].value_counts()
    assert {f"{name} ({count})" for name, count in counts.items()} <= set(words(run.folder, "activations.svg"))
    W1, _ = run.net().weights()
    plain = np.array([[1 / (1 + np.exp(-(sum(x * w for x, w in zip(row / 255, W1[:-1, k], strict=True)) + W1[-1, k])))
                       for k in range(4)] for row in X])  # fmt: skip
    expected = plots.activations(plain, run.net().weights()[1], table["label"].to_numpy(str), "checkerboard")
    assert (run.folder / "activations.svg").read_text(encoding="utf-8") == expected


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return pipeline.run(small(ITERS=300), tmp_path).folder


def test_dognet_plot_draws_png_and_adds_them_to_the_run_in_mlflow(drawn: Path, tmp_path: Path) -> None:
    dognet = run_in(tmp_path)
    dognet("dognet-sync")
    answer = dognet("dognet-plot", str(drawn))
    assert answer.stdout.endswith("ITERS=300,seed=123: curve, weights, activations, mistakes, as .svg and .png\n")
    assert answer.stderr == ""
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (recorded,) = client.search_runs([client.get_experiment_by_name("adhoc").experiment_id])
    artifacts = {artifact.path for artifact in client.list_artifacts(recorded.info.run_id)}
    assert {*PNG, *runs.PICTURES} <= artifacts
    runs.read(drawn)  # still whole


def test_a_png_has_the_size_the_colours_and_the_texts_of_its_svg(drawn: Path, tmp_path: Path) -> None:
    run_in(tmp_path)("dognet-plot", "--tracking-uri", "none", str(drawn), HOME=str(tmp_path))
    for name in runs.PICTURES:
        width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', (drawn / name).read_text(encoding="utf-8")).groups()
        with Image.open((drawn / name).with_suffix(".png")) as picture:
            assert picture.size == (2 * int(width), 2 * int(height))
            heading = picture.convert("L").crop((48, 30, 500, 66))
            assert 0.02 < np.mean(np.asarray(heading) < 100) < 0.5, f"{name}: no heading"
            assert picture.convert("RGB").getpixel((picture.width // 2, 20)) == (253, 253, 253)
    assert not (tmp_path / "mlflow.db").exists()


def test_pictures_that_this_dognet_draws_differently_leave_the_run_whole(drawn: Path, tmp_path: Path) -> None:
    before = runs.read(drawn)
    (drawn / "curve.svg").write_text("as an older dognet drew it")
    runs.finish(drawn, before.info)
    run_in(tmp_path)("dognet-plot", "--tracking-uri", "none", str(drawn))
    after = runs.read(drawn)
    assert (drawn / "curve.svg").read_text(encoding="utf-8").startswith("<svg")
    assert after.info == before.info


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda folder: (folder / "run.json").unlink(), "seed=123: no run that is over"),
        (lambda folder: (folder / "snapshots.npz").write_bytes(b""), "snapshots.npz: not as it was written"),
        (lambda folder: runs.fail(folder, {}, ValueError("odd"), {"digest": "x"}), "run failed (ValueError: odd)"),
        (lambda folder: next(folder.parents[3].glob("data/*/test.csv")).unlink(), "test.csv: not the images of"),
    ],
)  # fmt: skip
def test_what_can_not_be_drawn_is_told_in_one_line(drawn: Path, tmp_path: Path, break_it: object, told: str) -> None:
    break_it(drawn)
    answer = run_in(tmp_path)("dognet-plot", str(drawn), check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("dognet-plot: ")
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1
