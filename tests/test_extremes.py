"""Numbers and input at their ends: finite results or one clear line, whatever is put in."""

from __future__ import annotations

import gzip
import math
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dognet.conf import compose
from dognet.data import images
from dognet.data.generate import generate
from dognet.errors import ImagesError
from dognet.network import InputError, NNet
from dognet.settings import Settings, SettingsError, TrainingSettings
from dognet.sweep.grid import for_hydra, points_of

TRIES = 10_000 if os.environ.get("DOGNET_SOAK") else 150
often = settings(
    max_examples=TRIES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def tried(test: Any) -> Any:
    """Try it with input at random: a few times in `make test`, many in `make soak`."""
    return pytest.mark.soak(often(test))


def trained(X: Any, y: Any, hiddenNodes: int = 2, stepSize: float = 0.3, ITERS: int = 50, **more: Any) -> tuple:
    points: list[tuple[int, float, float]] = []
    net = NNet()
    net.fit(X, y, hiddenNodes, stepSize, ITERS, 1, callback=lambda *point: points.append(point), **more)
    return net, points


PAIR = np.array([[0, 255, 0, 255], [255, 255, 0, 0]]), np.array(["a", "b"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("X", "y", "how"),
    [
        (*PAIR, {}),
        (*PAIR, {"ITERS": 0}),
        (*PAIR, {"ITERS": 1}),
        (*PAIR, {"hiddenNodes": 1}),
        (*PAIR, {"hiddenNodes": 4096, "ITERS": 3}),
        (*PAIR, {"stepSize": 1e-300}),
        (np.zeros((4, 4)), [0, 1, 1, 0], {}),
        (np.full((4, 4), 9), [0, 1, 1, 0], {}),
        (np.full((2, 784), 255), [0, 1], {"ITERS": 2}),
    ],
)
def test_training_at_its_ends_is_finite(X: np.ndarray, y: Any, how: dict[str, Any], dtype: str) -> None:
    net, points = trained(X, y, **how, dtype=dtype)
    assert np.isfinite(net.W1).all()
    assert np.isfinite(net.W2).all()
    assert all(loss >= 0 and 0 <= accuracy <= 1 for _, loss, accuracy in points)  # inf is a loss, nan is none
    assert math.isfinite(points[-1][1])
    assert np.isfinite(net.predict(X, type="probs")).all()


def test_images_that_carry_both_labels_end_at_the_loss_of_a_coin_toss() -> None:
    _, points = trained(np.full((4, 4), 9), [0, 1, 1, 0], ITERS=5000, stepSize=1)
    assert points[-1][1] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("stepSize", [1e3, 1e100, 1e300])
def test_a_huge_step_ends_in_finite_weights_or_says_so(stepSize: float) -> None:
    X, y = images.split(generate(200, np.random.default_rng(1)), "checkerboard")
    try:
        net, points = trained(X, y, stepSize=stepSize)
    except FloatingPointError as error:
        assert "the weights are no longer finite at iteration" in str(error)
    else:
        assert np.isfinite(net.W1).all()
        assert not any(math.isnan(loss) for _, loss, _ in points)


def test_an_infinite_loss_is_reported_as_such_on_every_path(project: Path, run: Run) -> None:
    answer = run(
        "dognet", "--multirun", "stepSize=0.3,1e5", "seed=1,2", "ITERS=50", "study=steps", "hydra/launcher=basic"
    )
    assert answer.stderr == ""
    cells = [row.split("|") for row in (project / "experiments" / "steps" / "report.md").read_text().splitlines()]
    losses = {row[1].strip(): row[5].strip() for row in cells if len(row) == 9}
    assert losses["100000"] == "inf"
    assert 0 < float(losses["0.3"]) < 1
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        (largest,) = database.execute("SELECT max(abs(value)) FROM metrics").fetchone()
        tagged = database.execute("SELECT value FROM tags WHERE key = 'infinite_loss'").fetchall()
    assert largest < 1e6  # MLflow would make 1.8e308 of infinity, and draw its axes so far
    assert tagged == [("from iteration 1",)] * 2
    conf = project / "conf" / "config.yaml"
    settings = conf.read_text()
    conf.write_text(re.sub("ITERS: 10000", "ITERS: 50", re.sub(r"stepSize: 0.3", "stepSize: 1.0e+5", settings)))
    assert "validation loss inf nats" in run("dvc", "repro").stdout
    assert run("dvc", "metrics", "show").stdout.split().count("inf") == 3  # of train, validation and test
    conf.write_text(settings.replace("stepSize: 0.3", "stepSize: 1.0e+300").replace("dtype: float64", "dtype: float32"))
    answer = run("dvc", "repro", check=False)
    assert answer.returncode
    told = "train: the weights are no longer finite at iteration 1: stepSize 1e+300 is too large\n"
    assert told in answer.stderr + answer.stdout
    assert "Traceback" not in answer.stderr + answer.stdout


def test_a_million_rows_train() -> None:
    X = np.tile(np.arange(4, dtype=np.uint8) * 80, (1_000_000, 1))
    X[::2] = 255 - X[::2]
    net, points = trained(X, np.arange(1_000_000) % 2, ITERS=3)
    assert points[-1][1] < points[0][1]
    assert net.predict(X[:2]).shape == (2,)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)


@tried
@given(
    changes=st.dictionaries(
        st.sampled_from(["hiddenNodes", "stepSize", "ITERS", "seed", "dtype"]), anything, max_size=3
    )
)
def test_any_setting_trains_or_is_refused_by_its_name(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"hiddenNodes": 2, "stepSize": 0.3, "ITERS": 2, "seed": 1} | changes
    for name, most in (("hiddenNodes", 50), ("ITERS", 50)):  # what is large and right is only slow
        if isinstance(values[name], int) and values[name] > most:
            values[name] = most
    net = NNet()
    try:
        net.fit(*PAIR, **values)
    except InputError as error:
        assert any(str(error).startswith(name) for name in changes)
        assert repr(error)
    except FloatingPointError:
        assert values["stepSize"] > 1e10
    else:
        assert np.isfinite(net.W1).all()


cell = st.one_of(
    st.integers(-5, 300).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", " ", "NaN", "null", "1e400", "0x10", "1_000", '"', '""', '"1"', "'1'", "٣", "1,5", "\\N", "-0"]
    ),
    st.text(max_size=4),
)


