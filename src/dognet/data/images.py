"""Images as CSV files, read and checked: one image a row, a label column, every other column a pixel."""

from __future__ import annotations

import csv
import functools
import itertools
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dognet.errors import UserError
from dognet.files import stamp


class ImagesError(UserError):
    """Images that can't be used: the file, row and column, what is wrong, and the way out."""


def read(path: Path, label: str = "label", white: float = 255) -> pd.DataFrame:
    """Read and check a CSV: the label column first (named ``label``), then the pixels, scaled to 0..255.

    Every column but ``label`` is a pixel; ``white`` is the value of a white one. Whole-number pixels stay whole. The
    same table is returned while the file stays the same: don't change it. Raises ImagesError naming file, row and
    column.
    """
    if not path.is_file():
        raise ImagesError(f"{path}: no such file")
    return read_once(path, label, white, stamp(path))


@functools.lru_cache(maxsize=4)  # the train and test images, as they came and as the runs of a sweep read them
def read_once(path: Path, label: str, white: float, stamp: tuple[int, int, int]) -> pd.DataFrame:
    """Read a file unless this process has read it with this stamp before."""
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
