"""Every setting: its type, its bounds and its meaning, and the messages for invalid values.

A setting is a field here and a line in conf/. Help, error messages, digest, folder name, sweeps, MLflow's parameters
and the reference of settings are derived from the field.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from dognet.errors import UserError

if TYPE_CHECKING:
    from dognet import network

PLAIN_NAME = re.compile(  # also a name of a folder on Windows
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[a-z0-9_](?:[a-z0-9_.-]{0,98}[a-z0-9_-])?", re.IGNORECASE | re.ASCII
)
OTHER_NAMES = {  # what other projects call these settings
    **dict.fromkeys(("lr", "learning_rate", "eta", "step"), "stepSize"),
    **dict.fromkeys(("iterations", "epochs", "steps"), "ITERS"),
    **dict.fromkeys(("hidden", "hidden_nodes", "hidden_size", "width"), "hiddenNodes"),
}


class SettingsError(UserError):
    """Settings that can't be used: one line for each, with the setting, its value and its bound."""


class Bound(str):
    """What a value must be, in words, for a field whose type and limits don't say it."""


def check_plain_name(name: str) -> str:
    """Return a name that is safe as a folder's; raise ValueError for any other."""
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError("not a plain name")
    return name


def check_number(value: object) -> object:
    """Refuse true and false where a number belongs: Python counts them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def check_part(value: float) -> float:
    """Return a share below 1 or a whole number; raise ValueError for any other number."""
    if value >= 1 and value % 1:
        raise ValueError("neither a share nor a whole number")
    return value


Whole = Annotated[int, BeforeValidator(check_number)]
Positive = Annotated[
    float, BeforeValidator(check_number), Field(gt=0, allow_inf_nan=False), Bound("a positive finite number")
]
Rows = Annotated[Whole, Field(ge=10, le=10**8)]
Seed = Annotated[Whole, Field(ge=0, le=10**15)]
PlainName = Annotated[str, AfterValidator(check_plain_name), Bound("a plain name: letters, digits, _ - and . inside")]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), Bound("64 hex digits")]


class Model(BaseModel):
    """Typed values that never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Method(Model):
    """How the weights are found: the name of a file in network/methods/, and the settings that its class has."""

    model_config = ConfigDict(extra="allow")  # the method's own settings, checked by its class

    name: PlainName

    @model_validator(mode="before")
    @classmethod
    def check(cls, values: object) -> dict[str, Any]:
        """Return the settings, completed with the defaults; ValueError names what is wrong."""
        if not isinstance(values, dict):
            raise ValueError(f"method must be a name and its settings, got {values!r}")
        try:
            return {"name": values.get("name"), **asdict(make(**values))}
        except ValueError as error:
            raise ValueError("\n".join(f"method.{line}" for line in str(error).splitlines())) from error

    def build(self) -> network.Method:
        """Return the method itself."""
        return make(**self.model_dump())

    def named(self, *, defaults: bool) -> dict[str, Any]:
        """Return ``method`` and its settings by name; without ``defaults``, those with their default are left out."""
        method = self.build()
        values: list[tuple[str, Any, Any]] = [("method", self.name, GRADIENT_DESCENT.name)]
        values += [(f"method.{own.name}", getattr(method, own.name), own.default) for own in fields(method)]
        return {name: value for name, value, default in values if defaults or value != default}


GRADIENT_DESCENT = Method.model_construct(name="gradient_descent")  # the method of runs older than this setting


def unused_by(method: str, names: Iterable[str]) -> list[str]:
    """Return which of these settings a method does not use; none if there is no such method."""
    from dognet.network import InputError, methods  # imports NumPy, for which --help and TAB should not wait

    try:
        found = methods.find(method)
    except InputError:  # ``make`` says what is wrong with it
        return []
    own = [f"method.{field.name}" for field in fields(found)]
    return [name for name in names if name in found.unused or (name.startswith("method.") and name not in own)]


def no_setting_of(method: str, name: str) -> str:
    """Return the message for a setting that a method does not use, with the one that was probably meant."""
    from dognet.network import methods  # imports NumPy

    known = {f"method.{field.name}".lower(): f"method.{field.name}" for field in fields(methods.find(method))}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f"{name} is no setting of method={method}" + "".join(f": did you mean {known[each]}?" for each in near)


def make(name: object = None, **settings: Any) -> network.Method:
    """Return the method of this name with these settings; ValueError names what is wrong."""
    from dognet.network import methods  # imports NumPy

    return methods.make(str(name), settings)


