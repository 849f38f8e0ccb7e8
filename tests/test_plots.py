"""The pictures, read back as XML: what they show, and that nothing of it lies outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dognet import plots
from dognet import svg as pieces

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parse(svg).iter(f"{SVG}text")]


def path_points(path: str) -> list[tuple[float, float]]:
    """Return the absolute corners of a path of M, L, H, V and h."""
    points: list[tuple[float, float]] = []
    for command, rest in re.findall("([A-Za-z])([^A-Za-z]*)", path):
        match command, [float(number) for number in rest.split()]:
            case "M" | "L", [x, y]:
                points.append((x, y))
            case "H", [x]:
                points.append((x, points[-1][1]))
            case "V", [y]:
                points.append((points[-1][0], y))
            case "h", [width]:
                points.append((points[-1][0] + width, points[-1][1]))
            case "v", [height]:
                points.append((points[-1][0], points[-1][1] + height))
            case _:
                raise AssertionError(f"{command}{rest} in {path[:80]}")
    return points


def drawn(svg: str, kind: str) -> list[str]:
    return [element.get("d") or "" for element in parse(svg).iter(f"{SVG}path") if element.get("class") == kind]


def curve_points(svg: str, kind: str = "line") -> list[int]:
    """Return how many points each line has."""
    return [len(re.findall("[ML]", path)) for path in drawn(svg, kind)]


def cell_colours(svg: str) -> dict[tuple[float, float], str]:
    """Return the colour of each cell by its left x and middle y, without the colour bar, which is drawn last."""
    group = next(parse(svg).iter(f"{SVG}g"))
    paths = [(element.get("stroke") or "", element.get("d") or "") for element in group]
    return {point: colour for colour, d in paths for point in path_points(d)[::2]}


def colours_of_image(svg: str, rows: int, columns: int) -> list[list[str]]:
    """Return the colours of the one image drawn, row by row."""
    colours = cell_colours(svg)
    ordered = [colours[place] for place in sorted(colours, key=lambda place: (place[1], place[0]))]
    assert len(ordered) == rows * columns
    return [ordered[row * columns : (row + 1) * columns] for row in range(rows)]


def assert_inside(svg: str) -> None:
    """Check that every coordinate is a number with at most two decimals inside the viewBox, and every text too."""
    root = parse(svg)
    width, height = (float(n) for n in (root.get("viewBox") or "").split()[2:])
    boxes = [text_box(element) for element in root.iter(f"{SVG}text")]
    points = [p for element in root.iter(f"{SVG}path") for p in path_points(element.get("d") or "")]
    points += [(float(c.get("cx", "nan")), float(c.get("cy", "nan"))) for c in root.iter(f"{SVG}circle")]
    points += [(a, b) for a, b, _, _ in boxes] + [(a, b) for _, _, a, b in boxes]
    outside = [(a, b) for a, b in points if not (0 <= a <= width and 0 <= b <= height)]
    assert not outside, f"{outside[:3]} outside {width} x {height}"
    assert not re.search(r'\bd="[^"]*\.\d{3}', svg)


def text_box(element: ET.Element) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a text whose letters are 0.62 em wide."""
    size = float(element.get("font-size", "nan"))
    wide = len(element.text or "") * 0.62 * size
    before = {"start": 0, "middle": wide / 2, "end": wide}[element.get("text-anchor", "")]
    left, bottom = float(element.get("x", "nan")) - before, float(element.get("y", "nan"))
    return left, bottom - 0.8 * size, left + wide, bottom + 0.2 * size


def assert_no_text_on_another(svg: str) -> None:
    boxes = sorted((text_box(element), element.text) for element in parse(svg).iter(f"{SVG}text"))
    for number, ((left, top, right, bottom), string) in enumerate(boxes):
        for (left2, top2, right2, bottom2), string2 in boxes[number + 1 :]:
            apart = right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top
            assert apart, f"{string!r} and {string2!r} overlap"


def training(points: int = 281, ITERS: float = 1e4) -> tuple[Any, Any, Any]:
    iteration = np.r_[0, np.geomspace(1, ITERS, points - 1)]
    return iteration, 0.7 * np.exp(-iteration / ITERS * 4), 1 - 0.4 * np.exp(-iteration / ITERS * 9)


def random_weights(pixels: int, hiddenNodes: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(pixels + 1, hiddenNodes)), generator.normal(size=(hiddenNodes + 1, 1))


