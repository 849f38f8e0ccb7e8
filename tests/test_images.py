"""The images: made like the lecture's, and every CSV checked when it is read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dognet.data import checks, generate, images
from dognet.errors import ImagesError
from dognet.network import NNet

HEADER = "label,pixel0,pixel1"


def table() -> pd.DataFrame:
    return generate.generate(5000, np.random.default_rng(3))


def test_generated_images_are_the_same_bytes_on_every_machine() -> None:
    text = images.to_csv(generate.generate(1000, np.random.default_rng(3)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "e6fee2d29778add5b3ae62e62ff0625a347268077fe64cc27ddee7ec831b2d34"


def test_the_kinds_are_as_frequent_as_in_the_lecture() -> None:
    shares = table()["label"].value_counts(normalize=True)
    assert shares["checkerboard"] == pytest.approx(0.369, abs=0.03)
    assert shares["bright line"] == pytest.approx(0.357, abs=0.03)
    assert shares["triangle"] == pytest.approx(0.274, abs=0.03)


def test_checkerboards_lie_as_measured() -> None:
    pixels = table().query("label == 'checkerboard'").drop(columns="label").to_numpy()
    pairs = np.sort(np.stack([pixels[:, [0, 3]], pixels[:, [1, 2]]], 1), axis=2)
    dark, bright = np.take_along_axis(pairs, pairs.mean(2).argsort(1)[:, :, None], 1).transpose(1, 0, 2)
    assert 0.45 < (pairs.mean(2).argmin(1) == 0).mean() < 0.55
    assert (dark[:, 1] - dark[:, 0]).max() <= 24
    assert (bright[:, 1] - bright[:, 0]).max() <= 24
    assert (bright[:, 0] - dark[:, 1]).min() >= 51
    np.testing.assert_allclose(np.percentile(dark, [25, 50, 75]), [30, 59, 97], atol=5)
    np.testing.assert_allclose(np.percentile(bright, [25, 50, 75]), [158, 196, 226], atol=5)
    np.testing.assert_allclose(np.percentile(bright.mean(1) - dark.mean(1), [25, 50, 75]), [87, 118, 154], atol=5)


def test_bright_lines_have_one_bright_side() -> None:
    pixels = table().query("label == 'bright line'").drop(columns="label").to_numpy()
    bright = pixels >= 231
    sides = {(True, True, False, False), (False, False, True, True), (True, False, True, False)}
    sides.add((False, True, False, True))
    assert set(map(tuple, bright.tolist())) == sides
    assert pixels[~bright].max() <= 174
    np.testing.assert_allclose(np.percentile(pixels[~bright], [25, 50, 75]), [43, 87, 131], atol=6)


def test_triangles_have_one_odd_corner() -> None:
    pixels = table().query("label == 'triangle'").drop(columns="label").to_numpy()
    bright = pixels > 200
    assert set(bright.sum(1)) == {1, 3}
    assert (bright.sum(1) == 3).mean() == pytest.approx(0.57, abs=0.05)
    assert pixels[~bright].max() <= 49


def test_the_network_learns_generated_images_as_well_as_the_lectures() -> None:
    train, test = (generate.generate(n, np.random.default_rng(seed)) for n, seed in ((4000, 1), (1000, 2)))
    net = NNet()
    net.fit(*images.split(train, "checkerboard"), hiddenNodes=4, stepSize=0.3, ITERS=10_000, seed=123)
    X, y = images.split(test, "checkerboard")
    assert (net.predict(X) == y).mean() >= 0.99


def test_a_good_file_is_read_in_the_order_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('a,kind,b\n0,"dog, big",255\n7,,9\n'.replace(",,", ",cat,"))
    assert images.read(path, "kind").to_dict("list") == {"label": ["dog, big", "cat"], "a": [0, 7], "b": [255, 9]}


def test_a_file_that_has_changed_is_read_anew_though_its_size_and_time_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("label,a\nx,1\ny,2\n")
    before = path.stat()
    first = images.read(path)
    assert images.read(path) is first  # what a sweep's runs read again
    path.write_text("label,a\nx,3\ny,2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert images.read(path)["a"].tolist() == [3, 2]
    assert first["a"].tolist() == [1, 2]


def test_pixels_are_scaled_so_that_white_is_255(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("label,a,b\nx,0,1\ny,0.5,0.25\n")
    assert images.read(path, white=1)["b"].tolist() == [255, 63.75]


def test_labels_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("label,a\n1,0\nNA,3\nTrue,4\n0x10,5\n")
    assert images.read(path)["label"].tolist() == ["1", "NA", "True", "0x10"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": empty file"),
        (f"{HEADER}\n", ": no rows below the header"),
        ("kind,pixel0\nx,1\n", ": no column 'label', its columns are kind, pixel0: name it in data.label"),
        ("label\nx\n", ": no pixel columns beside 'label'"),
        ("label,pixel0,pixel0\nx,1,2\n", ", row 1: two columns have the same name: label, pixel0, pixel0"),
        (f"{HEADER}\nx,1,2\ny,1\n", ", row 3: 2 cells where the header has 3"),
        (f"{HEADER}\nx,1,2\ny,1,2,3\n", ", row 3: 4 cells where the header has 3"),
        (f"{HEADER}\nx,1,2\nx,1,\n", ", row 3, column pixel1: empty cell"),
        (f"{HEADER}\nx,1,2\n,1,2\n", ", row 3, column label: empty cell"),
        (f"{HEADER}\nx,1,dog\n", ", row 2, column pixel1: must be a number from 0 to 255, got 'dog'"),
        (f"{HEADER}\nx,1,2\nx,NaN,2\n", ", row 3, column pixel0: must be a number from 0 to 255, got 'NaN'"),
        (f"{HEADER}\nx,1,2\n \t,1,2\n", ", row 3, column label: empty cell"),
        (",label,a\n0,x,1\n", ", row 1: column 1 has no name (pandas writes such an index: use index=False)"),
        ('label,a,b\n"x,1,2\n' + "y,3,4\n" * 50_000, ", row 50002: 1 cells where the header has 3"),
        ("label,a\n" + "x,1\n" * 100_000 + "x,1\ud8000\n", ", row 100002: not UTF-8 text"),
        (f"{HEADER}\nx,1,{'9' * 5000}\n", ", row 2, column pixel1: must be a number from 0 to 255, got '99999"),
        (f"{HEADER}\nx,1,2\nx,1,256\n", ", row 3, column pixel1: must be a number from 0 to 255, got '256'"),
        (f"{HEADER}\nx,-1,2\n", ", row 2, column pixel0: must be a number from 0 to 255, got '-1'"),
        (f"{HEADER}\nx,1e400,2\n", ", row 2, column pixel0: must be a number from 0 to 255, got '1e400'"),
        (f"{HEADER}\n0x1,1,2\n0x2,0x10,2\n", ", row 3, column pixel0: must be a number in decimal digits, got '0x10'"),
        (f"{HEADER}\nx,1,2\nx,1, 0XFF\n", ", row 3, column pixel1: must be a number"),
        (f"{HEADER}\nx,true,2\n", ", row 2, column pixel0: must be a number from 0 to 255, got 'true'"),
        (f"{HEADER}\nx,2020-01-01,2\n", ", row 2, column pixel0: must be a number from 0 to 255, got '2020-01-01'"),
        (f"{HEADER}\n\n\nx,1,2\n\nx,1,dog\n", ", row 6, column pixel1: must be a number from 0 to 255, got 'dog'"),
        (b"label,a\nx,1\n\xff,1\n", ", row 3: not UTF-8 text (invalid start byte): save it as CSV UTF-8"),
        ("label,a\nx,1\n".encode("utf-16") + b"x", ", row 3: not UTF-16 text (truncated data): save it as CSV UTF-8"),
        ("label,a\nx,1\n".encode("utf-16-le"), ": not a text file, it has a byte 0: save it as CSV UTF-8"),
        ("5,0,0\n1,0,255\n", ", row 1: must be the header, got 5, 0, 0: write the column names above it, as in label"),
        ("dog;0.5;1\n", ", row 1: must be the header, got dog, 0.5, 1: write the column names above it"),
        ("kind,0,1,2\nx,1,2,3\n", ": no column 'label', its columns are kind, 0, 1, 2: name it in data.label"),
        ("kind;a\nx;1\n", ": no column 'label', its columns are kind, a: name it in data.label"),
        ("label, label\nx,1\n", ", row 1: two columns have the same name: label, label"),
        (f"{HEADER}\nx,1,2,\n", ", row 2: 4 cells where the header has 3: delete what is empty at its end"),
        ("label,a,\nx,1,\ny,1,2\n", ", row 1: column 3 has no name"),
        ("label;a;b\nx;0,5;1\ny;2;dog\n", ", row 3, column b: must be a number from 0 to 255, got 'dog'"),
        ("label;a;b\nx;0,5;0.5\n", ", row 2, column a: must be a number from 0 to 255, got '0,5': write decimals with"),
        ('label,a\nx,"0,5"\n', ", row 2, column a: must be a number from 0 to 255, got '0,5': write decimals with"),
        ("sep=;\nlabel;a\nx;1\ny;256\n", ", row 4, column a: must be a number from 0 to 255, got '256'"),
        (
            "id,label\n" + "".join(f"{row},x\n" for row in range(300)),
            ", row 258, column id: must be a number from 0 to 255, got '256': an index is no pixel, delete the column",
        ),
        (gzip.compress(b"label,a\nx,1\n", mtime=0)[:-9], ": damaged, it can't be decompressed (Compressed file ended"),
        (
            gzip.compress(b"label,a\nx,0x10\n", mtime=0),
            ", row 2, column a: must be a number in decimal digits, got '0x10'",
        ),
        ("label;a\nx;0x10\n".encode("utf-16"), ", row 2, column a: must be a number in decimal digits, got '0x10'"),
        (b"PK\x03\x04", ": damaged, it can't be decompressed (File is not a zip file): compress the CSV again"),
        (b"PAR1\x15\x04", ": a Parquet file, not a CSV file: save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", ": an Excel workbook, not a CSV file: save it as CSV UTF-8"),
        (b"\x00\x01\x02", ": "),
    ],
)
def test_a_bad_file_is_refused_by_file_row_and_column(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with pytest.raises(ImagesError) as caught:
        images.read(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 200


def test_a_pixel_may_not_be_called_label_where_another_column_is_the_label(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("kind,label\nx,1\n")
    with pytest.raises(ImagesError, match="a pixel column must not be named label where 'kind'"):
        images.read(path, "kind")


@pytest.mark.parametrize("white", [0.7, 1, 3, 65535, 0.1 + 0.2, 1e-5])
def test_a_white_pixel_is_white_after_scaling_too(tmp_path: Path, white: float) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"label,a\nx,0\ny,{white!r}\n")
    scaled = images.read(path, white=white)
    assert scaled["a"].tolist() == [0, 255]
    path.write_text(images.to_csv(scaled))
    assert images.read(path)["a"].tolist() == [0, 255]


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"own\.csv: no such file"):
        images.read(tmp_path / "own.csv")


def zipped(**members: bytes) -> bytes:
    """A zip file with these files in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


