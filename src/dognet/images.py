"""The images as CSV files: made like the lecture's, read, checked.

One image a row: its label, then its pixels row by row, 0 (black) to 255 (white).
"""

from __future__ import annotations

import csv
import functools
import itertools
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dognet.files import sha256

if TYPE_CHECKING:
    import pandas as pd

SHARES = {"checkerboard": 0.369, "bright line": 0.357, "triangle": 0.274}  # of the lecture's 5000 images
SIDES = ((0, 1), (2, 3), (0, 2), (1, 3))  # top, bottom, left, right: pixel numbers of a 2x2 image


class ImagesError(ValueError):
    """A CSV file that can't be used, told by file, row and column."""


def generate(n_images: int, rng: np.random.Generator) -> pd.DataFrame:
    """Make images of the lecture's three kinds, as often and as bright as measured on its 5000 images."""
    import pandas as pd

    label = rng.choice(list(SHARES), n_images, p=list(SHARES.values()))
    pixels = np.empty((n_images, 4), int)
    for kind, draw in (("checkerboard", checkerboards), ("bright line", bright_lines), ("triangle", triangles)):
        rows = label == kind
        pixels[rows] = draw(int(rows.sum()), rng)
    return pd.DataFrame({"label": label, **{f"pixel{i}": pixels[:, i] for i in range(4)}})