def random_picture(pixels: int, hiddenNodes: int) -> str:
    return plots.weights(*random_weights(pixels, hiddenNodes))


def random_weights_at(pixels: int, hiddenNodes: int, iterations: list[int]) -> str:
    W1, W2 = zip(*(random_weights(pixels, hiddenNodes) for _ in iterations), strict=True)
    return plots.weights(W1, W2, iterations)


def random_activations(images: int, hiddenNodes: int, labels: int) -> str:
    H, names = np.random.default_rng(0).random((images, hiddenNodes)), [chr(97 + k % labels) for k in range(images)]
    return plots.activations(H, random_weights(4, hiddenNodes)[1], names, "b")


def some_wrong(images: int, pixels: int, wrong: int) -> str:
    X = np.random.default_rng(0).integers(0, 256, (images, pixels))
    yhat = np.r_[np.linspace(0, 0.5, wrong), np.linspace(0.501, 1, images - wrong)]
    return plots.mistakes(X, ["dog"] * images, yhat, "dog")


def sweep(curves: int, points: int = 7) -> dict[str, tuple[Any, Any]]:
    x = 2.0 ** np.arange(points)
    return {f"stepSize={k + 1}": (x, 0.6 / x ** (k / 10)) for k in range(curves)}


PICTURES: dict[str, Callable[[], str]] = {
    "curve": lambda: plots.curve(*training()),
    "curve of 400 points to 1e8": lambda: plots.curve(*training(400, 1e8)),
    "curve at iteration 0 only": lambda: plots.curve([0], [0.7], [0.4]),
    "curve of one later point": lambda: plots.curve([500], [0.7], [0.4]),
    "curve of 2 points": lambda: plots.curve([0, 1], [0.7, 0.6], [0.4, 0.5]),
    "constant curve": lambda: plots.curve([0, 1, 2], [0.6931] * 3, [1.0] * 3),
    "loss down to 0": lambda: plots.curve([0, 10, 100, 1000], [1, 1e-9, 1.2345e-120, 0], [0, 1, 1, 1]),
    "loss up to inf": lambda: plots.curve([0, 1, 2, 3], [0.7, 5e5, 1e301, np.inf], [0.4, 0.4, 0.4, np.nan]),
    "nothing finite": lambda: plots.curve([0, 1], [np.inf, np.nan], [np.nan, np.nan]),
    "lines": lambda: plots.lines(sweep(3), "hiddenNodes", "loss", "title"),
    "ten lines": lambda: plots.lines(sweep(10), "hiddenNodes", "loss", "title"),
    "ten lines that end together": lambda: plots.lines(dict.fromkeys("abcdefghij", ([1, 2], [3, 4])), "x", "y", "t"),
    "lines with crowded ticks": lambda: plots.lines({"a": ([1, 1.01, 1.02, 1.03, 9], [1] * 5)}, "x", "y", "t"),
    "linear lines": lambda: plots.lines({"a": ([-3, 0, 9], [-1e6, 0, 7e6])}, "x", "y", "t", logx=False, logy=False),
    "no lines": lambda: plots.lines({}, "x", "y", "t"),
    "lines with long names": lambda: plots.lines({"n" * 200: ([1, 2], [3, 4])}, "x" * 200, "y" * 200, "t" * 200),
    "heat map": lambda: plots.heatmap([[0.1, np.nan], [0.5, 1]], [0.3, 1], [4, 8], "stepSize", "hiddenNodes", "t"),
    "heat map of one": lambda: plots.heatmap([[-3]], [0.3], [4], "stepSize", "hiddenNodes", "t"),
    "heat map of nothing": lambda: plots.heatmap([[np.nan]], [0.3], [4], "stepSize", "hiddenNodes", "t"),
    "wide heat map": lambda: plots.heatmap(
        np.arange(800.0).reshape(20, 40), range(40), ["n" * 99] * 20, "x" * 99, "y" * 99, "t"
    ),
    **{
        f"weights {pixels} x {nodes}": partial(random_picture, pixels, nodes)
        for pixels, nodes in [
            (4, 1),
            (4, 4),
            (4, 64),
            (4, 65),
            (4, 4096),
            (1, 3),
            (5, 3),
            (8, 5),
            (9, 12),
            (16, 20),
            (700, 2),
            (783, 3),
            (784, 1),
            (784, 64),
            (20_000, 2),
        ]
    },
    "weights all 0": lambda: plots.weights(np.zeros((5, 2)), np.zeros((3, 1))),
    "weights up to 1e300": lambda: plots.weights(np.full((5, 2), -1e300), np.full((3, 1), 1e300)),
    **{
        f"weights {pixels} x {nodes} at {len(times)} iterations": partial(random_weights_at, pixels, nodes, times)
        for pixels, nodes, times in [
            (4, 4, [0]),
            (4, 1, [0, 1]),
            (4, 8, [0, 10, 30, 100, 300, 1000]),
            (9, 8, [0, 10, 30, 100, 300, 1000, 3000, 123_456_789]),
            (4, 9, [0, 10]),
            (784, 8, [0, 10, 30, 100, 300, 1000, 3000, 10_000, 999_999]),
            (700, 2, [0, 10]),
        ]
    },
    **{
        f"activations {images} x {nodes} of {labels} labels": partial(random_activations, images, nodes, labels)
        for images, nodes, labels in [(1, 1, 1), (300, 4, 3), (300, 5, 10), (300, 16, 2), (300, 100, 26)]
    },
    "activations with long labels": lambda: plots.activations([[0], [1]], [[1], [0]], ["n" * 99, "m" * 99], "n" * 99),
    **{
        f"mistakes {images} x {pixels}, {wrong} wrong": partial(some_wrong, images, pixels, wrong)
        for images, pixels, wrong in [
            (1, 4, 0),
            (1, 1, 1),
            (40, 4, 0),
            (40, 4, 24),
            (40, 4, 25),
            (40, 9, 40),
            (9, 784, 3),
        ]
    },
    "mistakes in wide images": partial(some_wrong, 3, 700, 1),
    "mistakes with long labels": lambda: plots.mistakes(np.zeros((7, 4)), ["n" * 99] * 7, np.ones(7), "p" * 200),
    "weights of inf and nan": lambda: plots.weights(
        np.array([[np.inf, np.nan, 1, -np.inf, 2]]).T, np.array([[np.nan, 0]]).T
    ),
}


