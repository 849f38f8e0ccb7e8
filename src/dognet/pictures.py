"""The pictures of a run and of a study: arrays in, a matplotlib figure out.

Lengths are in pixels of a page, 96 to the inch. Nothing here uses pyplot or changes matplotlib's settings for others.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, Locator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from dognet.files import write

Array = np.ndarray[Any, Any]

DPI, WIDTH, MARGIN, LINE = 96, 760, 24, 18  # pixels to the inch, of a picture, at its edges, of a line of text
SMALL, LARGE = 9.75, 12.0  # points: 13 and 16 pixels
MUTED, MISSING, BACKGROUND = "#57606a", "#b4b8bd", "#fdfdfd"
# Four of Okabe and Ito's, the others by search: each has a contrast of 3 with the background, and red-blind and
# green-blind readers tell the first six apart, and the last six, which are dashed.
SOLID = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#00334c", "#0040bf")
DASHED = ("#4c1717", "#3f736a", "#bf39a9", "#4b2273", "#587322", "#9900e6")
LOOKS = [*((colour, "-") for colour in SOLID), *((colour, "--") for colour in DASHED)]
STYLE = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": BACKGROUND,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": DPI,
    "figure.facecolor": BACKGROUND,
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": SMALL,
    "grid.color": "#dfe3e8",
    "legend.borderaxespad": 0,
    "legend.frameon": False,
    # Text stays text: a screen reader and grep find it, and the file is smaller. The layout measures DejaVu Sans;
    # the fonts that a reader may have in its place are narrower, so that nothing is cut off.
    "svg.fonttype": "none",
    "svg.hashsalt": "dognet",
    "text.parse_math": False,  # a label may hold a $
}
styled = matplotlib.style.context(["default", STYLE])  # whatever the user's matplotlibrc says


@styled
def save(figure: Figure, path: Path) -> None:
    """Write the figure as SVG or PNG, by the path's suffix: the whole file or none, the same bytes each time."""
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"a picture must be an .svg or a .png file, got {path.name}")
    content, title = io.BytesIO(), {"Title": figure.get_suptitle()}
    date = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(content, format=path.suffix[1:], dpi=1.5 * DPI, metadata=title | date)
    write(path, content.getvalue())


# --- curves


@styled
def curve(
    iteration: ArrayLike,
    train_loss: ArrayLike,
    train_accuracy: ArrayLike,
    validation_loss: ArrayLike | None = None,
    validation_accuracy: ArrayLike | None = None,
) -> Figure:
    """Draw a run's loss (nats) above its accuracy (0 to 1) over its iterations, each of shape (points,).

    Iterations and loss are on log axes. Points without a place on them leave a gap, which the legend names.
    """
    figure = sheet("Loss and accuracy over the iterations", 500)
    names, upper, lower = ("train", "validation"), box(figure, 96, 244), box(figure, 302, 450)
    losses = [(name, y) for name, y in zip(names, (train_loss, validation_loss), strict=True) if y is not None]
    shares = [(name, y) for name, y in zip(names, (train_accuracy, validation_accuracy), strict=True) if y is not None]
    lower.sharex(upper)
    plot(upper, [make_curve(f"{name} {last(y):.4g}", iteration, y) for name, y in losses], "", "loss (nats)")
    curves = [make_curve(f"{name} {100 * last(y):.4g}%", iteration, y, logy=False) for name, y in shares]
    plot(lower, curves, "iteration", "accuracy", logy=False)
    upper.tick_params(labelbottom=False)
    lowest = min(0.9, math.floor(10 * np.clip(lower.dataLim.ymin, 0, 1)) / 10)
    lower.set_ylim(lowest - 0.004, 1.004)
    set_ticks(lower.yaxis, round_ticks(lowest, 1, log=False), "{x:.0%}")
    for axes in (upper, lower):
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.04))
    return figure


