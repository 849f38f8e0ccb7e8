"""The pieces of a small SVG picture, written by hand: texts, axes, panels of curves, coloured cells.

The same input gives the same bytes. Light colours stand in attributes, so that a converter that knows no CSS draws
them too; the dark ones in a media query. Each picture brings its own background.
"""

from __future__ import annotations

import functools
import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]

WIDTH = 720  # pixels; the viewBox lets the picture scale
LEFT, MARGIN = 64, 24  # where panels begin, and texts
LETTER = 0.62  # em, the width of an average letter in the wider sans-serif fonts
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#767676")  # Okabe-Ito, less the yellow
INKS = {"ink": "#24292f", "mute": "#636b74"}
DARK = (
    ".back{fill:#16191f;stroke:#363b45} .ink{fill:#d9dee5} .mute{fill:#9aa4b1} .grid{stroke:#2d323b}"
    " .rule{stroke:#59616d} .c0{color:#4ba3dc} .c6{color:#a3a3a3}"
).replace(".", ".dognet .")
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SHADES = 32  # on each side of a palette's middle


# --- text and marks


def escape(string: object) -> str:
    """Return the text as XML may hold it."""
    return html.escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(string)))


def width_of(string: str, size: int = 12) -> float:
    """Return about how many pixels wide a text is."""
    return len(string) * LETTER * size


def text(
    x: float, y: float, string: str, anchor: str = "start", ink: str = "ink", *, size: int = 12, room: float = WIDTH
) -> str:
    """Return a text with its baseline at y, cut to ``room`` pixels; ``ink`` is a key of INKS or a colour."""
    if width_of(string, size) > room:
        string = string[: max(int(room / width_of("m", size)) - 1, 0)] + "…"
    look = f'class="{ink}" fill="{INKS[ink]}"' if ink in INKS else f'fill="{ink}"'
    weight = ' font-weight="600"' if size > 12 else ""
    at = f'x="{round(x, 2):g}" y="{round(y, 2):g}"'
    return f'<text {at} text-anchor="{anchor}" font-size="{size}"{weight} {look}>{escape(string)}</text>'


def strokes(starts: Iterable[tuple[float, float]], move: str, look: str = 'class="grid" stroke="#e4e7ea"') -> str:
    """Return one path that makes the same move, such as h20, from each (x, y)."""
    return f'<path {look} d="{"".join(f"M{x:.6g} {y:.6g}{move}" for x, y in starts)}"/>'


def picture(title: str, told: str, height: int, parts: Iterable[str]) -> str:
    """Return the whole SVG: background, heading, parts, and for screen readers the title and what is ``told``."""
    root = f'class="dognet" role="img" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    back = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" fill="#fdfdfd" stroke="#d0d7de"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {root} font-family="sans-serif">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(told)}</desc>",
        f"<style>@media (prefers-color-scheme:dark){{{DARK}}}</style>",
        f'<rect class="back" {back}/>',
        text(MARGIN, 30, title, size=14, room=WIDTH - 2 * MARGIN),
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


def short(value: float) -> str:
    """Return a number in at most about six characters."""
    digits = next((d for top, d in ((9.995, 2), (99.95, 1), (9999.5, 0)) if abs(value) < top), None)
    shown = f"{value:.0e}" if digits is None else f"{value:z.{digits}f}"
    return shown.replace("e+0", "e").replace("e+", "e").replace("-", "−")


