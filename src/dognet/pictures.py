"""The pictures of a run and of a study: arrays in, a matplotlib figure out.

Lengths are in pixels of a page, 96 to the inch. Axes have fixed places: a constrained layout takes three times as long.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, style, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike

from dognet.files import write

Array = np.ndarray[Any, Any]
Series = Mapping[str, Sequence[ArrayLike]]  # x and y of each curve and, if it has a band, its low and high
Texts = Sequence[str]
Look = tuple[str, float, float]  # a colour map and the values at its ends

DPI, WIDTH, MARGIN, LINE = 96, 760, 24, 18  # LINE is the height of a line of text
TILE, NEXT, A_LINE, NAMES = 96, 112, 6, 88  # an image's width, distance to the next, images per line, room for names
SMALL, LARGE = 9.75, 12.0  # points: 13 and 16 pixels
MUTED, MISSING, BACKGROUND = "#57606a", "#b4b8bd", "#fdfdfd"
# Four of Okabe and Ito's, the others by search: each has a contrast of 3 with the background, and red-blind and
# green-blind readers tell the first six apart, and the last six, which are dashed.
SOLID = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#00334c", "#0040bf")
DASHED = ("#4c1717", "#3f736a", "#bf39a9", "#4b2273", "#587322", "#9900e6")
LOOKS = [*((colour, "-") for colour in SOLID), *((colour, "--") for colour in DASHED)]
STYLE = {
    "figure.dpi": DPI, "figure.facecolor": BACKGROUND, "axes.facecolor": BACKGROUND, "axes.edgecolor": MUTED,
    "axes.grid": True, "grid.color": "#dfe3e8", "axes.spines.right": False, "axes.spines.top": False,
    "axes.titlelocation": "left", "axes.titlesize": SMALL, "legend.borderaxespad": 0, "legend.frameon": False,
    "font.sans-serif": ["DejaVu Sans"], "font.size": SMALL,  # comes with matplotlib; in an SVG, others are narrower
    "image.composite_image": False, "image.interpolation": "none",  # an SVG holds each image as it is
    "svg.fonttype": "none", "svg.hashsalt": "dognet",  # text stays text, for screen readers and grep
    "text.parse_math": False,  # a label may hold a $
}  # fmt: skip
styled = style.context(["default", STYLE])  # whatever the user's matplotlibrc says


@styled
def save(figure: Figure, path: Path) -> None:
    """Write the figure as SVG or PNG, by the path's suffix: the whole file or none, the same bytes each time."""
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"a picture must be an .svg or a .png file, got {path.name}")
    content, metadata = io.BytesIO(), {"Title": figure.get_suptitle(), "Date": None}
    figure.savefig(content, format=path.suffix[1:], dpi=1.5 * DPI, metadata=metadata)
    write(path, content.getvalue())


@styled
def curve(iteration: ArrayLike, *figures: ArrayLike, iteration_is: str, baseline: float) -> Figure:
    """Draw a run's loss (nats) above its accuracy (0 to 1) over its iterations, each of shape (points,).

    The figures are loss and accuracy on the training images, then on the validation images if there are any. The
    baseline, the accuracy of always giving the more frequent answer, is a line across the accuracies. The axis says
    what an iteration is. Iterations and loss have log axes. Points that do not fit on an axis leave a gap, and the
    legend counts them.
    """
    parts = ("train", "validation")
    losses = {part: (iteration, loss) for part, loss in zip(parts, figures[::2], strict=False)}
    shares = {part: (iteration, share) for part, share in zip(parts, figures[1::2], strict=False)}
    figure, (upper, lower) = sheet("Loss and accuracy", "", 488, (72, 92, 712, 240), (72, 292, 712, 440))
    lower.sharex(upper)
    plot(upper, losses, last=" {:.4g}")
    plot(lower, shares, logy=False, last=" {:.2%}")
    lower.axhline(baseline, color=MUTED, linewidth=1, label=f"baseline {baseline:.2%}")
    upper.set_title("loss (nats)")
    lower.set(title="accuracy", xlabel=f"iteration: {iteration_is}, up to {np.max(iteration):g}")
    for axes, columns in ((upper, 1), (lower, 2)):  # in two lines: those that name a gap are long
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncols=columns)
    lower.set_ylim(min(0.9, lower.get_ylim()[0]) - 0.004, 1.004)
    lower.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    upper.tick_params(labelbottom=False)
    return figure


