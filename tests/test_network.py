"""The network against numbers that come from elsewhere: the lecture's runs, finite differences, a plain loop."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dognet.data import generate, images
from dognet.network import InputError, NNet, PixelWarning, logistic, logloss
from dognet.network.blocks import Images
from dognet.network.gradient import forward, gradient
from dognet.network.nnet import with_ones
from dognet.network.training import State, recorded_iterations

GOOD = {
    "X": np.array([[0, 255, 9], [7, 0, 255], [255, 3, 0], [0, 90, 0]]),
    "y": np.array([0, 1, 1, 0]),
    "hiddenNodes": 2,
    "stepSize": 0.5,
    "ITERS": 3,
    "seed": 1,
}


STATE = State(np.zeros((4, 2)), np.zeros((3, 1)))


def some_images(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return images.split(generate.generate(n, np.random.default_rng(5)), "checkerboard")


def trained(**changes: Any) -> NNet:
    net = NNet()
    net.fit(**(GOOD | changes))
    return net


def plain_loop(X, y, hiddenNodes, stepSize, ITERS, seed):
    """The lecture's algorithm image by image and number by number, as slow as it is simple."""
    rng = np.random.default_rng(seed)
    p, h, n = X.shape[1], hiddenNodes, len(X)
    W1 = rng.uniform(-1, 1, (p + 1, h)).tolist()
    W2 = rng.uniform(-1, 1, (h + 1, 1)).tolist()
    curve = []
    for iteration in range(ITERS + 1):
        dW1 = [[0.0] * h for _ in range(p + 1)]
        dW2 = [0.0] * (h + 1)
        loss = right = 0.0
        for image, label in zip(X.tolist(), y.tolist(), strict=True):
            x = [pixel / 255 for pixel in image] + [1.0]
            hidden = [1 / (1 + math.exp(-sum(x[i] * W1[i][j] for i in range(p + 1)))) for j in range(h)] + [1.0]
            yhat = 1 / (1 + math.exp(-sum(hidden[j] * W2[j][0] for j in range(h + 1))))
            loss -= math.log(yhat if label else 1 - yhat) / n
            right += (yhat > 0.5) == label
            for j in range(h + 1):
                dW2[j] += (yhat - label) * hidden[j] / n
            for i in range(p + 1):
                for j in range(h):
                    dW1[i][j] += (yhat - label) * W2[j][0] * hidden[j] * (1 - hidden[j]) * x[i] / n
        curve.append((iteration, loss, right / n))
        if iteration < ITERS:
            W1 = [[W1[i][j] - stepSize * dW1[i][j] for j in range(h)] for i in range(p + 1)]
            W2 = [[W2[j][0] - stepSize * dW2[j]] for j in range(h + 1)]
    return W1, W2, curve


