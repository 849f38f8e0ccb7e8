"""A mistake on the command line, told in one line: what, which value, the way out."""

from __future__ import annotations

import dataclasses
import difflib
import re

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError

from dognet.config import BOUNDS, Config, ConfigError, Data


class SweepError(Exception):
    """What keeps a sweep from starting or has gone wrong in it, one line each."""


BROKEN: dict[str, str] = {}  # study: what is wrong with its file
STUDIES: set[str] = set()  # all others
OTHER_NAMES = {  # in other projects
    **dict.fromkeys(("lr", "learning_rate", "eta", "step"), "stepSize"),
    **dict.fromkeys(("iterations", "epochs", "steps"), "ITERS"),
    **dict.fromkeys(("hidden", "hidden_nodes", "hidden_size", "width"), "hiddenNodes"),
}

NAMES = [
    *(field.name for field in dataclasses.fields(Config) if field.name not in ("data", "source")),
    "data",
    *(f"data.{field.name}" for field in dataclasses.fields(Data)),
]


def one_line(error: BaseException) -> str:
    """Return what Hydra, OmegaConf or a check of ours found, in one line."""
    causes = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(deeper)
    for cause in causes:
        match cause:
            case ConfigError():
                return str(cause)
            case OverrideParseException():
                return not_a_setting(cause.override)
            case MissingConfigException() if cause.options is not None:
                group, _, option = (cause.missing_cfg_file or "").rpartition("/")
                if group == "experiment" and option in BROKEN:
                    return BROKEN[option]
                return f"{group}={option}: no such option, there are {', '.join(cause.options)}"
            case ConfigAttributeError() | ConfigKeyError() if cause.full_key:
                return unknown_name(cause.full_key)
            case ValidationError() if cause.full_key in BOUNDS:
                return f"{cause.full_key} must be {BOUNDS[cause.full_key][0]}, got {value_in(error)}"
            case ValidationError() if cause.full_key:
                bound = "true or false" if cause.full_key in ("force", "plan") else "text"
                return f"{cause.full_key} must be {bound}, got {value_in(error)}"
    text = " ".join(str(error).split())
    if several := re.match(r"Ambiguous value for argument '(.+?)'", text):
        return f"{several[1]} gives several values: a sweep needs --multirun, as in dognet --multirun {several[1]}"
    if missing := re.search(r"missing mandatory value: (\S+)", text):
        return f"{missing[1]} must be given: {BOUNDS.get(missing[1], ('text',))[0]}"
    if several := re.search(r"Key '(\S+)' not in|Could not override '(\S+)'", text):
        return unknown_name(several[1] or several[2])
    return text.partition(" full_key:")[0]


def not_a_setting(word: str) -> str:
    """Return the sentence for a word that is no name=value."""
    if word in STUDIES:
        return f"{word} is a study: dognet --multirun experiment={word}"
    if word.strip() == "=" or word.endswith(("=", ",")) or word.startswith(("=", ",")):
        return f"{word!r} is cut in two: no blanks around = and after commas, as in hiddenNodes=2,4"
    if "=" in word:
        return f"{word!r} can't be read: brackets and quotes must be closed, as in 'seed=range(5)'"
    return f"{word!r} is not a setting: write name=value, as in hiddenNodes=8"


def unknown_name(name: str) -> str:
    """Return the sentence for a setting that doesn't exist, with the nearest that does."""
    if name == "experiment":
        return "no study has a file: experiments/<study>/study.yaml"
    lower = {known.lower(): known for known in NAMES} | OTHER_NAMES
    near = [lower[found] for word in (name, f"data.{name}") for found in difflib.get_close_matches(word.lower(), lower)]
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
    return f"no setting {name}: {hint}"


def value_in(error: BaseException) -> str:
    """Return the value that an OmegaConf error speaks of."""
    found = re.search(r"Value '(.*?)' (?:of type|is not)|override '?\S+?=(\S*)", str(error))
    return repr(found[1] or found[2]) if found else "null"


def raised_in_hydra(error: BaseException) -> bool:
    """Return whether Hydra stumbled, which for some overrides it does in code of its own: data=3, data=[1,2]."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(("hydra.", "omegaconf."))
