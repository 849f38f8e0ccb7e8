"""Validation images: how they come about, what is computed of them, and that no weight depends on them."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_project, small, usual

from dognet.conf import compose
from dognet.data import images
from dognet.data.images import ImagesError
from dognet.data.validation import number_of, set_apart
from dognet.network import NNet, scorer
from dognet.runs.folder import read_run, reason_to_train
from dognet.runs.run import Run
from dognet.settings import Settings, SettingsError
from dognet.stages.fetch import fetch
from dognet.stages.once import run_once

LABELS = ("dog", "cat", "owl")


def table(**counts: int) -> pd.DataFrame:
    """Images of so many of each label, mixed; each has a number of its own in 0..255."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(1).permutation(len(labels))
    pixel = np.arange(len(labels)) / len(labels) * 255
    return pd.DataFrame({"label": np.array(labels)[order], "a": pixel, "b": 255 - pixel})


def of(validation: float, **settings: Any) -> Settings:
    """Few images, with these for validation."""
    source = f"generated-{validation:g}"
    return small(data=small().data.model_copy(update={"validation": validation}), source=source, **settings)


# --- which images


@pytest.mark.parametrize("counts", [(80, 20, 1), (700, 200, 100), (3, 3, 3), (50, 49, 2), (997, 2, 1)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.013, 0.9])
def test_each_label_gives_its_share_and_every_image_goes_to_one_side(counts: tuple[int, ...], share: float) -> None:
    whole = table(**dict(zip(LABELS, counts, strict=True)))
    n = number_of(share, len(whole))
    train, apart = set_apart(whole, n)
    assert len(apart) == n
    assert sorted(train.index.tolist() + apart.index.tolist()) == list(range(len(whole)))
    for part in (train, apart):
        assert part.index.is_monotonic_increasing
        pd.testing.assert_frame_equal(part, whole.loc[part.index])
    found = Counter(apart["label"])
    for label, count in zip(LABELS, counts, strict=True):
        exact = n * count / len(whole)
        assert math.floor(exact) <= found[label] <= math.ceil(exact), label


def test_the_choice_is_the_same_on_every_machine_and_spread_over_the_file() -> None:
    whole = pd.DataFrame({"label": ["dog", "cat", "dog", "dog", "cat"] * 200, "a": 0})
    _, apart = set_apart(whole, 200)
    assert apart.index.tolist()[:6] == FIRST
    quarters = np.histogram(apart.index, 4, (0, 1000))[0]
    assert all(30 < count < 70 for count in quarters)


FIRST = [3, 4, 14, 28, 29, 33]  # as computed on the machine where this test was written


@pytest.mark.parametrize(
    ("validation", "n_images", "number"), [(0, 50, 0), (0.2, 50, 10), (0.25, 10, 2), (1, 50, 1), (30, 50, 30)]
)
def test_validation_is_a_share_or_a_number(validation: float, n_images: int, number: int) -> None:
    assert number_of(validation, n_images) == number


def test_generated_train_and_test_images_are_the_bytes_that_they_were(tmp_path: Path) -> None:
    hashes = {  # of the files before there were validation images
        "train": "42ff6be485a55e2664c0ba283bec413c92e8ec792d45706319c1e147e289123f",
        "test": "c0a8d8fb5872fdc5275544bba34a063a51927363475482c6e59cd5cb5107a4d8",
    }
    fetch(usual(), tmp_path)
    folder = tmp_path / "data" / "generated"
    for part, sha256 in hashes.items():
        assert hashlib.sha256((folder / f"{part}.csv").read_bytes()).hexdigest() == sha256
    parts = {part: images.read(folder / f"{part}.csv") for part in ("train", "validation", "test")}
    assert {part: len(each) for part, each in parts.items()} == {"train": 4000, "validation": 1000, "test": 1000}
    for one, other in itertools.combinations(parts.values(), 2):
        n = min(len(one), len(other))
        assert (one.iloc[:n].to_numpy() == other.iloc[:n].to_numpy()).all(axis=1).mean() < 0.01  # streams of their own


