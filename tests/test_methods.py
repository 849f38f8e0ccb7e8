"""The methods of finding the weights against plain loops and scikit-learn, and a method that someone adds."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Run, make_project, run_in, small

from dognet.conf import compose
from dognet.data import generate, images
from dognet.files import sha256
from dognet.network import InputError, Method, NNet, methods
from dognet.network.blocks import image_parts
from dognet.network.methods import make
from dognet.network.methods.gradient_descent import GradientDescent
from dognet.network.methods.minibatches import Minibatches
from dognet.network.methods.random_weights import RandomWeights
from dognet.network.training import recorded_iterations
from dognet.runs.digest import code_digest, digest, folder_name, hash_of
from dognet.runs.folder import read_run
from dognet.runs.run import ImagesId
from dognet.settings import Settings, SettingsError
from dognet.stages.once import run_once
from dognet.tracking import dashboard, entry

QUICK = ("hydra/launcher=basic", "tracking_uri=none")
METHODS = [GradientDescent(), RandomWeights(), Minibatches(batchSize=7, momentum=0.8)]


def some_images(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return images.split(generate.generate(n, np.random.default_rng(5)), "checkerboard")


def fitted(method: Method, ITERS: int = 40, **more: Any) -> NNet:
    net = NNet()
    net.fit(*some_images(), 3, 0.7, ITERS, 4, method=method, **more)
    return net


def loss_of(X: np.ndarray, y: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> float:
    X2 = np.column_stack([1 / (1 + np.exp(-np.column_stack([X / 255, np.ones(len(X))]) @ W1)), np.ones(len(X))])
    yhat = 1 / (1 + np.exp(-X2 @ W2))[:, 0]
    return -np.mean(np.where(y, np.log(yhat), np.log(1 - yhat)))


def slope_of(X: np.ndarray, y: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    X1 = np.column_stack([X / 255, np.ones(len(X))])
    dW1, dW2 = np.zeros_like(W1), np.zeros_like(W2)
    for x, label in zip(X1, y, strict=True):
        hidden = 1 / (1 + np.exp(-x @ W1))
        off = 1 / (1 + np.exp(-(hidden @ W2[:-1, 0] + W2[-1, 0]))) - label
        dW2[:, 0] += off * np.append(hidden, 1) / len(X)
        dW1 += np.outer(x, off * W2[:-1, 0] * hidden * (1 - hidden)) / len(X)
    return dW1, dW2


def test_random_weights_keep_the_best_of_all_draws() -> None:
    X, y = some_images()
    generator = np.random.default_rng(4)
    draws = [(generator.uniform(-1, 1, (5, 3)), generator.uniform(-1, 1, (4, 1))) for _ in range(41)]
    best = min(draws, key=lambda draw: loss_of(X, y, *draw))
    net = fitted(RandomWeights())
    assert np.array_equal(net.W1, best[0])
    assert np.array_equal(net.W2, best[1])
    losses: list[float] = []
    fitted(RandomWeights(), callback=lambda _i, loss, _a: losses.append(loss))
    assert losses == pytest.approx([min(loss_of(X, y, *draw) for draw in draws[: k + 1]) for k in range(41)])


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_minibatches_agree_with_a_plain_loop_that_sees_every_image_once_a_pass(momentum: float) -> None:
    X, y = some_images()
    generator = np.random.default_rng(4)
    weights = [generator.uniform(-1, 1, (5, 3)), generator.uniform(-1, 1, (4, 1))]
    steps = [np.zeros((5, 3)), np.zeros((4, 1))]
    done = 0
    while done < 40:
        order = generator.permutation(60)  # 8 batches of 7 and one of 4
        for batch in [order[start : start + 7] for start in range(0, 60, 7)][: 40 - done]:
            steps = [
                momentum * step - 0.7 * slope
                for step, slope in zip(steps, slope_of(X[batch], y[batch], *weights), strict=True)
            ]
            weights = [W + step for W, step in zip(weights, steps, strict=True)]
            done += 1
    net = fitted(Minibatches(batchSize=7, momentum=momentum))
    np.testing.assert_allclose(net.W1, weights[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.W2, weights[1], rtol=0, atol=1e-12)


def test_minibatches_agree_with_scikit_learn_on_the_same_batches() -> None:
    from sklearn.neural_network import MLPClassifier

    X, y = some_images()
    first = fitted(Minibatches(batchSize=20, momentum=0.9), ITERS=0)
    classifier = MLPClassifier(
        3, activation="logistic", solver="sgd", alpha=0, batch_size=20, learning_rate_init=0.7, momentum=0.9,
        nesterovs_momentum=False,
    )  # fmt: skip
    classifier.partial_fit(X[:20] / 255, y[:20], classes=[False, True])  # makes its arrays, which get our weights
    for given, ours in zip(classifier.coefs_, (first.W1[:-1], first.W2[:-1]), strict=True):
        given[:] = ours
    for given, ours in zip(classifier.intercepts_, (first.W1[-1], first.W2[-1]), strict=True):
        given[:] = ours
    for velocity in classifier._optimizer.velocities:
        velocity[:] = 0
    generator = first.state.copy().generator
    for _ in range(4):
        order = generator.permutation(60)
        for batch in (order[:20], order[20:40], order[40:]):
            classifier.partial_fit(X[batch] / 255, y[batch])
    net = fitted(Minibatches(batchSize=20, momentum=0.9), ITERS=12)
    np.testing.assert_allclose(net.W1, np.vstack([classifier.coefs_[0], classifier.intercepts_[0]]), atol=1e-12)
    np.testing.assert_allclose(net.W2, np.vstack([classifier.coefs_[1], classifier.intercepts_[1]]), atol=1e-12)


def test_batches_of_all_images_are_gradient_descent() -> None:
    for batchSize in (60, 1000):
        net = fitted(Minibatches(batchSize=batchSize))
        np.testing.assert_allclose(net.W1, fitted(GradientDescent()).W1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("done", [0, 1, 9, 33])
def test_a_continued_run_of_any_method_ends_on_the_same_bits(method: Method, done: int, tmp_path: Path) -> None:
    whole, rest = [], []
    straight = fitted(method, callback=lambda *point: whole.append(point))
    shorter = fitted(method, ITERS=done)
    shorter.save(tmp_path / "weights.npz")
    state = NNet.load(tmp_path / "weights.npz").state
    resumed = fitted(method, resume=(done, state), callback=lambda *point: rest.append(point))
    assert {name: array.tobytes() for name, array in straight.state.arrays().items()} == {
        name: array.tobytes() for name, array in resumed.state.arrays().items()
    }
    assert rest == [point for point in whole if point[0] >= done]


def test_a_batch_may_be_larger_than_any_number_of_images(tmp_path: Path) -> None:
    all_images = Minibatches(batchSize=10**20)
    fitted(all_images, ITERS=9).save(tmp_path / "weights.npz")
    resumed = fitted(all_images, resume=(9, NNet.load(tmp_path / "weights.npz").state))
    assert resumed.W1.tobytes() == fitted(Minibatches(batchSize=60)).W1.tobytes()


def test_the_state_of_another_method_is_refused() -> None:
    with pytest.raises(InputError, match=r"step1 of resume must be float64 of shape \(5, 3\), got none: "):
        fitted(METHODS[2], resume=(9, fitted(METHODS[0], ITERS=9).state))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_threads_change_no_bit_of_any_method(method: Method) -> None:
    X, y = some_images(9000)
    assert len(image_parts(9000, 5, 64)) == 5
    if isinstance(method, Minibatches):
        method = Minibatches(batchSize=8000, momentum=method.momentum)
    results = set()
    for threads in (1, 2, 3):
        net = NNet()
        net.fit(X, y, 64, 0.7, 5, 4, method=method, threads=threads)
        results.add(net.W1.tobytes() + net.W2.tobytes())
    assert len(results) == 1


def test_a_point_of_small_batches_costs_several_iterations_so_there_are_fewer() -> None:
    """A point looks at all 4000 images and costs about as much as 6 updates on 32 of them."""
    recorded = list(recorded_iterations(10_000, Minibatches.dense))
    assert 50 < len(recorded) < 0.05 * 10_000 / 6
    assert recorded[:22] == [*range(21), 30]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("minibatches", {}, "batchSize must be given"),
        ("minibatches", {"batchSize": 0}, "batchSize must be a whole number of at least 1, got 0"),
        ("minibatches", {"batchSize": 1.5}, "batchSize must be a whole number of at least 1, got 1.5"),
        ("minibatches", {"batchSize": True}, "batchSize must be a whole number of at least 1, got True"),
        ("minibatches", {"batchSize": 8, "momentum": 1}, "momentum must be a number from 0 to below 1, got 1.0"),
        (
            "minibatches",
            {"batchSize": 8, "momentum": "much"},
            "momentum must be a number from 0 to below 1, got 'much'",
        ),
        ("gradient_descent", {"batchSize": 8}, "batchSize is no setting of method=gradient_descent"),
        ("guess", {}, "name must be that of a file in network/methods/, got 'guess'"),
    ],
)
def test_a_method_says_what_is_wrong_with_its_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        make(name, settings)
    assert make("minibatches", {"batchSize": 1e2, "momentum": 0}) == Minibatches(batchSize=100, momentum=0.0)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_library\n", "name: network/methods/half.py: No module named 'no_such_library'"),
        ("class Other: ...\n", "name: network/methods/half.py needs a class Half(Method) with iteration and update"),
        (
            "from dognet.network import Method\n\nclass Half(Method):\n    iteration = 'a step'\n",
            "name: network/methods/half.py needs a class Half(Method) with iteration and update",
        ),
    ],
)
def test_a_method_that_is_half_written_is_one_line(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.py").write_text(code)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{methods.__name__}.half", raising=False)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        make("half", {})
    sys.modules.pop(f"{methods.__name__}.half", None)


# --- as a setting


def with_method(**values: object) -> Settings:
    return Settings.model_validate(small().model_dump() | {"method": values})


def test_the_runs_of_gradient_descent_keep_their_folders_and_what_their_digest_holds() -> None:
    usual, content = small(), ImagesId(source="a", positive="b", pixels=("c",), train_sha256="d")
    plain = usual.training(defaults=False)
    assert plain == {"hiddenNodes": 4, "stepSize": 0.3, "ITERS": 150, "seed": 123}
    names = {
        folder_name(settings): digest(settings, content, "e")
        for settings in (
            usual,
            with_method(name="random_weights"),
            with_method(name="minibatches", batchSize=8),
            with_method(name="minibatches", batchSize=8, momentum=0.5),
        )
    }
    assert [name.removeprefix("hiddenNodes=4,") for name in names] == [
        "stepSize=0.3,ITERS=150,seed=123",
        "ITERS=150,seed=123,method=random_weights",
        "stepSize=0.3,ITERS=150,seed=123,method=minibatches,method.batchSize=8",
        "stepSize=0.3,ITERS=150,seed=123,method=minibatches,method.batchSize=8,method.momentum=0.5",
    ]
    assert len(set(names.values())) == 4


def test_a_run_from_before_the_methods_is_one_of_gradient_descent(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    run = run_once(small(ITERS=3), root)
    config = run.folder / "config.yaml"
    old = config.read_text().replace("method: {name: gradient_descent}\n", "")
    assert old != config.read_text()
    config.write_text(old)
    manifest = json.loads((run.folder / "run.json").read_text())
    manifest["sha256"]["config.yaml"] = sha256(config)
    del manifest["checksum"]
    (run.folder / "run.json").write_text(json.dumps(manifest | {"checksum": hash_of(manifest)}))
    assert read_run(run.folder).settings == run.settings
    assert run_once(small(ITERS=3), root).manifest == read_run(run.folder).manifest


def test_a_file_of_a_method_names_it(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    for text, message in (
        ("batchSize: 8\n", "method.name must be that of a file in network/methods/, got 'None'"),
        ("name: guess\n", "method.name must be that of a file in network/methods/, got 'guess'"),
        ("name: minibatches\n", "method.batchSize must be given"),
    ):
        (root / "conf" / "method" / "own.yaml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            compose(root, ["method=own"])
        assert str(caught.value) == message
    (root / "conf" / "method" / "own.yaml").write_text("name: minibatches\nbatchSize: 8\n")
    assert compose(root, ["method=own", "++method.momentum=0.5"]).method.build() == Minibatches(8, 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=random_weights", "stepSize=1"], "stepSize is no setting of method=random_weights"),
        (["++method.batchSize=8"], "method.batchSize is no setting of method=gradient_descent"),
        (
            ["method=minibatches", "++method.batchsize=8"],
            "method.batchsize is no setting of method=minibatches: did you mean method.batchSize?",
        ),
        (
            ["method=minibatches", "++method.batchSize=0"],
            "method.batchSize must be a whole number of at least 1, got 0",
        ),
        (
            ["method=guess"],
            "method=guess: no such option, there are gradient_descent, minibatches, random_weights",
        ),
    ],
)
def test_a_setting_that_belongs_to_another_method_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        compose(REPOSITORY, words)
    assert str(caught.value) == message


def test_mlflow_tells_methods_apart_by_name_parameters_and_what_an_iteration_is(tmp_path: Path) -> None:
    run = run_once(with_method(name="minibatches", batchSize=8).model_copy(update={"ITERS": 3}), make_project(tmp_path))
    assert entry.params(run).items() >= {"method": "minibatches", "method.batchSize": "8"}.items()
    assert entry.run_name(run) == "h4 s0.3 i3 seed123 minibatches batchSize8"
    assert entry.tags(run)["iteration"] == "an update on 8 images"
    guess = run_once(with_method(name="random_weights").model_copy(update={"ITERS": 3}), tmp_path)
    assert "stepSize" not in entry.params(guess)
    assert entry.run_name(guess) == "h4 i3 seed123 random_weights"


def test_runs_of_every_method_have_a_line_among_the_parallel_coordinates() -> None:
    params = {"method": "random_weights", "seed": "1"}, {"method": "minibatches", "seed": "2", "method.batchSize": "8"}
    charts = dashboard.compare([SimpleNamespace(params=each, metrics={}) for each in params])["compareRunCharts"]
    (parallel,) = (chart for chart in charts if chart["type"] == "PARALLEL")
    assert parallel["selectedParams"] == ["seed", "method"]


def test_a_sweep_over_methods_gives_each_the_settings_that_it_has(project: Path, run: Run) -> None:
    grid = ["method=gradient_descent,minibatches,random_weights", "method.batchSize=8,64", "stepSize=0.3,1", "seed=1,2"]
    words = ["dognet", "--multirun", *grid, "ITERS=20", "study=ways", *QUICK]
    answer = run(*words)
    assert "study ways: 14 runs, 0 finished, 14 to do" in answer.stdout  # 2 seeds · (2 + 4 + 1)
    assert "14 finished, 0 to do" in run(*words).stdout
    report = (project / "experiments" / "ways" / "report.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in report.splitlines() if row.startswith("| ")]
    assert ["gradient_descent", "1", "–"] in rows
    assert ["minibatches", "0.3", "64"] in rows
    assert ["random_weights", "–", "–"] in rows
    assert "an update on 8 images, an update on 64 images (`method=minibatches`); a draw of all weights (" in report
    faulty = run(*words, "method.momentun=0.5", check=False).stderr
    assert faulty == "dognet: method.momentun is no setting of method=gradient_descent,minibatches,random_weights\n"


def written_by_the_page(file: str) -> str:
    """What docs/how-to/own-project.md shows as the content of a file."""
    page = (REPOSITORY / "docs" / "how-to" / "own-project.md").read_text()
    return re.findall(rf"<!-- write {file} -->\n```\w+\n(.*?)```", page, re.DOTALL)[0]


def test_a_method_of_your_own_is_two_files(project: Path, run: Run) -> None:
    run("dognet", "--multirun", "seed=1", "ITERS=20", *QUICK)
    for file in ("src/dognet/network/methods/signs.py", "conf/method/signs.yaml"):
        (project / file).write_text(written_by_the_page(file))
    assert "1 run, 1 finished, 0 to do" in run("dognet", "--multirun", "seed=1", "ITERS=20", *QUICK).stdout
    grid = ["method=gradient_descent,signs", "method.shrink=0.9,0.99", "seed=1", "study=own", *QUICK]
    run("dognet", "--multirun", *grid, "ITERS=30")
    assert "3 runs, 0 finished, 3 to do" in run("dognet", "--multirun", *grid, "ITERS=50").stdout
    continued = sorted((project / "experiments" / "own" / "runs").glob("*ITERS=50*method=signs*"))
    assert len(continued) == 2
    assert all(json.loads((folder / "run.json").read_text())["continued_from"] for folder in continued)
    shutil.move(continued[0] / "weights.npz", project / "continued.npz")
    run("dognet", "--multirun", *grid, "ITERS=50", "force=true")
    assert (continued[0] / "weights.npz").read_bytes() == (project / "continued.npz").read_bytes()
    report = (project / "experiments" / "own" / "report.md").read_text()
    assert "a step along the signs of the gradient (`method=signs`)" in report
    assert "method: gradient_descent, minibatches, random_weights, signs" in run("dognet", "--help").stdout


@pytest.mark.parametrize("name", ["random_weights", "minibatches"])
def test_no_other_file_of_the_source_names_a_method(name: str) -> None:
    words = name, type_name(name)
    files = [file for file in (REPOSITORY / "src").rglob("*.py") if any(word in file.read_text() for word in words)]
    assert [file.name for file in files] == [f"{name}.py"]


def test_only_the_network_its_settings_and_its_pictures_name_its_parts() -> None:
    source, own = REPOSITORY / "src" / "dognet", {"hiddenNodes", "stepSize", "W1", "W2"}
    files = set()
    for file in source.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        used = {getattr(node, name, None) for node in nodes for name in ("attr", "arg", "id")}
        if used & own:
            files.add(file.relative_to(source).parts[0] if "network" in file.parts else file.name)
    assert files == {"network", "settings.py", "plot.py", "pictures.py"}


def type_name(name: str) -> str:
    """The name of the class of a method."""
    return "".join(map(str.capitalize, name.split("_")))


def test_the_code_of_another_method_does_not_change_a_digest(tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from dognet.runs.digest import code_digest; print(*map(code_digest, ('gradient_descent', 'minibatches')))"
    run = run_in(root)
    before = run("python", "-c", code, PYTHONPATH=str(root / "src")).stdout.split()
    assert before == [code_digest(name) for name in ("gradient_descent", "minibatches")]
    file = root / "src" / "dognet" / "network" / "methods" / "minibatches.py"
    file.write_text(file.read_text() + "\nMORE = 1\n")
    after = run("python", "-c", code, PYTHONPATH=str(root / "src")).stdout.split()
    assert after[0] == before[0]
    assert after[1] != before[1]