def all_pictures() -> bytes:
    return "".join(draw() for draw in PICTURES.values()).encode()


@pytest.mark.parametrize("name", PICTURES)
def test_everything_drawn_lies_inside_the_picture(name: str) -> None:
    assert_inside(PICTURES[name]())


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_lies_on_another(name: str) -> None:
    assert_no_text_on_another(PICTURES[name]())


def test_the_same_input_gives_the_same_bytes_in_every_process() -> None:
    code = "import sys, test_plots; sys.stdout.buffer.write(test_plots.all_pictures())"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for seed in "1", "2":
        env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
        assert (
            subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout
            == all_pictures()
        )


@pytest.mark.parametrize("name", PICTURES)
def test_a_screen_reader_is_told_title_and_content(name: str) -> None:
    root = parse(PICTURES[name]())
    assert root.get("role") == "img"
    assert [element.tag for element in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text
    assert root[1].text


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_brings_its_background_and_dark_colours(name: str) -> None:
    root = parse(PICTURES[name]())
    back = next(root.iter(f"{SVG}rect"))
    assert (back.get("class"), back.get("width"), back.get("fill")) == ("back", "719", "#fdfdfd")
    assert "@media (prefers-color-scheme:dark){.dognet .back{fill:#16191f" in (
        next(root.iter(f"{SVG}style")).text or ""
    )


def test_a_curve_draws_every_point_of_loss_and_accuracy() -> None:
    assert curve_points(plots.curve(*training(281))) == [281, 281]


def test_a_curve_is_labelled_with_its_final_values() -> None:
    shown = texts(plots.curve([0, 1, 2], [0.7, 0.5, 0.02085], [0.4, 0.5, 0.98225]))
    assert "0.02085" in shown
    assert "98.22 %" in shown or "98.23 %" in shown


def test_iteration_0_has_a_place_left_of_1() -> None:
    svg = plots.curve([0, 1, 10, 100], [8, 4, 2, 1], [0, 0.5, 0.9, 1])
    xs = [x for x, _ in path_points(drawn(svg, "line")[0])]
    assert xs == sorted(xs)
    assert xs[1] - xs[0] == 26
    assert {"0", "1", "10", "100"} <= set(texts(svg))


def test_equal_factors_of_loss_are_equal_distances() -> None:
    ys = [y for _, y in path_points(drawn(plots.curve([1, 2, 3], [4, 2, 1], [0, 0, 1]), "line")[0])]
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.02)
    assert ys[1] > ys[0], "a smaller loss lies lower"