@styled
def lines(series: Series, xlabel: str, ylabel: str, title: str, *, logx: bool = True, logy: bool = True) -> Figure:
    """Draw named curves, series[name] = (x, y), or (x, y, low, high) with a band around it.

    Points that do not fit on an axis leave a gap, and the legend counts them. At most the first 12 curves are drawn.
    """
    shown = min(len(series), len(LOOKS))
    some = f" (the first {shown} of {len(series)})" if len(series) > shown else ""
    figure, (axes,) = sheet(title + some, "", 452 + 22 * shown, (72, 80, 712, 390))
    plot(axes, series, logx, logy)
    axes.set(xlabel=fit(xlabel, 600), title=fit(ylabel, 600))
    labels = [str(line.get_label()) for line in axes.lines]  # also those that begin with _
    axes.legend(axes.lines, labels, loc="upper left", bbox_to_anchor=(0, -60 / 310))
    return figure


def plot(axes: Axes, series: Series, logx: bool = True, logy: bool = True, last: str = "") -> None:
    """Draw curves on fitting axes; points between gaps, the last point and, if there are few, all points get a dot."""
    for (colour, dash), (name, columns) in zip(LOOKS, series.items(), strict=False):
        x, *ys = arrays = [np.asarray(column, float) for column in columns]
        same = x.size > 0 and all(array.shape == (x.size,) for array in arrays)
        require(same, f"{name}: columns must have one length, at least 1", *arrays)
        note = last.format(ys[0][-1])
        x = np.where((x >= (0 if logx else -1e290)) & (x < 1e290), x, np.nan)  # beyond, the margins overflow
        y, *edges = (np.where((y >= (1e-290 if logy else -1e290)) & (y < 1e290), y, np.nan) for y in ys)
        there = np.isfinite(x + y)
        dots = there & (~np.r_[False, there[:-1]] & ~np.r_[there[1:], False] | (x.size <= 12))
        dots[np.flatnonzero(there)[-1:]] = True
        if not there.all():
            note += f" ({sum(~there)} of {x.size} points not finite or off the scale)"
        label = fit(name, 600 - width_of(note)) + note
        axes.plot(x, y, dash, color=colour, marker="o", markersize=4, markevery=dots, clip_on=False, label=label)
        if edges:
            axes.fill_between(x, edges[0], edges[1], color=colour, alpha=0.16, linewidth=0)
    scale(axes, logx, logy)


def scale(axes: Axes, logx: bool, logy: bool) -> None:
    """Give the axes linear or log scales, a log x with a place for 0; if x has few values, they are its ticks."""
    x = np.unique(np.concatenate([[], *(np.asarray(line.get_xdata()) for line in axes.lines)]))
    x = x[np.isfinite(x)]
    if logx and 0 in x:
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)  # of iterations, after 0 comes 1
    elif logx and x.size:
        axes.set_xscale("log")
    if logy and np.isfinite(axes.dataLim.ymin):
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "log":
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,), numticks=9))
        elif axis.get_scale() == "linear":
            axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_major_formatter("{x:g}")
    places = axes.xaxis.get_transform().transform(x)
    if x.size and np.diff(places).min(initial=np.inf) > 0.07 * np.ptp(places):
        axes.xaxis.set_major_locator(ticker.FixedLocator(x.tolist()))


