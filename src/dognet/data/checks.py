"""Warnings about a user's own images: files that can be read and trained on, but probably contain a mistake."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import pandas as pd

from dognet.data.images import is_index, shortened
from dognet.errors import ImagesError

MOST_CELLS = 10**8  # in larger tables duplicates are not counted: it would take seconds and gigabytes


def warnings(tables: Sequence[tuple[str, pd.DataFrame]], white: float) -> list[str]:
    """Return a line for each probable mistake in the tables (file, table), with pixels 0..255, the training file first.

    Raises ImagesError if all training images are the same.
    """
    (train_file, train), (test_file, test) = tables
    lines = [line for file, table in tables for line in dark(file, table, white)]
    lines += odd_columns(train_file, train)
    lines += odd_labels(pd.DataFrame({file: table["label"].value_counts() for file, table in tables}).fillna(0))
    return [*lines, *duplicates(train_file, train, test_file, test)]


def dark(file: str, table: pd.DataFrame, white: float) -> Iterator[str]:
    """Warn of pixels in 0..1 where white is 255, or in 0..255 where it is 65535."""
    pixels = table.drop(columns=["label", *index_columns(table)])
    brightest = pixels.max().max()
    if brightest <= 1:  # not nan, as where there are no pixels
        yield f"{file}: no pixel is above {brightest * white / 255:g}, where white is {white:g}: is data.white right?"


def index_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that look like an index."""
    return [str(name) for name, column in table.items() if name != "label" and is_index(str(name), column)]


def odd_columns(file: str, table: pd.DataFrame) -> Iterator[str]:
    """Warn of an index, and of columns with one value in all rows, unless it is black or white as in a border."""
    index = index_columns(table)
    pixels = table.drop(columns=["label", *index])
    darkest, brightest = pixels.min(), pixels.max()
    same = darkest == brightest
    if same.all() and len(same):
        raise ImagesError(f"{file}: all images are the same, there is nothing to learn")
    constant = pixels.columns[same & (darkest > 0) & (brightest < brightest.max())].tolist()
    if index:
        yield f"{file}: pixel columns that look like an index: {listed(index)}: delete columns that are not pixels"
    if constant:
        yield f"{file}: pixel columns with one value, neither black nor white, in all rows: {listed(constant)}"


def odd_labels(rows: pd.DataFrame) -> Iterator[str]:
    """Warn of labels that look the same or that only one file has; ``rows`` are counted by label (index) and file."""
    looks = rows.index.map(plain)
    same = looks.duplicated(keep=False)
    for _, alike in rows[same].sum(axis=1).groupby(looks[same]):
        yield f"{', '.join(map(str, rows))}: labels that look the same count as different: {with_rows(alike)}"
    there = rows.groupby(looks).transform("any")
    for file, other in zip(rows, reversed(rows.columns), strict=True):
        if not there[file].all():
            yield f"{file}: labels that are only in {other}: {with_rows(rows[other][~there[file]])}"


def duplicates(train_file: str, train: pd.DataFrame, test_file: str, test: pd.DataFrame) -> Iterator[str]:
    """Warn of test images that are also training images, whatever their label."""
    if train.size + test.size > MOST_CELLS:
        return
    hashes = [
        pd.util.hash_pandas_object(each.drop(columns="label").astype(float).abs(), index=False)  # abs: -0 is 0
        for each in (train, test)
    ]
    in_both = hashes[0][hashes[0].isin(hashes[1])]  # in this order: the set of test images is smaller
    n = int(hashes[1].isin(in_both).sum())
    if n:
        found = f"{n} of {len(test)} images are in {train_file} too"
        yield f"{test_file}: {found}: accuracy on them says nothing about new images"


def plain(label: str) -> str:
    """Return what a label looks like: the same for labels that differ only in case, blanks, quotes, or as 1 and 1.0."""
    text = "".join(unicodedata.normalize("NFKC", label).casefold().split()).strip("'\"")
    try:
        return str(float(text))
    except ValueError:
        return text


def with_rows(rows: pd.Series[float]) -> str:
    """Return labels with their numbers of rows as an enumeration, the most frequent first."""
    ordered = rows.sort_values(ascending=False, kind="stable")
    return listed([f"{shortened(str(label))!r} ({n:.0f} row{'s' * (n > 1)})" for label, n in ordered.items()])


def listed(words: Sequence[str]) -> str:
    """Return words as an enumeration of at most five."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