@pytest.mark.parametrize("number", range(3))
def test_the_lectures_runs_come_out_number_for_number(lecture: Path, number: int) -> None:
    expected = json.loads((lecture / "expected_runs.json").read_text())[number]
    train, test = (pd.read_csv(lecture / f"simple_images_{name}.csv") for name in ("train", "test"))
    label = expected["positive_label"]
    points = {}
    net = NNet()
    net.fit(
        train.drop(columns="label").to_numpy(),
        (train.label == label).to_numpy(),
        *(expected[name] for name in ("hiddenNodes", "stepSize", "ITERS", "seed")),
        callback=lambda iteration, loss, accuracy: points.update({iteration: (loss, accuracy)}),
    )
    curve, final = expected["curve"], expected["final"]
    recorded = np.array([points[iteration] for iteration in curve["iteration"]])
    np.testing.assert_allclose(recorded[:, 0], curve["loss"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(recorded[:, 1], curve["accuracy"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.W1, final["W1"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.W2, final["W2"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(points[expected["ITERS"]], (final["train_loss"], final["train_accuracy"]), atol=1e-9)
    accuracy = (net.predict(test.drop(columns="label").to_numpy()) == (test.label == label)).mean()
    assert accuracy == final["test_accuracy"]


def test_the_lectures_closing_lines_print_an_accuracy_of_one(lecture: Path) -> None:
    train = pd.read_csv(lecture / "simple_images_train.csv")
    test = pd.read_csv(lecture / "simple_images_test.csv")
    net = NNet()
    net.fit(
        X=train.drop(columns="label").to_numpy(),
        y=(train.label == "checkerboard").to_numpy(),
        hiddenNodes=4,
        stepSize=0.3,
        ITERS=10_000,
        seed=123,
    )
    assert (net.predict(X=test.drop(columns="label").to_numpy()) == (test.label == "checkerboard")).mean() == 1.0


@pytest.mark.parametrize(("hiddenNodes", "stepSize", "seed"), [(1, 0.3, 0), (4, 2.0, 7), (9, 10.0, 3)])
def test_training_agrees_with_a_plain_loop_over_images(hiddenNodes: int, stepSize: float, seed: int) -> None:
    X, y = some_images()
    W1, W2, curve = plain_loop(X, y, hiddenNodes, stepSize, 25, seed)
    points: list[tuple[int, float, float]] = []
    net = NNet()
    net.fit(X, y, hiddenNodes, stepSize, 25, seed, callback=lambda *point: points.append(point))
    np.testing.assert_allclose(net.W1, W1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.W2, W2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(points, curve, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "p", "h", "parts", "blocks"),
    [
        (2000, 4, 16, 1, 1),
        (8001, 4, 16, 1, 2),
        (30_001, 4, 40, 12, 1),
        (40_001, 4, 200, 16, 4),
        (3001, 784, 20, 3, 2),
        (3001, 784, 4, 3, 4),
    ],
)
def test_images_in_several_blocks_train_like_images_in_one(n: int, p: int, h: int, parts: int, blocks: int) -> None:
    X, y = np.random.default_rng(5).uniform(0, 255, (n, p)), np.arange(n) % 3 == 0
    cut = Images(with_ones(X, float), y, h).parts
    assert (len(cut), max(map(len, cut))) == (parts, blocks)
    net = NNet()
    net.fit(X, y, hiddenNodes=h, stepSize=0.3, ITERS=3, seed=2)
    rng = np.random.default_rng(2)
    W1, W2 = rng.uniform(-1, 1, (p + 1, h)), rng.uniform(-1, 1, (h + 1, 1))
    X1 = np.column_stack([X / 255, np.ones(n)])
    for _ in range(3):
        X2 = np.column_stack([1 / (1 + np.exp(-X1 @ W1)), np.ones(n)])
        dZ2 = 1 / (1 + np.exp(-X2 @ W2)) - y[:, None]
        dW1 = X1.T @ (dZ2 * W2[:-1].T * X2[:, :-1] * (1 - X2[:, :-1])) / n
        W2 = W2 - 0.3 * X2.T @ dZ2 / n
        W1 = W1 - 0.3 * dW1
    np.testing.assert_allclose(net.W1, W1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.W2, W2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [4, 100])  # narrow and wide images lie differently in memory
def test_some_images_are_those_that_were_asked_for(p: int) -> None:
    X, y = np.random.default_rng(5).uniform(0, 255, (60, p)), np.arange(60) % 3
    everything = Images(with_ones(X, float), y % 2, 4)
    some = everything.some(np.array([7, 59, 7]))
    np.testing.assert_array_equal(some.X1, np.vstack([X[[7, 59, 7]].T / 255, np.ones(3)]))
    assert some.y.tolist() == [1, 0, 1]
    rng = np.random.default_rng(1)
    weights = rng.uniform(-1, 1, (p + 1, 4)), rng.uniform(-1, 1, (5, 1))
    repeated = everything.some(np.tile(np.arange(60), 9))  # more than there are
    np.testing.assert_allclose(repeated.score(*weights), everything.score(*weights), rtol=1e-12)


@pytest.mark.parametrize("h", [8, 128])
def test_iterations_take_no_new_memory(h: int) -> None:
    """Each page of new memory is a fault: 130 and 1300 an iteration made these trainings 3 times as long."""
    code = f"""
import resource, numpy as np
from dognet import NNet

X = np.random.default_rng(1).uniform(0, 255, (4000, 4))
faults = []
for ITERS in (1, 1, 101):  # the first one also loads libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    NNet().fit(X, X[:, 0] > 128, {h}, 0.3, ITERS, 1)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[2] - faults[1])
"""
    assert int(python(code)) < 1000


@pytest.mark.parametrize("name", ["W1", "W2"])
def test_gradient_matches_central_difference(name: str) -> None:
    X, y = some_images()
    X1 = np.vstack([X.T / 255, np.ones(len(X))])
    rng = np.random.default_rng(8)
    weights = {"W1": rng.normal(size=(5, 3)), "W2": rng.normal(size=(4, 1))}
    dW1, dW2 = gradient(X1, y, **weights)
    slope = {"W1": dW1, "W2": dW2}[name]
    for index in np.ndindex(slope.shape):
        losses = []
        for sign in (1, -1):
            moved = {key: value.copy() for key, value in weights.items()}
            moved[name][index] += sign * 1e-5
            losses.append(logloss(forward(X1, **moved)[1], y).sum())
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slope[index], abs=1e-7), index


def test_zero_weights_give_the_loss_of_a_coin_toss() -> None:
    X, y = some_images()
    probs = NNet(np.zeros((5, 3)), np.zeros((4, 1)), [False, True]).predict(X, type="probs")
    assert logloss(probs, y) == pytest.approx(math.log(2))


def test_the_same_seed_gives_the_same_bits_and_none_gives_others() -> None:
    assert trained().W1.tobytes() == trained().W1.tobytes()
    assert trained().W2.tobytes() == trained().W2.tobytes()
    assert trained(seed=None).W1.tobytes() != trained(seed=None).W1.tobytes()


def test_initial_weights_are_drawn_as_in_the_lecture() -> None:
    rng = np.random.default_rng(1)
    net = trained(ITERS=0)
    assert net.W1.tobytes() == rng.uniform(-1, 1, (4, 2)).tobytes()
    assert net.W2.tobytes() == rng.uniform(-1, 1, (3, 1)).tobytes()


@pytest.mark.parametrize("done", [0, 1, 100, 130, 137])
def test_resuming_a_shorter_run_comes_to_the_same_bits_and_points(done: int) -> None:
    X, y = some_images()
    whole, rest = {}, {}
    once, short, twice = NNet(), NNet(), NNet()
    once.fit(X, y, 4, 0.3, 250, 3, callback=lambda *point: whole.update({point[0]: point}))
    short.fit(X, y, 4, 0.3, done, 3)
    before = short.state.copy()
    twice.fit(X, y, 4, 0.3, 250, 3, resume=(done, short.state), callback=lambda *point: rest.update({point[0]: point}))
    assert once.W1.tobytes() == twice.W1.tobytes()
    assert once.W2.tobytes() == twice.W2.tobytes()
    assert short.W1.tobytes() == before.W1.tobytes()
    assert rest == {iteration: point for iteration, point in whole.items() if iteration >= done}


def test_a_report_sees_the_state_of_its_iteration() -> None:
    X, y = some_images()
    states, net, shorter = {}, NNet(), NNet()
    net.fit(X, y, 4, 0.3, 30, 3, callback=lambda iteration, *_: states.update({iteration: net.state.copy()}))
    shorter.fit(X, y, 4, 0.3, 17, 3)
    assert states[17].W1.tobytes() == shorter.W1.tobytes()
    assert states[30].W2.tobytes() == net.W2.tobytes()


def test_logistic_is_right_at_both_ends_and_for_any_shape() -> None:
    assert logistic(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0, 0.5, 1]
    assert logistic(np.array([[1.0], [-1.0]])) == pytest.approx(np.array([[0.7310585786], [0.2689414214]]))
    assert logistic(2).item() == pytest.approx(0.8807970780)
    assert logistic(np.array([-700.0])).item() == pytest.approx(math.exp(-700))


def test_logloss_is_zero_when_certain_and_right_and_infinite_when_certain_and_wrong() -> None:
    yhat, y = np.array([0.0, 1.0, 0.0, 1.0, 0.25]), np.array([0, 1, 1, 0, 1])
    assert logloss(yhat, y).tolist() == [0, 0, math.inf, math.inf, pytest.approx(math.log(4))]
    assert not np.signbit(logloss(yhat, y)).any()
    assert logloss(np.array([0.2]), np.array([0.5])).item() == pytest.approx(-0.5 * math.log(0.2) - 0.5 * math.log(0.8))


def test_a_loss_of_infinity_is_recorded_as_it_is() -> None:
    losses = []
    X, y = np.array([[0], [0], [255]]), np.array([0, 0, 1])  # the first step makes it certain of the wrong class
    NNet().fit(X, y, 1, 1e5, 3, 0, callback=lambda _i, loss, _a: losses.append(loss))
    assert math.inf in losses


def test_weights_that_stop_being_finite_raise() -> None:
    with pytest.raises(FloatingPointError, match=r"no longer finite at iteration \d+: stepSize 1e\+308"):
        trained(stepSize=1e308, ITERS=1000, dtype="float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros(4)}, r"X must have 2 dimensions \(images, pixels\), got 1: shape \(4,\)"),
        ({"X": np.ones((4, 0))}, r"X must have at least 1 column, one a pixel, got shape \(4, 0\)"),
        ({"X": np.full((4, 3), "a")}, "X must be numeric, got <U1"),
        ({"X": np.array([[0.0], [np.nan], [1], [2]])}, "X must be finite, got nan in row 1, column 0"),
        ({"X": np.array([[0.0], [np.inf], [1], [2]])}, "X must be finite, got inf in row 1, column 0"),
        ({"X": np.zeros((4, 3), complex)}, "X must be numeric, got complex128"),
        (
            {"X": pd.DataFrame({"a": [1, 2, None, 4], "b": 5}, dtype="Int64")},
            "X must be numeric, got <NA> in row 2, column 0",
        ),
        ({"X": pd.DataFrame({"a": [1, 2, 3, 4], "b": ["1"] * 4})}, "X must be numeric, got '1' in row 0, column 1"),
        ({"X": pd.DataFrame({"a": [1, 2, 3, 4], "b": [True] * 4})}, "X must be numeric, got True in row 0, column 1"),
        ({"y": [0, 1, 1]}, r"y must have one label for each of the 4 images, got shape \(3,\)"),
        ({"y": [[0], [1], [1], [0]]}, r"y must have one label for each of the 4 images, got shape \(4, 1\)"),
        ({"y": [1, 1, 1, 1]}, r"y must have exactly 2 classes, got 1: \[1\]"),
        ({"y": ["a", "b", "c", "a"]}, r"y must have exactly 2 classes, got 3: \['a', 'b', 'c'\]"),
        ({"y": [0, 1, np.nan, 0]}, "y must have no missing label, got nan in row 2"),
        ({"y": pd.Series([0, None, 1, 0], dtype="Int64")}, "y must have no missing label, got nan in row 1"),
        ({"y": pd.Series([True, None, False, True], dtype="boolean")}, "no missing label, got <NA> in row 1"),
        ({"y": pd.Series(["a", "b", None, "a"], dtype="string")}, "y must have no missing label, got <NA> in row 2"),
        ({"y": pd.Series(["a", "b", None, "a"], dtype="category")}, "y must have no missing label, got nan in row 2"),
        ({"y": ["a", "b", None, "a"]}, "y must have no missing label, got None in row 2"),
        ({"y": np.array([0, "b", 1, 0], object)}, "y must have labels of one type"),
        ({"y": np.array([0j, 1j, 1j, 0j])}, "the classes of y must be text or numbers, got complex128"),
        ({"hiddenNodes": 0}, "hiddenNodes must be a whole number of at least 1, got 0"),
        ({"hiddenNodes": 2.0}, r"hiddenNodes must be a whole number of at least 1, got 2\.0"),
        ({"hiddenNodes": True}, "hiddenNodes must be a whole number of at least 1, got True"),
        ({"ITERS": -1}, "ITERS must be a whole number of at least 0, got -1"),
        ({"ITERS": "9"}, "ITERS must be a whole number of at least 0, got '9'"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": 1.5}, r"seed must be a whole number of at least 0, got 1\.5"),
        ({"stepSize": 0}, "stepSize must be a positive finite number, got 0"),
        ({"stepSize": -1.0}, r"stepSize must be a positive finite number, got -1\.0"),
        ({"stepSize": math.nan}, "stepSize must be a positive finite number, got nan"),
        ({"stepSize": math.inf}, "stepSize must be a positive finite number, got inf"),
        ({"stepSize": 10**400}, "stepSize must be a positive finite number, got 10000"),
        ({"stepSize": "0.1"}, "stepSize must be a positive finite number, got '0.1'"),
        ({"stepSize": True}, "stepSize must be a positive finite number, got True"),
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
        ({"resume": (4, STATE)}, "the iteration of resume must be at most ITERS=3, got 4"),
        ({"resume": (-1, STATE)}, "the iteration of resume must be a whole number of at least 0, got -1"),
        (
            {"resume": (1, STATE), "hiddenNodes": 3},
            r"W1 of resume must be float64 of shape \(4, 3\), got float64 of \(4, 2\)",
        ),
        ({"resume": (1, STATE), "dtype": "float32"}, "W1 of resume must be float32 of shape"),
        ({"dtype": "float16"}, "dtype must be float64 or float32, got 'float16'"),
    ],
)
def test_fit_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        trained(**changes)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "int64[pyarrow]", object])
def test_pixels_in_nullable_columns_of_pandas_train_as_in_an_array(dtype: Any) -> None:
    net = trained(X=pd.DataFrame(GOOD["X"]).astype(dtype))
    assert net.W1.tobytes() == trained().W1.tobytes()
    assert net.predict(pd.DataFrame(GOOD["X"]).astype(dtype)).tolist() == trained().predict(GOOD["X"]).tolist()


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([0, 1], "Int64"),
        ([0.0, 1.0], "Float64"),
        ([False, True], "boolean"),
        ([False, True], object),
        (["0", "1.0"], "string"),
        (["犬", "собака"], "category"),
        (["'a'", 'a "b"'], "str"),
    ],
)
def test_labels_in_columns_of_pandas_come_back_as_they_are(labels: list[Any], dtype: Any) -> None:
    y = pd.Series([labels[one] for one in GOOD["y"]], dtype=dtype)
    net = trained(y=y)
    assert net.W1.tobytes() == trained(y=[sorted(labels).index(label) for label in y]).W1.tobytes()
    assert set(net.predict(GOOD["X"]).tolist()) <= set(labels)


@pytest.mark.parametrize(
    ("X", "span"),
    [
        (GOOD["X"] / 255, "0 to 1"),
        (GOOD["X"] / 100 - 1, "-1 to 1.55"),
        (GOOD["X"].astype(np.int32) * 257, "0 to 65535"),
    ],
)
def test_pixels_on_another_scale_are_a_warning(X: np.ndarray, span: str) -> None:
    message = rf"X should have pixels from 0 \(black\) to 255 \(white\), got {span}: fit divides them by 255"
    with pytest.warns(PixelWarning, match=message) as caught:
        trained(X=X)
    assert caught[0].filename.endswith("test_network.py")  # the line that calls fit


def test_black_images_are_no_reason_to_warn() -> None:
    trained(X=GOOD["X"] * 0)


def test_a_fit_that_is_refused_leaves_the_network_as_it_was() -> None:
    net = trained()
    before = net.W1.tobytes()
    with pytest.raises(FloatingPointError):
        net.fit(**GOOD | {"stepSize": 1e308, "ITERS": 1000}, dtype="float32")
    assert net.W1.tobytes() == before
    with pytest.raises(InputError):
        net.fit(**GOOD | {"y": ["a", "b", "b", "c"]})
    with pytest.raises(ZeroDivisionError):
        net.fit(**GOOD | {"callback": lambda *_: 1 / 0})
    assert net.W1.tobytes() == before
    assert net.y_classes.tolist() == [0, 1]


def test_predict_refuses_what_it_cannot_work_with() -> None:
    X = GOOD["X"]
    with pytest.raises(InputError, match=r"no weights yet, got W1=None: call fit\(\) first"):
        NNet().predict(X)
    with pytest.raises(InputError, match="X must have 3 columns, one a pixel, got 2"):
        trained().predict(X[:, :2])
    with pytest.raises(InputError, match="type must be 'classes' or 'probs', got 'prob'"):
        trained().predict(X, type="prob")
    with pytest.raises(InputError, match="X must have 2 dimensions"):
        trained().predict(X[0])
    weights = trained()
    assert NNet(weights.W1, weights.W2).predict(X, "probs").shape == (4,)
    with pytest.raises(InputError, match="y_classes is not known"):
        NNet(weights.W1, weights.W2).predict(X)
    with pytest.raises(InputError, match="y_classes is not known"):
        NNet(weights.W1, weights.W2).save("nowhere.npz")


@pytest.mark.parametrize(
    ("W1", "W2", "message"),
    [
        (np.zeros((4, 2)), None, "W2 must be a 2-D array of finite numbers, got object"),
        (np.zeros(4), np.zeros((3, 1)), r"W1 must be a 2-D array of finite numbers, got float64 of shape \(4,\)"),
        (np.full((4, 2), np.nan), np.zeros((3, 1)), "W1 must be a 2-D array of finite numbers"),
        (np.zeros((4, 2)), np.zeros((4, 1)), r"got \(4, 2\) and \(4, 1\)"),
    ],
)
def test_weights_of_other_shapes_are_refused(W1: Any, W2: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NNet(W1, W2)


def test_a_probability_of_a_half_is_the_first_class() -> None:
    net = NNet(np.zeros((4, 2)), np.zeros((3, 1)), ["cat", "dog"])
    assert net.predict(GOOD["X"]).tolist() == ["cat"] * 4


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["dog", "cat", "cat", "dog"]).to_numpy(),
        np.array(["dog", "cat", "cat", "dog"], object),
        np.array([True, False, False, True]),
        np.array([2.5, -1, -1, 2.5]),
    ],
)
def test_a_saved_network_predicts_the_same(tmp_path: Path, y: np.ndarray) -> None:
    net = trained(y=y)
    net.save(tmp_path / "net.npz")
    loaded = NNet.load(tmp_path / "net.npz")
    assert loaded.predict(GOOD["X"]).tolist() == net.predict(GOOD["X"]).tolist()
    assert loaded.W1.tobytes() == net.W1.tobytes()
    assert set(loaded.y_classes.tolist()) == set(y.tolist())
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


