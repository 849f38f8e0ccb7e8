"""The pictures, read back from their figures: what they show, and that nothing is cut off or lies on another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from dognet import pictures

ITERATIONS = [0, 10, 30, 100, 300, 1000, 3000, 10_000]
LONG = "stepSize=0.001, hiddenNodes=16, data.images=10000, ITERS=100000"
NASTY = ["狗 and 猫", "$x_1$", "a_b", "n" * 99, "two\nlines", "<&\x00>", "_hidden"]


def training(points: int = 200, ITERS: float = 1e4) -> tuple[Any, Any, Any]:
    iteration = np.r_[0, np.geomspace(1, ITERS, points - 1)]
    return iteration, 0.7 * np.exp(-iteration / ITERS * 4), 1 - 0.4 * np.exp(-iteration / ITERS * 9)


def curve(*columns: Any) -> Figure:
    return pictures.curve(*columns, iteration_is="an update on 32 images", baseline=0.627)


def weights(pixels: int, hiddenNodes: int, iterations: list[int]) -> Figure:
    draw = np.random.default_rng(0).normal
    k = len(iterations)
    return pictures.weights(draw(size=(k, pixels + 1, hiddenNodes)), draw(size=(k, hiddenNodes + 1, 1)), iterations)


def activations(images: int, hiddenNodes: int, names: list[str]) -> Figure:
    H, W2 = np.random.default_rng(0).random((images, hiddenNodes)), np.linspace(-5, 5, hiddenNodes + 1)[:, None]
    return pictures.activations(H, W2, np.resize(names, images), names[0])


def mistakes(images: int, pixels: int, wrong: int, names: list[str]) -> Figure:
    X, labels = np.random.default_rng(0).integers(0, 256, (images, pixels)), np.resize(names, images)
    yhat = np.where(labels == names[0], 0.9, 0.1)
    yhat[:wrong] = 1 - yhat[:wrong]
    return pictures.mistakes(X, labels, yhat, names[0])


def sweep(names: list[str]) -> dict[str, tuple[Any, Any]]:
    x = 2.0 ** np.arange(7)
    return {name: (x, 0.6 / x ** (k / 10)) for k, name in enumerate(names)}


def heatmap(ys: list[Any], xs: list[Any]) -> Figure:
    values = np.random.default_rng(0).random((len(ys), len(xs)))
    return pictures.heatmap(values, list(map(str, xs)), list(map(str, ys)), "n" * len(xs) ** 2, "m" * len(xs) ** 2, "t")


PICTURES: dict[str, Callable[[], Figure]] = {
    "curve": lambda: curve(*training()),
    "curve with validation": lambda: curve(*training(), *training()[1:]),
    "curve at iteration 0 only": lambda: curve([0], [0.7], [0.4]),
    "constant curve": lambda: curve([0, 1, 2], [0.6931] * 3, [1.0] * 3),
    "loss down to 0": lambda: curve([0, 10, 100, 1000], [1, 1e-9, 1.2e-120, 0], [0, 1, 1, 1]),
    "loss up to inf": lambda: curve([0, 1, 2, 3], [0.7, 5e5, 1e301, np.inf], [0.4, 0.4, 0.4, np.nan]),
    "both losses up to inf": lambda: curve(range(300), *[[5e5] * 2 + [np.inf] * 298, [0.4] * 300] * 2),
    "nothing finite": lambda: curve([0, 1], [np.inf, np.nan], [np.nan, np.nan]),
    "12 lines": lambda: pictures.lines(sweep([f"stepSize={k}" for k in range(12)]), "hiddenNodes", "loss", "title"),
    "12 long lines": lambda: pictures.lines(sweep([f"{LONG}, seed={k}" for k in range(12)]), LONG, LONG, LONG * 3),
    "nasty lines": lambda: pictures.lines(sweep(NASTY), *NASTY[:3]),
    "20 lines": lambda: pictures.lines(sweep([f"stepSize={k}" for k in range(20)]), "hiddenNodes", "loss", "title"),
    "linear lines": lambda: pictures.lines({"a": ([-3, 0, 9], [-1e6, 0, 7e6])}, "x", "y", "t", logx=False, logy=False),
    "crowded ticks": lambda: pictures.lines({"a": ([1, 1.01, 1.02, 1.03, 9], [1] * 5)}, "x", "y", "t"),
    "no lines": lambda: pictures.lines({}, "x", "y", "t"),
    "weights of 4 nodes": lambda: weights(4, 4, ITERATIONS),
    "weights of 1 node": lambda: weights(4, 1, [0]),
    "weights of 8 nodes": lambda: weights(9, 8, ITERATIONS),
    "weights of 64 nodes of 28x28": lambda: weights(784, 64, ITERATIONS),
    "weights of 65 nodes": lambda: weights(4, 65, [10]),
    "weights of 700 pixels in a row": lambda: weights(700, 2, ITERATIONS),
    "weights of inf and nan": lambda: pictures.weights([[[np.inf], [np.nan], [2]]], [[[np.nan], [0]]], [5]),
    "weights all 0": lambda: pictures.weights(np.zeros((1, 5, 2)), np.zeros((1, 3, 1)), [0]),
    "weights up to 1e300": lambda: pictures.weights(np.full((1, 5, 2), -1e300), np.full((1, 3, 1), 1e300), [0]),
    "activations of 3 labels": lambda: activations(300, 4, ["dog", "cat", "human"]),
    "activations of 12 labels": lambda: activations(300, 100, [*NASTY, *"abcde"]),
    "no mistakes": lambda: mistakes(40, 4, 0, ["dog", "cat"]),
    "40 mistakes": lambda: mistakes(40, 9, 40, NASTY),
    "mistakes of 28x28 pixels": lambda: mistakes(9, 784, 3, ["dog", "cat"]),
    "heat map": lambda: heatmap([*range(9)], [*range(12)]),
    "heat map of one": lambda: heatmap([4], [0.3]),
    "nasty heat map": lambda: heatmap([*NASTY], [*NASTY]),
    "heat map of nothing": lambda: pictures.heatmap([[np.nan]], ["0.3"], ["4"], "x", "y", "t"),
    "wide heat map": lambda: heatmap(["n" * 99] * 20, [*range(40)]),
}


def texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn; the figure also holds those of ticks out of view."""
    drawn: list[Text] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, _: drawn.append(text))
        FigureCanvasAgg(figure).draw()
    return [text for text in drawn if text.get_visible() and text.get_text()]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