def tick_label(value: float) -> str:
    """Return a round number such as 0.05, 200, 10k, 5M or 2·10⁻⁶."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.6g}".replace("-", "−")
    if 1e4 <= abs(value) < 1e12:
        unit, letter = next(u for u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if u[0] <= abs(value))
        return f"{value / unit:.6g}{letter}".replace("-", "−")
    mantissa, exponent = f"{value:.5e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{float(mantissa):g}·10{power}".replace("-", "−").removeprefix("1·")


# --- axes


@dataclass(frozen=True)
class Axis:
    """Where the values from low to high lie, in pixels; on a log axis 0 may have a place of its own."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    label: Callable[[float], str] = tick_label
    log: bool = False
    zero: float | None = None

    def at(self, values: ArrayLike) -> Array:
        """Return the pixels of the values, same shape; NaN for those that have no place."""
        values = np.asarray(values, float)
        with np.errstate(all="ignore"):
            part = (values - self.low) / (self.high - self.low)
            if self.log:
                part = np.log(values / self.low) / math.log(self.high / self.low)
            part = np.where((part > -1e-9) & (part < 1 + 1e-9), part, np.nan)
        place = np.round(self.start + part * (self.end - self.start), 2)
        return place if self.zero is None else np.where(values == 0, self.zero, place)


def log_axis(values: ArrayLike, start: float, end: float, ticks: Sequence[float] = ()) -> Axis:
    """Return a log axis round the positive values; zeros, if there are any, get a place 26 pixels before them."""
    values = np.asarray(values, float)
    shown = values[(values > 1e-300) & (values < 1e300)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (1.0, 10.0)
    if high < 1.3 * low:
        low, high = low / 1.5, high * 1.5
    ticks = [tick for tick in ticks or log_ticks(low, high) if tick > 0]
    if not (values == 0).any():
        return Axis(low, high, start, end, ticks, log=True)
    return Axis(low, high, start + math.copysign(26, end - start), end, [0.0, *ticks], log=True, zero=start)


def log_ticks(low: float, high: float) -> list[float]:
    """Return decades, or 1-2-5 steps where these are few, or even steps where those are few as well."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [float(f"1e{k}") for k in powers if k % math.ceil(len(powers) / 10) == 0]
    steps = [float(f"{m}e{k}") for k in powers for m in (1, 2, 5)]
    for few, ticks in ((4, decades), (3, steps)):
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) >= few:
            return inside
    return even_ticks(low, high)


def linear_axis(values: ArrayLike, start: float, end: float, ticks: Sequence[float] = ()) -> Axis:
    """Return a linear axis from a round number below the values to one above them."""
    values = np.asarray(values, float)
    shown = values[np.abs(values) < 1e300]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1)
    step = even_step(low, high)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, start, end, ticks or even_ticks(low, high))


def accuracy_axis(values: Array, start: float, end: float) -> Axis:
    """Return an axis in percent, from the tenth below the values, at most 90 %, to 100 %."""
    shown = values[np.isfinite(values)]
    low = min(0.9, math.floor(float(shown.min()) * 10) / 10) if shown.size else 0.0
    return Axis(low, 1, start, end, even_ticks(low, 1), lambda value: f"{value * 100:.6g} %")


def even_step(low: float, high: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at most five of which fill the range."""
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power * 5 >= (high - low) * (1 - 1e-9))


def even_ticks(low: float, high: float) -> list[float]:
    """Return the multiples of a round step from low to high."""
    step = even_step(low, high)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


# --- panels


@dataclass(frozen=True)
class Curve:
    """A named line through the points (x, y), with a band from low to high if given; all of shape (points,)."""

    name: str
    hue: int
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None

    def group(self, parts: str) -> str:
        """Return the parts in this curve's colour."""
        hue, dash = self.hue % len(HUES), ' stroke-dasharray="6 5"' if self.hue >= len(HUES) else ""
        look = f'class="c{hue}" color="{HUES[hue]}" fill="none" stroke="currentColor" stroke-width="2"{dash}'
        return f'<g {look} stroke-linecap="round" stroke-linejoin="round">{parts}</g>'


