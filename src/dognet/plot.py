"""The command ``dognet-plot``: a run's pictures drawn again from its folder, as SVG and as PNG."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dognet import config, evaluate, images, runs, sync, train
from dognet.config import ConfigError
from dognet.files import sha256, write
from dognet.images import ImagesError
from dognet.runs import PICTURES, PIPELINE, Run, RunError
from dognet.tracking import Store, StoreError


def plot(run: Run, root: Path) -> list[Path]:
    """Draw the run's pictures into its folder and return their files; needs the images that the run was tested with."""
    source, sums = run.config["data"]["source"], [sha256(run.folder / name) for name in PICTURES]
    test = root / "data" / source / "test.csv"
    if not test.is_file() or sha256(test) != run.info["test_sha256"]:
        raise ImagesError(f"{test}: not the images of {run.folder}: the command that made that run fetches them again")
    train.draw(run.folder)
    evaluate.draw(run.folder, images.read(test))
    if sums != [sha256(run.folder / name) for name in PICTURES]:  # this dognet draws them differently
        runs.finish(run.folder, run.info)
    drawn = [run.folder / name for name in PICTURES]
    for file in drawn:
        write(file.with_suffix(".png"), png(file.read_text(encoding="utf-8")))
    return [*drawn, *(file.with_suffix(".png") for file in drawn)]


def png(svg: str) -> bytes:
    """Return a picture as PNG, two pixels for each of its own; in a font that comes along, whatever the machine has."""
    import matplotlib
    import resvg_py

    fonts = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVuSans*.ttf"))
    return bytes(
        resvg_py.svg_to_bytes(
            svg, zoom=2, font_files=[*map(str, fonts)], skip_system_fonts=True, sans_serif_family="DejaVu Sans"
        )
    )


def main() -> None:
    """Draw the pictures of runs into their folders, as SVG and as PNG, and add them to MLflow.

    Of a study it is the run with the least train loss.
    """
    parser = argparse.ArgumentParser("dognet-plot", description=main.__doc__)
    parser.add_argument("runs", nargs="*", help="studies or run folders, if not dvc repro's run")
    parser.add_argument("--tracking-uri", metavar="URI", help=sync.URI_HELP)
    words, root = parser.parse_args(), config.project_root()
    drawn = {}
    try:
        uri = sync.store_uri(words.tracking_uri, root)
        from dognet.report import run_of  # and Hydra with it: not for --help

        for name in words.runs or [PIPELINE.name]:
            run = run_of(name, root)
            drawn[run.folder] = plot(run, root)
            names = ", ".join(Path(name).stem for name in PICTURES)
            print(f"{os.path.relpath(run.folder)}: {names}, as .svg and .png", flush=True)
        if uri != "none":
            store = Store(uri, root)
            for folder, files in drawn.items():
                store.add(folder, files)
    except StoreError as error:
        sys.exit(f"dognet-plot: the pictures are drawn, but not in MLflow ({error}): dognet-plot adds them")
    except (ConfigError, ImagesError, RunError, OSError) as error:
        sys.exit(f"dognet-plot: {error}")
