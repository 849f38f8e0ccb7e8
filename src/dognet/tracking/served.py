"""The network as MLflow serves it: `dognet export` puts a copy into the model folder, and MLflow runs that copy.

Besides MLflow it needs the network package, which is in the model folder too. Nothing in dognet imports it.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from dognet.network import NNet


class Served(PythonModel):
    """Classifies images: returns the label of each, and the probability of the positive label."""

    def load_context(self, context: Any) -> None:
        """Read the weights; the positive label is in the model's configuration."""
        self.net = NNet.load(context.artifacts["weights"])
        self.labels = f"not {context.model_config['positive']}", context.model_config["positive"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return label and probability of each image, one a row, pixels 0 (black) to 255 (white)."""
        check_cells(model_input)
        probability = self.net.predict(model_input.to_numpy(float), type="probs")
        label = np.where(probability > 0.5, self.labels[1], self.labels[0])
        return pd.DataFrame({"label": label, "probability": probability}, model_input.index)


def check_cells(table: pd.DataFrame) -> None:
    """Raise an error that names the first cell that is not a pixel; the server answers with status 400."""
    for name, column in table.items():
        if column.dtype.kind in "iuf" and column.notna().all() and column.between(0, 255).all():
            continue
        bad = [(row, cell) for row, cell in enumerate(column) if not is_pixel(cell)]
        if bad:  # where a CSV has one word in a column, its numbers are text too: the word is at fault
            row, cell = min(bad, key=lambda place: str(place[1]).strip().replace(".", "", 1).isdigit())
            message = f"{name} must be a number from 0 to 255, got {cell!r} in row {row}"
            raise MlflowException.invalid_parameter_value(message)


def is_pixel(cell: object) -> bool:
    """Return whether a cell is a number from 0 to 255; true and false are none."""
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool) and 0 <= float(cell) <= 255


set_model(Served())