@styled
def weights(W1: ArrayLike, W2: ArrayLike, iterations: Sequence[int]) -> Figure:
    """Draw each hidden node as the image of its input weights, with its bias and its output weight, on one scale.

    W1 : (k, pixels + 1, hiddenNodes) and W2 : (k, hiddenNodes + 1, 1) after the k iterations, the bias in the last row.
    Up to 8 nodes are drawn at several iterations; of more, the 64 with the largest output weights, at the last one.
    """
    W1, W2 = np.asarray(W1, float), np.asarray(W2, float)
    k, rows, h = W1.shape if W1.ndim == 3 else (0, 0, 0)
    asked = f"W1 must be (iterations = {len(iterations)}, pixels + 1, hiddenNodes), W2 (iterations, hiddenNodes + 1, 1)"
    require(W1.size > 0 and rows > 1 and W2.shape == (k, h + 1, 1) and k == len(iterations), asked, W1, W2)
    nodes = np.sort(np.argsort(-np.abs(W2[-1, :-1, 0]), kind="stable")[:64])
    times = sorted({0, *range(max(0, k - A_LINE + 1), k)}) if h <= 8 else [k - 1]
    which, when = np.repeat(nodes, len(times)), np.tile(times, len(nodes))  # (images,)
    captions = [f"bias {short(W1[t, -1, n])}\noutput {short(W2[t, n, 0])}" for n, t in zip(which, when, strict=True)]
    names, headings = [f"node {n + 1}" for n in nodes], [f"after {iterations[t]}" for t in times]
    if len(times) == 1:
        captions, names, headings = [f"{a}\n{b}" for a, b in zip(names, captions, strict=True)], [], []
    most = np.abs(W1[:, :-1])[np.isfinite(W1[:, :-1])].max(initial=0) or 1.0
    title = f"Weights of the hidden nodes after {iterations[-1]} iterations"
    subtitle = f"{len(nodes)} of {h} nodes, bias of the output {short(W2[-1, -1, 0])}; "
    subtitle += f"weights from {short(-most)} (blue) to {short(most)} (red)"
    return mosaic(title, subtitle, W1[when, :-1, which], captions, ("RdBu_r", -most, most), names, headings)


@styled
def activations(H: ArrayLike, W2: ArrayLike, labels: ArrayLike, positive: str) -> Figure:
    """Draw for each hidden node how strongly the images of each label activate it, as histograms from 0 to 1.

    H : (images, hiddenNodes), W2 : (hiddenNodes + 1, 1), labels : (images,), ``positive`` the one to tell from the rest
    At most 10 labels are drawn, those with the most images, and 16 nodes, those with the largest output weights.
    """
    H, W2, labels = np.asarray(H, float), np.asarray(W2, float), np.asarray(labels)
    asked = "H must be (images, hiddenNodes), W2 (hiddenNodes + 1, 1) and labels (images,)"
    require(H.size > 0 and H.shape == (*labels.shape, len(W2) - 1) and W2.shape[1:] == (1,), asked, H, W2, labels)
    kinds, counts = np.unique(labels, return_counts=True)
    rows, nodes = np.argsort(-counts, kind="stable")[:10], np.sort(np.argsort(-np.abs(W2[:-1, 0]), kind="stable")[:16])
    block = len(rows) * 36 + 72
    subtitle = f"{len(nodes)} of {H.shape[1]} nodes; {len(rows)} of {len(kinds)} labels, blue is {fit(positive, 120)}; "
    subtitle += "each histogram as high as its fullest bin"
    figure, (axes,) = sheet("Activations of the hidden nodes", subtitle, 90 + math.ceil(len(nodes) / 4) * block)
    for k, node in enumerate(nodes):
        x, y = 188 + k % 4 * 138, 120 + k // 4 * block
        axes.text(x, y - 10, f"node {node + 1}\noutput {short(W2[node, 0])}", va="bottom")
        for base, row in zip(range(y + 26, y + block, 36), rows, strict=False):
            bars, colour = np.histogram(H[labels == kinds[row], node], 14, (0, 1))[0], SOLID[kinds[row] != positive]
            tops = base - bars * 26 / max(bars.max(), 1)
            axes.add_artist(StepPatch(tops, x + 8 * np.arange(15), baseline=base, fill=True, fc=colour, ec=colour))
            if k % 4 == 0:
                axes.text(MARGIN, base - 8, f"{fit(kinds[row], 96)} ({counts[row]})")
        axes.text(x, y + block - 66, "0", va="top")
        axes.text(x + 112, y + block - 66, "1", va="top", ha="right")
    return figure


