"""Validation images: which of the training images are set apart, the same on every machine."""

from __future__ import annotations

import numpy as np
import pandas as pd

STREAM = 33  # seed of the one random order in which images are taken


def number_of(validation: float, n_images: int) -> int:
    """Return the number of validation images, given as that number or, below 1, as a share of the training images."""
    return round(validation * n_images) if validation < 1 else int(validation)


def set_apart(table: pd.DataFrame, n_images: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into the images to train on and ``n_images`` validation images, both in the table's order.

    Each label contributes its share, rounded up or down: the images are lined up label by label, each label's in random
    order, and taken at equal distances. Raw draws of a bit generator are the same in every version of NumPy.
    """
    draws = np.random.PCG64(STREAM).random_raw(len(table))
    lined_up = np.lexsort([draws, pd.factorize(table["label"], sort=True)[0]])
    taken = np.zeros(len(table), bool)
    taken[lined_up[(2 * np.arange(n_images) + 1) * len(table) // (2 * n_images or 1)]] = True
    return table[~taken], table[taken]