def test_more_training_images_leave_the_validation_images_alone(tmp_path: Path) -> None:
    contents = []
    for rows in (200, 300):
        settings = small(data=small().data.model_copy(update={"train_rows": rows, "validation": 70.0}))
        fetch(settings, tmp_path)
        contents.append((tmp_path / "data/generated/validation.csv").read_bytes())
    assert contents[0] == contents[1]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A project with own images, 60 dogs and 40 cats."""
    root = make_project(tmp_path / "project")
    (root / "data" / "own").mkdir(parents=True)
    for part in ("train", "test"):
        (root / "data" / "own" / f"{part}.csv").write_text(images.to_csv(table(dog=60, cat=40)))
    return root


def fetched(root: Path, *words: str) -> dict[str, pd.DataFrame]:
    """The images of own CSVs, by part."""
    settings = compose(root, ["data=csv", "data.positive=dog", "tracking_uri=none", *words])
    fetch(settings, root)
    return {path.stem: pd.read_csv(path) for path in (root / "data" / settings.source).glob("*.csv")}


def test_a_fifth_of_own_training_images_is_set_apart_class_by_class(own: Path) -> None:
    parts = fetched(own)
    assert Counter(parts["train"]["label"]) == {"dog": 48, "cat": 32}
    assert Counter(parts["validation"]["label"]) == {"dog": 12, "cat": 8}
    assert len(parts["test"]) == 100
    both = pd.concat([parts["train"], parts["validation"]]).sort_values("a", ignore_index=True)
    pd.testing.assert_frame_equal(both, pd.read_csv(own / "data" / "own" / "train.csv"))
    for word in ("seed=5", "hiddenNodes=9", "data.positive=cat"):
        pd.testing.assert_frame_equal(fetched(own, word)["validation"], parts["validation"])


def test_own_validation_images_are_a_number_or_none(own: Path) -> None:
    assert Counter(fetched(own, "data.validation=35")["validation"]["label"]) == {"dog": 21, "cat": 14}
    parts = fetched(own, "data.validation=0")
    assert {part: len(each) for part, each in parts.items()} == {"train": 100, "validation": 0, "test": 100}
    assert list(parts["validation"]) == ["label", "a", "b"]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("data.validation=100", r"own/train\.csv: data\.validation must be fewer than its 100 images, got 100$"),
        (
            "data.validation=1",
            r"validation\.csv: data\.validation=1 leaves no image of one of the classes: take more",
        ),
        ("data.validation=99", r"/train\.csv: data\.validation=99 leaves no image of one of the classes: take more"),
    ],
)
def test_a_split_that_leaves_a_class_without_images_is_refused(own: Path, word: str, error: str) -> None:
    with pytest.raises(ImagesError, match=error):
        fetched(own, word)


@pytest.mark.parametrize("value", ["-1", "1.5", "nan", "true", "many", "1e9"])
def test_validation_out_of_its_bounds_is_refused(own: Path, value: str) -> None:
    for images_of in ("generated", "lecture", "csv"):
        with pytest.raises(
            SettingsError, match=r"^data\.validation must be a share below 1 or a whole number up to 10\^8"
        ):
            compose(own, [f"data={images_of}", f"data.validation={value}"])


def test_the_lectures_runs_have_no_validation_images_unless_asked(lecture: Path, tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    (root / "data" / "raw").mkdir(parents=True)
    (root / "data" / "raw" / "lecture").symlink_to(lecture)
    run = run_once(compose(root, ["data=lecture", "ITERS=100"]), root)
    assert (run.folder / "curve.csv").read_text().startswith("iteration,train_loss,train_accuracy\n")
    assert run.images.validation_sha256 is None
    assert run.manifest.digest == digest_without_validation(run)
    (expected,) = (
        each["curve"]
        for each in json.loads((lecture / "expected_runs.json").read_text())
        if (each["positive_label"], each["hiddenNodes"], each["seed"], each["ITERS"]) == ("checkerboard", 4, 123, 10000)
    )
    assert run.curve().train_loss[100] == pytest.approx(expected["loss"][1], abs=1e-9)
    parted = run_once(compose(root, ["data=lecture", "ITERS=100", "data.validation=0.2"]), root)
    assert parted.images.train_sha256 != run.images.train_sha256
    assert parted.figures.validation_loss is not None


def digest_without_validation(run: Run) -> str:
    """The digest as dognet computed it before there were validation images."""
    values = {name: getattr(run.settings, name) for name in ("hiddenNodes", "stepSize", "seed", "ITERS")}
    values |= {"positive": run.images.positive, "train_sha256": run.images.train_sha256}
    values |= {"test_sha256": run.manifest.test_sha256, "code": run.manifest.code}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


# --- what is computed


def losses_of(run: Run, part: str, root: Path) -> list[float]:
    """The loss of each image by a plain loop over images, nodes and pixels."""
    arrays, found = np.load(run.folder / "weights.npz"), []
    W1, W2 = arrays["W1"].tolist(), arrays["W2"].tolist()
    for label, *pixels in pd.read_csv(root / "data" / run.images.source / f"{part}.csv").itertuples(index=False):
        inputs = [*(pixel / 255 for pixel in pixels), 1]
        hidden = [
            1 / (1 + math.exp(-sum(x * w[k] for x, w in zip(inputs, W1, strict=True)))) for k in range(len(W1[0]))
        ]
        z = sum(x * w[0] for x, w in zip([*hidden, 1], W2, strict=True))
        yhat = 1 / (1 + math.exp(-z))
        found.append(-math.log(yhat if label == run.images.positive else 1 - yhat))
    return found


def test_the_curve_ends_with_the_loss_and_accuracy_of_a_plain_loop(tmp_path: Path) -> None:
    run = run_once(of(150, hiddenNodes=3, stepSize=2.0), tmp_path)
    losses = losses_of(run, "validation", tmp_path)
    assert len(losses) == 150
    last = run.curve().iloc[-1]
    assert last.validation_loss == run.figures.validation_loss == pytest.approx(sum(losses) / 150, rel=1e-9)
    assert (
        last.validation_accuracy
        == run.figures.validation_accuracy
        == pytest.approx(sum(loss < math.log(2) for loss in losses) / 150)
    )
    assert run.curve().validation_loss.notna().all()


def test_zero_weights_would_have_the_loss_of_a_coin_toss_on_validation_images_too(tmp_path: Path) -> None:
    fetch(of(90), tmp_path)
    table = images.read(tmp_path / "data/generated-90/validation.csv")
    score = scorer(*images.split(table, "checkerboard"), 3, "float64")
    loss, accuracy = score(np.zeros((5, 3)), np.zeros((4, 1)))
    assert loss == pytest.approx(math.log(2), rel=1e-12)
    labels = pd.read_csv(tmp_path / "data/generated-90/validation.csv")["label"]
    assert accuracy == (labels != "checkerboard").mean()


def test_no_weight_depends_on_the_validation_images(tmp_path: Path) -> None:
    runs = [run_once(of(validation, stepSize=2.0), tmp_path) for validation in (0, 40, 90)]
    weights = [(run.folder / "weights.npz").read_bytes() for run in runs]
    assert weights[0] == weights[1] == weights[2]
    assert len({run.manifest.trajectory for run in runs}) == 1
    assert len({run.manifest.digest for run in runs}) == 3
    without, *others = (run.curve()[["train_loss", "train_accuracy"]] for run in runs)
    assert all(curve.equals(without) for curve in others)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_that_resumes_has_the_whole_validation_curve(tmp_path: Path, dtype: str) -> None:
    for ITERS in (40, 115):
        run_once(of(60, ITERS=ITERS, dtype=dtype), tmp_path)
    alone = run_once(of(60, study="alone", dtype=dtype), tmp_path)
    resumed = run_once(of(60, dtype=dtype), tmp_path)
    assert "ITERS=115" in str(resumed.manifest.continued_from)
    assert resumed.manifest.sha256 == alone.manifest.sha256


def test_no_run_resumes_from_one_with_other_validation_images(tmp_path: Path) -> None:
    """Their folders have one name where only the images' content has changed."""
    shorter = run_once(of(60, ITERS=40), tmp_path)
    for other in (of(50), of(0)):
        run = run_once(other.model_copy(update={"source": "generated-60"}), tmp_path)
        assert run.manifest.continued_from is None
    whole = run_once(of(60, study="alone"), tmp_path)
    assert run_once(of(60), tmp_path).manifest.sha256 == whole.manifest.sha256
    assert read_run(shorter.folder).finished