class TrainingSettings(Model):
    """The settings that change the result of a run, besides its images: conf/config.yaml and conf/method/.

    Runs that were made before a setting existed count as having its default.
    """

    hiddenNodes: Annotated[Whole, Field(ge=1, le=100_000, description="hidden nodes besides the bias")]
    stepSize: Annotated[Positive, Field(description="how far an update goes, also called learning rate")]
    ITERS: Annotated[Whole, Field(ge=0, le=10**15, description="iterations; the method defines what one is")]
    seed: Annotated[Seed, Field(description="seed of the initial weights and the method's random numbers")]
    method: Annotated[Method, Field(description="how the weights are found")] = GRADIENT_DESCENT
    dtype: Annotated[Literal["float64", "float32"], Field(description="float32 is faster, with fewer digits")] = (
        "float64"
    )

    def training(self, *, defaults: bool = True) -> dict[str, Any]:
        """Return the settings that change the result, by their names on the command line.

        Settings that the method does not use are left out and, without ``defaults``, those that have their default.
        """
        values: dict[str, Any] = {}
        for name, field in TrainingSettings.model_fields.items():
            value = getattr(self, name, field.default)
            if name == "method":
                values |= value.named(defaults=defaults)
            elif defaults or value != field.default:
                values[name] = value
        return {name: value for name, value in values.items() if name not in self.method.build().unused}

    def arguments(self) -> dict[str, Any]:
        """Return these settings as arguments of the network's ``fit``."""
        values = {name: getattr(self, name) for name in TrainingSettings.model_fields}
        return values | {"method": self.method.build()}


class AnyImages(Model):
    """What is set of images of every kind."""

    positive: Annotated[Text, Field(description="label to recognise; all others form the other class")]
    validation: Annotated[
        float,
        BeforeValidator(check_number),
        AfterValidator(check_part),
        Field(ge=0, le=10**8, description="validation images: how many, or as a share of the training images; 0: none"),
        Bound("a share below 1 or a whole number up to 10^8"),
    ] = 0.0


class Generated(AnyImages):
    """Images generated here, like the lecture's; the validation images are made in addition to the others."""

    kind: Literal["generated"]
    train_rows: Annotated[Rows, Field(description="training images to make")]
    test_rows: Annotated[Rows, Field(description="test images to make")]
    seed: Annotated[Seed, Field(description="seed of the images, not of the network")]


class Lecture(AnyImages):
    """The course's own CSVs, which data.dvc pins; validation images are taken from the training images."""

    kind: Literal["lecture"]
    url: Annotated[Text, Field(description="Git repository of the course")]
    rev: Annotated[Text, Field(description="commit of that repository")]
    train_sha256: Annotated[Sha256, Field(description="sha256 of simple_images_train.csv")]
    test_sha256: Annotated[Sha256, Field(description="sha256 of simple_images_test.csv")]


class Csv(AnyImages):
    """The user's own CSVs: one image a row, a label column, every other column a pixel.

    Validation images are taken from the training images.
    """

    kind: Literal["csv"]
    train: Annotated[Text, AfterValidator(os.path.normpath), Field(description="file with the training images")]
    test: Annotated[Text, AfterValidator(os.path.normpath), Field(description="file with the test images")]
    label: Annotated[Text, Field(description="name of the label column")]
    white: Annotated[Positive, Field(description="value of a white pixel; black is 0")]


DATA_KINDS: tuple[type[AnyImages], ...] = (Generated, Lecture, Csv)
Data = Annotated[Generated | Lecture | Csv, Field(discriminator="kind")]


class GivenSettings(TrainingSettings):
    """All that may be set: the settings that change the result, the images, and how a run is carried out.

    The last are those in conf/execution.yaml.
    """

    data: Data

    study: Annotated[PlainName, Field(description="runs go to experiments/<study>/runs/")]
    force: Annotated[bool, Field(description="true: train finished runs again")]
    plan: Annotated[bool, Field(description="true: only say what a sweep would train")]
    threads: Annotated[Whole | None, Field(ge=1, le=1024, description="threads of a single run; empty: all cores")]
    tracking_uri: Annotated[str | None, Field(description="MLflow's store; none: record nothing")]


class Settings(GivenSettings):
    """All settings of a run, and what follows from them and conf/data/."""

    source: PlainName  # the folder of the images in data/, named after the file in conf/data/
    usual_positive: bool = True  # whether data.positive is the one in conf/data/