@styled
def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    title: str,
    *,
    logx: bool = True,
    logy: bool = True,
    band: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """Draw named curves, series[name] = (x, y), and round some of them a band, band[name] = (low, high).

    Points without a place on the axes leave a gap, which the legend names. Of more than 12 curves the first are drawn.
    """
    names = list(series)[: len(LOOKS)]
    curves = [make_curve(name, *series[name], *(band or {}).get(name, ()), logx=logx, logy=logy) for name in names]
    a_line = max(1, int((WIDTH - 72) / (max([width_of(curve.name) for curve in curves], default=0) + 66)))
    some = f" (the first {len(names)} of {len(series)})" if len(series) > len(names) else ""
    figure = sheet(title + some, 462 + 22 * math.ceil(len(names) / a_line))
    axes = box(figure, 86, 396)
    plot(axes, curves, xlabel, ylabel, logx=logx, logy=logy)
    if curves:
        names = [curve.name for curve in curves]  # else matplotlib leaves out those that begin with _
        axes.legend(axes.lines, names, loc="upper left", bbox_to_anchor=(0, -60 / 310), ncols=a_line)
    return figure


class Curve(NamedTuple):
    """A named line through the points (x, y), in a band from low to high if there is one; all of shape (points,)."""

    name: str
    x: Array
    y: Array
    band: Sequence[Array]


def last(column: ArrayLike) -> float:
    """Return the last number of a column, NaN if it has none."""
    return float(np.r_[math.nan, np.ravel(column)][-1])


def make_curve(name: str, *columns: ArrayLike, logx: bool = True, logy: bool = True) -> Curve:
    """Return the curve of columns x, y, low, high: NaN in x or y where a point has no place, with a note in its name.

    ValueError if the columns are empty or differ in length.
    """
    arrays = [np.asarray(column, float) for column in columns]
    if not arrays[0].size or any(array.shape != (arrays[0].size,) for array in arrays):
        raise ValueError(f"{name}: columns must have one length, at least 1, got {[a.shape for a in arrays]}")
    x, y = drawable(arrays[0], logx, 0), drawable(arrays[1], logy)
    gaps = int(np.isnan(x + y).sum())
    note = f" ({gaps} of {x.size} points not finite or off the scale)" if gaps else ""
    return Curve(fit(name, WIDTH - 160 - width_of(note)) + note, x, y, arrays[2:])


def drawable(values: Array, log: bool, lowest: float = 1e-290) -> Array:
    """Return the values with NaN for those that have no place on the axis; a log axis of x has one for 0."""
    return np.where((values >= (lowest if log else -1e290)) & (values < 1e290), values, np.nan)


def plot(
    axes: Axes, curves: Sequence[Curve], xlabel: str, ylabel: str, *, logx: bool = True, logy: bool = True
) -> None:
    """Draw curves on fitting axes; points between two gaps, the last one and, of few, all get a dot."""
    for (colour, style), (name, x, y, band) in zip(LOOKS, curves, strict=False):
        there = np.isfinite(x + y)
        alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
        dots = there if x.size <= 12 else alone | (np.arange(x.size) == np.flatnonzero(there).max(initial=-1))
        (line,) = axes.plot(x, y, style, color=colour, marker="o", markersize=4, clip_on=False, label=name)
        line.set_markevery(np.flatnonzero(dots).tolist())
        if band:
            finite = np.concatenate([y, *band])[np.isfinite([y, *band]).ravel()]
            low, high = np.clip(band, finite.min(initial=0), finite.max(initial=0))
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    scale_x(axes, np.concatenate([curve.x for curve in curves] or [np.empty(0)]), log=logx)
    scale_y(axes, log=logy)
    axes.set_xlabel(fit(xlabel, 600))
    axes.set_title(fit(ylabel, 600), loc="left", size=SMALL)


