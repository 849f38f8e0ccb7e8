"""The command `dognet`: what one run shows and writes, how a mistake is put, help, completion and signals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Run, edit, environment, run_in, with_forks

from dognet.runs.folder import ended_runs, read_run


def test_one_run_ends_with_its_figures_and_its_folder(run: Run, project: Path) -> None:
    answer = run("dognet", "hiddenNodes=8", "ITERS=300", "tracking_uri=none")
    lines = answer.stdout.splitlines()
    folder = project / lines[-1]
    assert folder.name == "hiddenNodes=8,stepSize=0.3,ITERS=300,seed=123"
    finished = read_run(folder)
    assert finished.finished
    assert lines[1].split() == [
        "train",
        f"{finished.figures.train_loss:.4g}",
        f"{finished.figures.train_accuracy:.4f}",
    ]
    assert finished.settings.hiddenNodes == 8
    assert finished.manifest.overrides == ("hiddenNodes=8", "ITERS=300")
    assert [path.name for path in project.glob("[!.]*") if path.suffix in {".log", ".yaml"}] == ["dvc.yaml"]


def test_the_same_command_again_trains_nothing_unless_forced(run: Run, project: Path) -> None:
    words = ("dognet", "ITERS=200", "tracking_uri=none")
    folder = project / run(*words).stdout.splitlines()[-1]
    written = (folder / "run.json").stat().st_mtime_ns
    assert ", already trained\n" in run(*words).stdout
    assert (folder / "run.json").stat().st_mtime_ns == written
    run(*words, "force=true")
    assert (folder / "run.json").stat().st_mtime_ns > written


def test_a_run_is_found_from_any_folder_of_the_project(run: Run, project: Path) -> None:
    run("dognet", "ITERS=0", "tracking_uri=none", cwd=project / "src" / "dognet")
    assert list((project / "experiments" / "adhoc" / "runs").iterdir())
    assert not (project / "src" / "dognet" / "experiments").exists()


def test_a_longer_run_resumes_from_a_shorter_one_to_the_same_files(run: Run, project: Path) -> None:
    words = ("dognet", "tracking_uri=none")
    run(*words, "ITERS=137")
    run(*words, "ITERS=400")
    run(*words, "ITERS=400", "study=alone")
    resumed, alone = (
        read_run(project / "experiments" / study / "runs" / "hiddenNodes=4,stepSize=0.3,ITERS=400,seed=123")
        for study in ("adhoc", "alone")
    )
    assert resumed.manifest.continued_from == "hiddenNodes=4,stepSize=0.3,ITERS=137,seed=123"
    assert alone.manifest.continued_from is None
    assert resumed.manifest.sha256 == alone.manifest.sha256


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hidenNodes=3", "no setting hidenNodes: did you mean hiddenNodes?"),
        ("data.sed=3", "no setting data.sed: did you mean data.seed?"),
        ("+foo=1", "no setting foo"),
        ("hiddenNodes=x", "hiddenNodes must be a whole number from 1 to 100000, got 'x'"),
        ("hiddenNodes=2.5", "hiddenNodes must be a whole number from 1 to 100000, got 2.5"),
        ("hiddenNodes=0", "hiddenNodes must be a whole number from 1 to 100000, got 0"),
        ("hiddenNodes=", "'hiddenNodes=' is cut in two: write no blanks around = and after commas"),
        ("hiddenNodes=99999999999999999999", "hiddenNodes must be a whole number from 1 to 100000, got 9999999999999"),
        ("stepSize=-1", "stepSize must be a positive finite number, got -1"),
        ("stepSize=nan", "stepSize must be a positive finite number, got nan"),
        ("stepSize=1e999", "stepSize must be a positive finite number, got inf"),
        ("ITERS=-1", "ITERS must be a whole number from 0 to 10^15, got -1"),
        ("seed=-1", "seed must be a whole number from 0 to 10^15, got -1"),
        ("seed=null", "seed must be a whole number from 0 to 10^15, got null"),
        ("~seed", "'~seed' is not a setting: write name=value"),
        ("dtype=float16", "dtype must be float64 or float32, got 'float16'"),
        ("study=../x", "study must be a plain name: letters, digits, _ - and . inside, got '../x'"),
        ("study=/x", "study must be a plain name: letters, digits, _ - and . inside, got '/x'"),
        ("data=foo", "data=foo: no such option, there are csv, generated, lecture"),
        ("force=maybe", "force must be true or false, got 'maybe'"),
        ("data.positive=null", "data/generated/train.csv: no row with label 'null' (data.positive)"),
        ("data=3", "data must be the name of a file in conf/data/, as in data=generated (letters, "),
        ("data=[1,2]", "data must be the name of a file in conf/data/, as in data=generated ("),
        ("data.white=3", "data.white is no setting of generated data, got 3"),
        ("data.kind=dog", "data.kind=dog: the kind is set by a file in conf/data/, which data=<name> chooses"),
        ("data.positive=${seed}", "data.positive=${seed}: ${…} is not replaced here, write the value itself"),
        ("data.positive=dog", "data/generated/train.csv: no row with label 'dog' (data.positive)"),
        ("data.train_rows=3", "data.train_rows must be a whole number from 10 to 10^8, got 3"),
        ("hiddenNodes=1,2", "hiddenNodes=1,2 gives several values: a sweep needs --multirun"),
        ("hiddenNodes", "'hiddenNodes' is not a setting: write name=value, as in seed=7"),
        ("hiddenNodes=[1", "'hiddenNodes=[1' can't be read: close brackets and quotes, as in 'seed=range(5)'"),
        ("stepSize=0,3", "stepSize=0,3 gives two values: a decimal number has a point, as in stepSize=0.3"),
        ("+experiment=width", "experiment=width is a study of many runs: dognet --multirun experiment=width"),
        ("width", "width is a study: dognet --multirun experiment=width"),
        (
            "hiddenNodes=2,",
            "'hiddenNodes=2,' is cut in two: write no blanks around = and after commas, as in seed=1,2",
        ),
        ("--hiddenNodes", "--hiddenNodes: no such option: settings are written name=value"),
        ("lr=0.1", "no setting lr: did you mean stepSize?"),
        ("iters=3", "no setting iters: did you mean ITERS?"),
        ("study=pipeline", "study=pipeline is the run of dvc repro: choose another name"),
        ("hydra/launcher=foo", "hydra/launcher=foo: no such option, there are "),
        ("plan=true", "plan=true says what a sweep would train: dognet --multirun … plan=true"),
        ("data=../data/generated", "data must be the name of a file in conf/data/, as in data=generated ("),
        (
            "hydra.run.dir=x",
            "hydra.run.dir=x: of Hydra's own settings, only hydra/launcher and hydra.launcher.… may be set",
        ),
    ],
)
def test_a_mistake_is_one_line(run: Run, project: Path, override: str, message: str) -> None:
    answer = run("dognet", override, check=False)
    assert answer.stderr.startswith(f"dognet: {message}")
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
    assert answer.returncode == 1


def test_a_file_in_conf_that_is_not_yaml_is_one_line(run: Run, project: Path) -> None:
    (project / "conf" / "config.yaml").write_text("seed: [")
    answer = run("dognet", check=False)
    assert answer.returncode == 1
    assert re.fullmatch(r"dognet: .*conf/config.yaml: while parsing .*\n", answer.stderr)


@pytest.mark.parametrize("words", [(), ("--multirun", "seed=1,2")])
def test_a_file_in_conf_that_is_not_utf_8_is_one_line(run: Run, project: Path, words: tuple[str, ...]) -> None:
    (project / "conf" / "execution.yaml").write_bytes(b"study: gr\xf6sse\n")
    answer = run("dognet", *words, check=False)
    assert answer.returncode == 1
    assert re.fullmatch(r"dognet: a file in conf/ is not UTF-8: .*\n", answer.stderr)


def test_help_is_shown_whatever_stands_in_conf(run: Run, project: Path) -> None:
    edit(project / "conf" / "config.yaml", "seed: 123 ", "seed: [1, 2] ")
    assert "(['1', '2'])" in run("dognet", "--help").stdout


def test_several_mistakes_are_reported_at_once(run: Run) -> None:
    answer = run("dognet", "hiddenNodes=0", "stepSize=0", check=False)
    assert "hiddenNodes must be" in answer.stderr
    assert "stepSize must be" in answer.stderr


def test_a_failed_run_keeps_its_traceback(run: Run, project: Path) -> None:
    answer = run("dognet", "stepSize=1e308", "dtype=float32", "tracking_uri=none", check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch("dognet: the weights are no longer finite at iteration .*\n", answer.stderr)
    failed = next(ended_runs(project / "experiments" / "adhoc" / "runs"))
    assert failed.manifest.status == "failed"
    assert str(failed.manifest.error).startswith("FloatingPointError: the weights are no longer finite")
    assert "Traceback (most recent call last)" in (failed.folder / "traceback.txt").read_text()


def on_a_terminal(project: Path, *words: str) -> str:
    """Run a command on a terminal of 80 columns and return everything it shows."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project)
        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execvpe(words[0], list(words), with_forks(environment(project)) | {"TERM": "xterm"})
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the terminal is gone: the command has ended
            break
        shown += piece
    os.waitpid(child, 0)
    return shown.decode()