def all_settings() -> dict[str, FieldInfo]:
    """Return the field of every setting by its name on the command line, such as ``data.white``."""
    of_images = {f"data.{name}": field for kind in DATA_KINDS for name, field in kind.model_fields.items()}
    del of_images["data.kind"]  # its file says it
    return GivenSettings.model_fields | of_images


def is_text(name: str) -> bool:
    """Return whether a setting is text, which is taken as written: yes, 007 and 1e5 are labels."""
    field = all_settings().get(name)
    return field is not None and (field.annotation is str or str in get_args(field.annotation))


def is_optional(name: str) -> bool:
    """Return whether a setting may be empty, as in ``tracking_uri=``."""
    return type(None) in get_args(all_settings()[name].annotation)


def is_sweepable(name: str) -> bool:
    """Return whether the runs of one sweep may differ in this setting."""
    return name in TrainingSettings.model_fields or name == "data" or name.startswith(("data.", "method."))


def bound(name: str) -> str:
    """Return in words what the value of a setting must be."""
    field = all_settings()[name]
    limits = {type(item): item for item in field.metadata}
    kinds = {field.annotation, *get_args(field.annotation)}  # of Whole | None both
    if Bound in limits:
        return str(limits[Bound])
    if get_origin(field.annotation) is Literal:
        return listed(get_args(field.annotation))
    if bool in kinds:
        return "true or false"
    if kinds & {int, float, Whole}:
        words = "a number" if float in kinds else "a whole number"
        words += "".join(f" from {one.ge}" for one in field.metadata if isinstance(one, annotated_types.Ge))
        words += "".join(f" above {one.gt}" for one in field.metadata if isinstance(one, annotated_types.Gt))
        words += "".join(f" to {power(one.le)}" for one in field.metadata if isinstance(one, annotated_types.Le))
        return words + "".join(f" below {one.lt}" for one in field.metadata if isinstance(one, annotated_types.Lt))
    return "text"


def power(number: Any) -> str:
    """Return 1000000 as 10^6, and other numbers as they are."""
    exponent = len(str(number)) - 1
    return f"10^{exponent}" if exponent > 5 and 10**exponent == number else str(number)


def listed(words: Iterable[object], joined_by: str = "or") -> str:
    """Return words as an enumeration: a, b or c."""
    *first, last = map(str, words)
    return f"{', '.join(first)} {joined_by} {last}" if first else last


def unknown_name(name: str) -> str:
    """Return the message for a name that is no setting, with the name that was probably meant."""
    group, _, own = name.rpartition(".")
    nearest_last = sorted(all_settings(), key=lambda each: (each.startswith(f"{group}."), "." not in each))
    known = OTHER_NAMES | {each.rpartition(".")[2].lower(): each for each in nearest_last}
    near = difflib.get_close_matches(own.lower(), known)
    short = ", ".join(each for each in all_settings() if "." not in each)
    hint = f"did you mean {known[near[0]]}?" if near else f"there are {short}, data.… and method.…"
    return f"no setting {name}: {hint}"


def describe_error(error: ValidationError) -> list[str]:
    """Return a line for each setting that is wrong: its name, its bound and the value that it got."""
    lines, kinds = [], listed(get_args(kind.model_fields["kind"].annotation)[0] for kind in DATA_KINDS)
    for fault in error.errors(include_url=False):
        place, value = [str(part) for part in fault["loc"]], fault["input"]
        kind = place.pop(1) if len(place) > 1 and place[0] == "data" else ""  # the discriminator, not a setting's name
        name = ".".join(place)
        match fault["type"]:
            case "value_error" if name == "method":
                lines += str(fault["ctx"]["error"]).splitlines()
            case "union_tag_not_found":
                lines.append(f"data.kind must be given: {kinds}")
            case "union_tag_invalid":
                lines.append(f"data.kind must be {kinds}, got {value['kind']!r}")
            case "missing":
                lines.append(f"{name} must be given: {bound(name)}")
            case "extra_forbidden" if kind and name in all_settings():
                lines.append(f"{name} is no setting of {kind} data, got {value!r}")
            case "extra_forbidden":
                lines.append(unknown_name(name))
            case _:
                lines.append(f"{name} must be {bound(name)}, got {'null' if value is None else repr(value)}")
    return lines


class Loader(yaml.CBaseLoader):
    """Reads all values as text, and runs no code."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping. A name that appears twice is an error: YAML would take its last value."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} appears twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def as_written(path: Path) -> dict[str, Any]:
    """Read a YAML file with every value as it is written there; raise SettingsError if it is not such a file."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, RecursionError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: not a list of settings, one name: value a line")
    return values