def panel(x: Axis, y: Axis, ylabel: str, curves: Sequence[Curve]) -> list[str]:
    """Return a grid with the labels of y, the curves, and each curve's name where it ends."""
    right, top, bottom = x.end + 8, y.end - 8, (y.start if y.zero is None else y.zero) + 8
    rows, columns = y.at(y.ticks).tolist(), x.at(x.ticks).tolist()
    return [
        strokes([(LEFT, row) for row in rows], f"H{right:g}"),
        strokes([(column, top) for column in columns], f"V{bottom:g}"),
        strokes([(LEFT, bottom)], f"H{right:g}", 'class="rule" stroke="#8c959f"'),
        text(MARGIN, top - 10, ylabel, ink="mute", room=right - MARGIN),
        *(text(LEFT - 8, a + 4, y.label(t), "end", "mute") for a, t in zip(rows, y.ticks, strict=True)),
        *(draw_curve(curve, x, y) for curve in curves),
        *name_curves(curves, x, y, right, (top + 6, bottom - 4)),
    ]


def label_x(x: Axis, xlabel: str, bottom: float) -> list[str]:
    """Return the labels of x below the lowest panel, less those that would touch the one before."""
    parts, free = [text((LEFT + x.end + 8) / 2, bottom + 40, xlabel, "middle", "mute", room=x.end - LEFT)], 0.0
    for place, tick in zip(x.at(x.ticks).tolist(), x.ticks, strict=True):
        half = width_of(x.label(tick)) / 2
        if place - half >= free:
            parts.append(text(place, bottom + 18, x.label(tick), "middle", "mute"))
            free = place + half + 6
    return parts


def draw_curve(curve: Curve, x: Axis, y: Axis) -> str:
    """Return band, line and, where they are few, points; broken where a point has no place."""
    xs, ys = x.at(curve.x), y.at(curve.y)
    runs = stretches(xs + ys)
    parts = f'<path class="line" d="{"".join(trace(xs[run], ys[run]) for run in runs)}"/>'
    if len(xs) <= 12:
        points = [point for run in runs for point in zip(xs[run].tolist(), ys[run].tolist(), strict=True)]
        parts += strokes(points, "h0", 'class="points" stroke-width="6"')
    if curve.low is not None and curve.high is not None:
        low, high = (y.at(np.clip(edge, y.low, y.high)) for edge in (curve.low, curve.high))  # log of 0: to the edge
        area = (trace(np.r_[xs[r], xs[r][::-1]], np.r_[low[r], high[r][::-1]]) for r in stretches(xs + low + high))
        parts = f'<path class="band" fill="currentColor" opacity="0.16" stroke="none" d="{"".join(area)}"/>' + parts
    return curve.group(parts)


def name_curves(curves: Sequence[Curve], x: Axis, y: Axis, right: float, span: tuple[float, float]) -> list[str]:
    """Return the names right of the panel, each tied to its curve's last point, none on another."""
    parts, ends = [], []
    for curve in curves:
        places = np.column_stack([x.at(curve.x), y.at(curve.y)])
        places = places[np.isfinite(places).all(axis=1)]
        ends.append(places[-1].tolist() if len(places) else [right, span[1]])
    for curve, (a, b), place in zip(curves, ends, spread([b for _, b in ends], 16, *span), strict=True):
        tie = f'<path stroke-width="1" stroke-dasharray="0.1 5" d="M{a:.6g} {b:.6g}H{right:g}"/>'
        tie += f'<path stroke-width="1" d="M{right:g} {b:.6g}L{right + 12:g} {place:.6g}h6"/>'
        end = f'<circle cx="{a:.6g}" cy="{b:.6g}" r="3" fill="currentColor" stroke="none"/>'
        parts.append(curve.group(tie + end))
        parts.append(text(right + 24, place + 4, curve.name, room=WIDTH - 8 - right - 24))
    return parts


def stretches(places: Array) -> list[slice]:
    """Return the slices of consecutive finite values."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.isfinite(places), 0])).tolist()
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def trace(xs: Array, ys: Array) -> str:
    """Return the path data through the points; a lone one gets a line of no length, which round ends make a dot."""
    path = "M" + "L".join(f"{a:.6g} {b:.6g}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True))
    return path if len(xs) > 1 else path + "h0"


def spread(places: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Return the places moved so that they lie a gap apart, in the same order, from top to bottom."""
    order, moved = np.argsort(places, kind="stable").tolist(), list(places)
    for this in order:
        moved[this] = top = max(moved[this], top)
        top += gap
    for this in reversed(order):
        moved[this] = bottom = round(min(moved[this], bottom), 2)
        bottom -= gap
    return moved


