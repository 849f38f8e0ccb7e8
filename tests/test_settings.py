"""The settings: read from conf/ through Hydra, validated, and all mistakes reported at once."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from conftest import REPOSITORY
from pydantic import TypeAdapter, ValidationError

from dognet.conf import compose
from dognet.errors import UserError
from dognet.project import project_root
from dognet.runs.digest import folder_name
from dognet.settings import (
    Data,
    GivenSettings,
    Settings,
    SettingsError,
    TrainingSettings,
    all_settings,
    describe_error,
)
from dognet.study import read_study
from dognet.sweep.grid import for_hydra, points_of

SHA = "0123456789abcdef" * 4
LECTURE: dict[str, Any] = {
    "kind": "lecture",
    "positive": "a",
    "url": "u",
    "rev": "r",
    "train_sha256": SHA,
    "test_sha256": SHA,
}
CONF = "<conf/config.yaml>"
DATA_FILE, METHOD_FILE = (
    f"{group} must be the name of a file in conf/{group}/, as in {group}={name} (letters, digits, _ - and ., no .yaml)"
    for group, name in (("data", "generated"), ("method", "gradient_descent"))
)
LABELS = [
    "yes",
    "no",
    "on",
    "true",
    "null",
    "007",
    "1e5",
    "1",
    "1.0",
    "0x10",
    "~",
    "Fläche",
    "x(1)",
    "it's",
    r"a\b",
    "%",
]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(REPOSITORY / "conf", tmp_path / "conf"))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def refused(*words: str) -> list[str]:
    """The lines with which these words, or conf/ without any, are refused."""
    with pytest.raises(SettingsError) as caught:
        composed(*words)
    return str(caught.value).splitlines()


def composed(*words: str) -> Settings:
    return compose(Path(), for_hydra(words, Path(), multirun=False))


def swept(*words: str) -> list[Settings]:
    return [settings for _, settings in points_of(for_hydra(words, Path(), multirun=True), Path())]


# --- conf/


def test_conf_holds_the_lectures_settings() -> None:
    settings = compose(REPOSITORY)
    assert (settings.hiddenNodes, settings.stepSize, settings.ITERS, settings.seed) == (4, 0.3, 10_000, 123)
    assert (settings.dtype, settings.source) == ("float64", "generated")


@pytest.mark.parametrize("source", ["generated", "lecture", "csv"])
def test_each_source_of_images_loads(conf: Path, source: str) -> None:
    replace(conf / "config.yaml", "data: generated ", f"data: {source} ")
    settings = compose(Path())
    assert settings.source == settings.data.kind == source


def test_every_setting_is_written_in_conf_and_has_a_meaning() -> None:
    files = (yaml.safe_load((REPOSITORY / "conf" / name).read_text()) for name in ("config.yaml", "execution.yaml"))
    training, execution = files
    assert set(training) - {"defaults"} == set(TrainingSettings.model_fields) - {"method"}  # has files in conf/method/
    assert set(execution) == GivenSettings.model_fields.keys() - TrainingSettings.model_fields.keys() - {"data"}
    for name, field in all_settings().items():
        assert field.description or name == "data", name


# --- bounds


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LECTURE | {"train_sha256": "abc"}, "data.train_sha256 must be 64 hex digits, got 'abc'"),
        (LECTURE | {"seed": 3}, "data.seed is no setting of lecture data, got 3"),
        ({k: v for k, v in LECTURE.items() if k != "test_sha256"}, "data.test_sha256 must be given: 64 hex digits"),
        ({"kind": "generated", "positive": "a", "train_rows": 9, "test_rows": 10}, "data.train_rows must be a whole"),
        ({"positive": "a"}, "data.kind must be given: generated, lecture or csv"),
        ({"kind": "dog"}, "data.kind must be generated, lecture or csv, got 'dog'"),
    ],
)
def test_settings_of_the_images_are_validated(data: dict[str, Any], message: str) -> None:
    values = compose(REPOSITORY).model_dump() | {"data": data}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    assert message in "\n".join(describe_error(caught.value))


@pytest.mark.parametrize("study", ["", ".", "..", "../x", "/x", "a/b", "a\0b", "-x", "a b", "ä", "x" * 101, ".hidden"])
def test_a_study_cannot_leave_its_folder(study: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(compose(REPOSITORY).model_dump() | {"study": study})
    assert describe_error(caught.value)[0].startswith("study must be a plain name: ")


def test_all_mistakes_are_reported_at_once(conf: Path) -> None:
    replace(conf / "config.yaml", "hiddenNodes: 4 ", "hiddenNodes: 0 ")
    replace(conf / "execution.yaml", "force: false", "force: maybe")
    replace(conf / "data" / "generated.yaml", "train_rows: 4000", "train_rows: 4")
    expected = [
        "hiddenNodes must be a whole number from 1 to 100000, got 0",
        "data.train_rows must be a whole number from 10 to 10^8, got 4",
        "force must be true or false, got 'maybe'",
    ]
    assert refused() == expected
    assert refused("hiddenNodes=-1", "seed=x", "data.white=3") == [
        "hiddenNodes must be a whole number from 1 to 100000, got -1",
        "seed must be a whole number from 0 to 10^15, got 'x'",
        expected[1],
        "data.white is no setting of generated data, got 3",
        expected[2],
    ]
    assert refused("hidenNodes=3", "lr=1", "data.sed=3") == [
        "no setting hidenNodes: did you mean hiddenNodes?",
        "no setting lr: did you mean stepSize?",
        "no setting data.sed: did you mean data.seed?",
        *expected,
    ]


@pytest.mark.usefixtures("conf")
def test_a_word_that_can_not_be_used_causes_no_further_messages() -> None:
    assert refused("method.name=random_weights", "method.batchSize=8") == [
        "method.name=random_weights: the name is set by a file in conf/method/, which method=<name> chooses"
    ]
    assert refused("data.kind=csv", "data.train=a", "data.white=1") == [
        "data.kind=csv: the kind is set by a file in conf/data/, which data=<name> chooses"
    ]
    assert refused("method=mini/batches", "method.batchSize=8") == [f"{METHOD_FILE}, got 'mini/batches'"]
    assert refused("method=minibatches", "method.batchSize=8,16") == [
        "method.batchSize=8,16 gives several values: "
        "a sweep needs --multirun, as in dognet --multirun method.batchSize=8,16"
    ]
    assert refused("seed") == ["'seed' is not a setting: write name=value, as in seed=7"]
    assert refused("foo=1", "foo=1", "experiment=nope", "seed=-1") == [
        "experiment=nope: no such study, no study has a file: experiments/<study>/study.yaml",
        refused("foo=1")[0],
        "seed must be a whole number from 0 to 10^15, got -1",
    ]


@pytest.mark.usefixtures("conf")
def test_all_mistakes_of_a_sweep_are_reported_at_once() -> None:
    def refused_sweep(*words: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            swept(*words)
        return str(caught.value).splitlines()

    assert refused_sweep(
        "foo=1", "seed=range(0)", "method=minibatches,random_weights", "method.size=1", "ITERS=0,-1"
    ) == [
        refused("foo=1")[0],
        "seed=range(0): it has no value, so there is no run",
        "ITERS must be a whole number from 0 to 10^15, got -1 (2 of 4 runs, the first method=minibatches ITERS=-1)",
        "method.size is no setting of method=minibatches,random_weights",
    ]
    assert refused_sweep("data=1,2", "seed='',3", "method=gradient_descent,{a:1}", "stepSize=0") == [
        f"{DATA_FILE}, got 1",
        "seed=,3: one of the values is empty",
        f"{METHOD_FILE}, got {{'a': 1}}",
        "stepSize must be a positive finite number, got 0",
    ]
    assert refused_sweep("data=generated,nope", "seed=1,2", "lr=1") == [
        "no setting lr: did you mean stepSize?",
        "data=nope: no such option, there are csv, generated, lecture (2 of 4 runs, the first data=nope seed=1)",
    ]


@pytest.mark.usefixtures("conf")
def test_a_mistake_in_a_name_hides_none_in_a_value() -> None:
    assert refused("stepsize=1", "hiddenNodes=0", "seed=1,2", "method.batchSize=8") == [
        "no setting stepsize: did you mean stepSize?",
        "seed=1,2 gives several values: a sweep needs --multirun, as in dognet --multirun seed=1,2",
        "hiddenNodes must be a whole number from 1 to 100000, got 0",
        "method.batchSize is no setting of method=gradient_descent",
    ]
    assert refused("method=minibatches", "method.batchSize=0", "method.momentum=1.5", "method.size=3", "ITERS=x") == [
        "ITERS must be a whole number from 0 to 10^15, got 'x'",
        "method.batchSize must be a whole number of at least 1, got 0",
        "method.momentum must be a number from 0 to below 1, got 1.5",
        "method.size is no setting of method=minibatches: did you mean method.batchSize?",
    ]
    assert refused("method=minibatches", "method.batchsize=8", "method.momentun=0") == [
        "method.batchsize is no setting of method=minibatches: did you mean method.batchSize?",
        "method.momentun is no setting of method=minibatches: did you mean method.momentum?",
    ]
    assert refused("data=nope", "method=nope", "hiddenNodes=0") == [
        "data=nope: no such option, there are csv, generated, lecture",
        "method=nope: no such option, there are gradient_descent, minibatches, random_weights",
        "hiddenNodes must be a whole number from 1 to 100000, got 0",
    ]
    assert refused("method=random_weights", "stepSize=1", "seed=-1") == [
        "seed must be a whole number from 0 to 10^15, got -1",
        "stepSize is no setting of method=random_weights",
    ]
    assert refused("foo=1") == [
        "no setting foo: there are hiddenNodes, stepSize, ITERS, seed, method, dtype, data, study, force, plan, "
        "threads, tracking_uri, data.… and method.…"
    ]


# --- mistakes in files


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "a: [", f"{CONF}: while parsing a flow node "),
        ("config.yaml", "seed: 3", f"{CONF}: seed appears twice in "),
        ("config.yaml", "stepsize: 0.1", "no setting stepsize: did you mean stepSize?"),
        ("config.yaml", "source: elsewhere", "no setting source: "),
        ("config.yaml", "usual_positive: false", "no setting usual_positive: "),
        ("data/generated.yaml", "train_row: 3", "no setting data.train_row: did you mean data.train_rows?"),
        ("data/generated.yaml", None, "data=generated: no such option, there are csv, lecture"),
        ("config.yaml", None, f"{CONF}: [Errno 2] No such file"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(conf: Path, file: str, content: str | None, message: str) -> None:
    path = conf / file
    if content is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + content + "\n")
    (line,) = refused()
    assert line.startswith(message.replace(CONF, str(conf / "config.yaml")))


@pytest.mark.parametrize(
    "defaults",
    ["3", "[3, schema]", "[execution, seed: 1]", "[]", "[execution, optional data: csv]", "[execution, data: csv]"],
)
def test_a_conf_without_images_is_reported(conf: Path, defaults: str) -> None:
    (conf / "config.yaml").write_text(f"defaults: {defaults}")
    (line,) = refused()
    assert line.startswith(f"{conf / 'config.yaml'}: second and third of the defaults must be images and method: ")


def test_a_conf_that_contains_itself_is_reported(conf: Path) -> None:
    (conf / "config.yaml").write_text("defaults: &a [*a]")
    (line,) = refused()
    assert line.startswith(f"{conf / 'config.yaml'}: found unconstructable recursive node")


@pytest.mark.parametrize("content", ["", "3", "[seed]"])
def test_a_conf_that_holds_no_settings_is_reported(conf: Path, content: str) -> None:
    (conf / "config.yaml").write_text(content)
    assert refused() == [f"{conf / 'config.yaml'}: not a list of settings, one name: value a line"]


@pytest.mark.parametrize("name", ["../x", "../../conf/data/generated", "/x", "a/b", ""])
def test_the_file_of_the_images_cannot_lie_elsewhere(conf: Path, name: str) -> None:
    (conf / "data" / "a").mkdir()
    shutil.copy(conf / "data" / "generated.yaml", conf / "data" / "a" / "b.yaml")
    replace(conf / "config.yaml", "data: generated ", f"data: {name} ")
    assert refused() == [f"{DATA_FILE}, got {name!r}"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stepSize: 0.3 ", "stepSize: high ", "stepSize must be a positive finite number, got 'high'"),
        ("stepSize: 0.3 ", "stepSize: .nan ", "stepSize must be a positive finite number, got nan"),
        ("ITERS: 10000 ", "", "ITERS must be given: a whole number from 0 to 10^15"),
        ("seed: 123 ", "seed: ", "seed must be a whole number from 0 to 10^15, got null"),
        ("seed: 123 ", "seed: true ", "seed must be a whole number from 0 to 10^15, got True"),
        ("stepSize: 0.3 ", "stepSize: no ", "stepSize must be a positive finite number, got False"),
    ],
)
def test_a_faulty_line_is_reported_with_its_setting(conf: Path, old: str, new: str, message: str) -> None:
    replace(conf / "config.yaml", old, new)
    assert refused() == [message]


def test_yaml_in_conf_cannot_run_code(conf: Path) -> None:
    path = conf / "config.yaml"
    path.write_text(path.read_text() + "evil: !!python/object/apply:os.mkdir [ran]\n")
    assert refused()
    assert not Path("ran").exists()


# --- text is taken as written


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_taken_as_written(conf: Path, label: str) -> None:
    assert composed(f"data.positive={label}").data.positive == label
    one, other = swept(f"data.positive={label},x")
    assert (one.data.positive, other.data.positive) == (label, "x")
    assert swept(f"data.positive=choice({label},x)")[0].data.positive == label


@pytest.mark.parametrize("label", ["yes", "no", "on", "true", "007", "1e5", "1"])
def test_a_label_in_a_file_is_taken_as_written(conf: Path, label: str) -> None:
    replace(conf / "data" / "generated.yaml", "positive: checkerboard ", f"positive: {label} ")
    assert compose(Path()).data.positive == label
    path = Path("experiments", "own", "study.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(f"ITERS: 3\nhydra: {{sweeper: {{params: {{data.positive: '{label}, x'}}}}}}\n")
    assert [each.data.positive for each in swept(*read_study(path).words())] == [label, "x"]
    path.write_text(f"hydra:\n  sweeper:\n    params:\n      data.positive: {label}\n      seed: 1,2\n")
    assert {each.data.positive for each in swept(*read_study(path).words())} == {label}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ITERS: 3\nITERS: 4\nhydra: {sweeper: {params: {seed: '1,2'}}}\n", "ITERS"),
        ("hydra: {sweeper: {params: {seed: '1,2', seed: 3}}}\n", "seed"),
        ("seed: 9\nhydra: {sweeper: {params: {seed: '1,2'}}}\n", "seed"),
    ],
)
def test_what_a_study_says_twice_is_refused(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "own" / "study.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=f"study.yaml: .*{name} appears twice"):
        read_study(path)


@pytest.mark.parametrize(
    "text", ["ITERS:\n" + "hydra: {sweeper: {params: {seed: 1}}}", "hydra: {sweeper: {params: {seed: '1,'}}}"]
)
def test_an_empty_or_cut_value_of_a_study_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own" / "study.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=r"study.yaml: \w+ must be a plain value"):
        read_study(path)


def test_the_question_of_a_study_may_stand_behind_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "own" / "study.yaml"
    path.parent.mkdir()
    path.write_text("# Why?\nhydra: {sweeper: {params: {seed: 1}}}\n", encoding="utf-8-sig")  # as Notepad may write it
    assert read_study(path).question == "Why?"


@pytest.mark.parametrize("group", ["data", "method"])
def test_a_file_in_conf_is_named_without_its_ending(conf: Path, group: str) -> None:
    name = {"data": "generated", "method": "minibatches"}[group]
    message = {"data": DATA_FILE, "method": METHOD_FILE}[group]
    assert refused(f"{group}={name}.yaml") == [f"{message}, got '{name}.yaml'"]
    usual = {"data": "generated", "method": "gradient_descent"}[group]
    replace(conf / "config.yaml", f"{group}: {usual} ", f"{group}: {usual}.yaml ")
    assert refused() == [f"{message}, got '{usual}.yaml'"]


def test_a_strange_name_of_a_file_is_named_as_the_setting_that_gives_it(conf: Path) -> None:
    shutil.copy(conf / "data" / "generated.yaml", conf / "data" / "my data.yaml")
    assert refused("data=my data") == [f"{DATA_FILE}, got 'my data'"]


@pytest.mark.parametrize("text", ["a/b", "../../../elsewhere", "it's", "50%", "50%25"])
def test_any_text_of_a_setting_names_one_folder(text: str) -> None:
    class Own(Settings):
        def training(self, *, defaults: bool = True) -> dict[str, Any]:
            return super().training(defaults=defaults) | {"note": text}

    name = folder_name(Own.model_validate(compose(REPOSITORY).model_dump()))
    assert unquote(name) == f"hiddenNodes=4,stepSize=0.3,ITERS=10000,seed=123,note={text}"
    assert not set("/'") & set(name)


def test_text_with_commas_is_one_value_where_there_is_no_sweep_and_in_quotes(conf: Path) -> None:
    assert composed("data=csv", "data.train=a=b,c").data.model_dump()["train"] == "a=b,c"
    assert [each.data.positive for each in swept("data.positive='a,b',c")] == ["a,b", "c"]


@pytest.mark.parametrize("name", ["data", "data.seed", "method", "method.shrink", "method.p"])
def test_a_study_may_sweep_the_settings_of_images_and_method(tmp_path: Path, name: str) -> None:
    path = tmp_path / "experiments" / "own" / "study.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"hydra: {{sweeper: {{params: {{{name}: '1,2'}}}}}}\n")
    assert read_study(path).swept == {name: "1,2"}
    path.write_text(f"{name}: 1\nhydra: {{sweeper: {{params: {{ITERS: '1,2'}}}}}}\n")
    assert read_study(path).fixed == {name: "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("itters: 3\nhydra: {sweeper: {params: {seed: 1}}}", "no setting itters: did you mean ITERS?"),
        ("force: true\nhydra: {sweeper: {params: {seed: 1}}}", "force is not a setting of a study: the command line"),
        ("hydra: {sweeper: {params: {seed: 1}}, launcher: joblib}", "a study has its grid under hydra.sweeper.params,"),
        ("solved: 2\nhydra: {sweeper: {params: {seed: 1}}}", "solved must be a test accuracy above 0 and at most 1"),
    ],
)
def test_what_does_not_belong_into_a_study_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own" / "study.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=f"study.yaml: {re.escape(message)}"):
        read_study(path)


def test_a_study_and_a_path_are_taken_as_written_too(conf: Path) -> None:
    replace(conf / "execution.yaml", "study: adhoc ", "study: 007 ")
    assert composed().study == "007"
    assert composed("study=1e5", "tracking_uri=~/x").tracking_uri == "~/x"
    assert composed("tracking_uri=", "threads=").tracking_uri is None
    replace(conf / "data" / "csv.yaml", "label: label ", "label: on ")
    data = composed("data=csv", "data.train=~/Zähler/x.csv").data.model_dump()
    assert (data["label"], data["train"]) == ("on", "~/Zähler/x.csv")


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize("word", ["stepSize=${seed}", "stepSize=${seed},1", "hydra.launcher.n_jobs=${oc.env:N}"])
def test_a_word_is_taken_as_it_stands(word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        swept(word, "seed=1,2")
    assert str(caught.value) == f"{word}: ${{…}} is not replaced here, write the value itself"


def test_nothing_is_filled_in_into_text(conf: Path) -> None:
    assert refused("data.positive=${seed}") == [
        "data.positive=${seed}: ${…} is not replaced here, write the value itself"
    ]


def test_an_edit_of_conf_is_seen_at_once(conf: Path) -> None:
    assert composed("data=csv").source == "csv"
    replace(conf / "data" / "csv.yaml", "white: 255 ", "white: 1.0 ")
    assert composed("data=csv").source == "csv"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("csv", ["data.white=255", "data.white=255.0", "data.white=2.55e2", "data.white=255."]),
        ("generated", ["data.seed=33", "data.seed=3.3e1", "data.seed=33.0", "data.train_rows=4e3"]),
        ("generated", ["data.positive=triangle", "data.positive='triangle'"]),
    ],
)
def test_the_same_images_have_the_same_folder_however_they_are_spelled(conf: Path, data: str, words: list[str]) -> None:
    assert {composed(f"data={data}", word).source for word in words} == {data}
    assert composed(f"data={data}", "data.positive=other").source == data
    replace(conf / "data" / "csv.yaml", "white: 255 ", "white: 255.0 ")
    replace(conf / "data" / "generated.yaml", "seed: 33 ", "seed: 3.3e1 ")
    assert {composed(f"data={data}", word).source for word in words} == {data}
    others = (
        {composed(f"data={data}", word).source for word in ("data.white=1", "data.white=1.0")} if data == "csv" else 1
    )
    assert others == 1 or len(others) == 1


def test_whole_numbers_may_be_written_with_an_exponent(conf: Path) -> None:
    assert composed("ITERS=1e4").ITERS == 10_000
    assert [each.ITERS for each in swept("ITERS=1e2,1e3")] == [100, 1000]
    replace(conf / "config.yaml", "ITERS: 10000 ", "ITERS: 1e3 ")
    assert compose(Path()).ITERS == 1000


# --- where a value comes from


def test_a_group_of_the_users_own_is_refused(conf: Path) -> None:
    (conf / "size").mkdir()
    (conf / "size" / "small.yaml").write_text("# @package _global_\nhiddenNodes: 2\n")
    replace(conf / "config.yaml", "- _self_\n", "- _self_\n- size: small\n")
    (line,) = refused()
    assert line.startswith("hiddenNodes=2 differs from 4 in the file that dvc repro reads: ")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("config.yaml", "- _self_\n", "- optional local: default\n- _self_\n", "local={'x': 1} comes from a file that"),
        ("config.yaml", "- _self_\n", "- _self_\n- local@_global_: own\n", "seed=7 differs from 123 in the file that "),
        ("config.yaml", "dtype:", "data:\n  seed: 5\ndtype:", "data.seed=5 differs from 33 in the file that dvc "),
        ("config.yaml", "dtype:", "data: {white: 5}\ndtype:", "data.white=5 comes from a file that dvc repro does not"),
        ("config.yaml", "dtype:", "study: own\ndtype:", "study=own differs from adhoc in the file"),
        ("config.yaml", "seed: 123 ", "seed: ${oc.env:SEED,123} ", "seed: ${oc.env:SEED,123} must be a plain value: "),
        ("config.yaml", "seed: 123 ", "seed: ${ITERS} ", "seed: ${ITERS} must be a plain value: "),
        ("execution.yaml", "threads: ", "threads: ${oc.env:N,1} ", "threads: ${oc.env:N,1} must be a plain value: "),
        ("data/generated.yaml", "seed: 33 ", "seed: ${oc.env:SEED,33} ", "data.seed: ${oc.env:SEED,33} must be a "),
        ("data/generated.yaml", "seed: 33 ", "seed: ${seed} ", "data.seed: ${seed} must be a plain value: "),
        ("data/generated.yaml", "positive: checkerboard ", "positive: a${seed} ", "data.positive: a${seed} must be a "),
        ("data/generated.yaml", "kind:", "# @package _global_\nkind:", ""),
        ("data/generated.yaml", "kind:", "defaults: [csv, _self_]\nkind:", ""),
        (
            "data/generated.yaml",
            "kind:",
            "defaults: [_self_, /local@_here_: own]\nkind:",
            "data.seed=7 differs from 33 in the file",
        ),
        (
            "config.yaml",
            "- _self_\n",
            "- _self_\n- override data: csv\n",
            "data=csv differs from generated in the file that dvc repro",
        ),
        ("execution.yaml", "study:", "seed: 9\nstudy:", "seed=123 differs from 9 in the file that dvc repro reads: "),
        ("execution.yaml", "# How a", "# @package x\n# How a", ""),
    ],
)
def test_a_value_that_dvc_does_not_see_is_refused(conf: Path, file: str, old: str, new: str, message: str) -> None:
    (conf / "local").mkdir()
    (conf / "local" / "default.yaml").write_text("x: 1\n")
    (conf / "local" / "own.yaml").write_text("seed: 7\n")
    replace(conf / file, old, new)
    lines = refused()
    assert lines[0].startswith(message)
    assert len(lines) == 1 or not message


def test_an_optional_file_that_is_not_there_is_no_fault(conf: Path) -> None:
    replace(conf / "config.yaml", "- _self_\n", "- optional local: default\n- _self_\n")
    assert compose(Path()).seed == 123


def test_what_the_command_line_gives_need_not_be_in_a_file(conf: Path) -> None:
    (conf / "local").mkdir()
    (conf / "local" / "default.yaml").write_text("# @package _global_\nseed: 7\n")
    replace(conf / "config.yaml", "- _self_\n", "- _self_\n- local: default\n")
    assert composed("seed=9").seed == 9
    assert refused("ITERS=9")[0].startswith("seed=7 differs from 123 in the file that dvc repro reads: ")


# --- the root


def test_the_root_is_given_by_dvc_or_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with pytest.raises(UserError, match="no project here or above"):
        project_root()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").touch()
    assert project_root() == Path(os.path.realpath(tmp_path))
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert project_root() == Path("/elsewhere")


def test_the_three_kinds_of_images_are_told_apart_by_their_kind() -> None:
    assert TypeAdapter(Data).validate_python(LECTURE).kind == "lecture"
