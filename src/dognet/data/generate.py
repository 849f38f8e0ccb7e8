"""Images like the lecture's 5000: the same three kinds, as often and as bright.

One image a row: its label, then its four pixels row by row, 0 (black) to 255 (white). The shares and the bounds were
measured on the lecture's images.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARES = {"checkerboard": 0.369, "bright line": 0.357, "triangle": 0.274}  # of the lecture's 5000 images
SIDES = ((0, 1), (2, 3), (0, 2), (1, 3))  # top, bottom, left, right: pixel numbers of a 2x2 image


def generate(n_images: int, rng: np.random.Generator) -> pd.DataFrame:
    """Make images of the lecture's three kinds, with the shares and the brightness measured on its 5000 images."""
    label = rng.choice(list(SHARES), n_images, p=list(SHARES.values()))
    pixels = np.empty((n_images, 4), int)
    for kind, draw in (("checkerboard", checkerboards), ("bright line", bright_lines), ("triangle", triangles)):
        rows = label == kind
        pixels[rows] = draw(int(rows.sum()), rng)
    return pd.DataFrame({"label": label, **{f"pixel{i}": pixels[:, i] for i in range(4)}})


def checkerboards(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images with one dark and one bright diagonal: each pair within 24, at least 51 between the pairs."""
    found = np.empty((0, 4), int)
    while len(found) < n_images:  # drawn evenly, kept where the rule holds: about one in three
        first = rng.integers(0, 256, (n_images, 2))
        pairs = np.stack([first, first + rng.integers(-24, 25, (n_images, 2))], axis=2)  # (n, 2 diagonals, 2 pixels)
        gap = np.maximum(pairs[:, 0].min(1) - pairs[:, 1].max(1), pairs[:, 1].min(1) - pairs[:, 0].max(1))
        fits = (gap >= 51) & (pairs.min((1, 2)) >= 0) & (pairs.max((1, 2)) <= 255)
        found = np.concatenate([found, pairs[fits].reshape(-1, 4)[:, [0, 2, 3, 1]]])  # diagonals: 0 and 3, 1 and 2
    return found[:n_images]


def bright_lines(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images in which both pixels of one side are bright (231..255), and the other two anything up to 174."""
    pixels = rng.integers(0, 175, (n_images, 4))
    side = np.array(SIDES)[rng.integers(0, 4, n_images)]
    np.put_along_axis(pixels, side, rng.integers(231, 256, (n_images, 2)), axis=1)
    return pixels


def triangles(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images with one odd corner: dark is 0..49, bright 201..255; the odd one is dark in 57 of 100 images."""
    odd_one_dark = rng.random(n_images) < 0.57
    dark = odd_one_dark[:, None] == (np.arange(4) == rng.integers(0, 4, n_images)[:, None])
    return np.where(dark, rng.integers(0, 50, (n_images, 4)), rng.integers(201, 256, (n_images, 4)))
