"""Stage fetch: bring the train, validation and test images to data/<source>/, checked and in one form."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from dognet.conf import compose
from dognet.data import checks, generate, images, validation
from dognet.errors import ImagesError
from dognet.files import sha256, sha256_once, stamp, write
from dognet.interrupt import stage
from dognet.project import PACKAGE, project_root
from dognet.runs.digest import hash_of, identify
from dognet.runs.run import ImagesId
from dognet.settings import Csv, Generated, Lecture, Model, Settings

RAW_LECTURE = Path("data", "raw", "lecture")  # the folder that data.dvc pins
OWN = Path("data", "own")  # the folder that the stage depends on
PARTS = ("train", "validation", "test")
Stamps = list[tuple[int, int, int] | None]


class Fetched(Model):
    """What a data folder was made from, so that it is made once: data/<source>/fetched.json."""

    key: str  # hash of the settings, the code that makes images, and size and time of every file
    pixels: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]  # the labels that occur in each part


def fetch(settings: Settings, root: Path, command: str = "dognet") -> ImagesId:
    """Write train.csv, validation.csv and test.csv below ``root``/data/<source>/ and return what identifies them.

    Without validation images, validation.csv has a header only: DVC expects every out of a stage to exist.

    Files that were made from the same settings and inputs stay untouched. Raises ImagesError; then nothing is written.
    When it reads the user's own images, it prints a line for each warning, with the name of the command in front.
    """
    folder = root / "data" / settings.source
    check_not_own(folder, input_files(settings, root))
    known = None
    with suppress(OSError, ValidationError):  # none yet, or not a valid one
        known = Fetched.model_validate_json((folder / "fetched.json").read_bytes())
    if known is None or known.key != key_of(settings, folder, stamps(input_files(settings, root))):
        known = make(settings, root, command)
    check_labels(known, settings)
    return identify(settings, folder, known.pixels)


def check_not_own(folder: Path, inputs: Iterable[Path]) -> None:
    """Raise ImagesError if a data folder holds files of the user's own, which writing there would replace."""
    made = f"data/{folder.name}"
    if folder.name.lower() == OWN.name:
        raise ImagesError(f"{made}/ is for your own CSVs, which would be overwritten: rename conf/{made}.yaml")
    for file in inputs:
        if folder.resolve() in (file.parent.resolve(), file.resolve().parent):
            raise ImagesError(f"{file}: {made}/ is for dognet's copies, which would overwrite it: move it to {OWN}/")


def make(settings: Settings, root: Path, command: str) -> Fetched:
    """Write the three files of a data folder, and beside them what they were made from."""
    folder = root / "data" / settings.source
    if isinstance(settings.data, Lecture):
        bring_lecture(settings.data, root)
    inputs = stamps(input_files(settings, root))  # now: a file that changes while it is read is read again next time
    tables = load(settings, root)
    warn(settings, tables, command)
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in tables.items():
        file, content = folder / f"{part}.csv", images.to_csv(table).encode()
        if not file.is_file() or file.read_bytes() != content:
            write(file, content)
    labels = {part: tuple(sorted(table["label"].unique().tolist())) for part, table in tables.items()}
    pixels = tuple(map(str, tables["train"].columns[1:]))
    fetched = Fetched(key=key_of(settings, folder, inputs), pixels=pixels, labels=labels)
    with suppress(PermissionError):  # the folder of another user, whose files are as they should be
        write(folder / "fetched.json", fetched.model_dump_json(indent=1) + "\n")
    return fetched


def load(settings: Settings, root: Path) -> dict[str, pd.DataFrame]:
    """Return the images of each part: generated, or read from CSV files and checked."""
    data = settings.data
    if isinstance(data, Generated):
        rows = {"train": data.train_rows, "test": data.test_rows}
        rows["validation"] = validation.number_of(data.validation, data.train_rows)
        rngs = np.random.default_rng(data.seed).spawn(3)  # one per part: its size changes no other part
        return {part: generate.generate(n, rng) for (part, n), rng in zip(rows.items(), rngs, strict=True)}
    train_file, test_file = input_files(settings, root)
    for name, file in (("train", train_file), ("test", test_file)):
        if not file.is_file():
            raise ImagesError(f"{file}: no such file (data.{name})")
    label, white = (data.label, data.white) if isinstance(data, Csv) else ("label", 255)
    train, test = images.read(train_file, label, white), images.read(test_file, label, white)
    check_columns(train, test, train_file, test_file)
    n_images = validation.number_of(data.validation, len(train))
    if n_images >= len(train):
        raise ImagesError(f"{train_file}: data.validation must be fewer than its {len(train)} images, got {n_images}")
    train, apart = validation.set_apart(train, n_images)
    return {"train": train, "validation": apart, "test": test}


def input_files(settings: Settings, root: Path) -> tuple[Path, ...]:
    """Return the train and the test CSV that the images come from; none where they are generated."""
    data = settings.data
    if isinstance(data, Generated):
        return ()
    if isinstance(data, Lecture):
        return tuple(root / RAW_LECTURE / f"simple_images_{part}.csv" for part in ("train", "test"))
    return tuple(root / os.path.expanduser(file) for file in (data.train, data.test))


def key_of(settings: Settings, folder: Path, inputs: Stamps) -> str:
    """Return the hash of all that a data folder was made from, and of sizes and times of its files."""
    code = [sha256_once(file) for file in sorted((PACKAGE / "data").glob("*.py"))]
    files = [*inputs, *stamps(folder / f"{part}.csv" for part in PARTS)]
    return hash_of({**settings.data.model_dump(exclude={"positive"}), "code": code, "files": files})


