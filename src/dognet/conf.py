"""The one reader of conf/, for the stages and for ``dognet``: Hydra composes, the models of settings.py validate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from dognet.runs.digest import hash_of
from dognet.settings import (
    PLAIN_NAME,
    Data,
    GivenSettings,
    Settings,
    SettingsError,
    as_written,
    describe_error,
    is_text,
    no_setting_of,
    unused_by,
)

VERSION_BASE: dict[str, Any] = {"version_base": None} if hydra.__version__.startswith("1.3.") else {}  # 1.4 warns of it
SOURCES = "conf/config.yaml, conf/execution.yaml, conf/data/<name>.yaml or conf/method/<name>.yaml"
GROUPS = {"data": "generated", "method": "gradient_descent"}  # settings that choose a file in conf/, with an example


def name_of(word: str) -> str:
    """Return the setting that a word of the command line sets."""
    return word.partition("=")[0].lstrip("+")


class Composed(NamedTuple):
    """What Hydra makes of conf/ and some words of the command line, not validated yet."""

    values: dict[str, Any]  # by the names of the settings, such as ``data.white``
    method: str  # its name
    source: str  # the file of the images in conf/data/
    usual: Data | None  # the images that this file describes; None if the command line must complete it
    unused: list[str]  # settings that are given, though the method does not use them


def compose(root: Path, overrides: Sequence[str] = ()) -> Settings:
    """Return the settings that conf/ and the overrides give; SettingsError has a line for each mistake."""
    base = read_conf(root, overrides, list(map(name_of, overrides)))
    return validate(base, {}, base.unused)


@contextmanager
def as_settings_error() -> Iterator[None]:
    """Turn an error of Hydra, OmegaConf or the YAML reader into a SettingsError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, RecursionError, UnicodeDecodeError, YAMLError) as error:
        raise SettingsError(one_line(error)) from error


@as_settings_error()
def read_conf(
    root: Path, overrides: Sequence[str], given: Collection[str], config: DictConfig | None = None
) -> Composed:
    """Return what Hydra makes of conf/ and the overrides; SettingsError if `dvc repro` would not see a value change.

    ``given`` are the settings of the overrides, and those that get their values later. ``config`` is used if Hydra has
    made it of these overrides.
    """
    conf = root.resolve() / "conf"
    if config is None or config.hydra.overrides.task != overrides:
        config = compose_with_hydra(root, overrides)
    chosen = {group: str(config.hydra.runtime.choices.get(group)) for group in GROUPS}
    task = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    values = dict(flat(cast(dict[str, Any], OmegaConf.to_container(task, resolve=True))))
    check_origin(values, chosen, given, conf)
    written = in_files(conf, chosen, as_written)  # yes, 007 and 1e5 as text
    values |= {name: text for name, text in written.items() if is_text(name) and name not in given and text}
    method = str(values.get("method.name"))
    unused = unused_by(method, given)
    used = {name: value for name, value in values.items() if "." not in name or name not in unused}
    return Composed(used, method, chosen["data"], usual_images(nested(written)["data"]), unused)


@as_settings_error()
def compose_with_hydra(root: Path, overrides: Sequence[str]) -> DictConfig:
    """Compose conf/ and the overrides with Hydra; the result includes Hydra's own settings."""
    conf = root.resolve() / "conf"
    chosen_files(conf)  # Hydra says little about a malformed list of defaults
    with hydra.initialize_config_dir(str(conf), **VERSION_BASE):
        return hydra.compose("config", list(overrides), return_hydra_config=True)