@pytest.mark.parametrize(("lowest", "floor"), [(0, 0), (0.37, 0.3), (0.6, 0.6), (0.9999, 0.9), (1, 0.9), (np.nan, 0)])
def test_the_axis_of_accuracy_goes_from_the_tenth_below_to_1(lowest: float, floor: float) -> None:
    axis = pieces.accuracy_axis(np.array([np.nan if np.isnan(lowest) else 1.0, lowest]), 100, 0)
    assert (axis.low, axis.high) == (floor, 1)
    assert axis.ticks[-1] == pytest.approx(1)


def test_accuracy_1_lies_on_the_tick_of_100_percent() -> None:
    svg = plots.curve([0, 1], [1, 1], [1, 1])
    tick = next(
        element
        for element in parse(svg).iter(f"{SVG}text")
        if element.get("text-anchor") == "end" and element.text == "100 %"
    )
    assert float(tick.get("y", "nan")) - 4 == path_points(drawn(svg, "line")[1])[0][1]


@pytest.mark.parametrize("hole", [np.inf, np.nan, -np.inf])
def test_a_loss_that_is_not_finite_leaves_a_gap_and_a_note(hole: float) -> None:
    svg = plots.curve([0, 1, 2, 3, 4], [5, 4, hole, 2, 1], [0, 0, 0, 1, 1])
    path = drawn(svg, "line")[0]
    assert (path.count("M"), path.count("L")) == (2, 2)
    assert any("loss: 1 of 5 points" in note for note in texts(svg))


def test_a_curve_that_ends_in_inf_says_so_at_its_end() -> None:
    assert "then inf" in texts(plots.curve([0, 1, 2], [0.7, 3, np.inf], [0, 0, 0]))


def test_a_lone_point_is_a_visible_dot() -> None:
    svg = plots.curve([0], [0.7], [0.4])
    assert all(path.endswith("h0") for path in drawn(svg, "line"))
    assert len(list(parse(svg).iter(f"{SVG}circle"))) == 2


def test_a_finite_curve_has_no_note() -> None:
    assert not [string for string in texts(plots.curve(*training())) if "not drawn" in string]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one length, got the shapes \[\(2,\), \(1,\), \(2,\)\]"):
        plots.curve([0, 1], [1], [1, 1])


def test_a_curve_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 point, got 0"):
        plots.curve([], [], [])


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (1000, "1000"),
        (1e4, "10k"),
        (5e6, "5M"),
        (1e-6, "10⁻⁶"),
        (2e-12, "2·10⁻¹²"),
        (-0.5, "−0.5"),
        (-1e-6, "−1·10⁻⁶"),
        (1e15, "10¹⁵"),
    ],
)
def test_ticks_are_labelled_for_people(value: float, label: str) -> None:
    assert pieces.tick_label(value) == label


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.02, 0.7, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (1, 1e4, [1, 10, 100, 1000, 1e4]),
        (0.4, 1.2, [0.4, 0.6, 0.8, 1, 1.2]),
        (0.62, 0.71, [0.62, 0.64, 0.66, 0.68, 0.7]),
    ],
)
def test_log_ticks_are_decades_or_else_finer_steps(low: float, high: float, ticks: list[float]) -> None:
    assert pieces.log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("exponent", [1, 3, 8, 40, 300])
def test_a_log_axis_has_from_3_to_11_ticks_whatever_its_range(exponent: int) -> None:
    assert 3 <= len(pieces.log_ticks(10.0**-exponent, 1)) <= 11


def test_each_of_ten_curves_has_a_look_of_its_own() -> None:
    groups = [
        group
        for group in parse(plots.lines(sweep(10), "x", "y", "t")).iter(f"{SVG}g")
        if group.find(f"{SVG}path[@class='line']") is not None
    ]
    assert len({(group.get("color"), group.get("stroke-dasharray")) for group in groups}) == 10


def test_names_stand_at_the_height_where_their_curves_end() -> None:
    svg = plots.lines({"high": ([1, 2, 3], [1, 50, 100]), "low": ([1, 2, 3], [100, 50, 1])}, "x", "y", "t")
    ends = [path_points(path)[-1][1] for path in drawn(svg, "line")]
    places = {element.text: float(element.get("y", "nan")) - 4 for element in parse(svg).iter(f"{SVG}text")}
    assert [places["high"], places["low"]] == pytest.approx(ends, abs=4)


