"""The lecture's network. It needs NumPy alone.

Read ``gradient.py`` first, the formulas; then ``methods/gradient_descent.py``, an iteration; ``training.py``, the loop;
and ``nnet.py``, the class that users call. ``blocks.py`` only makes the gradient fast.
"""

from dognet.network.checks import InputError, PixelWarning
from dognet.network.gradient import logistic, logloss
from dognet.network.nnet import NNet, scorer
from dognet.network.training import Method, Report, State, work

__all__ = ["InputError", "Method", "NNet", "PixelWarning", "Report", "State", "logistic", "logloss", "scorer", "work"]