def test_a_saved_network_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trained().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_truncated_network_file_is_refused_at_every_byte(tmp_path: Path) -> None:
    trained().save(tmp_path / "net.npz")
    content = (tmp_path / "net.npz").read_bytes()
    for length in range(len(content)):
        (tmp_path / "net.npz").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"net\.npz is not a complete network file"):
            NNet.load(tmp_path / "net.npz")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickled_file_is_refused_and_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("inside.npz", W1=np.array([Trap()], object), W2=np.zeros((3, 1)), y_classes=np.array([0, 1]))
    Path("plain.npz").write_bytes(pickle.dumps(Trap()))
    np.save("array.npy", np.zeros(3))
    np.savez("foreign.npz", other=np.zeros(3))
    for name in ("inside.npz", "plain.npz", "array.npy", "foreign.npz"):
        with pytest.raises(InputError, match="is not a complete network file"):
            NNet.load(name)
    assert not Path("unpickled").exists()


def test_a_missing_network_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NNet.load(tmp_path / "net.npz")


def test_recorded_iterations_hold_the_lectures_and_do_not_depend_on_ITERS() -> None:
    long = list(recorded_iterations(10_000))
    assert len(long) == 281
    assert set(range(0, 10_001, 100)) <= set(long)
    assert long[:102] == [*range(101), 110]
    assert list(recorded_iterations(0)) == [0]
    assert list(recorded_iterations(137)) == [*range(101), 110, 120, 130, 137]
    assert list(recorded_iterations(1000))[:-1] == long[: len(list(recorded_iterations(1000))) - 1]