def test_names_of_curves_that_end_together_stay_apart() -> None:
    moved = pieces.spread([50, 50, 50, 20, 99], 16, 0, 100)
    assert all(b - a >= 16 for a, b in pairwise(sorted(moved)))
    assert moved[3] == 20
    assert max(moved) <= 100
    assert pieces.spread([98, 99, 97], 16, 0, 100) == [84, 100, 68]


def test_a_band_lies_round_its_curve_only() -> None:
    series = sweep(2)
    x, y = series["stepSize=2"]
    svg = plots.lines(series, "x", "y", "t", band={"stepSize=2": (y / 2, y * 2)})
    (band,) = drawn(svg, "band")
    corners, line = path_points(band), path_points(drawn(svg, "line")[1])
    assert len(corners) == 2 * len(x)
    for (_, low), (_, middle), (_, high) in zip(corners[: len(x)], line, corners[: len(x) - 1 : -1], strict=True):
        assert low > middle > high  # y grows downwards


def test_a_band_down_to_0_ends_at_the_edge_of_a_log_axis() -> None:
    svg = plots.lines({"a": ([1, 2], [1, 10])}, "x", "y", "t", band={"a": ([0, -3], [2, 20])})
    assert len(path_points(drawn(svg, "band")[0])) == 4
    assert_inside(svg)


def test_few_values_of_x_are_its_ticks() -> None:
    shown = texts(plots.lines({"a": ([1, 3, 24, 96], [1, 2, 3, 4])}, "hiddenNodes", "y", "t"))
    assert {"1", "3", "24", "96"} <= set(shown)


def test_titles_and_names_are_escaped() -> None:
    nasty = '<&"\x00\ud800>'
    for svg in (
        plots.lines({nasty: ([1, 2], [1, 2])}, nasty, nasty, nasty),
        plots.heatmap([[1, 2]], [nasty, "b"], [nasty], nasty, nasty, nasty),
    ):
        assert parse(svg)[0].text == '<&"\ufffd\ufffd>'
        assert texts(svg).count('<&"\ufffd\ufffd>') >= 4
        svg.encode()


def test_the_colours_of_known_weights() -> None:
    svg = plots.weights([[4], [0], [-4], [2], [100]], [[1], [1]])  # the bias, 100, is no pixel
    blue, white, orange = pieces.DIVERGING[0], pieces.DIVERGING[pieces.SHADES], pieces.DIVERGING[2 * pieces.SHADES]
    (upper, lower) = colours_of_image(svg, 2, 2)
    assert upper == [orange, white]
    assert lower == [blue, "#f3ad6b"]
    assert (blue, white, orange) == ("#0060a8", "#f7f7f7", "#cc5500")


def test_one_scale_serves_all_nodes_even_those_not_drawn() -> None:
    W1, W2 = np.ones((5, 65)), np.ones((66, 1))
    W1[:-1, 7], W2[7] = 2, 0.1
    svg = plots.weights(W1, W2)
    assert "node 8" not in texts(svg)
    assert set(cell_colours(svg).values()) == {"#f3ad6b"}


def test_each_node_shows_its_own_weights() -> None:
    W1 = np.tile([1.0, -1.0, 0.0], (5, 1))
    colours = cell_colours(plots.weights(W1, np.ones((4, 1))))
    by_place = [colours[place] for place in sorted(colours)]
    assert by_place == ["#cc5500"] * 4 + ["#0060a8"] * 4 + ["#f7f7f7"] * 4


def test_all_weights_0_are_neutral() -> None:
    assert set(cell_colours(plots.weights(np.zeros((5, 3)), np.zeros((4, 1)))).values()) == {"#f7f7f7"}


@pytest.mark.parametrize(("pixels", "rows", "columns"), [(4, 2, 2), (9, 3, 3), (784, 28, 28), (5, 1, 5), (700, 1, 700)])
def test_an_image_is_a_square_if_it_can_be(pixels: int, rows: int, columns: int) -> None:
    places = cell_colours(plots.weights(*random_weights(pixels, 1)))
    assert (len({y for _, y in places}), len({x for x, _ in places})) == (rows, columns)