def scale_x(axes: Axes, values: Array, *, log: bool) -> None:
    """Give x a log scale, on which 0 has a place of its own, or a linear one, with a tick at the last value."""
    shown = np.unique(values[np.isfinite(values)])
    positive = shown[shown > 0]
    if log and positive.size and positive.size < shown.size:
        zero = 0.1 * max(1, math.log10(positive[-1] / positive[0]))
        axes.set_xscale("symlog", linthresh=positive[0], linscale=zero)
    elif log and positive.size:
        axes.set_xscale("log")
    ticks = shown.tolist()
    if len(ticks) > 9:
        ticks = [ticks[0], *round_ticks(*(positive if log else shown)[[0, -1]], log=log), ticks[-1]]
    axes.dataLim.update_from_data_x(shown, ignore=False)  # points of a gap, too
    axes.autoscale_view()
    places = axes.transLimits.transform(axes.transScale.transform(np.reshape([(tick, 1) for tick in ticks], (-1, 2))))
    kept: list[int] = []
    for k in np.argsort(places[:, 0])[::-1]:
        if not kept or places[kept[-1], 0] - places[k, 0] > 0.07:
            kept.append(k)
    set_ticks(axes.xaxis, [ticks[k] for k in kept])


def scale_y(axes: Axes, *, log: bool) -> None:
    """Give y a log or a linear scale."""
    if log and np.isfinite(axes.dataLim.ymin):
        axes.set_yscale("log")
    set_ticks(axes.yaxis, round_ticks(*axes.get_ylim(), log=axes.get_yscale() == "log"))


def set_ticks(axis: Axis, ticks: Sequence[float], form: str = "{x:g}") -> None:
    """Put ticks at these values and nowhere else."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(form)


def round_ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Return round numbers from low to high: decades, or 1-2-5 steps where these are few, or else even steps."""
    locators: list[Locator] = [LogLocator(subs=steps, numticks=9) for steps in ((1.0,), (1.0, 2.0, 5.0))] if log else []
    for locator in (*locators, MaxNLocator(6, steps=[1, 2, 5, 10])):
        ticks = [
            tick for tick in locator.tick_values(low, high) if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)
        ]
        if len(ticks) > 2:
            break
    return ticks


# --- coloured cells


@styled
def weights(W1: ArrayLike, W2: ArrayLike, iterations: Sequence[int]) -> Figure:
    """Draw each hidden node as the image of its input weights, with its bias and its output weight.

    W1 : (k, pixels + 1, hiddenNodes) and W2 : (k, hiddenNodes + 1, 1) after the k iterations, the bias in the last row.
    Up to 8 nodes are drawn at several iterations side by side, more at the last one: at most 64, those with the largest
    output weights. All weights of pixels share one scale of colours.
    """
    W1, W2 = np.asarray(W1, float), np.asarray(W2, float)
    k, rows, h = W1.shape if W1.ndim == 3 else (0, 0, 0)
    if not W1.size or rows < 2 or W2.shape != (k, h + 1, 1) or len(iterations) != k:
        asked = "W1 must be (iterations, pixels + 1, hiddenNodes) and W2 (iterations, hiddenNodes + 1, 1)"
        raise ValueError(f"{asked}, got {W1.shape} and {W2.shape} after {len(iterations)} iterations")
    nodes, told = choose_nodes(W2[-1, :-1, 0], 64)
    a_line = layout(rows - 1)[-1]
    times = [0, *range(max(1, k - a_line + 1), k)] if k > 1 and h <= 8 and a_line > 1 else [k - 1]
    which, when = np.repeat(nodes, len(times)), np.tile(times, len(nodes))  # (images,)
    after = [f"\nafter {iterations[t]}" if len(times) > 1 else "" for t in when]
    captions = [
        f"node {n + 1}{later}\nbias {short(W1[t, -1, n])}\noutput {short(W2[t, n, 0])}"
        for n, t, later in zip(which, when, after, strict=True)
    ]
    largest = np.abs(W1[:, :-1])[np.isfinite(W1[:, :-1])].max(initial=0) or 1.0
    told += (
        f", bias of the output {short(W2[-1, -1, 0])}; weights from {short(-largest)} (blue) to {short(largest)} (red)"
    )
    title = f"Weights of the hidden nodes after {iterations[-1]} iterations"
    norm, a_line = Normalize(-largest, largest), len(times) if len(times) > 1 else a_line
    return mosaic(title, told, W1[when, :-1, which], captions, a_line, "RdBu_r", norm, numbered=rows <= 10)


