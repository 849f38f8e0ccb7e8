"""How a CSV is written: compression, encoding, separator and header. Errors say what can't be read and the way out."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from dognet.errors import ImagesError

SEPARATORS = ",;\t|"
SAVE = "save it as CSV UTF-8"  # what Excel and LibreOffice call it
GZIP, ZIP, UTF16 = b"\x1f\x8b", b"PK\x03\x04", (b"\xff\xfe", b"\xfe\xff")
NOT_TEXT = {  # the first bytes of other files that are named .csv
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "a file compressed with Zstandard",
    b"BZh": "a file compressed with bzip2",
    b"\xfd7zX": "a file compressed with xz",
}


@dataclass(frozen=True)
class Dialect:
    """How one CSV is written."""

    path: Path
    encoding: str
    separator: str
    skipped: int  # lines above the header: 1 where Excel's line sep=; stands there

    @cached_property
    def header(self) -> list[str]:
        """The first row, as written, with blanks; empty if there is none."""
        with self.rows() as rows:
            return next(filter(None, rows), [])

    @property
    def names(self) -> list[str]:
        """The names of the columns, without blanks around them and without empty columns at the end of each row."""
        names = [name.strip() for name in self.header]
        while names and not names[-1]:
            names.pop()
        return names

    @contextmanager
    def rows(self) -> Iterator[Any]:
        """Open the file to read it row by row, the header first."""
        with opened_text(self.path, self.encoding) as text:
            rows = csv.reader(text, delimiter=self.separator)
            try:
                for _ in range(self.skipped):
                    next(rows)
                yield rows
            except csv.Error as error:
                raise ImagesError(f"{self.path}, row {rows.line_num}: {error}") from error


def dialect(path: Path, label: str) -> Dialect:
    """Detect how a CSV is written. Its separator makes ``label`` a column; else it is the one with the most columns."""
    csv.field_size_limit(sys.maxsize)  # a quote that is not closed makes one cell of the rest of the file
    encoding = encoding_of(path)
    with opened_text(path, encoding) as text:
        first = next(filter(str.strip, text), "")
    if own := re.fullmatch(rf'"?sep=([{SEPARATORS}])"?', first.rstrip("\r\n")):
        return Dialect(path, encoding, own[1], skipped=1)
    cells = {each: next(csv.reader([first], delimiter=each), []) for each in SEPARATORS}
    separator = max(SEPARATORS, key=lambda each: (label in map(str.strip, cells[each]), len(cells[each])))
    return Dialect(path, encoding, separator, skipped=0)


def encoding_of(path: Path) -> str:
    """Return the encoding of a file, UTF-8 or UTF-16; raise ImagesError if it is not text."""
    with opened(path) as file:
        head = file.read(1000)
    for start, name in NOT_TEXT.items():
        if head.startswith(start):
            raise ImagesError(f"{path}: {name}, not a CSV file: {SAVE}")
    if head.startswith(UTF16):
        return "utf-16"
    if b"\0" in head:
        raise ImagesError(f"{path}: not a text file, it has a byte 0: {SAVE}")
    return "utf-8-sig"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or its content if it is compressed: gz, or zip with one file in it."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if not start.startswith((GZIP, ZIP)):
            yield file
            return
        try:
            with gzip.open(file) if start.startswith(GZIP) else opened_zip(path, file) as content:
                yield content  # type: ignore[misc]  # a GzipFile is a binary file too
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
            raise ImagesError(f"{path}: damaged, it can't be decompressed ({error}): compress the CSV again") from error


def opened_zip(path: Path, file: IO[bytes]) -> IO[bytes]:
    """Open the one file in a zip file."""
    archive = zipfile.ZipFile(file)
    if {"[Content_Types].xml", "mimetype"} & set(archive.namelist()):
        raise ImagesError(f"{path}: a spreadsheet, not a CSV file: {SAVE}")
    members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise ImagesError(f"{path}: a zip file must have one file in it, got {len(members)}")
    if members[0].flag_bits & 1:
        raise ImagesError(f"{path}: a zip file with a password: compress the CSV without one")
    return archive.open(members[0])


@contextmanager
def opened_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text; ImagesError names the first row that isn't text."""
    try:
        with opened(path) as file:
            yield io.TextIOWrapper(file, encoding, newline="")
    except UnicodeError as error:
        with opened(path) as file:
            readable, _, _ = file.read().decode(encoding, errors="replace").partition("\N{REPLACEMENT CHARACTER}")
        row, kind = readable.count("\n") + 1, encoding.removesuffix("-sig").upper()
        raise ImagesError(f"{path}, row {row}: not {kind} text ({getattr(error, 'reason', error)}): {SAVE}") from error


def is_data(names: list[str]) -> bool:
    """Return whether the first row is an image, not a header: all cells but one are numbers, not 0, 1, 2 and so on."""
    numbers = pd.to_numeric(pd.Series(names, dtype=str), errors="coerce").dropna().to_numpy()
    return len(numbers) >= max(1, len(names) - 1) and not (len(numbers) > 1 and (np.diff(numbers) == 1).all())