COMMAS = "label,a,b\ndog,1,2\ncat,3,4\n"
FORMS = {
    "semicolons": COMMAS.replace(",", ";"),
    "tabs": COMMAS.replace(",", "\t"),
    "bars": COMMAS.replace(",", "|"),
    "blanks around names, labels and numbers": " label , a, b\n dog, 1 ,2\ncat\t, 3, 4\n",
    "everything in quotes": '"label","a","b"\n"dog","1","2"\n"cat","3","4"\n',
    "lines of Windows": COMMAS.replace("\n", "\r\n"),
    "lines of an old Macintosh": COMMAS.replace("\n", "\r"),
    "blank lines": "\n\nlabel,a,b\n\ndog,1,2\n\n\ncat,3,4\n\n",
    "a line sep=": "sep=;\r\n" + COMMAS.replace(",", ";"),
    "a line sep= in quotes": '"sep=\t"\n' + COMMAS.replace(",", "\t"),
    "commas at the end of each row": COMMAS.replace("\n", ",,\n"),
    "UTF-8 with a byte order mark": COMMAS.encode("utf-8-sig"),
    "Excel's Unicode text": COMMAS.replace(",", "\t").encode("utf-16"),
    "UTF-16, big endian": b"\xfe\xff" + COMMAS.encode("utf-16-be"),
    "gz": gzip.compress(COMMAS.encode()),
    "zip": zipped(images=COMMAS.encode()),
    "zip of a Macintosh": zipped(**{"images.csv": COMMAS.encode(), "__MACOSX/._images.csv": b"x"}),
    "gz of UTF-16 with semicolons": gzip.compress(COMMAS.replace(",", ";").encode("utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_csv_is_read_as_the_same_table(tmp_path: Path, form: str) -> None:
    path, content = tmp_path / "own.csv", FORMS[form]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert images.read(path).to_dict("list") == {"label": ["dog", "cat"], "a": [1, 3], "b": [2, 4]}


def test_long_files_are_read_to_their_end_in_every_encoding(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    lines = ["label;a", *(f"käse{row % 7};{row % 256}" for row in range(300_000))]
    for content in ("\n".join(lines).encode("utf-16"), gzip.compress("\n".join(lines).encode(), 1)):
        path.write_bytes(content)
        table = images.read(path)
        assert table["a"].tolist() == [row % 256 for row in range(300_000)]
        assert table["label"].tolist() == [f"käse{row % 7}" for row in range(300_000)]


def test_a_comma_is_a_decimal_one_where_it_cannot_stand_for_thousands(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("label;a;b\nx;0,5;1\ny;100;2,25\n")
    assert images.read(path).to_dict("list") == {"label": ["x", "y"], "a": [0.5, 100], "b": [1, 2.25]}
    with pytest.raises(ImagesError, match=r"row 2, column a: .* 65535 .*, got '0,5': write decimals with a point"):
        images.read(path, white=65535)


def test_labels_keep_their_letters_and_quotes_and_lose_blanks_around_them(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('label,a\n собака ,1\n犬,2\nكلب,3\n"käse, ""alt""",4\n\'x\',5\n1.0,6\n', encoding="utf-8")
    assert images.read(path)["label"].tolist() == ["собака", "犬", "كلب", 'käse, "alt"', "'x'", "1.0"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"train.csv": b"x", "test.csv": b"x"}, "a zip file must have one file in it, got 2"),
        ({"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}, "a spreadsheet, not a CSV file: save it as CSV UTF-8"),
    ],
)
def test_a_zip_that_is_no_compressed_csv_is_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    (tmp_path / "own.csv").write_bytes(zipped(**members))
    with pytest.raises(ImagesError) as caught:
        images.read(tmp_path / "own.csv")
    assert str(caught.value) == f"{tmp_path}/own.csv: {message}"


# --- traps: warnings


def digits(n: int = 40, seed: int = 1) -> pd.DataFrame:
    """Images with a black border, a white frame and two pixels at random."""
    random = np.random.default_rng(seed)
    pixels = {"border": 0, "frame": 255, "p": random.integers(0, 256, n), "q": random.integers(0, 256, n)}
    return pd.DataFrame({"label": ["dog", "cat"] * (n // 2), **pixels})


def warned(train: pd.DataFrame, test: pd.DataFrame | None = None, white: float = 255) -> list[str]:
    """The warnings about two files; the test images are others unless they are given."""
    return checks.warnings([("train.csv", train), ("test.csv", digits(20, 2) if test is None else test)], white)


def test_good_images_give_no_warning(lecture: Path) -> None:
    assert warned(digits()) == []
    assert warned(*(images.read(lecture / f"simple_images_{name}.csv") for name in ("train", "test"))) == []


def scaled(table: pd.DataFrame, most: float) -> pd.DataFrame:
    """The table with pixels up to ``most``."""
    return table.assign(**{name: table[name] / 255 * most for name in table.columns[1:]})


def test_pixels_on_another_scale_than_white_are_one_line_a_file() -> None:
    line = "{}.csv: no pixel is above {}, where white is {}: is data.white right?"
    assert warned(scaled(digits(), 1)) == [line.format("train", 1, 255)]
    assert warned(digits(), scaled(digits(20, 2), 1)) == [line.format("test", 1, 255)]
    assert warned(scaled(digits(), 255 / 257), white=65535) == [line.format("train", 255, 65535)]
    assert warned(digits(), digits(20, 2), white=1) == []


def test_an_index_among_the_pixels_is_one_line_and_does_not_hide_dark_images() -> None:
    line = "train.csv: pixel columns that look like an index: {}: delete columns that are not pixels"
    rows = np.arange(40)
    assert warned(digits().assign(number=rows, even=rows * 2)) == [line.format("number, even")]
    for name in ("id", "Image_ID", "index", "Unnamed: 0"):
        assert warned(digits().assign(**{name: rows[::-1]})) == [line.format(name)]
    assert len(warned(scaled(digits(), 1).assign(id=rows))) == 2
    assert warned(digits(10)[:9].assign(number=rows[:9])) == []  # too few rows to tell
    assert warned(digits().assign(width=rows % 39, grid=rows[::-1])) == []


def test_columns_with_one_value_are_a_line_unless_black_or_white() -> None:
    line = "train.csv: pixel columns with one value, neither black nor white, in all rows: batch"
    assert warned(digits().assign(batch=3)) == [line]
    many = {f"b{column}": 3 for column in range(8)}
    assert warned(digits().assign(**many))[0].endswith(": b0, b1, b2, b3, b4 and 3 more")


def test_images_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(ImagesError, match=r"train\.csv: all images are the same, there is nothing to learn"):
        warned(digits().assign(p=7, q=8))


def test_labels_that_look_the_same_are_one_line() -> None:
    line = "train.csv, test.csv: labels that look the same count as different: {}"
    for label in ("Dog", "d og", "DOG", "'dog'", "ｄog"):
        train = digits()
        train.loc[:3, "label"] = [label, "cat", label, "cat"]
        assert warned(train) == [line.format(f"'dog' (28 rows), {label!r} (2 rows)")]
    one, point = (digits(n, n).replace({"label": {"dog": dog}}) for n, dog in ((40, "1"), (20, "1.0")))
    assert warned(one, point) == [line.format("'1' (20 rows), '1.0' (10 rows)")]


def test_blanks_in_which_labels_differ_are_shown() -> None:
    train = digits()
    train.loc[:3, "label"] = ["d  og", "cat", "d\xa0og", "cat"]
    assert warned(train) == [
        "train.csv, test.csv: labels that look the same count as different: 'dog' (28 rows), 'd  og' (1 row), "
        "'d\\xa0og' (1 row)"
    ]


def test_labels_of_one_file_alone_are_one_line() -> None:
    train = digits()
    train.loc[:5, "label"] = ["bird", "fish"] * 3
    assert warned(train) == ["test.csv: labels that are only in train.csv: 'bird' (3 rows), 'fish' (3 rows)"]


def test_test_images_that_are_in_the_training_set_are_counted() -> None:
    train, test = digits(), digits(20, 2)
    test.iloc[4:7, 1:] = train.iloc[[9, 3, 3], 1:].to_numpy()
    line = "test.csv: {} of 20 images are in train.csv too: accuracy on them says nothing about new images"
    assert warned(train, test) == [line.format(3)]
    assert warned(train.astype({"p": float, "q": float}), test) == [line.format(3)]
    assert warned(train, train[:20]) == [line.format(20)]
