"""The network against numbers that come from elsewhere: the lecture's runs, finite differences, a plain loop."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dognet import images
from dognet.descent import descend, recorded_iterations
from dognet.nnet import InputError, NNet, logistic, logloss, probabilities

GOOD = {
    "X": np.array([[0, 255, 9], [7, 0, 255], [255, 3, 0], [0, 90, 0]]),
    "y": np.array([0, 1, 1, 0]),
    "hiddenNodes": 2,
    "stepSize": 0.5,
    "ITERS": 3,
    "seed": 1,
}


def some_images(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return images.split(images.generate(n, np.random.default_rng(5)), "checkerboard")


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
        report=lambda iteration, loss, accuracy: points.update({iteration: (loss, accuracy)}),
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
    net.fit(X, y, hiddenNodes, stepSize, 25, seed, report=lambda *point: points.append(point))
    np.testing.assert_allclose(net.W1, W1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.W2, W2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(points, curve, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1000, 1024, 2500])
def test_images_in_several_blocks_train_like_images_in_one(n: int) -> None:
    X, y = some_images(n)
    net = NNet()
    net.fit(X, y, hiddenNodes=16, stepSize=0.3, ITERS=3, seed=2)  # 1024 images of 16 hidden nodes are a block
    rng = np.random.default_rng(2)
    W1, W2 = rng.uniform(-1, 1, (5, 16)), rng.uniform(-1, 1, (17, 1))
    X1 = np.column_stack([X / 255, np.ones(n)])
    for _ in range(3):
        X2 = np.column_stack([1 / (1 + np.exp(-X1 @ W1)), np.ones(n)])
        dZ2 = 1 / (1 + np.exp(-X2 @ W2)) - y[:, None]
        dW1 = X1.T @ (dZ2 * W2[:-1].T * X2[:, :-1] * (1 - X2[:, :-1])) / n
        W2 = W2 - 0.3 * X2.T @ dZ2 / n
        W1 = W1 - 0.3 * dW1
    np.testing.assert_allclose(net.W1, W1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.W2, W2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["W1", "W2"])
def test_gradient_matches_central_difference(name: str) -> None:
    X, y = some_images()
    X1 = np.vstack([X.T / 255, np.ones(len(X))])
    rng = np.random.default_rng(8)
    weights = {"W1": rng.normal(size=(5, 3)), "W2": rng.normal(size=(4, 1))}
    after = {key: value.copy() for key, value in weights.items()}
    list(descend(X1, y.astype(float), after["W1"], after["W2"], 1.0, [0, 1]))
    gradient = weights[name] - after[name]
    for index in np.ndindex(gradient.shape):
        losses = []
        for sign in (1, -1):
            moved = {key: value.copy() for key, value in weights.items()}
            moved[name][index] += sign * 1e-5
            losses.append(logloss(probabilities(X1, **moved), y).mean())
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[index], abs=1e-9), index


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
def test_going_on_comes_to_the_same_bits_and_points_as_one_go(done: int) -> None:
    X, y = some_images()
    whole, rest = {}, {}
    once, twice = NNet(), NNet()
    once.fit(X, y, 4, 0.3, 250, 3, report=lambda *point: whole.update({point[0]: point}))
    twice.fit(X, y, 4, 0.3, done, 3)
    twice.go_on(X, y, 0.3, done, 250, report=lambda *point: rest.update({point[0]: point}))
    assert once.W1.tobytes() == twice.W1.tobytes()
    assert once.W2.tobytes() == twice.W2.tobytes()
    assert rest == {iteration: point for iteration, point in whole.items() if iteration >= done}


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
    NNet().fit(X, y, 1, 1e5, 3, 0, report=lambda _i, loss, _a: losses.append(loss))
    assert math.inf in losses


def test_weights_that_stop_being_finite_raise() -> None:
    with pytest.raises(FloatingPointError, match=r"no longer finite at iteration \d+: stepSize 1e\+308"):
        trained(stepSize=1e308, ITERS=1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros(4)}, r"X must have 2 dimensions \(images, pixels\), got 1: shape \(4,\)"),
        ({"X": np.ones((4, 0))}, r"X must have at least 1 column, one a pixel, got shape \(4, 0\)"),
        ({"X": np.full((4, 3), "a")}, "X must be numeric, got <U1"),
        ({"X": np.array([[0.0], [np.nan], [1], [2]])}, "X must be finite, got nan in row 1, column 0"),
        ({"X": np.array([[0.0], [np.inf], [1], [2]])}, "X must be finite, got inf in row 1, column 0"),
        ({"X": np.zeros((4, 3), complex)}, "X must be numeric, got complex128"),
        ({"y": [0, 1, 1]}, r"y must have one label for each of the 4 images, got shape \(3,\)"),
        ({"y": [[0], [1], [1], [0]]}, r"y must have one label for each of the 4 images, got shape \(4, 1\)"),
        ({"y": [1, 1, 1, 1]}, r"y must have exactly 2 classes, got 1: \[1\]"),
        ({"y": ["a", "b", "c", "a"]}, r"y must have exactly 2 classes, got 3: \['a', 'b', 'c'\]"),
        ({"y": [0, 1, np.nan, 0]}, "y must have no missing label, got nan in row 2"),
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
        ({"dtype": "float16"}, "dtype must be float64 or float32, got 'float16'"),
    ],
)
def test_fit_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        trained(**changes)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AssertionError)


def test_a_fit_that_is_refused_leaves_the_network_as_it_was() -> None:
    net = trained()
    before = net.W1.tobytes()
    with pytest.raises(FloatingPointError):
        net.fit(**GOOD | {"stepSize": 1e308, "ITERS": 1000})
    assert net.W1.tobytes() == before


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


def test_going_on_refuses_other_classes() -> None:
    with pytest.raises(InputError, match="y must have the classes"):
        trained().go_on(GOOD["X"], ["a", "b", "b", "a"], 0.5, 3, 5)


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
        with pytest.raises(InputError, match=r"net\.npz is not a whole network file"):
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
        with pytest.raises(InputError, match="is not a whole network file"):
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


def test_the_network_needs_nothing_but_numpy() -> None:
    code = "import sys, dognet.nnet; print(*{m.partition('.')[0] for m in sys.modules} & {'pandas', 'mlflow', 'hydra'})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(("n", "hiddenNodes"), [(4000, 4), (30_000, 64), (5000, 256)])
def test_the_result_does_not_depend_on_the_number_of_blas_threads(n: int, hiddenNodes: int) -> None:
    code = (
        "import hashlib, numpy as np; from dognet.nnet import NNet; rng = np.random.default_rng(1); net = NNet();"
        f"net.fit(rng.uniform(0, 255, ({n}, 4)), rng.random({n}) < 0.5, {hiddenNodes}, 0.3, 5, 1);"
        "print(hashlib.sha256(net.W1.tobytes() + net.W2.tobytes()).hexdigest())"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "4")
    }
    assert len(results) == 1
