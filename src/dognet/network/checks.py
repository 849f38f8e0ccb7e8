"""Checks of the network's arguments: every error names the argument, its value and what it must be."""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dognet.network.gradient import Array


class InputError(ValueError, AssertionError):
    """Input that the network can't work with; an AssertionError too, as in the lecture."""


class PixelWarning(UserWarning):
    """Pixels that are probably not meant as 0 (black) to 255 (white)."""


def check_all(*checks: Callable[[], None]) -> None:
    """Run every check; InputError has a line for each that failed."""
    faults = []
    for check in checks:
        try:
            check()
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))


def check_whole(name: str, value: object, at_least: int) -> None:
    """Raise InputError unless value is a whole number of at least ``at_least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise InputError(f"{name} must be a whole number of at least {at_least}, got {value!r}")


def check_share(name: str, value: Any) -> None:
    """Raise InputError unless value is a number from 0 to below 1."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise InputError(f"{name} must be a number from 0 to below 1, got {value!r}")


def check_step(stepSize: Any) -> None:
    """Raise InputError unless stepSize is a positive number that is finite as a float."""
    is_number = isinstance(stepSize, numbers.Real) and not isinstance(stepSize, bool)
    if not is_number or not 0 < stepSize <= sys.float_info.max:
        raise InputError(f"stepSize must be a positive finite number, got {stepSize!r}")


def check_images(X: Any) -> Array:
    """Return X as an array of shape (n_images, n_pixels) of finite numbers."""
    X = np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must have 2 dimensions (images, pixels), got {X.ndim}: shape {X.shape}")
    if X.shape[1] == 0:
        raise InputError(f"X must have at least 1 column, one a pixel, got shape {X.shape}")
    if X.dtype.kind == "O":  # as pandas gives columns that may have missing cells
        X = numbers_of(X)
    if X.dtype.kind not in "iuf":
        raise InputError(f"X must be numeric, got {X.dtype}")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise InputError(f"X must be finite, got {X[row, column]} in row {row}, column {column}")
    return X


def numbers_of(X: Array) -> Array:
    """Convert an array of Python objects to floats; InputError names the first that is not a number."""
    for (row, column), cell in np.ndenumerate(X):
        if not isinstance(cell, numbers.Real) or isinstance(cell, bool):
            raise InputError(f"X must be numeric, got {cell!r} in row {row}, column {column}")
    return X.astype(float)


def check_scale(X: Array) -> None:
    """Warn of pixels that are outside of 0..255, or all in 0..1."""
    low, high = X.min(), X.max()
    if low < 0 or high > 255 or 0 < high <= 1:
        message = (
            f"X should have pixels from 0 (black) to 255 (white), got {low:g} to {high:g}: fit divides them by 255"
        )
        warnings.warn(message, PixelWarning, stacklevel=3)


def check_labels(y: Any, n_images: int) -> Array:
    """Return the two classes of y (n_images,), sorted."""
    y = np.asarray(y)
    if y.shape != (n_images,):
        raise InputError(f"y must have one label for each of the {n_images} images, got shape {y.shape}")
    missing = np.array([is_missing(label) for label in y]) if y.dtype.kind == "O" else np.not_equal(y, y)
    if missing.any():
        raise InputError(f"y must have no missing label, got {y[missing][0]} in row {np.argmax(missing)}")
    try:
        y_classes = np.unique(y)
    except TypeError as error:  # labels of several types don't sort
        raise InputError(f"y must have labels of one type, got {error}") from error
    return check_classes(y_classes)


def is_missing(label: Any) -> bool:
    """Return whether a label is None, or differs from itself as nan does."""
    try:
        return label is None or bool(label != label)  # noqa: PLR0124 nan alone does
    except TypeError:  # pandas.NA neither equals itself nor differs
        return True


def check_classes(y_classes: Any) -> Array:
    """Return the two classes as fixed-width text, numbers or truth values, which a file holds without pickle."""
    y_classes = np.array(list(y_classes))
    if y_classes.shape != (2,) or y_classes[0] == y_classes[1]:
        raise InputError(f"y must have exactly 2 classes, got {len(y_classes)}: {y_classes.tolist()[:5]}")
    if y_classes.dtype.kind not in "biufU":
        raise InputError(f"the classes of y must be text or numbers, got {y_classes.dtype}")
    return y_classes


def check_weights(W1: Any, W2: Any) -> tuple[Array, Array]:
    """Return W1 (p+1, h) and W2 (h+1, 1) as arrays of finite floats."""
    weights = []
    for name, W in (("W1", np.asarray(W1)), ("W2", np.asarray(W2))):
        if W.ndim != 2 or W.dtype.kind not in "iuf" or not np.isfinite(W).all():
            raise InputError(f"{name} must be a 2-D array of finite numbers, got {W.dtype} of shape {W.shape}")
        weights.append(W.astype(W.dtype if W.dtype == np.float32 else np.float64))
    W1, W2 = weights
    if W1.shape[0] < 2 or W1.shape[1] < 1 or W2.shape != (W1.shape[1] + 1, 1):
        raise InputError(
            f"W1 must have shape (pixels + 1, hiddenNodes) and W2 (hiddenNodes + 1, 1), got {W1.shape} and {W2.shape}"
        )
    return W1, W2
