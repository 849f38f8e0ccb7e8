"""The network of lecture 3.3: logistic hidden nodes, a logistic output, log loss.

    n  images          X1   (p+1, n)  pixels / 255, one image a column; the last row is 1 (the bias)
    p  pixels          W1   (p+1, h)  weights of the hidden nodes, bias in the last row
    h  hidden nodes    Z1   (h, n)    W1ᵀ X1
                       X2   (h+1, n)  logistic(Z1); the last row is 1
                       W2   (h+1, 1)  weights of the output, bias in the last row
                       Z2   (1, n)    W2ᵀ X2
                       yhat (1, n)    logistic(Z2), the probability of y_classes[1]

The lecture writes one image a row (Z1 = X1 @ W1); here images lie along the last axis, where NumPy is fastest.
Source: B. Gorman, "Neural Networks For Your Dog", lecture 3.3, Gradient Descent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dognet.network.blocks import Images, block_size, image_blocks, image_parts, map_on, one_blas_thread
from dognet.network.checks import (
    InputError,
    check_classes,
    check_images,
    check_labels,
    check_scale,
    check_step,
    check_weights,
    check_whole,
)
from dognet.network.gradient import Array, forward, new_buffer
from dognet.network.methods.gradient_descent import GradientDescent
from dognet.network.training import Callback, Method, State, draw_weights, train

WIDE = 64  # pixels from which X1 is in Fortran's order: at 784 and 4 hidden nodes 0.6 times the time


class NNet:
    """A two-layer network that tells two classes of images apart.

    Parameters
    ----------
    W1 : ndarray of shape (pixels + 1, hiddenNodes), optional
    W2 : ndarray of shape (hiddenNodes + 1, 1), optional
    y_classes : ndarray of shape (2,), optional
        The two classes; ``predict`` returns ``y_classes[1]`` where its probability is above 0.5.

    ``predict`` uses the weights given here; ``fit`` draws new ones.

    >>> X = np.array([[0, 255], [255, 0], [0, 0], [255, 255]])
    >>> y = np.array(["differ", "differ", "same", "same"])
    >>> net = NNet()
    >>> net.fit(X, y, hiddenNodes=4, stepSize=5, ITERS=2000, seed=1)
    >>> net.predict(X).tolist()
    ['differ', 'differ', 'same', 'same']
    """

    def __init__(self, W1: Any = None, W2: Any = None, y_classes: Any = None) -> None:
        self.state: State | None = None
        self.y_classes: Array | None = None if y_classes is None else check_classes(y_classes)
        if W1 is not None or W2 is not None:
            self.state = State(*check_weights(W1, W2))

    @property
    def W1(self) -> Array | None:  # noqa: N802 the lecture's names
        """The weights of the hidden nodes, or None before ``fit``."""
        return None if self.state is None else self.state.W1

    @property
    def W2(self) -> Array | None:  # noqa: N802
        """The weights of the output, or None before ``fit``."""
        return None if self.state is None else self.state.W2

    def fit(
        self,
        X: Any,
        y: Any,
        hiddenNodes: int,
        stepSize: float = 0.01,
        ITERS: int = 100,
        seed: int | None = None,
        *,
        method: Method = GradientDescent(),  # noqa: B008 it has no state
        dtype: str = "float64",
        callback: Callback | None = None,
        resume: tuple[int, State] | None = None,
        threads: int = 1,
    ) -> None:
        """Draw new weights and train them for ITERS iterations: updates on all images, or what the method defines.

        If it raises an error, the network keeps the weights that it had before. It warns (``PixelWarning``) of pixels
        below 0, above 255, or all in 0..1.

        Parameters
        ----------
        X : array of shape (n_images, n_pixels), 0 is black and 255 white
        y : array of shape (n_images,) with exactly two classes
        hiddenNodes : hidden nodes besides the bias, at least 1
        stepSize : how far along the gradient an update goes, above 0 (also called the learning rate)
        ITERS : iterations to make, at least 0
        seed : seed of the initial weights and of the method's random numbers; None gives others each time
        method : how the weights are found, one of the classes in ``dognet.network.methods``
        dtype : ``float64``, or ``float32`` for about half the time and fewer digits
        callback : called as callback(iteration, loss, accuracy) at each of ``recorded_iterations(ITERS)``, before
            that iteration, with ``self.state`` as it is then; the loss is the mean in nats
        resume : (iteration, state) of a shorter run with the same arguments, to continue from there: the result has
            the same bits as that of an uninterrupted run
        threads : processor cores to use; their number does not change the result

        Raises
        ------
        InputError
            If an argument is not as described above.
        FloatingPointError
            If the weights stop being finite.
        """
        check_whole("hiddenNodes", hiddenNodes, at_least=1)
        check_step(stepSize)
        check_whole("ITERS", ITERS, at_least=0)
        if seed is not None:
            check_whole("seed", seed, at_least=0)
        if dtype not in ("float64", "float32"):
            raise InputError(f"dtype must be float64 or float32, got {dtype!r}")
        check_whole("threads", threads, at_least=1)
        X = check_images(X)
        y_classes = check_labels(y, len(X))
        check_scale(X)
        generator = np.random.default_rng(seed)
        state = State(*draw_weights(generator, X.shape[1], hiddenNodes, dtype), generator)
        y01 = (np.asarray(y) == y_classes[1]).astype(dtype)  # (n,)
        threads = min(threads, len(image_parts(len(X), X.shape[1] + 1, hiddenNodes)))
        before = self.state, self.y_classes
        try:
            with one_blas_thread(), map_on(threads) as map_parts, np.errstate(over="ignore"):
                images = Images(with_ones(X, dtype), y01, hiddenNodes, map_parts)
                method.start(state, images)
                start, state = (0, state) if resume is None else check_resume(*resume, ITERS, like=state)
                self.state, self.y_classes = state, y_classes
                train(method, images, state, float(stepSize), range(start, ITERS), callback)
        except BaseException:
            self.state, self.y_classes = before
            raise

    def predict(self, X: Any, type: str = "classes") -> Array:
        """Return the class of each image of X (n_images, n_pixels), or with type='probs' y_classes[1]'s probability."""
        if type not in ("classes", "probs"):
            raise InputError(f"type must be 'classes' or 'probs', got {type!r}")
        W1, W2 = self.weights()
        X = check_images(X)
        if X.shape[1] != len(W1) - 1:
            raise InputError(f"X must have {len(W1) - 1} columns, one a pixel, got {X.shape[1]}")
        X1 = with_ones(X, W1.dtype)
        yhat = np.empty(len(X), W1.dtype)  # (n,)
        buffer = new_buffer(block_size(*W1.shape), W1.shape[1], W1.dtype)
        with one_blas_thread(), np.errstate(over="ignore"):
            for block in image_blocks(len(X), *W1.shape):
                yhat[block] = forward(X1[:, block], W1, W2, buffer)[1]
        if type == "probs":
            return yhat
        return self._known_classes()[(yhat > 0.5).astype(int)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the state and y_classes in an .npz file; an existing file is replaced once the new one is complete."""
        arrays = self._known_state().arrays() | {"y_classes": self._known_classes()}
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                np.savez(file, **arrays, allow_pickle=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NNet:
        """Load a network from a file that ``save`` wrote; nothing is ever unpickled."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
                arrays = dict(saved)
            net = cls(arrays["W1"], arrays["W2"], arrays.pop("y_classes"))
            net.state = State.from_arrays(arrays)
        except FileNotFoundError:
            raise
        except Exception as error:  # the zip and npy readers raise a dozen kinds on damaged bytes
            raise InputError(f"{path} is not a complete network file ({error}): train again") from error
        return net

    def weights(self) -> tuple[Array, Array]:
        """Return W1 and W2; raise InputError if the network has none yet."""
        state = self._known_state()
        return state.W1, state.W2

    def _known_state(self) -> State:
        if self.state is None:
            raise InputError("the network has no weights yet, got W1=None: call fit() first")
        return self.state

    def _known_classes(self) -> Array:
        if self.y_classes is None:
            raise InputError("y_classes is not known, got weights only: call fit(), or give y_classes to NNet()")
        return self.y_classes


def with_ones(X: Array, dtype: Any) -> Array:
    """Return X1 (p+1, n) of the images X (n, p); BLAS is faster where each wide image is one piece of memory."""
    X1 = np.ones((X.shape[1] + 1, len(X)), dtype, order="F" if X.shape[1] >= WIDE else "C")
    np.divide(X.T, 255, out=X1[:-1], casting="same_kind")
    return X1


def scorer(X: Array, y: Array, hiddenNodes: int, dtype: str, **_: Any) -> Callable[..., tuple[float, float]]:
    """Return a function of the weights: their mean loss (nats) and accuracy on X (n, p) and y (n,), True or False.

    It takes the same settings as ``fit``.
    """
    return Images(with_ones(X, dtype), y.astype(dtype), hiddenNodes).score


def check_resume(start: Any, state: State, ITERS: int, like: State) -> tuple[int, State]:
    """Return the iteration and a copy of the state to resume from; InputError if its arrays don't fit."""
    check_whole("the iteration of resume", start, at_least=0)
    if start > ITERS:
        raise InputError(f"the iteration of resume must be at most ITERS={ITERS}, got {start}")
    resumed = state.copy()
    resumed.generator = resumed.generator or like.generator
    arrays = resumed.arrays()
    for name, array in like.arrays().items():
        wanted = f"{name} of resume must be {array.dtype} of shape {array.shape}"
        if name not in arrays:
            raise InputError(f"{wanted}, got none: resume with the method that the state comes from")
        if (arrays[name].shape, arrays[name].dtype) != (array.shape, array.dtype):
            raise InputError(f"{wanted}, got {arrays[name].dtype} of {arrays[name].shape}")
    return start, resumed