def checkerboards(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """One diagonal dark, the other bright: each pair within 24, at least 51 between them."""
    found = np.empty((0, 4), int)
    while len(found) < n_images:  # drawn evenly, kept where the rule holds: about one in three
        first = rng.integers(0, 256, (n_images, 2))
        pairs = np.stack([first, first + rng.integers(-24, 25, (n_images, 2))], axis=2)  # (n, 2 diagonals, 2 pixels)
        gap = np.maximum(pairs[:, 0].min(1) - pairs[:, 1].max(1), pairs[:, 1].min(1) - pairs[:, 0].max(1))
        fits = (gap >= 51) & (pairs.min((1, 2)) >= 0) & (pairs.max((1, 2)) <= 255)
        found = np.concatenate([found, pairs[fits].reshape(-1, 4)[:, [0, 2, 3, 1]]])  # diagonals: 0 and 3, 1 and 2
    return found[:n_images]


def bright_lines(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Both pixels of one side bright (231..255), the other two anything up to 174."""
    pixels = rng.integers(0, 175, (n_images, 4))
    side = np.array(SIDES)[rng.integers(0, 4, n_images)]
    np.put_along_axis(pixels, side, rng.integers(231, 256, (n_images, 2)), axis=1)
    return pixels


def triangles(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Three corners alike and one not: dark is 0..49, bright 201..255; the odd one is dark in 57 of 100."""
    odd_one_dark = rng.random(n_images) < 0.57
    dark = odd_one_dark[:, None] == (np.arange(4) == rng.integers(0, 4, n_images)[:, None])
    return np.where(dark, rng.integers(0, 50, (n_images, 4)), rng.integers(201, 256, (n_images, 4)))


def read(path: Path, label: str = "label", white: float = 255) -> pd.DataFrame:
    """Read and check a CSV: the label column first (named ``label``), then the pixels, scaled to 0..255.

    Every column but ``label`` is a pixel; ``white`` is the value of a white one. Whole-number pixels stay whole. The
    same table is returned while a small file stays the same: don't change it. Raises ImagesError naming file, row and
    column.
    """
    if not path.is_file():
        raise ImagesError(f"{path}: no such file")
    small = path.stat().st_size < 2**20
    return read_once(path, label, white, sha256(path)) if small else read_anew(path, label, white)


@functools.lru_cache(maxsize=4)  # train and test images, as they came and as the runs of a sweep read them
def read_once(path: Path, label: str, white: float, digest: str) -> pd.DataFrame:
    """Read a file, unless it was read with this sha256 before."""
    return read_anew(path, label, white)


def read_anew(path: Path, label: str, white: float) -> pd.DataFrame:
    """Read and check a CSV as it stands now."""
    import pandas as pd

    check_header(path, label)
    try:
        table = pd.read_csv(path, engine="pyarrow", dtype={label: str}, keep_default_na=False)
        check_cells(path, table, label, white)
        check_digits(path, label)
    except ImagesError:
        raise
    except ValueError as error:  # pandas' parser errors are some, and so is text that isn't UTF-8
        raise ImagesError(broken(path) or f"{path}: not a CSV file ({str(error).splitlines()[0][:100]})") from error
    pixels = table.drop(columns=label)
    if white != 255:
        pixels = pixels / white * 255
    return pd.concat([table[label].rename("label"), pixels], axis=1)


def check_cells(path: Path, table: pd.DataFrame, label: str, white: float) -> None:
    """Raise ImagesError unless there are rows, each with a label and with numbers in 0..white."""
    if table.empty:
        raise ImagesError(f"{path}: no rows below the header")
    empty = table[label].isna() | (table[label].str.strip() == "")
    if empty.any():
        row = int(np.argmax(empty))
        raise ImagesError(f"{path}, row {look_up(path, row, label)[0]}, column {label}: empty cell")
    for name, column in table.drop(columns=label).items():
        check_pixels(path, str(name), column, white)


def check_pixels(path: Path, name: str, column: pd.Series, white: float) -> None:
    """Raise ImagesError at the first cell of a pixel column that isn't a number in 0..white."""
    if column.dtype.kind in "iuf":
        bad = ~((column >= 0) & (column <= white)).to_numpy()  # nan is bad too
    else:  # text somewhere: look at it cell by cell
        import pandas as pd

        values = pd.to_numeric(column.astype(str), errors="coerce")
        bad = ~((values >= 0) & (values <= white)).to_numpy()
        if not bad.any():
            bad[:] = True
    if bad.any():
        row = int(np.argmax(bad))
        line, cell = look_up(path, row, name)
        bound = "255" if white == 255 else f"{white:g} (data.white)"
        fault = "empty cell" if cell == "" else f"must be a number from 0 to {bound}, got {shortened(cell)!r}"
        raise ImagesError(f"{path}, row {line}, column {shortened(name)}: {fault}")


def check_digits(path: Path, label: str) -> None:
    """Raise ImagesError at the first pixel such as 0x10, which pandas takes for 16."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b"0x") < 0 and text.find(b"0X") < 0:
            return
    with rows_of(path) as rows:
        columns = next(rows)
        for name, cell in itertools.chain.from_iterable(zip(columns, cells, strict=False) for cells in rows):
            if name != label and "x" in cell.lower():
                fault = f"must be a number in decimal digits, got {shortened(cell)!r}"
                raise ImagesError(f"{path}, row {rows.line_num}, column {shortened(name)}: {fault}")


def look_up(path: Path, row: int, name: str) -> tuple[int, str]:
    """Return the line in the file of the row-th image, counted from 0, and its cell in the column."""
    with rows_of(path) as rows:
        column = next(rows).index(name)
        cells: list[str] = next(itertools.islice(filter(None, rows), row, None), [])
        return rows.line_num, cells[column] if column < len(cells) else ""


@contextmanager
def rows_of(path: Path) -> Iterator[Any]:
    """Open a CSV to read it row by row; what can't be read is an ImagesError."""
    csv.field_size_limit(sys.maxsize)  # a quote that is not closed makes one cell of the rest
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        try:
            yield rows
        except UnicodeDecodeError as error:
            lines = path.read_bytes().decode(errors="replace").split("\n")
            row = next(number for number, line in enumerate(lines, 1) if "\N{REPLACEMENT CHARACTER}" in line)
            raise ImagesError(f"{path}, row {row}: not UTF-8 text ({error.reason})") from error
        except csv.Error as error:
            raise ImagesError(f"{path}, row {rows.line_num}: {error}") from error


def check_header(path: Path, label: str) -> None:
    """Raise ImagesError unless the columns have names of their own, the label's among them."""
    with rows_of(path) as rows:
        columns: list[str] = next(rows, [])
    listed = shortened(", ".join(columns))
    if not columns:
        raise ImagesError(f"{path}: empty file")
    if not all(columns):
        number = columns.index("") + 1
        raise ImagesError(f"{path}, row 1: column {number} has no name (pandas writes its index so: index=False)")
    if len(set(columns)) < len(columns):
        raise ImagesError(f"{path}, row 1: two columns have one name: {listed}")
    if label not in columns:
        raise ImagesError(f"{path}: no column {label!r}, its columns are {listed}: name it in data.label")
    if label != "label" and "label" in columns:
        raise ImagesError(f"{path}: a pixel column must not be named label where {label!r} (data.label) is the label")
    if len(columns) < 2:
        raise ImagesError(f"{path}: no pixel columns beside {label!r}")


def broken(path: Path) -> str:
    """Name the first row that has more or fewer cells than the header, if that is what ails the file."""
    with rows_of(path) as rows:
        header = next(rows)
        for cells in rows:
            if cells and len(cells) != len(header):
                return f"{path}, row {rows.line_num}: {len(cells)} cells where the header has {len(header)}"
    return ""


def shortened(text: str) -> str:
    """Return a text in one line of at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def check_pair(train: pd.DataFrame, test: pd.DataFrame, paths: tuple[Path, Path], positive: str) -> None:
    """Raise ImagesError unless both tables have the same pixel columns, and both classes."""
    if list(train.columns) != list(test.columns):
        odd = sorted(set(train.columns) ^ set(test.columns)) or "their order"
        raise ImagesError(f"{paths[0]} and {paths[1]} must have the same columns, they differ in {odd}")
    for table, path in zip((train, test), paths, strict=True):
        is_positive = table["label"] == positive
        if not is_positive.any():
            raise ImagesError(
                f"{path}: no row with label {positive!r} (data.positive), its labels are "
                f"{', '.join(sorted(table['label'].unique())[:5])}"
            )
        if is_positive.all():
            raise ImagesError(f"{path}: every row has label {positive!r} (data.positive), none is of the other class")


def split(table: pd.DataFrame, positive: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n_images, n_pixels) as float64 and y (n_images,), True where the label is ``positive``."""
    return table.drop(columns="label").to_numpy(float), (table["label"] == positive).to_numpy(bool)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV text, the same on every machine."""
    text: Any = table.to_csv(index=False, lineterminator="\n")
    return str(text)
