"""Ways to find the weights of the network, a file each: ``gradient_descent.py`` holds the class ``GradientDescent``.

Its settings are the fields of the class; their values are in conf/method/.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from dognet.network.checks import InputError
from dognet.network.training import Method


def find(name: str) -> type[Method]:
    """Return the class of a method; InputError if there is no such file, or no such class in it."""
    wanted = "".join(map(str.capitalize, name.split("_")))
    try:
        found = getattr(importlib.import_module(f"{__name__}.{name}"), wanted, None)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":  # what the file itself imports is not installed
            raise InputError(f"name: network/methods/{name}.py: {error}") from error
        raise InputError(f"name must be that of a file in network/methods/, got {name!r}") from error
    if not (isinstance(found, type) and issubclass(found, Method)) or found.__abstractmethods__:
        raise InputError(f"name: network/methods/{name}.py needs a class {wanted}(Method) with iteration and update")
    return found


def make(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method with its settings in the types of its fields; InputError names what is wrong."""
    method = find(name)
    kinds = {field.name: field.type for field in fields(method)}
    needed = [field.name for field in fields(method) if field.default is MISSING]
    for setting in settings:
        if setting not in kinds:
            raise InputError(f"{setting} is no setting of {name}")
    for setting in needed:
        if setting not in settings:
            raise InputError(f"{setting} must be given")
    return method(**{setting: as_kind(value, kinds[setting]) for setting, value in settings.items()})


def as_kind(value: Any, kind: Any) -> Any:
    """Return a number in the field's type, 1e4 as a whole number and 0 as a float; return anything else as it is."""
    if isinstance(value, bool) or kind not in ("int", "float"):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if kind == "int" and number.is_integer() else number