@tried
@given(
    header=st.sampled_from(
        [
            "label,a,b",
            "a,label,b",
            "label,a,a",
            "\ufefflabel,a,b",
            "label,a",
            " label , a,b,,",
            ",label,a",
            "sep=;\nlabel,a,b",
        ]
    ),
    rows=st.lists(st.lists(cell, min_size=2, max_size=4), max_size=4),
    end=st.sampled_from(["\n", "\r\n", ""]),
    separator=st.sampled_from(",,;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-16", "utf-16-le", "latin-1"]),
    pack=st.sampled_from([bytes, bytes, gzip.compress, lambda content: gzip.compress(content)[:-3]]),
)
@example(header="label,a,b", rows=[list("123"), list("709")], end="\n", separator=",", encoding="utf-8", pack=bytes)
@example(header="label,a,b", rows=[["0", "0", '"']], end="\n", separator=",", encoding="utf-8", pack=bytes)
def test_any_csv_is_read_as_it_stands_or_refused_in_one_line(
    tmp_path: Path, header: str, rows: list[list[str]], end: str, separator: str, encoding: str, pack: Any
) -> None:
    path = tmp_path / "own.csv"
    lines = [header.replace(",", separator), *(separator.join(row) for row in rows)]
    errors = "replace" if encoding == "latin-1" else "surrogatepass"
    path.write_bytes(pack(("\n".join(lines) + end).encode(encoding, errors)))
    try:
        table = images.read(path)
    except ImagesError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1
    else:
        pixels = table.drop(columns="label").to_numpy(float)
        if header == "label,a,b" and all(each.isdecimal() and each.isascii() for row in rows for each in row):
            read = list(zip(table["label"], *pixels.T.tolist(), strict=True))
            assert read == [(label, float(a), float(b)) for label, a, b in rows]
        assert ((pixels >= 0) & (pixels <= 255)).all()
        assert table["label"].str.len().gt(0).all()
        assert images.split(table, "x")[1].dtype == bool


name = st.sampled_from(
    [*TrainingSettings.model_fields, "study", "data", "data.seed", "method.batchSize", "method.name", "hydra.x", "x"]
)
value = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "null", "true", "[1,2]", "{a:1}", "'a b'", "../x", "/x", "${seed}", "${oc.env:HOME}", "csv", "1,2"]
    ),
    st.sampled_from(["minibatches", "true,csv", "[a],b", "{a:1},minibatches", "random_weights,gradient_descent"]),
    st.text(max_size=6),
)
override = st.builds(
    "{}{}{}{}".format, st.sampled_from(["", "+", "++", "~"]), name, st.sampled_from(["=", "", ":"]), value
)


@pytest.mark.soak
@settings(often, max_examples=TRIES // 4)  # each composes conf/
@example(overrides=["hiddenNodes=0", "data=[1,2]"], multirun=False)
@example(overrides=["method=minibatches", "method.batchSize=1,2"], multirun=False)
@example(overrides=["data=1,2", "method={a:1},minibatches"], multirun=True)
@given(overrides=st.lists(override, min_size=1, max_size=2), multirun=st.booleans())
def test_any_override_gives_settings_within_their_bounds_or_a_line_each(overrides: list[str], multirun: bool) -> None:
    try:
        words, faults = for_hydra(overrides, REPOSITORY, multirun=multirun), []
        found = [settings for _, settings in points_of(words, REPOSITORY)] if multirun else [compose(REPOSITORY, words)]
    except SettingsError as error:
        faults = str(error).splitlines()
    if faults:
        assert all(faults)
        assert multirun or len(faults) <= 2 * len(overrides)
        return
    for one in found:
        assert isinstance(one, Settings)
        assert one.hiddenNodes >= 1
        assert 0 < one.stepSize < math.inf
        assert one.study.isascii()
        assert "/" not in one.study
