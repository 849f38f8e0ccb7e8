"""The images: made like the lecture's, and every CSV checked when it is read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dognet.data import generate, images
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
        ("label,pixel0,pixel0\nx,1,2\n", ", row 1: two columns have one name: label, pixel0, pixel0"),
        (f"{HEADER}\nx,1,2\ny,1\n", ", row 3: 2 cells where the header has 3"),
        (f"{HEADER}\nx,1,2\ny,1,2,3\n", ", row 3: 4 cells where the header has 3"),
        (f"{HEADER}\nx,1,2\nx,1,\n", ", row 3, column pixel1: empty cell"),
        (f"{HEADER}\nx,1,2\n,1,2\n", ", row 3, column label: empty cell"),
        (f"{HEADER}\nx,1,dog\n", ", row 2, column pixel1: must be a number from 0 to 255, got 'dog'"),
        (f"{HEADER}\nx,1,2\nx,NaN,2\n", ", row 3, column pixel0: must be a number from 0 to 255, got 'NaN'"),
        (f"{HEADER}\nx,1,2\n \t,1,2\n", ", row 3, column label: empty cell"),
        (",label,a\n0,x,1\n", ", row 1: column 1 has no name (pandas writes its index so: index=False)"),
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
        (b"label,a\nx,1\n\xff,1\n", ", row 3: not UTF-8 text (invalid start byte)"),
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