def test_a_terminal_shows_a_bar_with_loss_accuracy_and_time_left(project: Path) -> None:
    shown = on_a_terminal(project, "dognet", "ITERS=30000", "data.train_rows=200", "tracking_uri=none")
    assert re.search(
        r"\d+% \|.+\| [\d.]+k of 30\.0k iterations, \d\d:\d\d left, loss 0\.\d{4}, accuracy [01]\.\d{3}", shown
    )
    assert "test " in shown


def test_no_bar_where_the_output_is_piped(run: Run) -> None:
    answer = run("dognet", "ITERS=3000", "tracking_uri=none")
    assert answer.stderr == ""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_leaves_nothing_that_counts(project: Path, sent: int, code: int) -> None:
    words = ["dognet", "ITERS=100000000", "tracking_uri=none"]
    process = subprocess.Popen(words, cwd=project, env=environment(project), stderr=subprocess.PIPE, text=True)
    folder = project / "experiments" / "adhoc" / "runs"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/config.yaml")) and time.monotonic() < deadline:
        time.sleep(0.05)  # until training has begun
    process.send_signal(sent)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert list(ended_runs(folder)) == []


SUBCOMMANDS = ["", "ui", "report", "plot", "sync", "export"]


@pytest.mark.parametrize("name", ["--help", "ITERS=1", "report", "sync"])
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_a_command_is_loaded_ends_it_in_one_line(
    project: Path, run: Run, tmp_path: Path, name: str, sent: str, code: int
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pydantic.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{sent})\n")
    answer = run("dognet", name, check=False, PYTHONPATH=f"{project / 'src'}{os.pathsep}{tmp_path / 'broken'}")
    command = f"dognet {name}" if name in SUBCOMMANDS else "dognet"
    assert (answer.returncode, answer.stdout) == (code, "")
    assert answer.stderr == (f"{command}: interrupted\n" if sent == "SIGINT" else "")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_current_folder_that_was_deleted_is_one_line(tmp_path: Path, name: str) -> None:
    words = f"mkdir gone && cd gone && rmdir ../gone && dognet {name}"
    answer = run_in(tmp_path)("bash", "-c", words, check=False, PYTHONPATH=str(REPOSITORY / "src"))
    assert (answer.returncode, answer.stdout) == (1, "")
    command = f"dognet {name}".strip()
    assert answer.stderr == f"{command}: the current folder has been deleted: cd into an existing one\n"


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["seed=1"], ["-m", "seed=1,2"], *([name] for name in SUBCOMMANDS[1:])]
)
def test_outside_a_project_a_command_says_so_and_creates_nothing(tmp_path: Path, words: list[str]) -> None:
    answer = run_in(tmp_path)("dognet", *words, check=False, PYTHONPATH=str(REPOSITORY / "src"))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(r"dognet[ a-z]*: .*: no project here or above .*: cd into your clone\n", answer.stderr)
    assert list(tmp_path.iterdir()) == []


