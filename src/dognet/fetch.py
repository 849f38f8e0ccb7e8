"""Stage fetch: bring the train and test images to data/<source>/, checked and in one form."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dognet import config as settings
from dognet import images
from dognet.config import Config, ConfigError
from dognet.files import sha256, write
from dognet.images import ImagesError
from dognet.interrupt import interruptible

if TYPE_CHECKING:
    import pandas as pd

LECTURE = "data/raw/lecture"  # where data.dvc puts the course's CSVs
HERE = Path(__file__).resolve().parent
DATA_DVC = HERE / "data.dvc", HERE.parents[1] / "data.dvc"  # in a wheel, in the repository
GENERATED: dict[str, list[str]] = {}  # the sha256 of train.csv and test.csv, by the settings they were made from here


def fetch(config: Config, root: Path, *, pinned: bool = False) -> Path:
    """Write train.csv and test.csv below ``root``/data/<source>/ and return that folder.

    Files that are there already with the same content stay untouched. With ``pinned``, own CSVs must have the sha256
    that conf/ says. Raises ImagesError; then nothing is written.
    """
    folder = root / "data" / config.source
    files = folder / "train.csv", folder / "test.csv"
    made = repr(config.data)
    if made in GENERATED and GENERATED[made] == [sha256(file) for file in files if file.is_file()]:
        return folder
    if config.data.kind == "generated":
        tables = generated(config)
        paths = (Path("train images"), Path("test images"))
    else:
        paths = lecture_files(root) if config.data.kind == "lecture" else own_files(config, root)
        check_sha256(config, paths, pinned=pinned)
        label, white = config.data.label or "label", config.data.white or 255
        tables = images.read(paths[0], label, white), images.read(paths[1], label, white)
    images.check_pair(*tables, paths, config.data.positive)
    folder.mkdir(parents=True, exist_ok=True)
    for file, table in zip(files, tables, strict=True):
        content = images.to_csv(table).encode()
        if not file.is_file() or file.read_bytes() != content:
            write(file, content)
    if config.data.kind == "generated":
        GENERATED[made] = [sha256(file) for file in files]
    return folder


def generated(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the train and the test images, each from a stream of its own: more of one leaves the other as it is."""
    streams = np.random.SeedSequence(config.data.seed or 0).spawn(2)
    counts = config.data.train_rows or 0, config.data.test_rows or 0
    train, test = (images.generate(n, np.random.default_rng(s)) for n, s in zip(counts, streams, strict=True))
    return train, test


def lecture_files(root: Path) -> tuple[Path, Path]:
    """Return the course's two CSVs, brought through data.dvc if they are not there."""
    folders = root / LECTURE, settings.project_root() / LECTURE  # they differ in `dvc exp run --temp`
    for folder in folders:
        paths = folder / "simple_images_train.csv", folder / "simple_images_test.csv"
        if all(path.is_file() for path in paths):
            return paths
    pull_lecture(folders[0])
    return folders[0] / "simple_images_train.csv", folders[0] / "simple_images_test.csv"


def pull_lecture(folder: Path) -> None:
    """Pull the files that data.dvc pins into ``folder``.

    In a DVC project of its own, made for the moment: an import in the project itself would have every `dvc status` and
    `dvc exp run` clone the course's repository, and this way `dognet data=lecture` works outside the project too.
    """
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copy(next(path for path in DATA_DVC if path.is_file()), temporary)
        for words in (["init", "--no-scm"], ["pull", "data.dvc"]):
            command = [sys.executable, "-m", "dvc", *words]
            answer = subprocess.run(command, cwd=temporary, env=environment, capture_output=True)
        pulled = Path(temporary, LECTURE)
        if answer.returncode or not pulled.is_dir():  # what DVC says of it misleads: "Everything is up to date"
            raise ImagesError(
                "the course's images could not be fetched through data.dvc: is there a network? Without one, copy "
                f"simple_images_train.csv and simple_images_test.csv into {LECTURE}/, or use data=generated, images "
                "like them"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for path in pulled.iterdir():
            write(folder / path.name, path.read_bytes())


def own_files(config: Config, root: Path) -> tuple[Path, Path]:
    """Return the user's train and test CSV."""
    return root / str(config.data.train), root / str(config.data.test)


def check_sha256(config: Config, paths: tuple[Path, Path], *, pinned: bool) -> None:
    """Raise ImagesError unless both files have the sha256 that the settings name."""
    found = {}
    for key, path in zip(("train_sha256", "test_sha256"), paths, strict=True):
        if not path.is_file():
            raise ImagesError(f"{path}: no such file (data.{key.removesuffix('_sha256')})")
        found[key] = sha256(path)
    if config.data.kind == "csv" and not pinned:
        return  # dognet takes own files as they are: their content is part of the run's digest
    if any(getattr(config.data, key) != value for key, value in found.items()):
        if config.data.kind == "lecture":
            raise ImagesError(
                f"{paths[0].parent}: not the course's files, their sha256 differ from conf/data/{config.source}.yaml: "
                "delete them, then fetch again"
            )
        lines = "".join(f'\n{key}: "{value}"' for key, value in found.items())
        raise ImagesError(f"conf/data/{config.source}.yaml must hold the sha256 of your files; paste:{lines}")


@interruptible("fetch")
def main() -> None:
    """Run the stage with the settings in conf/."""
    try:
        fetch(settings.load(Path()), Path(), pinned=True)
    except (ConfigError, ImagesError, OSError) as error:
        sys.exit(f"fetch: {error}")


if __name__ == "__main__":
    main()