@styled
def mistakes(X: ArrayLike, labels: ArrayLike, yhat: ArrayLike, positive: str) -> Figure:
    """Draw up to 24 test images that the network gets wrong, surest first; if none, those it is least sure about.

    X : (images, pixels), 0 is black and 255 white; labels : (images,); yhat : (images,), the probability of the label
    ``positive``. Its label and this probability are below each image.
    """
    X, labels, yhat = np.asarray(X, float), np.asarray(labels), np.asarray(yhat, float)
    right = X.ndim == 2 and X.size > 0 and labels.shape == yhat.shape == X.shape[:1]
    require(right, "X must be (images, pixels), labels and yhat (images,)", X, labels, yhat)
    wrong, sureness = (yhat > 0.5) != (labels == positive), np.abs(yhat - 0.5)
    n = int(wrong.sum())
    chosen = np.lexsort([np.where(wrong, -sureness, sureness), ~wrong])[: min(n or 24, 24)]
    title = "Images that the network gets wrong" if n else "No mistakes: the images that the network is least sure of"
    subtitle = f"{n or 'None'} of {len(X)} test images{', the surest 24' if n > 24 else ''}. "
    subtitle += f"Below each: its label and the probability of {fit(positive, 120)}"
    captions = [f"{fit(labels[k], 96)}\n{yhat[k]:.3f}" for k in chosen]
    return mosaic(title, subtitle, X[chosen], captions, ("gray", 0, 255))


@styled
def heatmap(values: ArrayLike, xs: Texts, ys: Texts, xlabel: str, ylabel: str, title: str) -> Figure:
    """Draw a table (len(ys), len(xs)), its first row on top, as coloured cells with their numbers; NaN is "–"."""
    table, shape = np.asarray(values, float), (len(ys), len(xs))
    require(table.shape == shape and table.size > 0, f"values must have shape (len(ys), len(xs)) = {shape}", table)
    rows, columns = ([fit(name, 160) for name in names] for names in (ys, xs))
    left, bottom = MARGIN + 10 + max(map(width_of, rows)), 90 + 30 * len(ys)
    room, shown = WIDTH - MARGIN - left, table[np.isfinite(table)]
    digits = ".3f" if 0.1 < np.abs(shown).max(initial=0) < 100 else ".3g"
    subtitle = f"from {shown.min():{digits}} (dark) to {shown.max():{digits}} (light)" if shown.size else ""
    widest = max(map(width_of, columns)) + 6
    w = min(max(96, widest), room / len(xs))
    figure, (axes,) = sheet(title, subtitle, bottom + 56, (left, 90, left + w * len(xs), bottom))
    image = axes.imshow(table, colormaps["viridis"].with_extremes(bad=MISSING), aspect="auto")
    every = math.ceil(widest / w)  # a label below every column, or every second, …
    axes.set_xticks(range(0, len(xs), every), columns[::every])
    axes.set_yticks(range(len(ys)), rows)
    axes.grid(visible=False)
    axes.set_xlabel(fit(xlabel, room), loc="left")
    axes.set_title(fit(ylabel, room))
    write_numbers(image, ["–" if math.isnan(value) else f"{value:{digits}}" for value in table.flat], w)
    return figure