@styled
def activations(H: ArrayLike, W2: ArrayLike, labels: ArrayLike, positive: str) -> Figure:
    """Draw for each hidden node how strongly the images of each label activate it, as histograms from 0 to 1.

    H : (images, hiddenNodes), W2 : (hiddenNodes + 1, 1), labels : (images,), ``positive`` the one to tell from the rest
    Of many labels the 10 with the most images are drawn, of many nodes the 16 with the largest output weights.
    """
    H, W2, labels = np.asarray(H, float), np.asarray(W2, float), np.asarray(labels)
    if not H.size or H.shape != (*labels.shape, W2.shape[0] - 1) or W2.shape[1:] != (1,):
        asked = "H must be (images, hiddenNodes), W2 (hiddenNodes + 1, 1) and labels (images,)"
        raise ValueError(f"{asked}, got {H.shape}, {W2.shape} and {labels.shape}")
    names, counts = np.unique(labels, return_counts=True)
    kinds = np.argsort(-counts, kind="stable")[:10]
    nodes, told = choose_nodes(W2[:-1, 0], 16)
    block, bars, colours = len(kinds) * 36 + 72, [], []
    told += f"; {len(kinds)} of {len(names)} labels, blue is {positive}; each histogram as high as its fullest bin"
    told = fit(told, WIDTH - 2 * MARGIN)
    figure = sheet("Activations of the hidden nodes", 90 + math.ceil(len(nodes) / 4) * block, told)
    axes = canvas(figure)
    for k, node in enumerate(nodes):
        x, y = 188 + k % 4 * 138, 120 + k // 4 * block
        axes.text(x, y - 10, f"node {node + 1}\noutput {short(W2[node, 0])}", va="bottom")
        for row, kind in enumerate(kinds):
            base, heights = y + 26 + 36 * row, np.histogram(H[labels == names[kind], node], 14, (0, 1))[0]
            tops = np.r_[0, np.repeat(heights * 26 / max(heights.max(), 1), 2), 0]
            bars.append(np.c_[x + 8 * np.repeat(np.arange(15), 2), base - tops])
            colours.append(SOLID[int(names[kind] != positive)])
            if k % 4 == 0:
                axes.text(MARGIN, base - 8, f"{fit(f'{names[kind]}', 96)} ({counts[kind]})")
        axes.text(x, y + block - 66, "0", va="top")
        axes.text(x + 112, y + block - 66, "1", va="top", ha="right")
    axes.add_collection(PolyCollection(bars, facecolors=colours, edgecolors=colours))
    return figure


@styled
def mistakes(X: ArrayLike, labels: ArrayLike, yhat: ArrayLike, positive: str) -> Figure:
    """Draw the test images that the network gets wrong, the surest first; if none, those of which it is least sure.

    X : (images, pixels), 0 is black and 255 white; labels : (images,); yhat : (images,), the probability of the label
    ``positive``. Below each image stand its label and this probability. At most 24 are drawn.
    """
    X, labels, yhat = np.asarray(X, float), np.asarray(labels), np.asarray(yhat, float)
    if X.ndim != 2 or not X.size or not labels.shape == yhat.shape == X.shape[:1]:
        asked = "X must be (images, pixels), labels and yhat (images,)"
        raise ValueError(f"{asked}, got {X.shape}, {labels.shape} and {yhat.shape}")
    wrong, sureness = (yhat > 0.5) != (labels == positive), np.abs(yhat - 0.5)
    chosen = np.lexsort([np.where(wrong, -sureness, sureness), ~wrong])[: min(int(wrong.sum()) or 24, 24)]
    n = int(wrong.sum())
    told = f"{n} of {len(X)} test images" if n else f"None of {len(X)} test images; those it is least sure of"
    told += ", the surest 24" if n > 24 else ""
    told = fit(f"{told}. Below each: its label, how probable {positive} is to the network", WIDTH - 2 * MARGIN)
    captions = [f"{fit(f'{labels[k]}', 96)}\n{yhat[k]:.3f}" for k in chosen]
    a_line, norm = layout(X.shape[1])[-1], Normalize(0, 255)
    return mosaic("Images that the network gets wrong", told, X[chosen], captions, a_line, "gray", norm)


