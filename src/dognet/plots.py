"""Curves, weights and tables as pictures: about a millisecond each, and the same bytes from the same input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dognet.svg import (
    DIVERGING,
    LEFT,
    MARGIN,
    SEQUENTIAL,
    WIDTH,
    Curve,
    accuracy_axis,
    cells,
    colour_bar,
    label_x,
    linear_axis,
    log_axis,
    note_gaps,
    on_cell,
    panel,
    picture,
    shade,
    short,
    text,
    tick_label,
    width_of,
)

Array = np.ndarray[Any, Any]

NODES, CELLS = 64, 16_000  # the most that one picture of weights shows
NUMBERED = 9  # pixels; the cells of larger images are too small for numbers


def curve(iteration: ArrayLike, train_loss: ArrayLike, train_accuracy: ArrayLike) -> str:
    """Draw loss (nats) above accuracy (0 to 1) of one run over its iterations, each of shape (points,).

    Iterations and loss are on log axes, with a place for 0. Points that are not finite leave a gap and a note.
    """
    columns = same_length("a curve", iteration, train_loss, train_accuracy)
    if not len(columns[0]):
        raise ValueError("a curve must have at least 1 point, got 0")
    last, loss, accuracy = (float(column[-1]) for column in columns)
    x = log_axis(np.r_[columns[0], [1, 10] if last < 10 else []], LEFT + 8, WIDTH - 124)
    axes = log_axis(columns[1], 252, 82), accuracy_axis(columns[2], 430, 316)
    ends = (
        tick_label(float(f"{loss:.4g}")) if math.isfinite(loss) else f"then {loss}",
        f"{accuracy:.2%}".replace(".00", "").replace("%", " %"),
    )
    parts, notes = label_x(x, "iteration", 438), []
    for hue, (y, what, end) in enumerate(zip(axes, ("loss", "accuracy"), ends, strict=True)):
        parts += panel(x, y, what + " (nats)" * (hue == 0), [Curve(end, hue, columns[0], columns[hue + 1])])
        notes += note_gaps([Curve(what, hue, columns[0], columns[hue + 1])], x, y)
    parts += [text(MARGIN, 504 + 18 * k, note, ink="mute") for k, note in enumerate(notes)]
    told = f"After {last:.0f} iterations the loss is {ends[0]} nats and the accuracy {ends[1]}."
    return picture("Loss and accuracy on the training images", ". ".join([told, *notes]), 496 + 18 * len(notes), parts)


def same_length(what: str, *columns: ArrayLike) -> list[Array]:
    """Return the columns as arrays of floats, or raise ValueError where their lengths differ."""
    arrays = [np.asarray(column, float) for column in columns]
    if any(array.shape != (arrays[0].size,) for array in arrays):
        raise ValueError(f"{what} must have columns of one length, got the shapes {[array.shape for array in arrays]}")
    return arrays


def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    title: str,
    *,
    logx: bool = True,
    logy: bool = True,
    band: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> str:
    """Draw named curves, series[name] = (x, y), and round some of them a band, band[name] = (low, high)."""
    curves = [
        Curve(name, hue, *same_length(repr(name), *columns, *(band or {}).get(name, ())))
        for hue, (name, columns) in enumerate(series.items())
    ]
    right = WIDTH - 42 - min(240.0, max((width_of(name) for name in series), default=0))
    bottom = 74 + max(300, 16 * len(curves))
    xs = np.concatenate([c.x for c in curves] or [np.empty(0)])
    ys = np.concatenate([edge for c in curves for edge in (c.y, c.low, c.high) if edge is not None] or [np.empty(0)])
    few = np.unique(xs[np.isfinite(xs)]).tolist()
    x = (log_axis if logx else linear_axis)(xs, LEFT + 8, right - 8, few if 2 <= len(few) <= 9 else ())
    y = (log_axis if logy else linear_axis)(ys, bottom - 8, 82)
    notes = note_gaps(curves, x, y)
    parts = [*panel(x, y, ylabel, curves), *label_x(x, xlabel, bottom)]
    parts += [text(MARGIN, bottom + 66 + 18 * k, note, ink="mute", room=672) for k, note in enumerate(notes)]
    told = f"{ylabel} over {xlabel}: {', '.join(series)}."
    return picture(title, " ".join([told, *notes]), bottom + 58 + 18 * len(notes), parts)


def heatmap(values: ArrayLike, xs: Sequence[object], ys: Sequence[object], xlabel: str, ylabel: str, title: str) -> str:
    """Draw a table (len(ys), len(xs)), its first row on top, as coloured cells with their numbers; NaN is "–"."""
    table = np.asarray(values, float)
    if table.shape != (len(ys), len(xs)) or not table.size:
        raise ValueError(f"values must have shape (len(ys), len(xs)) = {len(ys), len(xs)}, got {table.shape}")
    rows, columns = [[tick_label(n) if isinstance(n, (int, float)) else str(n) for n in names] for names in (ys, xs)]
    left, top, h = MARGIN + 8 + min(160.0, max(map(width_of, rows))), 92, 30
    w, bottom = round(min(96.0, (WIDTH - MARGIN - left) / len(xs)), 2), top + h * len(ys)
    every = math.ceil(min(160.0, max(map(width_of, columns))) / w)  # each label under its column, or every second, …
    low, high, number = scale(table)
    shades = shade((table - low) / ((high - low) or 1) * 2 - 1)
    parts = cells(shades[None], np.array([left]), np.array([top]), (w, h), SEQUENTIAL)
    for (row, column), value in np.ndenumerate(table):
        if width_of(number(value)) <= w:
            middle = left + (column + 0.5) * w, top + (row + 0.5) * h
            parts.append(on_cell(*middle, number(value), SEQUENTIAL[shades[row, column]]))
    for k, name in enumerate(rows):
        parts.append(text(left - 8, top + (k + 0.5) * h + 4, name, "end", "mute", room=160))
    for k, name in list(enumerate(columns))[::every]:
        parts.append(text(left + (k + 0.5) * w, bottom + 18, name, "middle", "mute", room=every * w))
    parts += [
        text(MARGIN, top - 14, ylabel, ink="mute", room=400),
        text(left, bottom + 40, xlabel, ink="mute", room=400),
    ]
    parts += colour_bar(48, SEQUENTIAL, [number(v) for v in (low, (low + high) / 2, high)]) if low < high else []
    told = f"{ylabel} by {xlabel}: values from {number(low)} to {number(high)}."
    return picture(title, told, bottom + 58, parts)


def scale(table: Array) -> tuple[float, float, Callable[[float], str]]:
    """Return the least and the largest finite value, and what writes a value with the digits that tell them apart."""
    shown = table[np.isfinite(table)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    digits = min(max(2 - math.floor(math.log10(high - low or abs(high) or 1)), 0), 4)
    return low, high, lambda value: "–" if math.isnan(value) else f"{value:z.{digits}f}".replace("-", "−")


def weights(W1: ArrayLike, W2: ArrayLike) -> str:
    """Draw each hidden node as the image of its input weights, with its bias and its output weight.

    W1 : (pixels + 1, hiddenNodes) and W2 : (hiddenNodes + 1, 1), the bias in the last row of each
    One colour scale serves all weights of pixels. Of many nodes, those with the largest output weights are drawn.
    """
    W1, W2 = np.asarray(W1, float), np.asarray(W2, float)
    if W1.ndim != 2 or len(W1) < 2 or not W1.size or W2.shape != (W1.shape[1] + 1, 1):
        raise ValueError(f"W1 must be (pixels + 1, hiddenNodes), W2 (hiddenNodes + 1, 1), got {W1.shape}, {W2.shape}")
    pixels = len(W1) - 1
    nodes, told = choose_nodes(W2[:-1, 0], min(NODES, max(1, CELLS // pixels)))
    rows, columns, w, h = image_size(pixels)
    step = max(columns * w, 96) + 18
    down, along = np.divmod(np.arange(len(nodes)), int((WIDTH - 2 * MARGIN + 18) // step))
    x, y = MARGIN + along * step, 116 + down * (rows * h + 76)
    _, largest, _ = scale(np.abs(W1[:-1]))
    images = W1[:-1, nodes].T.reshape(-1, rows, columns)  # (nodes, rows, columns)
    shades = shade(images / (largest or 1))
    parts = cells(shades, x, y, (w, h), DIVERGING)
    for (k, row, column), value in np.ndenumerate(images) if pixels <= NUMBERED else ():
        middle = x[k] + column * w + (w - 1) / 2, y[k] + row * h + (h - 1) / 2
        parts.append(on_cell(*middle, short(value), DIVERGING[shades[k, row, column]]))
    for node, left, top in zip(nodes.tolist(), x.tolist(), y.tolist(), strict=True):
        parts.append(text(left, top - 8, f"node {node + 1}"))
        parts.append(text(left, top + rows * h + 16, f"bias {short(W1[-1, node])}", ink="mute"))
        parts.append(text(left, top + rows * h + 32, f"output {short(W2[node, 0])}", ink="mute"))
    parts += [text(MARGIN, 54, told, ink="mute"), text(MARGIN, 72, f"output bias {short(W2[-1, 0])}", ink="mute")]
    parts += colour_bar(46, DIVERGING, [short(-largest), "0", short(largest)])
    told += f", {pixels} pixels each, weights from {short(-largest)} (blue) over 0 (white) to {short(largest)} (orange)"
    return picture("Weights of the hidden nodes", told, int(y[-1] + rows * h) + 52, parts)


def choose_nodes(weights: Array, most: int) -> tuple[Array, str]:
    """Return which nodes to draw, given their output weights (hiddenNodes,), and a text on the choice."""
    if len(weights) <= most:
        return np.arange(len(weights)), "1 node" if len(weights) == 1 else f"{len(weights)} nodes"
    return np.argsort(-np.abs(weights), kind="stable")[:most], f"{most} of {len(weights)} nodes, by |output weight|"


def image_size(pixels: int) -> tuple[int, int, float, float]:
    """Return rows and columns of an image, a square if it can be, and the width and height of a cell in pixels."""
    side = math.isqrt(pixels)
    rows, columns = (side, side) if side * side == pixels else (1, pixels)
    w = min(46.0 if pixels <= NUMBERED else max(3, 96 // columns), (WIDTH - 2 * MARGIN) / columns)
    return rows, columns, w, w if rows > 1 else max(w, 14)