def contrast(one: Any, other: Any) -> float:
    """Return the contrast of two colours as WCAG defines it, from 1 to 21."""
    rgb = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((light + 0.05) / (dark + 0.05))


def cells(figure: Figure) -> list[Any]:
    """Return the values of each image."""
    return [np.ma.getdata(image.get_array()).tolist() for image in figure.axes[0].images]


@pytest.mark.parametrize("name", PICTURES)
def test_every_text_is_readable_and_none_is_cut_off_or_lies_on_another(name: str) -> None:
    figure = PICTURES[name]()
    assert figure.get_suptitle()
    assert contrast(figure.get_facecolor(), "white") < 1.1
    shown = texts(figure)
    for text in shown:
        assert text.get_fontsize() >= 9
        assert text.get_color() in ("black", "white") or contrast(text.get_color(), figure.get_facecolor()) > 4.5
    boxes = [text.get_window_extent(FigureCanvasAgg(figure).get_renderer()) for text in shown]
    low, high = np.array([(box.min, box.max) for box in boxes]).swapaxes(0, 1)
    outside = (low < 0).any(axis=1) | (high > figure.bbox.max).any(axis=1)
    assert not [shown[k].get_text() for k in np.flatnonzero(outside)]
    touching = np.triu((low[:, None] + 0.3 < high - 0.3).all(axis=2) & (low + 0.3 < high[:, None] - 0.3).all(axis=2), 1)
    assert not [(shown[k].get_text(), shown[m].get_text()) for k, m in np.argwhere(touching)]


def test_no_two_of_12_lines_share_a_colour_and_each_stands_out_from_the_background() -> None:
    lines = PICTURES["20 lines"]().axes[0].lines
    colours = {line.get_color() for line in lines}
    assert len(colours) == len(lines) == 12
    assert min(contrast(colour, pictures.BACKGROUND) for colour in colours) >= 3
    assert "the first 12 of 20" in words(PICTURES["20 lines"]())


def test_every_line_is_named_and_letters_that_the_font_lacks_are_escaped() -> None:
    shown = words(PICTURES["nasty lines"]())
    for name in (r"\u72d7 and \u732b", "$x_1$", "a_b", r"two\nlines", r"<&\x00>", "_hidden"):
        assert name in shown