def one_line(error: BaseException) -> str:
    """Return a message of one line for an error of Hydra, OmegaConf or the YAML reader."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option}: no such option, there are {', '.join(error.options)}"
    if isinstance(error, UnicodeDecodeError):
        return f"a file in conf/ is not UTF-8: {error}"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException | YAMLError) else error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return f"{cause.full_key}: the launcher has no such setting"
    place = f"{cause.full_key}: " if isinstance(cause, OmegaConfBaseException) and cause.full_key else ""
    return place + " ".join(str(cause).split()).partition(" full_key:")[0]


def validate(base: Composed, chosen: dict[str, Any], unused: Sequence[str] = ()) -> Settings:
    """Return composed values, and those chosen instead, as Settings; SettingsError has a line for each mistake.

    ``unused`` settings are mistakes too.
    """
    values, faults = base.values | chosen, []
    if values.get("study") == "pipeline":
        faults.append("study=pipeline is the run of dvc repro: choose another name")
    try:
        settings = GivenSettings.model_validate(nested(values))
    except ValidationError as error:
        faults += describe_error(error)
    faults += [no_setting_of(base.method, name) for name in unused]
    if faults:
        raise SettingsError("\n".join(faults))
    return with_folder(settings, base)


def with_folder(settings: GivenSettings, base: Composed) -> Settings:
    """Return the settings with the images' folder in data/: images that differ from those in conf/ have their own."""
    usual = base.usual or settings.data
    made, usually = (data.model_dump(exclude={"positive"}, exclude_defaults=True) for data in (settings.data, usual))
    source = base.source if made == usually else f"{base.source}-{hash_of(made)[:8]}"
    usual_positive = settings.data.positive == usual.positive
    return Settings.model_construct(**dict(settings), source=source, usual_positive=usual_positive)


def usual_images(values: object) -> Data | None:
    """Return the images that a file in conf/data/ describes; None if the command line must complete it."""
    with suppress(ValidationError):
        return TypeAdapter(Data).validate_python(values)
    return None


def check_origin(values: Mapping[str, Any], chosen: Mapping[str, str], given: Collection[str], conf: Path) -> None:
    """Raise SettingsError if a value that is not given comes from a place that `dvc repro` does not read.

    DVC reads the files of conf/ as they are written. A group of the user's own, an interpolation or a block ``data`` in
    conf/config.yaml would change what Hydra composes, and DVC would rerun nothing.
    """
    written = chosen_files(conf) | in_files(conf, chosen, lambda path: OmegaConf.to_container(OmegaConf.load(path)))
    faults = []
    for name, value in {**chosen, **values}.items():
        if name in given:
            continue
        if name not in written:
            faults.append(f"{name}={value} comes from a file that dvc repro does not read: write it into {SOURCES}")
        elif "${" in str(written[name]):
            faults.append(f"{name}: {written[name]} must be a plain value: dvc repro would not notice a change")
        elif repr(written[name]) != repr(value):  # nan equals nothing
            differs = f"differs from {written[name]} in the file that dvc repro reads"
            faults.append(f"{name}={value} {differs}: write the same value there")
    if faults:
        raise SettingsError("\n".join(faults))


def in_files(conf: Path, chosen: Mapping[str, str], read: Callable[[Path], Any]) -> dict[str, Any]:
    """Return the values in the files of conf/ that `dvc repro` reads, by the names of the settings."""
    of_groups = {group: read(conf / group / f"{name}.yaml") for group, name in chosen.items()}
    return dict(flat({**read(conf / "config.yaml"), **read(conf / "execution.yaml"), **of_groups}))


def chosen_files(conf: Path) -> dict[str, str]:
    """Return the files of images and method: the second and third of the defaults, which dvc.yaml uses too."""
    match as_written(conf / "config.yaml"):
        case {"defaults": [_, {"data": str(images)}, {"method": str(method)}, *_]}:
            check_choice("data", images)
            check_choice("method", method)
            return {"data": images, "method": method}
    raise SettingsError(
        f"{conf / 'config.yaml'}: second and third of the defaults must be images and method: "
        "- data: generated, - method: gradient_descent"
    )


def check_choice(group: str, name: object) -> None:
    """Raise SettingsError unless this may be the name of a file in conf/data/ or conf/method/."""
    if not (isinstance(name, str) and PLAIN_NAME.fullmatch(name)) or name.endswith(".yaml"):
        example = f"{group}={GROUPS[group]} (letters, digits, _ - and ., no .yaml)"
        raise SettingsError(f"{group} must be the name of a file in conf/{group}/, as in {example}, got {name!r}")


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of every setting; those of images and method have names such as ``data.white``."""
    for name, value in values.items():
        if name in GROUPS and isinstance(value, Mapping):
            yield from ((f"{name}.{own}", each) for own, each in value.items())
        else:
            yield name, value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with those of images and method in a mapping each, as a model takes them."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        group, _, own = name.rpartition(".")
        (result.setdefault(group, {}) if group else result)[own] = value
    return result