@styled
def heatmap(
    values: ArrayLike, xs: Sequence[object], ys: Sequence[object], xlabel: str, ylabel: str, title: str
) -> Figure:
    """Draw a table (len(ys), len(xs)), its first row on top, as coloured cells with their numbers; NaN is "–"."""
    table = np.asarray(values, float)
    if table.shape != (len(ys), len(xs)) or not table.size:
        raise ValueError(f"values must have shape (len(ys), len(xs)) = {len(ys), len(xs)}, got {table.shape}")
    rows, columns = ([fit(f"{n:g}" if isinstance(n, float) else f"{n}", 160) for n in names] for names in (ys, xs))
    left, bottom = MARGIN + 10 + max(map(width_of, rows)), 90 + 30 * len(ys)
    w = min(96, (WIDTH - MARGIN - left) / len(xs))
    shown = table[np.isfinite(table)]
    low, high = (shown.min(), shown.max()) if shown.size else (0, 1)
    digits = min(max(2 - math.floor(math.log10(high - low or abs(high) or 1)), 0), 4)
    texts = ["–" if math.isnan(value) else f"{value:z.{digits}f}".replace("-", "−") for value in table.flat]
    told = f"from {low:.{digits}f} (dark) to {high:.{digits}f} (light)" if low < high else ""
    figure = sheet(title, bottom + 64, told)
    axes = box(figure, 90, bottom, left, left + w * len(xs))
    axes.set_facecolor(MISSING)
    axes.grid(visible=False)
    image = axes.imshow(table, aspect="auto", interpolation="none", vmin=low, vmax=high)
    every = math.ceil((max(map(width_of, columns)) + 6) / w)  # each label below its column, or every second, …
    axes.set_xticks(range(0, len(xs), every), columns[::every])
    axes.set_yticks(range(len(ys)), rows)
    axes.set_xlabel(fit(xlabel, WIDTH - MARGIN - left), loc="left")
    axes.set_title(fit(ylabel, WIDTH - MARGIN - left), loc="left", size=SMALL)
    y, x = np.indices(table.shape)
    write_values(image, table.ravel(), texts, x.ravel(), y.ravel(), w)
    return figure


