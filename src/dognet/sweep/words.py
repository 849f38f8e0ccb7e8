"""The words (arguments) of the command line: checked, completed by a study, quoted for Hydra where they are text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import OverrideParseException

from dognet.conf import GROUPS, check_choice, name_of
from dognet.errors import UserError, without_password
from dognet.help import options
from dognet.settings import PLAIN_NAME, SettingsError, all_settings, bound, is_optional, is_text, unknown_name
from dognet.study import find_study, study_files

QUOTED = r"""'[^']*'|"[^"]*\""""  # text that the user has quoted for Hydra
HYDRAS = ("hydra.", "hydra/")  # words that begin so set one of Hydra's own settings
KINDS = ("data.kind", "method.name")  # set only by the files in conf/data/ and conf/method/
SEVERAL = re.compile(rf"({QUOTED}|[^,]*)(?:,|$)")  # values with commas between them


def read_words(words: Sequence[str], root: Path, *, multirun: bool) -> tuple[list[str], list[str]]:
    """Return the words for Hydra, each setting once, and a line for each word that can't be used.

    ``experiment=width`` stands for the settings of that study; the other words override them.
    """
    read, faults = {}, []
    given = {name_of(word): word for word in words}
    wrong_files = set()  # data, method or hydra, if the word that chooses the file can't be used
    if "experiment" in given:
        try:
            study = words_of_study(given.pop("experiment").partition("=")[2], root, multirun=multirun)
            given = {name_of(word): word for word in study} | given
        except UserError as error:
            faults.append(str(error))
    for name, word in given.items():
        try:
            read[name] = read_word(word, root, multirun=multirun)
        except SettingsError as error:
            faults.append(str(error))
            if name in (*GROUPS, *KINDS, "hydra/launcher"):
                wrong_files.add(group_of(name))
    # the other settings of such a group depend on the file
    return [word for name, word in read.items() if group_of(name) not in wrong_files], faults


def group_of(name: str) -> str:
    """Return the part of a setting's name before the first point or slash."""
    return re.split("[./]", name)[0]


def words_of_study(name: str, root: Path, *, multirun: bool) -> list[str]:
    """Return the settings of the study that ``experiment=`` names."""
    if "," in name:
        raise SettingsError(f"experiment={name}: one study at a time, each has a grid of its own")
    study = find_study(name, root)
    if not multirun:
        raise SettingsError(f"experiment={name} is a study of many runs: dognet --multirun experiment={name}")
    return study.words()


def read_word(word: str, root: Path, *, multirun: bool) -> str:
    """Check a word and return it in Hydra's syntax."""
    key, sign, value = word.partition("=")
    name = key.lstrip("+")
    if name in all_settings() and sign and not value and is_optional(name):
        return f"{name}=null"
    if not sign or word.startswith(("-", "=", ",")) or word.endswith(("=", ",")):
        raise SettingsError(no_setting(word, root))
    if "${" in value:
        raise SettingsError(f"{word}: ${{…}} is not replaced here, write the value itself")
    if name.startswith(HYDRAS):
        return launchers(word, name, value)
    if name in KINDS:
        group, _, own = name.partition(".")
        raise SettingsError(f"{word}: the {own} is set by a file in conf/{group}/, which {group}=<name> chooses")
    if name not in all_settings() and not name.startswith("method."):
        raise SettingsError(unknown_name(name))
    if is_text(name):
        value = as_text(value, multirun=multirun)
    override = parse(f"{name}={value}")
    if name in GROUPS and not override.is_sweep_override():
        check_choice(name, override.value())
        if value not in (files := options(root, name)):  # Hydra would not look at the other words
            raise SettingsError(f"{name}={value}: no such option, there are {', '.join(files)}")
    if not multirun and override.is_sweep_override():
        raise SettingsError(several_values(word, name, value))
    return f"{name}={value}" if name in GROUPS else f"++{name}={value}"  # ++: also what conf/ does not have


def launchers(word: str, name: str, value: str) -> str:
    """Check a word that sets one of Hydra's own settings: only the launcher's are allowed, so that none runs code."""
    if name != "hydra/launcher" and not name.startswith("hydra.launcher."):
        raise SettingsError(
            f"{word}: of Hydra's own settings, only hydra/launcher and hydra.launcher.… may be set here"
        )
    override = parse(word)
    if override.is_sweep_override():
        raise SettingsError(f"{word}: a setting of the launcher takes one value")
    is_name = isinstance(override.value(), str) and PLAIN_NAME.fullmatch(value)  # null is none
    if "_target_" in word or (name == "hydra/launcher" and not is_name):
        raise SettingsError(f"{word}: choose a launcher by its name, as in hydra/launcher=joblib")
    return word


def several_values(word: str, name: str, value: str) -> str:
    """Return the sentence for several values without --multirun; 0,3 may be meant as a decimal number."""
    if name in all_settings() and bound(name) == "a positive finite number" and re.fullmatch(r"\d+,\d+", value):
        return f"{word} gives two values: a decimal number has a point, as in {name}={value.replace(',', '.')}"
    return f"{word} gives several values: a sweep needs --multirun, as in dognet --multirun {word}"


def as_text(value: str, *, multirun: bool) -> str:
    """Quote the value of a text setting, or in a sweep its values, so that Hydra reads them as text."""
    if re.fullmatch(r"range\(.*\)", value):
        return value
    listed = re.fullmatch(r"choice\((.*)\)", value)
    if not (multirun or listed):
        return quoted(value)
    values = SEVERAL.findall(listed[1] if listed else value)[:-1]  # the last is the empty match at the end
    words = ",".join(quoted(each.strip()) for each in values)
    return f"choice({words})" if listed else words


def quoted(text: str) -> str:
    """Quote a text so that Hydra reads it as text, whatever it looks like; a quoted one stays as it is."""
    if not text or re.fullmatch(QUOTED, text):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def parse(word: str) -> Override:
    """Parse a word with Hydra's parser; SettingsError if its brackets or quotes are not closed."""
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except OverrideParseException as error:
        raise SettingsError(f"{word!r} can't be read: close brackets and quotes, as in 'seed=range(5)'") from error
    return override


def kept(words: Sequence[str]) -> list[str]:
    """Return the words to save with a run: not those for Hydra, nor ``tracking_uri``, which may hold a password."""
    bare = [word.lstrip("+") for word in words]
    return [without_password(word) for word in bare if not word.startswith((*HYDRAS, "tracking_uri="))]


def no_setting(word: str, root: Path) -> str:
    """Return the error message for a word that is not name=value."""
    if word in study_files(root):
        return f"{word} is a study: dognet --multirun experiment={word}"
    if word.startswith("-"):
        return f"{word}: no such option: settings are written name=value (dognet --help)"
    if "=" in word or "," in word:
        return f"{word!r} is cut in two: write no blanks around = and after commas, as in seed=1,2"
    return f"{word!r} is not a setting: write name=value, as in seed=7"