def test_pixels_lie_row_by_row_under_their_numbers() -> None:
    svg = plots.weights([[1.25], [-2.5], [3.75], [-5.11], [0.5]], [[-1.5], [0.25]])
    cells = [
        t
        for t in parse(svg).iter(f"{SVG}text")
        if t.text in ("1.25", "−2.50", "3.75", "−5.11") and t.get("fill", "") in ("#ffffff", "#1b1f24")
    ]
    cells.sort(key=lambda t: (float(t.get("y", "")), float(t.get("x", ""))))
    assert [t.text for t in cells] == ["1.25", "−2.50", "3.75", "−5.11"]
    assert {"node 1", "bias 0.50", "output −1.50", "output bias 0.25"} <= set(texts(svg))


@pytest.mark.parametrize("hiddenNodes", [1, 2, 7, 63, 64, 65, 1000, 4096])
def test_up_to_64_nodes_are_drawn(hiddenNodes: int) -> None:
    svg = plots.weights(*random_weights(4, hiddenNodes))
    shown = texts(svg)
    assert len(cell_colours(svg)) == 4 * min(hiddenNodes, 64)
    assert sum(string.startswith("node ") for string in shown) == min(hiddenNodes, 64)
    assert (f"64 of {hiddenNodes} nodes, by |output weight|" in shown) == (hiddenNodes > 64)


def test_of_many_nodes_those_with_the_largest_output_weights_are_drawn() -> None:
    W1, W2 = random_weights(4, 100)
    W2[:] = 0
    W2[70], W2[31] = -9, 5
    W2[-1] = 99  # the bias is no node
    shown = [string for string in texts(plots.weights(W1, W2)) if string.startswith("node ")]
    assert shown[:3] == ["node 71", "node 32", "node 1"]


def test_large_images_have_no_numbers_and_a_bounded_size() -> None:
    svg = plots.weights(*random_weights(784, 4096))
    assert len(svg) < 300_000
    assert "20 of 4096 nodes, by |output weight|" in texts(svg)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.00"),
        (-0.001, "0.00"),
        (-1.236, "−1.24"),
        (9.996, "10.0"),
        (-99.96, "−100"),
        (12345, "1e4"),
        (-1e300, "−1e300"),
        (3e-7, "0.00"),
        (np.nan, "nan"),
        (-np.inf, "−inf"),
    ],
)
def test_numbers_in_cells_are_short(value: float, shown: str) -> None:
    assert pieces.short(value) == shown


def test_weights_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(5, 3\), \(3, 1\)"):
        plots.weights(np.zeros((5, 3)), np.zeros((3, 1)))


def test_a_heat_map_shows_every_number_and_marks_what_is_missing() -> None:
    svg = plots.heatmap([[0.1, np.nan, 0.25], [0.5, 0.75, 1]], [1, 2, 3], [4, 8], "x", "y", "t")
    assert {"0.100", "–", "0.250", "0.500", "0.750", "1.000"} <= set(texts(svg))
    upper, lower = colours_of_image(svg, 2, 3)
    assert upper[:2] == [pieces.SEQUENTIAL[0], "#b4b8bd"]
    assert lower[-1] == pieces.SEQUENTIAL[2 * pieces.SHADES]