def test_a_run_whose_validation_images_changed_is_trained_again_and_says_why(tmp_path: Path) -> None:
    run = run_once(of(60), tmp_path)
    before = run.manifest.start
    assert run_once(of(60), tmp_path).manifest.start == before
    other = of(50).model_copy(update={"source": "generated-60"})
    assert reason_to_train(run.folder, fetch(other, tmp_path), str(run.manifest.test_sha256)) == "images changed"
    again = run_once(other, tmp_path)
    assert (again.folder, again.manifest.start != before) == (run.folder, True)


# --- accuracy beside the baseline


@pytest.mark.parametrize(("positive", "uneven"), [("checkerboard", False), ("triangle", True)])
def test_confusion_counts_and_balanced_accuracy_are_those_counted_by_hand(
    tmp_path: Path, positive: str, uneven: bool
) -> None:
    data = small().data.model_copy(update={"positive": positive, "test_rows": 500})
    run = run_once(small(data=data, stepSize=3.0, ITERS=1000), tmp_path)
    test = pd.read_csv(tmp_path / "data/generated/test.csv")
    yhat = NNet.load(run.folder / "weights.npz").predict(test.drop(columns="label").to_numpy(), type="probs")
    pairs = Counter(zip(test["label"] == positive, yhat > 0.5, strict=True))
    figures = run.figures
    counts = {
        (True, True): figures.true_positives,
        (True, False): figures.false_negatives,
        (False, True): figures.false_positives,
        (False, False): figures.true_negatives,
    }
    assert counts == {key: pairs[key] for key in counts}
    positives, negatives = (pairs[y, True] + pairs[y, False] for y in (True, False))
    assert figures.test_accuracy == pytest.approx((pairs[True, True] + pairs[False, False]) / 500)
    assert figures.baseline == max(positives, negatives) / 500
    assert (figures.baseline > 0.7) == uneven
    balanced = (pairs[True, True] / positives + pairs[False, False] / negatives) / 2
    assert figures.balanced_accuracy == (pytest.approx(balanced, rel=1e-9) if uneven else None)
    written = json.loads((run.folder / "metrics.json").read_text())
    assert ("balanced_accuracy" in written) == uneven
    assert figures.summary().endswith(
        f"test accuracy {figures.test_accuracy:.4g} (baseline {figures.baseline:.4g})"
        + (f", balanced accuracy {balanced:.4g}" if uneven else "")
    )
