"""The settings as they stand in conf/: read, checked, and every fault told at once."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from dognet import config
from dognet.config import Config, ConfigError, Data

SHA = "0123456789abcdef" * 4
LECTURE: dict[str, Any] = {"kind": "lecture", "positive": "a", "train_sha256": SHA, "test_sha256": SHA}
VALUES: dict[str, Any] = {
    "hiddenNodes": 2,
    "stepSize": 0.5,
    "ITERS": 3,
    "seed": 0,
    "dtype": "float32",
    "study": "a-study_1.2",
}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY / "conf", tmp_path / "conf"))


def test_the_lectures_settings_stand_in_conf() -> None:
    loaded = config.load(REPOSITORY)
    assert (loaded.hiddenNodes, loaded.stepSize, loaded.ITERS, loaded.seed) == (4, 0.3, 10_000, 123)
    assert (loaded.dtype, loaded.source) == ("float64", "generated")


@pytest.mark.parametrize("source", ["generated", "lecture", "csv"])
def test_each_source_of_images_loads(conf: Path, source: str) -> None:
    path = conf / "config.yaml"
    path.write_text(path.read_text().replace("data: generated", f"data: {source}"))
    assert config.load(conf.parent).source == config.load(conf.parent).data.kind == source


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LECTURE | {"train_sha256": "abc"}, "data.train_sha256 must be 64 hex digits, or nothing, got 'abc'"),
        (LECTURE | {"seed": 3}, "data.seed is no setting of lecture data, got 3"),
        ({"kind": "lecture", "positive": "a", "train_sha256": SHA}, "data.test_sha256 must be given for lecture data"),
        ({"kind": "generated", "positive": "a", "train_rows": 9, "test_rows": 10}, "data.train_rows must be a whole"),
        ({"positive": "a"}, "data.kind must be given: generated, lecture or csv"),
    ],
)
def test_settings_of_the_images_are_checked(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**VALUES, data=Data(**data))
    assert message in str(caught.value)


@pytest.mark.parametrize("study", ["", ".", "..", "../x", "/x", "a/b", "a\0b", "-x", "a b", "ä", "x" * 101, ".hidden"])
def test_a_study_cannot_leave_its_folder(study: str) -> None:
    with pytest.raises(ConfigError, match="study must be a plain name"):
        Config(**VALUES | {"study": study}, data=Data(**LECTURE))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**VALUES | {"hiddenNodes": 0, "ITERS": -1}, data=Data(**LECTURE))
    assert str(caught.value).count(" must be ") == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "a: [", "conf/config.yaml: while parsing"),
        ("config.yaml", "seed: 3", "conf/config.yaml: while constructing a mapping"),
        ("config.yaml", "stepsize: 0.1", "conf/config.yaml: no setting stepsize: did you mean stepSize?"),
        (
            "data/generated.yaml",
            "train_row: 3",
            "conf/data/generated.yaml: no setting data.train_row: did you mean data.train_rows?",
        ),
        ("data/generated.yaml", None, "conf/data/generated.yaml: "),
        ("config.yaml", None, "conf/config.yaml: "),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_name(
    conf: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | None, message: str
) -> None:
    monkeypatch.chdir(conf.parent)
    path = conf / file
    if content is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + content + "\n")
    with pytest.raises(ConfigError) as caught:
        config.load(Path())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the defaults must name the images, as in - data: generated"),
        ("3", "Invalid loaded object type: int"),
        ("[seed]", "the defaults must name the images, as in - data: generated"),
        ("defaults: 3", "the defaults must name the images, as in - data: generated"),
        ("defaults: [3, schema]", "the defaults must name the images, as in - data: generated"),
        ("defaults: [data: ]", "the defaults must name the images, as in - data: generated"),
        ("defaults: &a [*a]", "maximum recursion depth exceeded"),
    ],
)
def test_a_conf_without_images_is_told(conf: Path, content: str, message: str) -> None:
    (conf / "config.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        config.load(conf.parent)
    assert str(caught.value).startswith(f"{conf / 'config.yaml'}: {message}")
    assert "\n" not in str(caught.value)


def test_the_images_in_conf_cannot_lie_elsewhere(conf: Path) -> None:
    (conf / "config.yaml").write_text("defaults: [data: ../x]")
    with pytest.raises(ConfigError, match=r"^data must be a plain name: .*, got '\.\./x'$"):
        config.load(conf.parent)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("force: false", "force: maybe", "conf/config.yaml: force must be true or false, got 'maybe'"),
        ("ITERS: 10000 ", "", "conf/config.yaml: ITERS must be given: a whole number from 0 to 10^15"),
    ],
)
def test_a_faulty_line_is_told_with_its_setting(
    conf: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    monkeypatch.chdir(conf.parent)
    path = conf / "config.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        config.load(Path())
    assert str(caught.value) == message


def test_a_word_where_a_number_belongs_is_told(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(conf.parent)
    path = conf / "config.yaml"
    path.write_text(path.read_text().replace("stepSize: 0.3", "stepSize: high"))
    with pytest.raises(ConfigError, match=r"^conf/config.yaml: stepSize must be a positive finite number, got 'high'$"):
        config.load(Path())


def test_yaml_in_conf_cannot_run_code(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(conf.parent)
    path = conf / "config.yaml"
    path.write_text(path.read_text() + "evil: !!python/object/apply:os.mkdir [ran]\n")
    with pytest.raises(ConfigError):
        config.load(Path())
    assert not Path("ran").exists()


def test_every_setting_of_the_schema_stands_in_conf_and_no_value_in_the_schema() -> None:
    written = yaml.safe_load((REPOSITORY / "conf" / "config.yaml").read_text())
    names = {field.name for field in dataclasses.fields(Config)} - {"data", "source"}
    assert names == set(written) - {"defaults"}


def test_the_root_is_told_by_dvc_or_found_upwards_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert config.project_root() == Path(os.path.realpath(inner))
    (tmp_path / "dvc.yaml").touch()
    assert config.project_root() == Path(os.path.realpath(tmp_path))
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert config.project_root() == Path("/elsewhere")
