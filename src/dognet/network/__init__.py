"""The lecture's network. It needs NumPy alone."""

from dognet.network.checks import InputError, PixelWarning
from dognet.network.gradient import logistic, logloss
from dognet.network.nnet import NNet, scorer
from dognet.network.training import Method, Report, State, work

__all__ = ["InputError", "Method", "NNet", "PixelWarning", "Report", "State", "logistic", "logloss", "scorer", "work"]
