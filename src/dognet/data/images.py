"""Images as CSV files, read and checked: one image a row, a label column, every other column a pixel."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd

from dognet.data.dialect import Dialect, dialect, is_data, opened
from dognet.errors import ImagesError
from dognet.files import stamp

INDEX = re.compile(r"(?:.*[\W_])?(?:id|idx|index)|unnamed.*", re.IGNORECASE)  # names of columns that number the rows


def read(path: Path, label: str = "label", white: float = 255) -> pd.DataFrame:
    """Read and check a CSV: the label column first (named ``label``), then the pixels, scaled to 0..255.

    Every column but ``label`` is a pixel; ``white`` is the value of a white one. Whole-number pixels stay whole. The
    same table is returned while the file stays the same: don't change it. Raises ImagesError naming file, row and
    column.
    """
    if not path.is_file():
        raise ImagesError(f"{path}: no such file")
    return read_once(path, label, white, stamp(path))


@functools.lru_cache(maxsize=4)  # the train and test images: the user's files, and the copies in data/<source>/
def read_once(path: Path, label: str, white: float, stamp: tuple[int, int, int]) -> pd.DataFrame:
    """Read a file unless this process has read it with this stamp before."""
    form = dialect(path, label)
    check_header(form, label)
    try:
        check_digits(form, label)
        table = parse(form, label, white)
        check_cells(form, table, label, white)
    except ValueError as error:  # pandas' parser errors are ValueErrors, and so are those of text that isn't UTF-8
        raise ImagesError(broken(form) or f"{path}: not a CSV file ({str(error).splitlines()[0][:100]})") from error
    pixels = table.drop(columns=label)
    if white != 255:
        pixels = pixels / white * 255
    return pd.concat([table[label].rename("label"), pixels], axis=1)


def parse(form: Dialect, label: str, white: float) -> pd.DataFrame:
    """Return the table of a file, its label as text without blanks around it, pixels as numbers where they can be read.

    A comma that does not separate cells may be a decimal comma, unless it could separate thousands.
    """
    table = parse_with(form, label, decimal=".")
    if form.separator != "," and white < 1000 and text_columns(table):
        table = min(table, parse_with(form, label, decimal=","), key=text_columns)
    table[label] = table[label].str.strip()
    return table


def parse_with(form: Dialect, label: str, decimal: str) -> pd.DataFrame:
    """Return the table of a file with this decimal separator; empty columns at the end of each row are left out."""
    names = form.names
    with opened(form.path) as file:
        table = pd.read_csv(
            file,
            engine="pyarrow",
            encoding=form.encoding.removesuffix("-sig"),
            sep=form.separator,
            decimal=decimal,
            skiprows=form.skipped,
            dtype={form.header[names.index(label)]: str},
            keep_default_na=False,
        )
    for position in range(len(names), table.shape[1]):
        if not (table.iloc[:, position].astype(str) == "").all():
            raise ImagesError(f"{form.path}, row 1: column {position + 1} has no name")
    return table.iloc[:, : len(names)].set_axis(names, axis=1)


def text_columns(table: pd.DataFrame) -> int:
    """Return how many columns beside the label's have text in them."""
    return sum(dtype.kind not in "iuf" for dtype in table.dtypes) - 1


def check_cells(form: Dialect, table: pd.DataFrame, label: str, white: float) -> None:
    """Raise ImagesError unless there are rows, each with a label and with numbers in 0..white."""
    if table.empty:
        raise ImagesError(f"{form.path}: no rows below the header")
    empty = table[label] == ""
    if empty.any():
        row = int(np.argmax(empty))
        raise ImagesError(f"{form.path}, row {look_up(form, row, label)[0]}, column {label}: empty cell")
    for name, column in table.drop(columns=label).items():
        check_pixels(form, str(name), column, white)


def check_pixels(form: Dialect, name: str, column: pd.Series, white: float) -> None:
    """Raise ImagesError at the first cell of a pixel column that isn't a number in 0..white."""
    has_text = column.dtype.kind not in "iuf"
    values = pd.to_numeric(column.astype(str), errors="coerce") if has_text else column
    bad = ~values.between(0, white).to_numpy()  # nan is bad too
    if has_text and not bad.any():
        bad[:] = True
    if bad.any():
        row = int(np.argmax(bad))
        line, cell = look_up(form, row, name)
        bound = "255" if white == 255 else f"{white:g} (data.white)"
        fault = "empty cell" if cell == "" else f"must be a number from 0 to {bound}, got {shortened(cell)!r}"
        hint = ""
        if is_index(name, column):
            hint = ": an index is no pixel, delete the column"
        elif "," in cell:
            hint = ": write decimals with a point"
        raise ImagesError(f"{form.path}, row {line}, column {shortened(name)}: {fault}{hint}")