def stamps(files: Iterable[Path]) -> Stamps:
    """Return the sizes and times of files, None for one that is absent."""
    return [stamp(file) if file.is_file() else None for file in files]


def check_columns(train: pd.DataFrame, test: pd.DataFrame, train_file: Path, test_file: Path) -> None:
    """Raise ImagesError unless both files have the same pixel columns."""
    if list(train.columns) != list(test.columns):
        odd = sorted(set(train.columns) ^ set(test.columns)) or "their order"
        raise ImagesError(f"{train_file} and {test_file} must have the same columns, they differ in {odd}")


def warn(settings: Settings, tables: dict[str, pd.DataFrame], command: str) -> None:
    """Print warnings about the user's own images; ImagesError if nothing can be learned from them."""
    data = settings.data
    if isinstance(data, Csv):
        train = pd.concat([tables["train"], tables["validation"]])  # one file
        for line in checks.warnings([(data.train, train), (data.test, tables["test"])], data.white):
            print(f"{command}: {line}", file=sys.stderr)


def check_labels(fetched: Fetched, settings: Settings) -> None:
    """Raise ImagesError unless every part has images of both classes."""
    data, positive, made = settings.data, settings.data.positive, f"data/{settings.source}"
    train, apart, test = (fetched.labels[part] for part in PARTS)
    given = train if isinstance(data, Generated) else tuple(sorted({*train, *apart}))
    for name, labels in (("train", given), ("test", test)):
        file = getattr(data, name, f"{made}/{name}.csv")
        if positive not in labels:
            there = checks.listed(labels)
            look = checks.plain(positive)
            meant = next((f": did you mean {label!r}?" for label in labels if checks.plain(label) == look), "")
            raise ImagesError(f"{file}: no row with label {positive!r} (data.positive), its labels are {there}{meant}")
        if len(labels) == 1:
            raise ImagesError(f"{file}: every row has label {positive!r} (data.positive), none is of the other class")
    for name, labels in (("train", train), ("validation", apart)):
        if data.validation and (positive not in labels or len(labels) == 1):
            raise ImagesError(
                f"{made}/{name}.csv: data.validation={data.validation:g} leaves no image of one of the classes: "
                "take more images, or data.validation=0"
            )


def bring_lecture(data: Lecture, root: Path) -> None:
    """Bring the course's two CSVs into data/raw/lecture, check them, and put them into DVC's cache."""
    names = {"simple_images_train.csv": data.train_sha256, "simple_images_test.csv": data.test_sha256}
    folder = root / RAW_LECTURE
    if not all((folder / name).is_file() for name in names):
        dvc(root, "pull")  # from the project's DVC remote, if it has one
    if not all((folder / name).is_file() for name in names):
        download(data, folder, list(names))
    for name, expected in names.items():
        if sha256(folder / name) != expected:
            raise ImagesError(
                f"{folder / name}: not the course's file, its sha256 differs from the one in conf/data/: delete it, "
                "then fetch again"
            )
    dvc(root, "commit", "--force")


def dvc(root: Path, *words: str) -> None:
    """Let DVC do something with data.dvc; where it can't, the files are used all the same."""
    command = [sys.executable, "-P", "-m", "dvc", *words, "data.dvc"]
    subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True)


def download(data: Lecture, folder: Path, names: list[str]) -> None:
    """Copy the named files from the course's repository at the pinned commit; no other file of it is downloaded."""
    with tempfile.TemporaryDirectory() as clone:
        try:
            git("clone", "--quiet", "--no-checkout", "--filter=blob:none", data.url, clone)
            content = {name: git("-C", clone, "show", f"{data.rev}:data/{name}") for name in names}
        except subprocess.CalledProcessError as error:
            last_line = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ImagesError(
                f"the course's images could not be fetched from {data.url} ({last_line}): is there a "
                f"network? Without one, copy {' and '.join(names)} into {RAW_LECTURE}/, or use data=generated, which "
                "makes similar images"
            ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        write(folder / name, text)


def git(*words: str) -> bytes:
    """Return what git prints; it never asks for a password."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(["git", *words], env=environment, capture_output=True, check=True).stdout


def check_own_folder(settings: Settings) -> None:
    """Raise ImagesError unless DVC sees the user's own CSVs: `dvc repro` depends on the folder data/own."""
    if isinstance(settings.data, Csv):
        for name in ("train", "test"):
            file = Path(getattr(settings.data, name))
            if OWN not in file.parents or ".." in file.parts:
                raise ImagesError(
                    f"data.{name} must be a file in {OWN}/, which dvc repro depends on, got {file}: move it there, or "
                    "train with dognet data=csv"
                )


def copy_from_project(settings: Settings) -> None:
    """Copy input files that Git ignores into the copy of the project in which `dvc exp run --temp` or --queue works.

    They become part of data/own there, so that DVC records their hash with the experiment.
    """
    for file in input_files(settings, Path()):
        original = project_root() / file
        if original.is_file() and not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, original.read_bytes())


@stage("fetch")
def main() -> None:
    """Run the stage with the settings in conf/."""
    settings = compose(Path())
    check_own_folder(settings)
    copy_from_project(settings)
    fetch(settings, Path(), "fetch")


if __name__ == "__main__":
    main()
