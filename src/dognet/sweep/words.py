"""The words of the command line: checked, completed by a study, and quoted for Hydra where they are text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from dognet.settings import SettingsError, is_text, names, unknown_name
from dognet.sweep.study import find_study, study_files

QUOTED = re.compile(r"""'[^']*'|"[^"]*"|(?:choice|range|sort|shuffle|glob)\(.*\)""")


def read_words(words: Sequence[str], root: Path, *, multirun: bool) -> list[str]:
    """Return the words for Hydra, each setting once; SettingsError has a line for each word that can't be used.

    ``experiment=width`` stands for the settings of that study; words beside it win.
    """
    faults, read = [], {}
    for word in expand(words, root, multirun=multirun):
        try:
            name, text = read_word(word, root, multirun=multirun)
            read[name] = text
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        raise SettingsError("\n".join(faults))
    return list(read.values())


def expand(words: Sequence[str], root: Path, *, multirun: bool) -> list[str]:
    """Return the words with the settings of the study, which ``experiment=`` names, in front."""
    studies = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("experiment=")]
    others = [word for word in words if not word.lstrip("+").startswith("experiment=")]
    if not studies or studies[-1] in ("", "null"):
        return others
    if len(studies) > 1 or "," in studies[0]:
        raise SettingsError(f"experiment={','.join(studies)}: one study at a time, each has a grid of its own")
    if not multirun:
        raise SettingsError(
            f"experiment={studies[0]} is a study, so many runs: dognet --multirun experiment={studies[0]}"
        )
    return [*find_study(studies[0], root).words(), *others]


def read_word(word: str, root: Path, *, multirun: bool) -> tuple[str, str]:
    """Return the name of a setting, and the word as Hydra is to read it."""
    key, sign, value = word.partition("=")
    name = key.lstrip("+")
    if not sign or word.startswith(("=", ",")) or word.endswith(("=", ",")):
        raise SettingsError(no_setting(word, root))
    if name.startswith(("hydra.", "hydra/")):
        parse(word)
        return name, word
    if name not in names():
        raise SettingsError(unknown_name(name))
    if is_text(name):
        whole = not multirun or value.startswith(("'", '"'))
        value = ",".join(map(quoted, [value] if whole else value.split(",")))
    override = parse(f"{name}={value}")
    if name == "data" and not override.is_sweep_override() and not isinstance(override.value(), str):
        raise SettingsError(f"data must be the name of a file in conf/data/, as in data=generated, got {value}")
    if not multirun and override.is_sweep_override():
        decimal = f", and a decimal number has a point: {name}={value.replace(',', '.')}"
        hint = decimal if re.fullmatch(r"-?\d+,\d+", value) else ""
        raise SettingsError(
            f"{word} gives several values: a sweep needs --multirun, as in dognet --multirun {word}{hint}"
        )
    return name, f"{name}={value}"


def quoted(text: str) -> str:
    """Return text as Hydra takes it for text, whatever it looks like; what is quoted already stays."""
    if QUOTED.fullmatch(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" if text else text


def parse(word: str) -> Override:
    """Return a word as Hydra reads it."""
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except OverrideParseException as error:
        raise SettingsError(f"{word!r} can't be read: close brackets and quotes, as in 'seed=range(5)'") from error
    return override


def no_setting(word: str, root: Path) -> str:
    """Return the sentence for a word that is no name=value."""
    if word in study_files(root):
        return f"{word} is a study: dognet --multirun experiment={word}"
    if word.startswith("-") and word.lstrip("-").partition("=")[0] in names():
        return f"{word}: no such option: settings are written name=value"
    if "=" in word or "," in word:
        return f"{word!r} is cut in two: write no blanks around = and after commas, as in hiddenNodes=2,4"
    return f"{word!r} is not a setting: write name=value, as in hiddenNodes=8"