def layout(pixels: int) -> tuple[int, int, float, float, int, int]:
    """Return how images lie side by side: rows and columns of one, width and height of a cell in pixels.

    Then how many cells it is from one image to the next, and how many images fit.
    """
    side, room = math.isqrt(pixels), WIDTH - 2 * MARGIN
    rows, columns = (side, side) if side * side == pixels else (1, pixels)
    w = min(40 if pixels <= 9 else max(3, 96 // columns), room / columns)
    along = columns + math.ceil(max(118 - columns * w, 18) / w)
    return rows, columns, w, w if rows > 1 else max(w, 14), along, max(1, int((room + 18) / (along * w)))


def mosaic(
    title: str,
    told: str,
    images: Array,
    captions: Sequence[str],
    a_line: int,
    cmap: str,
    norm: Normalize,
    *,
    numbered: bool = False,
) -> Figure:
    """Draw images (images, pixels) with a caption below each, as one picture: 15 ms, where 36 axes take 300 ms."""
    rows, columns, w, h, along, _ = layout(images.shape[1])
    down = rows + math.ceil((LINE * captions[0].count("\n") + 36) / h)
    n, k = len(images), np.arange(len(images))
    grid = np.full((math.ceil(n / a_line), down, a_line, along), np.nan)
    grid[k // a_line, :rows, k % a_line, :columns] = images.reshape(n, rows, columns)
    cells = grid.reshape(-1, a_line * along)
    height = 80 + len(cells) * h
    figure = sheet(title, height, told)
    axes = canvas(figure)
    extent = (MARGIN, MARGIN + a_line * along * w, height, 80)
    image = axes.imshow(cells, cmap, norm, aspect="auto", interpolation="none", extent=extent)
    x, y = MARGIN + k % a_line * along * w, 80 + k // a_line * down * h  # upper left of each
    frame = np.array([(0, 0), (0, rows * h), (columns * w, rows * h), (columns * w, 0)])
    corners = np.stack([x, y], axis=1)[:, None] + frame
    axes.add_collection(PolyCollection(list(corners), facecolors=MISSING, edgecolors=MUTED, zorder=-1))
    for left, high, caption in zip(x, y + rows * h + 5, captions, strict=True):
        axes.text(left, high, caption, va="top")
    if numbered:
        row, column = np.divmod(np.arange(rows * columns), columns)
        xs, ys = (x[:, None] + (column + 0.5) * w).ravel(), (y[:, None] + (row + 0.5) * h).ravel()
        write_values(image, images.ravel(), [short(value) for value in images.flat], xs, ys, w)
    return figure


def write_values(image: AxesImage, values: Array, texts: Sequence[str], x: Array, y: Array, room: float) -> None:
    """Write the values at (x, y) if all have room, black or white, whichever stands out from its cell's colour."""
    if max(map(len, texts)) * 7.7 > room:  # pixels of a digit
        return
    luminance = image.to_rgba(values[None])[0, :, :3] ** 2.2 @ (0.2126, 0.7152, 0.0722)
    for text, light, left, high in zip(texts, (luminance > 0.18) | ~np.isfinite(values), x, y, strict=True):
        colour = "black" if light else "white"
        image.axes.text(left, high, text, ha="center", va="center", size=9, color=colour)


def choose_nodes(weights: Array, most: int) -> tuple[Array, str]:
    """Return which nodes to draw, given their output weights (hiddenNodes,), and a text on the choice."""
    if len(weights) <= most:
        return np.arange(len(weights)), "1 node" if len(weights) == 1 else f"{len(weights)} nodes"
    return np.argsort(-np.abs(weights), kind="stable")[:most], f"{most} of {len(weights)} nodes, by |output weight|"


# --- sheets and texts


def sheet(title: str, height: float, told: str = "") -> Figure:
    """Return a figure of that height, in pixels, with a title and a line below it."""
    figure, left = Figure(figsize=(WIDTH / DPI, height / DPI)), MARGIN / WIDTH
    title = fit(title, WIDTH - 2 * MARGIN, LARGE)
    figure.suptitle(title, x=left, y=1 - 34 / height, ha="left", va="baseline", size=LARGE)
    figure.text(left, 1 - 58 / height, told, color=MUTED, va="baseline")
    return figure


def box(figure: Figure, top: float, bottom: float, left: float = 72, right: float = WIDTH - 48) -> Axes:
    """Return an axes at these pixels of the figure."""
    height = figure.get_figheight() * DPI
    return figure.add_axes((left / WIDTH, 1 - bottom / height, (right - left) / WIDTH, (bottom - top) / height))


def canvas(figure: Figure) -> Axes:
    """Return an axes all over the figure whose unit is the pixel, y growing downwards."""
    height = figure.get_figheight() * DPI
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return axes


def fit(text: str, room: float, size: float = SMALL) -> str:
    """Return the text, shortened in its middle to ``room`` pixels, with Python's escapes of letters the font lacks."""
    font = get_font(findfont("DejaVu Sans"))
    text = "".join(c if c.isprintable() and font.get_char_index(ord(c)) else ascii(c)[1:-1] for c in text)
    keep, shorter = len(text), text
    while keep > 1 and width_of(shorter, size) > room:
        keep = min(keep - 1, int(keep * room / width_of(shorter, size)) + 1)
        shorter = text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]
    return shorter


def width_of(text: str, size: float = SMALL) -> float:
    """Return how many pixels wide a text is."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] * DPI / 72


def short(value: float) -> str:
    """Return a number with three digits or fewer, a large one as in 1e+06."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return (f"{value:z.{digits}f}" if abs(value) < 9999.5 else f"{value:.0e}").replace("-", "−")