def test_a_curve_shows_its_points_and_names_the_last_values() -> None:
    figure = curve([0, 1, 2], [0.7, 0.5, 0.02085], [0.4, 0.5, 0.98225], [0.8, 0.6, 0.5], [0.3, 0.4, 1])
    loss, accuracy = (np.array([line.get_ydata() for line in axes.lines[:2]]).tolist() for axes in figure.axes)
    assert loss == [[0.7, 0.5, 0.02085], [0.8, 0.6, 0.5]]
    assert accuracy == [[0.4, 0.5, 0.98225], [0.3, 0.4, 1]]
    for label in ("train 0.02085", "validation 0.5", "train 98.22%", "validation 100.00%", "baseline 62.70%", "100%"):
        assert label in words(figure)


def test_iteration_0_has_a_place_left_of_1_and_the_last_iteration_is_named() -> None:
    figure = curve(*training(200, 1500))
    axes = figure.axes[1]
    what = "iteration: an update on 32 images, up to 1500"
    assert {"0", "1", "10", "100", "1000", what} <= {text.get_text() for text in texts(figure)}
    places = axes.transData.transform([(x, 1) for x in (0, 1, 10)])[:, 0]
    assert places[0] + 20 < places[1] < places[2]


@pytest.mark.parametrize("hole", [np.inf, np.nan, -np.inf, 0])
def test_a_loss_without_a_place_leaves_a_gap_that_the_legend_names(hole: float) -> None:
    figure = curve([0, 1, 2, 3], [5, 4, hole, 2], [0, 0, 0, 1])
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, False, True, False]
    assert "1 of 4 points not finite" in words(figure)


def test_a_lone_point_between_gaps_gets_a_dot() -> None:
    iteration, loss, accuracy = training()
    loss[100:110], loss[105] = np.inf, 0.4
    dots = curve(iteration, loss, accuracy).axes[0].lines[0].get_markevery()
    assert np.flatnonzero(dots).tolist() == [105, 199]


def test_a_band_lies_round_its_curve_only() -> None:
    curves = sweep(["a", "b"])
    curves["b"] += [0.01] * 7, [2.0] * 6 + [np.inf]
    figure = pictures.lines(curves, "x", "y", "t")
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.01, 2)


def test_each_node_is_drawn_at_the_first_and_the_last_iterations_which_head_the_columns() -> None:
    W1, W2 = np.arange(8 * 5 * 2.0).reshape(8, 5, 2), np.zeros((8, 3, 1))
    W2[:, :, 0] = np.arange(8)[:, None] / 8
    figure = pictures.weights(W1, W2, ITERATIONS)
    shown = W1[[0, 3, 4, 5, 6, 7], :4].transpose(2, 0, 1)  # node, iteration, pixel
    assert cells(figure) == shown.reshape(12, 2, 2).tolist()
    assert figure.axes[0].images[0].get_clim() == (-77, 77), "white is 0"
    assert {"node 2", "after 10000", "bias 79\noutput 0.88"} <= {text.get_text() for text in texts(figure)}
    assert words(figure).count("after") == 7, "once a column, and in the title"


def test_of_many_nodes_the_64_with_the_largest_output_weights_are_drawn_at_the_last_iteration() -> None:
    W1, W2 = np.zeros((2, 5, 100)), np.zeros((2, 101, 1))
    W1[:, :4], W2[1, 70], W2[1, 31], W2[1, -1] = np.arange(100), -9, 5, 99
    figure = pictures.weights(W1, W2, [0, 10])
    drawn = [image[0][0] for image in cells(figure)]
    assert len(drawn) == 64
    assert drawn == [*range(63), 70]
    assert "64 of 100 nodes" in words(figure)


def test_a_histogram_counts_the_activations_of_its_label_and_node() -> None:
    H = np.zeros((8, 2))
    H[:, 0] = [0.01, 0.99, 1, 1, 0.5, 0.5, 0.5, 0.93]
    figure = pictures.activations(H, [[2], [-3], [0]], ["dog"] * 4 + ["cat"] * 4, "dog")
    bars = [patch.get_data() for patch in figure.axes[0].patches]
    cat, dog = (np.round((bar.baseline - bar.values) / 26 * 3).tolist() for bar in bars[:2])
    assert dog == [1, *[0] * 12, 3]
    assert cat == [*[0] * 7, 3, *[0] * 5, 1]
    assert {"dog (4)", "cat (4)", "node 1\noutput 2.00"} <= {text.get_text() for text in texts(figure)}


