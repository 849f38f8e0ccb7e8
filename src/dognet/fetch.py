"""Stage fetch: bring the train and test images to data/<source>/, checked and in one form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from dognet import config, images, runs
from dognet.config import Config
from dognet.images import ImagesError

LECTURE = "data/raw/lecture"  # where data.dvc puts the course's CSVs


def fetch(config: Config, root: Path, *, pinned: bool = False) -> Path:
    """Write train.csv and test.csv below ``root``/data/<source>/ and return that folder.

    Files that are there already with the same content stay untouched. With ``pinned``, own CSVs must have the sha256
    that conf/ says. Raises ImagesError; then nothing is written.
    """
    if config.data.kind == "generated":
        tables = generated(config)
        paths = (Path("train images"), Path("test images"))
    else:
        paths = lecture_files(root) if config.data.kind == "lecture" else own_files(config, root)
        check_sha256(config, paths, pinned=pinned)
        label, white = config.data.label or "label", config.data.white or 255
        tables = images.read(paths[0], label, white), images.read(paths[1], label, white)
    images.check_pair(*tables, paths, config.data.positive)
    folder = root / "data" / config.source
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in zip(("train.csv", "test.csv"), tables, strict=True):
        content = images.to_csv(table).encode()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            runs.write(folder / name, content)
    return folder


def generated(config: Config) -> tuple:
    """Make the train and the test images, each from a stream of its own: more of one leaves the other as it is."""
    streams = np.random.SeedSequence(config.data.seed or 0).spawn(2)
    counts = config.data.train_rows or 0, config.data.test_rows or 0
    train, test = (images.generate(n, np.random.default_rng(s)) for n, s in zip(counts, streams, strict=True))
    return train, test


def lecture_files(root: Path) -> tuple[Path, Path]:
    """Return the course's two CSVs, pulled through data.dvc if they are not there."""
    folders = root / LECTURE, config.project_root() / LECTURE  # they differ in `dvc exp run --temp`
    for folder in folders:
        paths = folder / "simple_images_train.csv", folder / "simple_images_test.csv"
        if all(path.is_file() for path in paths):
            return paths
    pull = [sys.executable, "-m", "dvc", "pull", "--quiet", "data.dvc"]
    answer = subprocess.run(pull, cwd=root, capture_output=True, text=True)
    paths = folders[0] / "simple_images_train.csv", folders[0] / "simple_images_test.csv"
    if not all(path.is_file() for path in paths):
        reason = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ImagesError(
            f"the course's images could not be fetched ({reason}). Either copy simple_images_train.csv and "
            f"simple_images_test.csv into {LECTURE}/, or use data=generated, images like them that need no network"
        )
    return paths


def own_files(config: Config, root: Path) -> tuple[Path, Path]:
    """Return the user's train and test CSV."""
    return root / str(config.data.train), root / str(config.data.test)


def check_sha256(config: Config, paths: tuple[Path, Path], *, pinned: bool) -> None:
    """Raise ImagesError unless both files have the sha256 that the settings name."""
    found = {}
    for key, path in zip(("train_sha256", "test_sha256"), paths, strict=True):
        if not path.is_file():
            raise ImagesError(f"{path}: no such file (data.{key.removesuffix('_sha256')})")
        found[key] = images.sha256(path)
    if config.data.kind == "csv" and not pinned:
        return  # dognet takes own files as they are: their content is part of the run's digest
    if any(getattr(config.data, key) != value for key, value in found.items()):
        if config.data.kind == "lecture":
            raise ImagesError(
                f"{paths[0].parent}: not the course's files, their sha256 differ from conf/data/{config.source}.yaml: "
                "delete them, then fetch again"
            )
        lines = "".join(f"\n{key}: {value}" for key, value in found.items())
        raise ImagesError(f"conf/data/{config.source}.yaml must hold the sha256 of your files; paste:{lines}")


def main() -> None:
    """Run the stage with the settings in conf/."""
    fetch(config.load(Path()), Path(), pinned=True)