def test_version_prints_dognets_version_wherever_it_is_asked(tmp_path: Path) -> None:
    answer = run_in(tmp_path)("dognet", "--version", PYTHONPATH=str(REPOSITORY / "src"))
    assert answer.stdout == f"dognet {metadata.version('dognet')}\n"


LOADED = "import sys; import dognet; dognet.logistic, dognet.logloss, dognet.NNet; print(' '.join(sys.modules))"


def test_the_import_of_the_network_loads_numpy_and_nothing_heavy(tmp_path: Path) -> None:
    words = [sys.executable, "-c", LOADED]
    loaded = set(run_in(tmp_path)(*words, PYTHONPATH=str(REPOSITORY / "src")).stdout.split())
    assert {"numpy", "dognet.network"} <= loaded
    heavy = {"pandas", "pydantic", "yaml", "hydra", "omegaconf", "mlflow", "matplotlib", "scipy", "dvc", "joblib"}
    assert loaded & heavy == set()


def test_help_loads_nothing_heavy(run: Run) -> None:
    loaded = run(sys.executable, "-P", "-X", "importtime", "-m", "dognet.cli", "--help").stderr
    names = {line.rpartition("|")[2].strip() for line in loaded.splitlines()}
    assert names & {"pandas", "hydra", "mlflow", "matplotlib", "scipy", "dvc", "joblib", "numpy"} == set()


