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
    """Return a method with its settings in the types of its fields; InputError has a line for each mistake."""
    method = find(name)
    kinds = {field.name: field.type for field in fields(method)}
    faults = [f"{setting} is no setting of method={name}" for setting in settings if setting not in kinds]
    missing = [each.name for each in fields(method) if each.default is MISSING and each.name not in settings]
    if missing:
        raise InputError("\n".join([*faults, *(f"{setting} must be given" for setting in missing)]))
    try:
        made = method(**{name: as_kind(settings[name], kind) for name, kind in kinds.items() if name in settings})
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    return made


def as_kind(value: Any, kind: Any) -> Any:
    """Convert a number to the type of its field, such as 1e4 to 10000; return anything else as it is."""
    if isinstance(value, bool) or kind not in ("int", "float"):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if kind == "int" and number.is_integer() else number
