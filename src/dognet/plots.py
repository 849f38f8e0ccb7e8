"""Curves, weights and tables as pictures: about a millisecond each, and the same bytes from the same input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dognet.svg import (
    DIVERGING,
    GREYS,
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
    strokes,
    text,
    tick_label,
    width_of,
)

Array = np.ndarray[Any, Any]

NODES, CELLS = 64, 16_000  # the most that one picture of weights shows
SIDE_BY_SIDE = 8  # nodes that are drawn at several iterations
BINS = 14  # of a histogram
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


def weights(W1: ArrayLike, W2: ArrayLike, iterations: Sequence[int] = ()) -> str:
    """Draw each hidden node as the image of its input weights, with its bias and its output weight.

    W1 : (pixels + 1, hiddenNodes) and W2 : (hiddenNodes + 1, 1), the bias in the last row of each. With ``iterations``
    both have one more axis, the first, and hold the weights after so many: up to 8 nodes are then drawn at several of
    them, side by side, and more nodes at the last. One colour scale serves all weights of pixels. Of many nodes, those
    with the largest output weights are drawn.
    """
    given = np.shape(W1), np.shape(W2)
    W1, W2 = (np.asarray(W, float)[slice(None) if iterations else None] for W in (W1, W2))
    if W1.ndim != 3 or W1.shape[1] < 2 or not W1.size or W2.shape != (len(iterations) or 1, W1.shape[2] + 1, 1):
        raise ValueError(f"W1 must be (pixels + 1, hiddenNodes), W2 (hiddenNodes + 1, 1), got {given[0]}, {given[1]}")
    pixels = W1.shape[1] - 1
    nodes, told = choose_nodes(W2[-1, :-1, 0], min(NODES, max(1, CELLS // pixels)))
    rows, columns, w, h = image_size(pixels)
    step = max(columns * w, 96) + 18
    a_line = int((WIDTH - 2 * MARGIN + 18) // step)  # images
    times, top = [-1], 116
    if len(iterations) > 1 and len(nodes) <= SIDE_BY_SIDE and a_line > 1:
        times, top = [0, *range(max(1, len(iterations) - a_line + 1), len(iterations))], 140
        a_line = len(times)
    which, when = np.repeat(nodes, len(times)), np.tile(times, len(nodes))  # (images,)
    down, along = np.divmod(np.arange(len(which)), a_line)
    x, y = MARGIN + along * step, top + down * (rows * h + 76)
    _, largest, _ = scale(np.abs(W1[:, :-1]))
    images = W1[when, :-1, which].reshape(-1, rows, columns)
    shades = shade(images / (largest or 1))
    parts = cells(shades, x, y, (w, h), DIVERGING)
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    for (k, row, column), value in np.ndenumerate(images) if pixels <= NUMBERED else ():
        left, high = corners[k]
        middle = left + column * w + (w - 1) / 2, high + row * h + (h - 1) / 2
        parts.append(on_cell(*middle, short(float(value)), DIVERGING[shades[k, row, column]]))
    for node, time, (left, high) in zip(which.tolist(), when.tolist(), corners, strict=True):
        if time == times[0]:
            parts.append(text(left, high - 8, f"node {node + 1}"))
        parts.append(text(left, high + rows * h + 16, f"bias {short(float(W1[time, -1, node]))}", ink="mute"))
        parts.append(text(left, high + rows * h + 32, f"output {short(float(W2[time, node, 0]))}", ink="mute"))
    for column, time in enumerate(times if len(times) > 1 else ()):
        parts.append(text(MARGIN + column * step, top - 32, f"iteration {tick_label(iterations[time])}", room=step))
    parts += [text(MARGIN, 54, told, ink="mute"), text(MARGIN, 72, f"output bias {short(W2[-1, -1, 0])}", ink="mute")]
    parts += colour_bar(46, DIVERGING, [short(-largest), "0", short(largest)])
    told += f", {pixels} pixels each, weights from {short(-largest)} (blue) over 0 (white) to {short(largest)} (orange)"
    return picture("Weights of the hidden nodes", told, int(y[-1] + rows * h) + 52, parts)


def activations(H: ArrayLike, W2: ArrayLike, labels: ArrayLike, positive: str) -> str:
    """Draw for each hidden node how strongly the images of each label activate it, as histograms from 0 to 1.

    H : (images, hiddenNodes), W2 : (hiddenNodes + 1, 1), labels : (images,), ``positive`` the one to tell from the rest
    Each histogram is as high as its fullest bin. Of many labels the 10 with the most images are drawn, of many nodes
    the 16 with the largest output weights.
    """
    H, W2 = np.asarray(H, float), np.asarray(W2, float)
    names, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if H.shape != (len(which), len(W2) - 1) or not H.size:
        raise ValueError(f"H must be (images, hiddenNodes) = {len(which), len(W2) - 1}, got {H.shape}")
    nodes, told = choose_nodes(W2[:-1, 0], 16)
    kinds = np.argsort(-counts, kind="stable")[:10].tolist()
    left, high, step = 176, 26, 134  # pixels: where the first node begins, of a histogram, from node to node
    block, parts = len(kinds) * (high + 10) + 76, [text(MARGIN, 54, f"{told}, test images by their label", ink="mute")]
    parts.append(text(MARGIN, 72, "from 0, not active, to 1; each histogram is as high as its fullest bin", ink="mute"))
    for k, node in enumerate(nodes.tolist()):
        x, y = left + k % 4 * step, 128 + k // 4 * block
        parts.append(text(x, y - 26, f"node {node + 1}"))
        parts.append(text(x, y - 10, f"output {short(W2[node, 0])}", ink="mute"))
        for row, kind in enumerate(kinds):
            base, name = y + row * (high + 10) + high, str(names[kind])
            bars = histogram(H[which == kind, node], x, base, high)
            parts.append(Curve(name, int(name != positive), H, H).group(bars))
            if k % 4 == 0:
                parts.append(text(MARGIN, base - 8, f"{name} ({counts[kind]})", ink="mute", room=left - MARGIN - 8))
        ends = text(x, base + 16, "0", ink="mute"), text(x + 8 * BINS, base + 16, "1", "end", "mute")
        parts += ends
    told = (
        f"How many images of the labels {', '.join(names[kinds])} give each hidden node which activation, from 0 to 1"
    )
    return picture("Activations of the hidden nodes", told, 128 + math.ceil(len(nodes) / 4) * block - 30, parts)


def histogram(values: Array, x: float, base: float, high: float) -> str:
    """Return the bars of values from 0 to 1 on a line from (x, base), the fullest bin ``high`` pixels."""
    counts = np.bincount(np.minimum(values * BINS, BINS - 1).astype(int), minlength=BINS)
    tops = (base - high * counts / max(counts.max(), 1)).round(2).tolist()
    bars = "".join(f"V{top:g}h7V{base:g}h1" for top in tops)
    rule = strokes([(x, base)], f"h{8 * BINS - 1}", 'class="rule" stroke="#8c959f" stroke-width="1"')
    return f'<path class="bars" fill="currentColor" stroke="none" d="M{x:g} {base:g}{bars}"/>{rule}'


def mistakes(X: ArrayLike, labels: ArrayLike, yhat: ArrayLike, positive: str) -> str:
    """Draw the test images that the network gets wrong, the surest first; if none, those of which it is least sure.

    X : (images, pixels), 0 is black and 255 white; labels : (images,); yhat : (images,), the probability of the label
    ``positive``. Below each image stand its label and this probability. At most 24 are drawn.
    """
    X, labels, yhat = np.asarray(X, float), np.asarray(labels), np.asarray(yhat, float)
    if X.ndim != 2 or not X.size or labels.shape != X.shape[:1] or yhat.shape != X.shape[:1]:
        raise ValueError(
            f"X must be (images, pixels), labels and yhat (images,), got {X.shape}, {labels.shape} and {yhat.shape}"
        )
    chosen, told = choose_images(yhat, labels == positive, 24)
    rows, columns, w, h = image_size(X.shape[1])
    w, h = (w * 0.6, h * 0.6) if X.shape[1] <= NUMBERED else (w, h)
    step = max(columns * w, 96) + 18
    down, along = np.divmod(np.arange(len(chosen)), int((WIDTH - 2 * MARGIN + 18) // step))
    x, y = MARGIN + along * step, 96 + down * (rows * h + 58)
    frame = f"h{columns * w + 1:g}v{rows * h + 1:g}h{-columns * w - 1:g}v{-rows * h - 1:g}"
    corners = list(zip((x - 1).tolist(), (y - 1).tolist(), strict=True))
    parts = cells(shade(X[chosen].reshape(-1, rows, columns) / 127.5 - 1), x, y, (w, h), GREYS)
    parts.append(strokes(corners, frame, 'class="rule" stroke="#8c959f" fill="none"'))
    for image, (left, top) in zip(chosen.tolist(), corners, strict=True):
        parts.append(text(left + 1, top + rows * h + 18, str(labels[image]), room=step - 6))
        parts.append(text(left + 1, top + rows * h + 34, f"{yhat[image]:.3f}", ink="mute"))
    below = f"Below each: its label, and how probable {positive} is to the network"
    parts += [text(MARGIN, 54, told, ink="mute"), text(MARGIN, 72, below, ink="mute", room=WIDTH - 2 * MARGIN)]
    return picture("Images that the network gets wrong", told, int(y[-1] + rows * h) + 52, parts)


def choose_images(yhat: Array, is_positive: Array, most: int) -> tuple[Array, str]:
    """Return which images to draw, given their probabilities (images,) and classes (images,), and a text on them."""
    wrong = np.flatnonzero((yhat > 0.5) != is_positive)
    sureness = np.abs(yhat - 0.5)
    if len(wrong):
        told = f"{len(wrong)} of {len(yhat)} test images" + f", the {most} of which it is surest" * (len(wrong) > most)
        return wrong[np.argsort(-sureness[wrong], kind="stable")][:most], told
    chosen = np.argsort(sureness, kind="stable")[:most]
    return chosen, f"None of {len(yhat)} test images; here the {len(chosen)} of which it is least sure"


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