def test_float32_takes_the_same_way_with_fewer_digits() -> None:
    X, y = some_images(500)
    nets = {}
    for dtype in ("float64", "float32"):
        nets[dtype] = NNet()
        nets[dtype].fit(X, y, 4, 0.3, 300, 1, dtype=dtype)
    assert nets["float32"].W1.dtype == np.float32
    np.testing.assert_allclose(nets["float32"].W1, nets["float64"].W1, atol=1e-4)
    assert not np.array_equal(nets["float32"].W1, nets["float64"].W1)


def python(code: str, **environment: str) -> str:
    """Run code in a process of its own and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_network_needs_nothing_but_numpy() -> None:
    code = (
        "import sys; from importlib.metadata import packages_distributions as installed;"
        "sys.modules['threadpoolctl'] = None;"  # as where it is not installed
        "from dognet import NNet, logistic, logloss; net = NNet();"
        "net.fit([[0], [255]], [0, 1], 1); net.predict([[0]]);"
        "print({m.partition('.')[0] for m in sys.modules} & set(installed()) - {'threadpoolctl'})"
    )
    assert eval(python(code)) - {"dognet", "_distutils_hack"} == {"numpy"}  # the hack is setuptools', at start-up


def test_importing_dognet_does_not_load_numpy_so_that_a_command_may_still_set_its_threads() -> None:
    assert python("import sys, dognet; print('numpy' in sys.modules, hasattr(dognet, 'other'))") == "False False\n"


DIGESTS = """
import hashlib, sys, numpy as np
from dognet import NNet