def test_numbers_on_cells_stand_out_from_every_colour() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for fill in pieces.DIVERGING + pieces.SEQUENTIAL:
        ink = parse(pieces.on_cell(0, 0, "1", fill)).get("fill", "")
        light, dark = sorted([luminance(fill), luminance(ink)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3.4, f"{ink} on {fill}"


def test_a_heat_map_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1\), got \(1, 2\)"):
        plots.heatmap([[1, 2]], [1], [1, 2], "x", "y", "t")


# --- weights at several iterations


def test_up_to_8_nodes_are_drawn_at_the_first_iteration_and_the_last_five() -> None:
    times = [0, 10, 30, 100, 300, 1000, 3000, 20_000]
    W1, W2 = np.zeros((8, 5, 2)), np.zeros((8, 3, 1))
    W1[:, :4, 0], W1[:, 4, 0], W2[:, 0, 0] = np.arange(8)[:, None] / 8, np.arange(8) + 0.5, -np.arange(8)
    svg = plots.weights(W1, W2, times)
    shown = texts(svg)
    assert [t for t in shown if t.startswith("iteration ")] == [
        f"iteration {t}" for t in ("0", "100", "300", "1000", "3000", "20k")
    ]
    assert shown.count("node 1") == shown.count("node 2") == 1
    first_row = [t for t in shown if t.startswith(("bias", "output"))][:12]
    assert first_row[::2] == [f"bias {k + 0.5:.2f}" for k in (0, 3, 4, 5, 6, 7)]
    assert first_row[1::2] == [
        f"output {-k:.2f}".replace("-0.00", "0.00").replace("-", "−") for k in (0, 3, 4, 5, 6, 7)
    ]
    colours = cell_colours(svg)
    upper = sorted({y for _, y in colours})[0]
    row = [colours[x, y] for x, y in sorted(colours) if y == upper][::2]
    assert row == [pieces.DIVERGING[round(32 * k / 7) + 32] for k in (0, 3, 4, 5, 6, 7)]


def test_more_nodes_are_drawn_at_the_last_iteration_only() -> None:
    W1, W2 = random_weights(4, 9)
    assert plots.weights([0 * W1, W1], [0 * W2, W2], [0, 10]) == plots.weights(W1, W2)
    assert plots.weights([W1[:, :8]], [W2[:9]], [10]) == plots.weights(W1[:, :8], W2[:9])


# --- activations


def bars(svg: str) -> list[list[int]]:
    """Return the heights of each histogram's bars, in sixteenths of the highest."""
    found = []
    for path in drawn(svg, "bars"):
        ys = [y for _, y in path_points(path.replace("h7", "h7 ").replace("h1", "h1 "))]
        base = ys[0]
        found.append([round(16 * (base - top) / 26) for top in ys[1::4]])
    return found


def test_a_histogram_counts_the_activations_of_its_label_and_node() -> None:
    H = np.zeros((8, 2))
    H[:4, 0] = [0.01, 0.99, 1, 1]  # dog at node 1; at node 2 all 0
    H[4:, 0] = [0.5, 0.5, 0.5, 0.93]
    svg = plots.activations(H, [[2], [-3], [0]], ["dog"] * 4 + ["cat"] * 4, "dog")
    cat, dog, cat2, dog2 = bars(svg)
    expected = [0] * 14
    assert dog == [*[5], *expected[1:13], 16]
    assert cat == [*expected[:7], 16, *expected[:5], 5]
    assert cat2 == dog2 == [16, *expected[1:]]
    assert {"node 1", "output 2.00", "node 2", "output −3.00", "dog (4)", "cat (4)"} <= set(texts(svg))
    looks = [g.get("class") for g in parse(svg).iter(f"{SVG}g") if (g.get("class") or "").startswith("c")]
    assert looks == ["c1", "c0"] * 2


def test_activations_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"H must be \(images, hiddenNodes\) = \(2, 1\), got \(1, 1\)"):
        plots.activations([[0.5]], [[1], [0]], ["a", "b"], "a")


# --- mistakes


def test_the_surest_mistakes_come_first_with_label_and_probability() -> None:
    X = np.array([[0, 255, 255, 0], [255, 0, 0, 255], [51, 51, 51, 51], [0, 0, 0, 0]])
    svg = plots.mistakes(X, ["dog", "cat", "dog", "cat"], [0.4, 0.9, 0.95, 0.1], "dog")
    shown = texts(svg)
    assert "2 of 4 test images" in shown
    assert shown[shown.index("cat") :][:4] == ["cat", "0.900", "dog", "0.400"]
    colours = cell_colours(svg)
    cat, dog = ["#ffffff", "#000000", "#000000", "#ffffff"], ["#000000", "#ffffff", "#ffffff", "#000000"]
    assert [colours[place] for place in sorted(colours)] == cat + dog


def test_where_none_is_wrong_those_are_shown_of_which_the_network_is_least_sure() -> None:
    shown = texts(plots.mistakes(np.zeros((3, 4)), ["dog", "cat", "dog"], [0.9, 0.45, 0.51], "dog"))
    assert "None of 3 test images; here the 3 of which it is least sure" in shown
    probabilities = [t for t in shown if t.startswith("0.")]
    assert probabilities == ["0.510", "0.450", "0.900"]


def test_of_many_mistakes_24_are_drawn() -> None:
    shown = texts(plots.mistakes(np.zeros((99, 4)), ["cat"] * 99, np.linspace(0.6, 0.9, 99), "dog"))
    assert "99 of 99 test images, the 24 of which it is surest" in shown
    assert shown.count("cat") == 24
    assert "0.900" in shown
    assert "0.600" not in shown


def test_mistakes_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="X must be"):
        plots.mistakes(np.zeros((2, 4)), ["a"], [0.5, 0.5], "a")