def note_gaps(curves: Iterable[Curve], x: Axis, y: Axis) -> list[str]:
    """Return a sentence on each curve that has points without a place."""
    counts = [(curve, int(np.isnan(x.at(curve.x) + y.at(curve.y)).sum())) for curve in curves]
    return [f"{c.name}: {n} of {len(c.x)} points not drawn: not finite or off the scale" for c, n in counts if n]


# --- coloured cells


def blend(*stops: str) -> tuple[str, ...]:
    """Return 2·SHADES + 1 colours from the first stop to the last, and one more for a missing value."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops])
    where = np.linspace(0, len(stops) - 1, 2 * SHADES + 1)
    mixed = np.rint([np.interp(where, range(len(stops)), channel) for channel in rgb.T]).astype(int).T
    return (*("#{:02x}{:02x}{:02x}".format(*colour) for colour in mixed.tolist()), "#b4b8bd")


DIVERGING = blend("#0060a8", "#7fb4d8", "#f7f7f7", "#f3ad6b", "#cc5500")
GREYS = blend("#000000", "#ffffff")
SEQUENTIAL = blend("#f2f6fa", "#8fc1de", "#2a78b0", "#0b2f57")


def shade(parts: Array) -> Array:
    """Return each value's place in a palette, for values from -1 to 1, same shape."""
    shades = np.rint(np.clip(np.nan_to_num(parts), -1, 1) * SHADES) + SHADES
    return np.where(np.isnan(parts), 2 * SHADES + 1, shades).astype(int)


def cells(shades: Array, x: Array, y: Array, size: tuple[float, float], palette: tuple[str, ...]) -> list[str]:
    """Return images (images, rows, columns) in cells of that width and height; x and y of each are its upper left."""
    w, h = size
    seam = 1 if w >= 14 else 0
    xs = x[:, None, None] + np.arange(shades.shape[2]) * w + np.zeros(shades.shape)
    ys = y[:, None, None] + np.arange(shades.shape[1])[:, None] * h + (h - seam) / 2 + np.zeros(shades.shape)
    places: dict[int, list[tuple[float, float]]] = {}
    for key, a, b in zip(shades.flat, np.round(xs.flat, 2).tolist(), np.round(ys.flat, 2).tolist(), strict=True):
        places.setdefault(int(key), []).append((a, b))
    look = f'class="cells" stroke-width="{h - seam:g}" shape-rendering="crispEdges"'
    rows = (strokes(places[k], f"h{round(w - seam, 2):g}", f'stroke="{palette[k]}"') for k in sorted(places))
    return [f"<g {look}>", *rows, "</g>"]


def on_cell(x: float, y: float, string: str, fill: str) -> str:
    """Return a text in the middle of a cell of that colour."""
    return text(x, y + 4, string, "middle", "#ffffff" if is_dark(fill) else "#1b1f24")


@functools.cache
def is_dark(colour: str) -> bool:
    """Return whether white reads better on the colour than black."""
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return 0.21 * red + 0.72 * green + 0.07 * blue < 0.25  # WCAG says 0.2, but on middle blue white is better


def colour_bar(y: float, palette: tuple[str, ...], labels: Sequence[str]) -> list[str]:
    """Return the scale of the colours at the right, with labels at its start, middle and end."""
    span = np.arange(2 * SHADES + 1)
    left = WIDTH - MARGIN - 24 - 3 * len(span)
    bar = cells(span[None, None], np.array([left]), np.array([y]), (3, 10), palette)
    return bar + [text(left + 1.5 * len(span) * k, y + 24, label, "middle", "mute") for k, label in enumerate(labels)]