for n, p, h in [(4000, 4, 4), (20_011, 4, 64), (2000, 4, 256), (3001, 784, 20), (300, 784, 3)]:
    rng, net, curve = np.random.default_rng(1), NNet(), []
    X, y = rng.uniform(0, 255, (n, p)), rng.random(n) < 0.5
    net.fit(X, y, h, 0.3, 2, 1, callback=lambda *point: curve.append(point), threads=int(sys.argv[1]))
    results = net.W1, net.W2, net.predict(X, "probs"), np.array(curve)
    print(n, p, h, hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest())
"""


def test_the_result_does_not_depend_on_the_number_of_threads_of_blas_or_ours() -> None:
    results = {
        python(f"import sys; sys.argv = ['', '{ours}']" + DIGESTS, OPENBLAS_NUM_THREADS=str(blas))
        for ours, blas in [(1, 1), (1, 2), (2, 1), (2, 4), (3, 2), (7, 1), (7, 2)]
    }
    assert len(results) == 1, "\n".join(results)


def test_many_trainings_on_many_threads_all_come_to_the_same_bits() -> None:
    rng, results = np.random.default_rng(1), set()
    X, y = rng.uniform(0, 255, (4200, 256)), rng.random(4200) < 0.5
    assert len(Images(with_ones(X, float), y, 64).parts) == 4
    for _ in range(40):
        net = NNet()
        net.fit(X, y, 64, 0.3, 5, 1, threads=7)
        results.add(net.W1.tobytes() + net.W2.tobytes())
    assert len(results) == 1


MOMENTUM = {
    "methods/gradient_descent.py": {
        "    def update": """    def start(self, state, images):
        state.memory |= {"V1": 0 * state.W1, "V2": 0 * state.W2}

    def update""",
        "state.W1 -= stepSize * dW1": "V1, V2 = state.memory.values(); V1 *= 0.9; V1 -= stepSize * dW1",
        "state.W2 -= stepSize * dW2": "V2 *= 0.9; V2 -= stepSize * dW2; state.W1 += V1; state.W2 += V2",
    }
}
WITH_MOMENTUM = """
import numpy as np
from dognet import NNet
from dognet.network import State