def is_index(name: str, column: pd.Series) -> bool:
    """Return whether a column numbers the rows: its name says so, or its values rise evenly in 10 rows or more."""
    if INDEX.fullmatch(name):
        return True
    if column.dtype.kind not in "iuf" or len(column) < 10:
        return False
    values = column.to_numpy(float)
    step = values[1] - values[0]
    return step > 0 and all(np.allclose(np.diff(part), step) for part in (values[:10], values))


def check_digits(form: Dialect, label: str) -> None:
    """Raise ImagesError at the first pixel such as 0x10, which pandas takes for 16."""
    if not has_hex(form):
        return
    with form.rows() as rows:
        columns = [name.strip() for name in next(filter(None, rows))]
        for name, cell in itertools.chain.from_iterable(zip(columns, cells, strict=False) for cells in rows):
            if name != label and "x" in cell.lower():
                fault = f"must be a number in decimal digits, got {shortened(cell)!r}"
                raise ImagesError(f"{form.path}, row {rows.line_num}, column {shortened(name)}: {fault}")


def has_hex(form: Dialect) -> bool:
    """Return whether a file contains 0x or 0X, in UTF-8 or UTF-16."""
    with opened(form.path) as file:
        while block := file.read(2**20) + file.readline():  # whole lines
            for x in (b"x", b"X"):  # x is rare, and 0 is not: looking for x first takes a tenth of the time
                if x in block and (b"0" + x in block or b"0\0" + x in block):
                    return True
    return False


def look_up(form: Dialect, row: int, name: str) -> tuple[int, str]:
    """Return the line in the file of the row-th image, counted from 0, and its cell in the column."""
    column = form.names.index(name)
    with form.rows() as rows:
        cells: list[str] = next(itertools.islice(filter(None, rows), 1 + row, None), [])
        return rows.line_num, cells[column] if column < len(cells) else ""


def check_header(form: Dialect, label: str) -> None:
    """Raise ImagesError unless the columns have names of their own, the label's among them."""
    path, names = form.path, form.names
    listed = shortened(", ".join(names))
    if not names:
        raise ImagesError(f"{path}: empty file")
    if label not in names and is_data(names):
        raise ImagesError(
            f"{path}, row 1: must be the header, got {listed}: write the column names above it, as in label,p0,p1"
        )
    if not all(names):
        number = names.index("") + 1
        raise ImagesError(f"{path}, row 1: column {number} has no name (pandas writes such an index: use index=False)")
    if len(set(names)) < len(names):
        raise ImagesError(f"{path}, row 1: two columns have the same name: {listed}")
    if label not in names:
        raise ImagesError(f"{path}: no column {label!r}, its columns are {listed}: name it in data.label")
    if label != "label" and "label" in names:
        raise ImagesError(f"{path}: a pixel column must not be named label where {label!r} (data.label) is the label")
    if len(names) < 2:
        raise ImagesError(f"{path}: no pixel columns beside {label!r}")


def broken(form: Dialect) -> str:
    """Return a message that names the first row with more or fewer cells than the header; "" if there is none."""
    expected = len(form.header)
    with form.rows() as rows:
        for cells in filter(None, rows):
            if len(cells) != expected:
                hint = "" if any(cells[expected:]) or len(cells) < expected else ": delete what is empty at its end"
                return f"{form.path}, row {rows.line_num}: {len(cells)} cells where the header has {expected}{hint}"
    return ""


def shortened(text: str) -> str:
    """Return a text in one line of at most 60 characters."""
    line = " ".join(text.splitlines())
    return line if len(line) <= 60 else f"{line[:59]}…"


def split(table: pd.DataFrame, positive: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n_images, n_pixels) as float64 and y (n_images,), True where the label is ``positive``."""
    return table.drop(columns="label").to_numpy(float), (table["label"] == positive).to_numpy(bool)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV text, the same on every machine."""
    return str(table.to_csv(index=False, lineterminator="\n"))
