"""The digest that names a run's result: settings, images by content, and the numeric code.

The trajectory is the hash of the same values without ITERS, the validation and the test images. Runs that share it have
the same weights at the same iteration, so a longer one resumes from a shorter one.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from dognet.files import sha256_once
from dognet.project import PACKAGE
from dognet.runs.run import ImagesId
from dognet.settings import Settings, TrainingSettings


def identify(settings: Settings, folder: Path, pixels: Sequence[str]) -> ImagesId:
    """Return what identifies the images of a run: the files' content, the label to tell apart, the columns' names."""
    made = settings.data.model_dump(include={"train_rows", "seed"})  # of generated images
    return ImagesId(
        source=settings.source,
        positive=settings.data.positive,
        pixels=tuple(pixels),
        train_sha256=sha256_once(folder / "train.csv"),
        validation_sha256=sha256_once(folder / "validation.csv") if settings.data.validation else None,
        **made,
    )


def digest(settings: TrainingSettings, images: ImagesId, test_sha256: str) -> str:
    """Return the hash of all that decides a run's result."""
    validation = {"validation_sha256": images.validation_sha256} if images.validation_sha256 else {}
    rest = {"ITERS": settings.ITERS, "test_sha256": test_sha256}
    return hash_of(deciding_values(settings, images) | rest | validation)


def trajectory(settings: TrainingSettings, images: ImagesId) -> str:
    """Return the hash shared by runs that differ only in ITERS."""
    return hash_of(deciding_values(settings, images))


def deciding_values(settings: TrainingSettings, images: ImagesId) -> dict[str, object]:
    """Return what decides the weights of every iteration; settings that have their default are left out."""
    values = settings.training(defaults=False)
    values.pop("ITERS", None)  # a method may do without
    code = code_digest(settings.method.name)
    return values | {"positive": images.positive, "train_sha256": images.train_sha256, "code": code}


def hash_of(values: Mapping[str, object]) -> str:
    """Return the first 16 hex digits of the sha256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code_digest(method: str) -> str:
    """Return the sha256 of the network package with only this one of its methods, as Python parses it.

    Comments, docstrings and layout don't count.
    """
    network = PACKAGE / "network"
    files = [*sorted(network.glob("*.py")), network / "methods" / "__init__.py", network / "methods" / f"{method}.py"]
    return hashlib.sha256("\0".join(without_comments(file) for file in files).encode()).hexdigest()


def without_comments(file: Path) -> str:
    """Return a module's code without comments and docstrings, in one layout."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def folder_name(settings: Settings) -> str:
    """Return the name of a run's folder: the settings that decide its result, except those that have their default."""
    # quoted, as a setting of your own may be text with a / in it
    parts = [f"{name}={quote(str(value), safe='+')}" for name, value in settings.training(defaults=False).items()]
    if settings.source != "generated":
        parts.append(f"data={settings.source}")
    if not settings.usual_positive:
        parts.append(f"positive={hash_of({'positive': settings.data.positive})[:8]}")
    return ",".join(parts)
