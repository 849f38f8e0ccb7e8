"""The one reader of conf/, for the stages and for ``dognet``: Hydra composes, the models of settings.py validate."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from dognet.files import stamp
from dognet.runs.digest import hash_of
from dognet.settings import (
    PLAIN_NAME,
    Data,
    Settings,
    SettingsError,
    as_written,
    describe_error,
    is_text,
    unknown_name,
    unused_by,
)

VERSION_BASE: dict[str, Any] = {"version_base": None} if hydra.__version__ < "1.4" else {}  # 1.4 warns of it
SOURCES = "conf/config.yaml, conf/execution.yaml, conf/data/<name>.yaml or conf/method/<name>.yaml"
GROUPS = {"data": "generated", "method": "gradient_descent"}  # settings that choose a file in conf/, with an example


def name_of(word: str) -> str:
    """Return the setting that a word of the command line sets."""
    return word.partition("=")[0].lstrip("+")


def compose(root: Path, overrides: Sequence[str] = ()) -> Settings:
    """Return the settings that conf/ and the overrides give; SettingsError has a line for each mistake."""
    values, choice = composed(root, overrides)
    return validate(values, choice, root / "conf", list(map(name_of, overrides)))


@contextmanager
def as_settings_error() -> Iterator[None]:
    """Turn an error of Hydra, OmegaConf or the YAML reader into a SettingsError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, OSError, RecursionError, UnicodeDecodeError, YAMLError) as error:
        raise SettingsError(one_line(error)) from error


@as_settings_error()
def composed(
    root: Path, overrides: Sequence[str] = (), swept: Collection[str] = (), config: DictConfig | None = None
) -> tuple[dict[str, Any], str]:
    """Return the values that Hydra makes from conf/ and the overrides, and the name of the images' file in conf/data/.

    ``swept`` names settings that get their values later. ``config`` is used if it was composed from these overrides.
    """
    conf = root.resolve() / "conf"
    if config is None or config.hydra.overrides.task != overrides:
        config = composition(root, overrides)
    chosen = {group: str(config.hydra.runtime.choices.get(group)) for group in GROUPS}
    task = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    values = cast(dict[str, Any], OmegaConf.to_container(task, resolve=True))
    check_origin(values, chosen, [*swept, *map(name_of, overrides)], conf)
    keep_text(values, as_written(conf / "config.yaml") | as_written(conf / "execution.yaml"))
    if isinstance(values.get("data"), dict):
        keep_text(values["data"], as_written(conf / "data" / f"{chosen['data']}.yaml"), "data.")
    return values, chosen["data"]


@as_settings_error()
def composition(root: Path, overrides: Sequence[str]) -> DictConfig:
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
        if cause.full_key.startswith("hydra."):
            return f"{cause.full_key}: the launcher has no such setting"
        return unknown_name(cause.full_key)
    place = f"{cause.full_key}: " if isinstance(cause, OmegaConfBaseException) and cause.full_key else ""
    return place + " ".join(str(cause).split()).partition(" full_key:")[0]


def validate(values: dict[str, Any], choice: str, conf: Path, given: Collection[str]) -> Settings:
    """Validate composed values and return them as Settings; SettingsError has a line for each mistake.

    ``given`` names the settings that the command line or a study sets: the method must use each of them.
    """
    derived = {"source", "usual_positive"} & values.keys()
    faults = [unknown_name(name) for name in sorted(derived)]
    method = values.get("method")
    name = str(method.get("name")) if isinstance(method, dict) else ""
    general = [each for each in given if not each.startswith("method.")]  # method.…: checked by the method
    faults += [f"{each} is no setting of method={name}" for each in unused_by(name, general)]
    if values.get("study") == "pipeline":
        faults.append("study=pipeline is the run of dvc repro: choose another name")
    try:
        given_values = {name: value for name, value in values.items() if name not in derived}
        settings = Settings.model_validate({**given_values, "source": choice})
    except ValidationError as error:
        faults += describe_error(error)
    if faults:
        raise SettingsError("\n".join(faults))
    return settings.model_copy(update=name_images(settings, choice, conf))


def keep_text(values: dict[str, Any], written: Mapping[str, Any], prefix: str = "") -> None:
    """Restore text settings as they are written in conf/, if YAML changed their type: yes, 007, 1e5."""
    for name, value in values.items():
        if is_text(prefix + name) and not isinstance(value, str | None):
            values[name] = written.get(name)


def name_images(settings: Settings, choice: str, conf: Path) -> dict[str, object]:
    """Return the name of the images' folder in data/: images that differ from those in conf/ have their own folder."""
    file = conf / "data" / f"{choice}.yaml"
    usual = usual_data(file, stamp(file)) or settings.data
    made, usually = (data.model_dump(exclude={"positive"}, exclude_defaults=True) for data in (settings.data, usual))
    source = choice if made == usually else f"{choice}-{hash_of(made)[:8]}"
    return {"source": source, "usual_positive": settings.data.positive == usual.positive}


@functools.lru_cache(maxsize=16)
def usual_data(path: Path, stamp: tuple[int, int, int]) -> Data | None:
    """Return the images that a file in conf/data/ describes; None if the command line must complete it."""
    with suppress(ValidationError):
        return TypeAdapter(Data).validate_python(as_written(path))
    return None


def check_origin(values: Mapping[str, Any], chosen: Mapping[str, str], overridden: Collection[str], conf: Path) -> None:
    """Raise SettingsError if a value comes from a place that `dvc repro` does not read.

    DVC reads the files of conf/ as they are written. A group of the user's own, an interpolation or a block ``data`` in
    conf/config.yaml would change what Hydra composes, and DVC would rerun nothing.
    """
    files = {name: conf / f"{name}.yaml" for name in ("config", "execution")}
    files |= {group: conf / group / f"{name}.yaml" for group, name in chosen.items()}
    raw: dict[str, Any] = {key: OmegaConf.to_container(OmegaConf.load(path)) for key, path in files.items()}
    written = dict(flat({**raw["config"], **raw["execution"], **{group: raw[group] for group in GROUPS}}))
    faults = [
        f"{group}={chosen[group]} differs from {name} in the first three defaults, "
        "which dvc repro reads: write the same name there"
        for group, name in chosen_files(conf).items()
        if group not in overridden and chosen[group] != name
    ]
    for name, value in flat(values):
        if name not in overridden and not any(name.startswith(f"{each}.") for each in overridden):
            if name not in written:
                faults.append(f"{name}={value} comes from a file that dvc repro does not read: write it into {SOURCES}")
            elif isinstance(written[name], str) and "${" in written[name]:
                faults.append(f"{name}: {written[name]} must be a plain value: dvc repro would not notice a change")
            elif repr(written[name]) != repr(value):  # nan equals nothing
                differs = f"differs from {written[name]} in the file that dvc repro reads"
                faults.append(f"{name}={value} {differs}: write the same value there")
    if faults:
        raise SettingsError("\n".join(faults))


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


def unused_in(file: str, names: Collection[str], conf: Path) -> set[str]:
    """Return which of these settings the method in this file of conf/method/ does not use."""
    path = conf / "method" / f"{file}.yaml"  # if there is none, Hydra will say so
    return set(unused_by(str(as_written(path).get("name")), names)) if path.is_file() else set()


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of every setting, such as ``data.white``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
