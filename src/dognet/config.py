"""What may be set, and its bounds. The values themselves stand in conf/ only."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

SETTINGS = ("hiddenNodes", "stepSize", "ITERS", "seed", "dtype")  # that change the result, besides the images

POSITIVE = "a positive finite number", lambda value: 0 < value < math.inf
WHOLE = "a whole number from 0 to 10^15", lambda value: 0 <= value <= 10**15
ROWS = "a whole number from 10 to 10^8", lambda value: 10 <= value <= 10**8
SHA256 = "64 hex digits, or nothing", lambda value: len(value) in (0, 64) and set(value) <= set("0123456789abcdef")
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no folder on Windows can be named so
FOLDER_NAME = (
    "a plain name: letters, digits, _ - and . inside",
    lambda value: (
        value.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()
        and not value.startswith((".", "-"))
        and not value.endswith(".")
        and not DEVICE.match(value)
        and len(value) <= 100
        and value.isascii()
    ),
)

KINDS = {  # what each kind of data reads besides `kind` and `positive`
    "generated": ("train_rows", "test_rows", "seed"),
    "lecture": ("train_sha256", "test_sha256"),
    "csv": ("train", "test", "label", "white", "train_sha256", "test_sha256"),
}

BOUNDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "hiddenNodes": ("a whole number from 1 to 100000", lambda value: 1 <= value <= 100_000),
    "stepSize": POSITIVE,
    "ITERS": WHOLE,
    "seed": WHOLE,
    "dtype": ("float64 or float32", lambda value: value in ("float64", "float32")),
    "study": FOLDER_NAME,
    "data.kind": ("generated, lecture or csv", lambda value: value in KINDS),
    "data.train_rows": ROWS,
    "data.test_rows": ROWS,
    "data.seed": WHOLE,
    "data.train_sha256": SHA256,
    "data.test_sha256": SHA256,
    "data.white": POSITIVE,
}


class ConfigError(ValueError):
    """A setting out of its bounds: the setting, its value, the bound."""


@dataclass
class Data:
    """Where the images come from; ``conf/data/`` explains each setting."""

    kind: str = MISSING
    positive: str = MISSING
    train_rows: int | None = None
    test_rows: int | None = None
    seed: int | None = None
    train: str | None = None
    test: str | None = None
    label: str | None = None
    white: float | None = None
    train_sha256: str | None = None
    test_sha256: str | None = None


@dataclass
class Config:
    """The settings of one run; ``conf/config.yaml`` explains each."""

    hiddenNodes: int = MISSING
    stepSize: float = MISSING
    ITERS: int = MISSING
    seed: int = MISSING
    dtype: str = MISSING
    study: str = MISSING
    tracking_uri: str | None = None
    force: bool = False
    plan: bool = False
    data: Data = field(default_factory=Data)
    source: str = ""  # the name of the file in conf/data/ that was chosen

    def __post_init__(self) -> None:
        """Check every setting against its bounds; all that are wrong are told at once."""
        faults = []
        for name, (bound, holds) in BOUNDS.items():
            owner, _, key = name.rpartition(".")
            value = getattr(self.data if owner else self, key)
            if value == MISSING:
                faults.append(f"{name} must be given: {bound}")
            elif value is not None and not holds(value):
                faults.append(f"{name} must be {bound}, got {value!r}")
        if self.study == "pipeline":
            faults.append("study=pipeline is the run of dvc repro: choose another name")
        if self.data.kind in KINDS:
            own = ("kind", "positive", *KINDS[self.data.kind])
            for key, value in vars(self.data).items():
                if value is not None and key not in own:
                    faults.append(f"data.{key} is no setting of {self.data.kind} data, got {value!r}")
                if value is None and key in own and key != "seed":
                    faults.append(f"data.{key} must be given for {self.data.kind} data")
        if faults:
            raise ConfigError("; ".join(faults))


def load(root: Path) -> Config:
    """Read the settings that stand in ``root``/conf, as the DVC stages use them."""
    path = root / "conf" / "config.yaml"
    try:
        settings: Any = OmegaConf.load(path)
        source = chosen(settings, path)
        settings = OmegaConf.merge(OmegaConf.structured(Config), settings)
        path = root / "conf" / "data" / f"{source}.yaml"
        settings = OmegaConf.merge(settings, {"data": OmegaConf.load(path)})
        path = root / "conf" / "config.yaml"
        config = OmegaConf.to_object(settings)
    except OmegaConfBaseException as error:
        from dognet.errors import one_line

        raise ConfigError(f"{path}: {one_line(error)}") from error
    except (OSError, RecursionError, YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    assert isinstance(config, Config)
    config.source = source
    return config


def chosen(settings: Any, path: Path) -> str:
    """Take the defaults out of conf/config.yaml and return which images they name."""
    defaults = settings.pop("defaults", None) if isinstance(settings, DictConfig) else None
    entries = [entry for entry in defaults if isinstance(entry, DictConfig)] if isinstance(defaults, ListConfig) else []
    source = next((entry["data"] for entry in entries if "data" in entry), None)
    if source is None:
        raise ConfigError(f"{path}: the defaults must name the images, as in - data: generated")
    return plain(source)


def plain(source: object) -> str:
    """Return the name of the images' file in conf/data/: their folder has it too, and is not to lie elsewhere."""
    if not FOLDER_NAME[1](str(source)):
        raise ConfigError(f"data must be {FOLDER_NAME[0]}, got {str(source)!r}")
    return str(source)


def project_root() -> Path:
    """Return the project's root: $DVC_ROOT, else the nearest folder upwards with a dvc.yaml, else this folder."""
    if "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)