def test_numbers_stand_in_cells_only_of_few_and_small_images() -> None:
    assert len(PICTURES["weights of 1 node"]().axes[0].texts) == 1 + 4
    assert len(weights(4, 7, ITERATIONS).axes[0].texts) == 7 * 6 + 7 + 6  # 168 cells would take too long


def test_the_surest_mistakes_come_first_with_label_and_probability() -> None:
    X = [[0, 255, 255, 0], [255, 0, 0, 255], [51] * 4, [0] * 4]
    figure = pictures.mistakes(X, ["dog", "cat", "dog", "cat"], [0.4, 0.9, 0.95, 0.1], "dog")
    assert cells(figure)[0] == [[255, 0], [0, 255]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["cat\n0.900", "dog\n0.400"]
    assert "2 of 4 test images" in words(figure)


def test_without_mistakes_the_images_are_shown_of_which_the_network_is_least_sure() -> None:
    figure = pictures.mistakes(np.zeros((3, 4)), ["dog", "cat", "dog"], [0.9, 0.45, 0.51], "dog")
    assert [text.get_text()[-5:] for text in figure.axes[0].texts] == ["0.510", "0.450", "0.900"]
    assert "None of 3 test images. Below each: its label and the probability of dog" in words(figure)


def test_a_heat_map_writes_every_number_in_an_ink_that_stands_out_and_marks_what_is_missing() -> None:
    figure = pictures.heatmap([[0.1, np.nan, 0.25], [0.5, 0.75, 1]], ["1", "2", "3"], ["4", "8"], "x", "y", "t")
    numbers, image = figure.axes[0].texts, figure.axes[0].images[0]
    assert [text.get_text() for text in numbers] == ["0.100", "–", "0.250", "0.500", "0.750", "1.000"]
    for text, colour in zip(numbers, image.to_rgba(image.get_array()).reshape(-1, 4), strict=True):
        assert contrast(text.get_color(), colour[:3] if colour[3] else pictures.MISSING) > 4.4


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: curve([0, 1], [1], [1, 1]), r"one length, at least 1, got \(2,\), \(1,\)"),
        (lambda: curve([], [], []), "at least 1"),
        (lambda: pictures.lines({"a": ([1], [1, 2])}, "x", "y", "t"), "^a: columns must have one length"),
        (lambda: pictures.weights(np.zeros((1, 5, 3)), np.zeros((1, 3, 1)), [0]), r"got \(1, 5, 3\), \(1, 3, 1\)"),
        (lambda: pictures.weights(np.zeros((1, 5, 3)), np.zeros((1, 4, 1)), [0, 1]), "iterations = 2"),
        (lambda: pictures.activations([[0.5]], [[1], [0]], ["a", "b"], "a"), r"H must be .*, got \(1, 1\)"),
        (lambda: pictures.mistakes(np.zeros((2, 4)), ["a"], [0.5, 0.5], "a"), r"X must be .*, got \(2, 4\), \(1,\)"),
        (lambda: pictures.heatmap([[1, 2]], ["1"], ["1", "2"], "x", "y", "t"), r"\(2, 1\), got \(1, 2\)"),
        (lambda: pictures.save(Figure(), Path("a.pdf")), "an .svg or a .png file, got a.pdf"),
    ],
)
def test_arrays_of_the_wrong_shape_are_refused_in_one_line(draw: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


def save_some(folder: Path) -> None:
    for name in ("curve.svg", "12 lines.svg", "weights of 4 nodes.svg", "heat map.svg", "activations of 3 labels.png"):
        pictures.save(PICTURES[name[:-4]](), folder / name)


def test_every_process_writes_the_same_bytes_whatever_its_matplotlibrc_says(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: black\nfont.size: 30\ntext.usetex: True\n")
    (tmp_path / "again").mkdir()
    (tmp_path / "here").mkdir()
    save_some(tmp_path / "here")
    code = "import pathlib, test_pictures; test_pictures.save_some(pathlib.Path('again'))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=True)
    for file in (tmp_path / "here").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_a_saved_picture_has_the_figures_size_and_title_and_leaves_nothing_else(tmp_path: Path) -> None:
    figure = heatmap([4], [0.3])
    pictures.save(figure, tmp_path / "a.png")
    pictures.save(figure, tmp_path / "a.svg")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "a.svg"]
    assert imread(tmp_path / "a.png").shape[1] == 1.5 * pictures.WIDTH
    assert "<title>t</title>" in (tmp_path / "a.svg").read_text()