@pytest.mark.parametrize(
    "words",
    ["--help", "ui --help", "ITERS=10 tracking_uri=none", "-m seed=1,2 plan=true", "-sc install=bash", "report"],
)
def test_a_command_whose_reader_has_seen_enough_ends_quietly(run: Run, project: Path, words: str) -> None:
    real = {"PYTHONPATH": str(project / "src"), "PYTHONUNBUFFERED": "1"}  # no fork, which has a buffer
    if words == "report":
        for study in ("one", "two"):
            run("dognet", "--multirun", "seed=1", "ITERS=10", f"study={study}", "tracking_uri=none")
    answer = run("bash", "-c", f"dognet {words} | head -1; echo ${{PIPESTATUS[0]}}", **real)
    assert answer.stderr == ""
    assert answer.stdout.splitlines()[-1] == "0"
    answer = run("bash", "-c", f"(sleep 1; dognet {words}; echo $? >&2) | true", **real)  # nobody reads
    assert answer.stderr == "0\n"


COMPLETE = r"""
eval "$(dognet --shell-completion install=bash)"
COMP_LINE="$1" COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=1 COMPREPLY=()
$(complete -p dognet | sed 's/.*-F \([^ ]*\).*/\1/') dognet
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dognet hidd", {"hiddenNodes="}),
        ("dognet data.se", {"data.seed="}),
        ("dognet dtype=", {"dtype=float64", "dtype=float32"}),
        ("dognet data=g", {"data=generated"}),
        ("dognet force=", {"force=true", "force=false"}),
        ("dognet --multirun experiment=w", {"experiment=width"}),
        ("dognet data.validation", {"data.validation="}),
        ("dognet data.k", set()),
        ("dognet re", {"report"}),
        ("dognet --mul", {"--multirun"}),
        ("dognet --multirun seed=1,2 re", set()),
        ("dognet report w", {"width"}),
        ("dognet ui --", {"--help"}),
    ],
)
def test_tab_completes_settings_values_studies_and_subcommands(run: Run, line: str, expected: set[str]) -> None:
    query = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_CWORD": "1"}
    assert set(run("dognet", "-sc", "query=bash", **query).stdout.split()) == expected


def test_bash_completes_a_line(run: Run) -> None:
    shown = run("bash", "-c", COMPLETE, "bash", "dognet hidd").stdout
    assert "hiddenNodes=" in shown.split()


def test_a_command_runs_the_source_of_the_project_it_is_in(project: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "site"  # what `pip install` of a wheel leaves: dognet's source without a project
    shutil.copytree(REPOSITORY / "src", wheel)
    page = project / "src" / "dognet" / "help.py"
    page.write_text(page.read_text().replace("train the lecture's network,", "train the network of this project,"))
    words = [sys.executable, "-c", "from dognet.cli import main; main()", "--help"]
    answer = run_in(project)(*words, PYTHONPATH=str(wheel))
    assert "train the network of this project," in answer.stdout
    (tmp_path / "elsewhere").mkdir()
    answer = run_in(tmp_path / "elsewhere")(*words, PYTHONPATH=str(wheel), check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(r"dognet: .*: no project here or above .*\n", answer.stderr)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_help_names_every_setting(run: Run) -> None:
    shown = run("dognet", "--help").stdout
    for name in ("hiddenNodes", "stepSize", "ITERS", "seed", "data", "dtype", "study", "force", "plan"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) <= 40


def test_runs_of_other_images_have_folders_of_their_own(run: Run, project: Path) -> None:
    words = ("dognet", "ITERS=0", "tracking_uri=none")
    first, second = (run(*words, f"data.seed={seed}").stdout.splitlines()[-1] for seed in (1, 2))
    assert first != second
    assert len(list((project / "data").glob("generated-*/train.csv"))) == 2
    assert np.unique([path.read_text() for path in (project / "data").glob("*/train.csv")]).size == 2


SWALLOWED = """
import signal, sys, time, weakref
from dognet.interrupt import interruptible
class Thing: pass
with interruptible("dognet"):
    thing = Thing()
    weak = weakref.ref(thing, lambda _: signal.raise_signal(int(sys.argv[1])))
    del thing  # Python goes on after what is raised in a callback like this
    time.sleep(60)
"""
WAITING = """
import signal, sys, threading
from dognet.interrupt import interruptible
with interruptible("dognet"):
    threading.Thread(target=threading.Event().wait).start()  # as a pool's, interrupted before it knew of its thread
    signal.raise_signal(int(sys.argv[1]))
"""


@pytest.mark.parametrize("program", [SWALLOWED, WAITING], ids=["swallowed", "waiting"])
@pytest.mark.parametrize(
    ("sent", "ended"), [(signal.SIGINT, (130, "dognet: interrupted\n")), (signal.SIGTERM, (143, ""))]
)
def test_a_signal_ends_a_command_whatever_the_libraries_make_of_it(
    tmp_path: Path, sent: int, ended: tuple[int, str], program: str
) -> None:
    words = [sys.executable, "-c", program, str(int(sent))]
    answer = subprocess.run(words, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=50)
    assert (answer.returncode, answer.stderr) == ended