rng = np.random.default_rng(1)
X, y = rng.uniform(0, 255, (60, 4)), rng.random(60) < 0.5
settings = {"X": X, "y": y, "hiddenNodes": 4, "stepSize": 0.3, "seed": 3}

def bits(net):
    return b"".join(array.tobytes() for array in net.state.arrays().values())

def resumed(iteration, state):
    net = NNet()
    net.fit(**settings, ITERS=250, resume=(iteration, state))
    return bits(net)

straight, watched, short, states = NNet(), NNet(), NNet(), {}
straight.fit(**settings, ITERS=250)
watched.fit(**settings, ITERS=250, callback=lambda iteration, *_: states.update({iteration: watched.state.copy()}))
short.fit(**settings, ITERS=130)
short.save("weights.npz")
np.savez("state.npz", **short.state.arrays())
forgetful = short.state.copy()
forgetful.memory = {name: 0 * step for name, step in forgetful.memory.items()}
print(
    bits(straight) == bits(watched) == resumed(130, NNet.load("weights.npz").state)
    == resumed(130, State.from_arrays(np.load("state.npz"))) == resumed(100, states[100]),
    sorted(states[100].arrays()),
    bits(straight) == resumed(130, forgetful),
)
"""


def test_momentum_takes_a_memory_and_the_update_to_be_resumed_and_copied(tmp_path: Path) -> None:
    source = Path(sys.modules["dognet"].__file__).parent
    shutil.copytree(source / "network", tmp_path / "dognet" / "network", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", tmp_path / "dognet")
    for name, changes in MOMENTUM.items():
        path = tmp_path / "dognet" / "network" / name
        code = path.read_text()
        for old, new in changes.items():
            assert code.count(old) == 1, old
            code = code.replace(old, new)
        path.write_text(code)
    code = f"import os; os.chdir({str(tmp_path)!r})" + WITH_MOMENTUM
    assert python(code, PYTHONPATH=str(tmp_path)) == "True ['V1', 'V2', 'W1', 'W2', 'generator'] False\n"
