"""The lecture's network. It needs NumPy alone."""

from dognet.network.descent import Report, State, work
from dognet.network.gradient import logistic, logloss
from dognet.network.nnet import InputError, NNet, PixelWarning, scorer

__all__ = ["InputError", "NNet", "PixelWarning", "Report", "State", "logistic", "logloss", "scorer", "work"]