def mosaic(
    title: str, subtitle: str, images: Array, captions: Texts, look: Look, names: Texts = (), headings: Texts = ()
) -> Figure:
    """Draw images (images, pixels) with captions below and, if given, names left of each line and column headings."""
    n, pixels = images.shape
    rows = math.isqrt(pixels) if math.isqrt(pixels) ** 2 == pixels else 1
    columns, height = pixels // rows, max(14, TILE * rows * rows / pixels)
    left, top, a_line = NAMES if names else MARGIN, 80 + LINE * bool(headings), len(headings) or A_LINE
    down = height + LINE * captions[0].count("\n") + 48
    figure, (axes,) = sheet(title, subtitle, top + math.ceil(n / a_line) * down)
    colours = colormaps[look[0]].with_extremes(bad=MISSING)
    numbered = look[0] != "gray" and pixels < 9 and images.size <= 150  # more take too long
    for k, caption in enumerate(captions):
        x, y = left + k % a_line * NEXT, top + k // a_line * down
        cells, extent = images[k].reshape(rows, columns), (x, x + TILE, y + height, y)
        image = axes.imshow(cells, colours, aspect="auto", vmin=look[1], vmax=look[2], extent=extent)
        axes.add_artist(Rectangle((x, y), TILE, height, fill=False, edgecolor=MUTED))
        axes.text(x, y + height + 5, caption, va="top")
        if numbered:
            write_numbers(image, list(map(short, images[k])), TILE / columns)
    for k, heading in enumerate(headings):
        axes.text(left + k * NEXT, top - 8, heading)
    for k, name in enumerate(names):
        axes.text(MARGIN, top + k * down + height / 2, name, va="center")
    return figure


def write_numbers(image: AxesImage, texts: Texts, room: float) -> None:
    """Write the texts of an image's cells on them if all texts fit, in black or white, whichever stands out."""
    if max(map(len, texts)) * 7.7 > room:  # pixels of a digit
        return
    luminance = image.to_rgba(np.ma.asarray(image.get_array()))[..., :3] ** 2.2 @ (0.2126, 0.7152, 0.0722)
    left, right, bottom, top = image.get_extent()
    rows, columns = luminance.shape
    for text, ((row, column), light) in zip(texts, np.ndenumerate(luminance), strict=True):
        x, y = left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows
        image.axes.text(x, y, text, ha="center", va="center", size=9, color="black" if light > 0.18 else "white")


def require(condition: bool, asked: str, *arrays: Array) -> None:
    """Raise a ValueError that names what was asked for and the arrays' shapes, unless the condition holds."""
    if not condition:
        raise ValueError(f"{asked}, got {', '.join(str(array.shape) for array in arrays)}")


def sheet(title: str, subtitle: str, height: float, *boxes: tuple[float, ...]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a title and a line below it, and its axes at the boxes (left, top, right, bottom).

    Without boxes, one axes covers the whole figure. Its unit is the pixel, and y grows downwards.
    """
    figure, x = Figure(figsize=(WIDTH / DPI, height / DPI)), MARGIN / WIDTH
    title = fit(title, WIDTH - 2 * MARGIN, LARGE)
    figure.suptitle(title, x=x, y=1 - 34 / height, ha="left", va="baseline", size=LARGE)
    figure.text(x, 1 - 58 / height, subtitle, color=MUTED, va="baseline")
    for left, top, right, bottom in boxes or [(0, 0, WIDTH, height)]:
        figure.add_axes((left / WIDTH, 1 - bottom / height, (right - left) / WIDTH, (bottom - top) / height))
    if not boxes:
        figure.axes[0].set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
        figure.axes[0].set_axis_off()
    return figure, figure.axes


def fit(name: object, room: float, size: float = SMALL) -> str:
    """Return the name, shortened in its middle to ``room`` pixels; letters not in the font become escapes."""
    font = get_font(findfont("DejaVu Sans"))
    text = "".join(c if c.isprintable() and font.get_char_index(ord(c)) else ascii(c)[1:-1] for c in str(name))
    keep, shorter = len(text), text
    while keep > 1 and (width := width_of(shorter, size)) > room:
        keep = min(keep - 1, int(keep * room / width))
        shorter = text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]
    return shorter


def width_of(text: str, size: float = SMALL) -> float:
    """Return how many pixels wide a text is, and a little more: in a PNG each letter is rounded to whole pixels."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(1.06 * width * DPI / 72)


def short(value: float) -> str:
    """Return a number with about three digits, a large one as in 1e+06."""
    return (f"{value:z.2f}" if abs(value) < 9.995 else f"{value:.3g}").replace("-", "−")
