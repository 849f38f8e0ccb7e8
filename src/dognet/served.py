"""The network as MLflow serves it: ``dognet-export`` puts a copy into the model folder, and MLflow runs that.

Besides MLflow it needs ``nnet.py`` and ``descent.py``, which lie in the model folder too. Nothing in dognet imports it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from dognet.network import InputError, NNet


class Served(PythonModel):
    """Tells images apart: the label of each, and how likely the positive one is."""

    def load_context(self, context: Any) -> None:
        """Read the weights; the positive label stands in the model's configuration."""
        self.net = NNet.load(context.artifacts["weights"])
        self.labels = f"not {context.model_config['positive']}", context.model_config["positive"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return label and probability of each image, one a row, pixels 0 (black) to 255 (white)."""
        X = model_input.to_numpy()
        try:
            probability, is_positive = self.net.predict(X, type="probs"), self.net.predict(X)
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        if ((X < 0) | (X > 255)).any():
            row, column = np.argwhere((X < 0) | (X > 255))[0]
            name = model_input.columns[column]
            raise MlflowException.invalid_parameter_value(
                f"{name} must be from 0 to 255, got {X[row, column]} in row {row}"
            )
        label = np.where(is_positive, self.labels[1], self.labels[0])
        return pd.DataFrame({"label": label, "probability": probability}, model_input.index)


set_model(Served())
