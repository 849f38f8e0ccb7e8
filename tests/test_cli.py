"""The command `dognet` for one run: what it shows, what it writes, how it puts a mistake."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Run, environment, run_in

from dognet import runs


def test_one_run_ends_with_its_figures_and_its_folder(run: Run, project: Path) -> None:
    answer = run("dognet", "hiddenNodes=8", "ITERS=300", "tracking_uri=none")
    lines = answer.stdout.splitlines()
    folder = project / lines[-1]
    assert folder.name == "hiddenNodes=8,stepSize=0.3,ITERS=300,seed=123"
    finished = runs.read(folder)
    assert finished.finished
    assert lines[1].split() == [
        "train",
        f"{finished.metrics['train_loss']:.4g}",
        f"{finished.metrics['train_accuracy']:.4f}",
    ]
    assert finished.config["hiddenNodes"] == 8
    assert finished.info["overrides"] == ["hiddenNodes=8", "ITERS=300", "tracking_uri=none"]
    assert sorted(path.name for path in project.iterdir() if path.suffix in {".log", ".yaml"}) == ["dvc.yaml"]


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


def test_a_longer_run_goes_on_from_a_shorter_one_to_the_same_files(run: Run, project: Path) -> None:
    words = ("dognet", "tracking_uri=none")
    run(*words, "ITERS=137")
    run(*words, "ITERS=400")
    run(*words, "ITERS=400", "study=alone")
    went_on, alone = (
        runs.read(project / "experiments" / study / "runs" / "hiddenNodes=4,stepSize=0.3,ITERS=400,seed=123")
        for study in ("adhoc", "alone")
    )
    assert went_on.info["continued_from"] == "hiddenNodes=4,stepSize=0.3,ITERS=137,seed=123"
    assert "continued_from" not in alone.info
    assert went_on.info["sha256"] == alone.info["sha256"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hidenNodes=3", "no setting hidenNodes: did you mean hiddenNodes?"),
        ("data.sed=3", "no setting data.sed: did you mean data.seed?"),
        ("+foo=1", "no setting foo"),
        ("hiddenNodes=x", "hiddenNodes must be a whole number from 1 to 100000, got 'x'"),
        ("hiddenNodes=2.5", "hiddenNodes must be a whole number from 1 to 100000, got '2.5'"),
        ("hiddenNodes=0", "hiddenNodes must be a whole number from 1 to 100000, got 0"),
        ("hiddenNodes=", "hiddenNodes must be a whole number from 1 to 100000, got ''"),
        ("hiddenNodes=99999999999999999999", "hiddenNodes must be a whole number from 1 to 100000, got 9999999999999"),
        ("stepSize=-1", "stepSize must be a positive finite number, got -1.0"),
        ("stepSize=nan", "stepSize must be a positive finite number, got nan"),
        ("stepSize=1e999", "stepSize must be a positive finite number, got inf"),
        ("ITERS=-1", "ITERS must be a whole number from 0 to 10^15, got -1"),
        ("seed=-1", "seed must be a whole number from 0 to 10^15, got -1"),
        ("seed=null", "seed must be a whole number from 0 to 10^15, got 'null'"),
        ("~seed", "seed must be given: a whole number from 0 to 10^15"),
        ("dtype=float16", "dtype must be float64 or float32, got 'float16'"),
        ("study=../x", "study must be a plain name: letters, digits, _ - and . inside, got '../x'"),
        ("study=/x", "study must be a plain name: letters, digits, _ - and . inside, got '/x'"),
        ("data=foo", "data=foo: no such option, there are csv, generated, lecture"),
        ("force=maybe", "force must be true or false, got 'maybe'"),
        ("data.positive=null", "data.positive must be text, got 'null'"),
        ("data=3", "Hydra can't work with these overrides (Config group override must be"),
        ("data=[1,2]", "Hydra can't work with these overrides ("),
        ("data.white=3", "data.white is no setting of generated data, got 3.0"),
        ("data.kind=dog", "data.kind must be generated, lecture or csv, got 'dog'"),
        ("data.positive=dog", "train images: no row with label 'dog' (data.positive)"),
        ("data.train_rows=3", "data.train_rows must be a whole number from 10 to 10^8, got 3"),
        ("hiddenNodes=1,2", "hiddenNodes=1,2 gives several values: a sweep needs --multirun"),
        ("hiddenNodes", "'hiddenNodes' is not a setting: write name=value, as in hiddenNodes=8"),
        ("hiddenNodes=[1", "'hiddenNodes=[1' can't be read: brackets and quotes must be closed, as in 'seed=range(5)'"),
        ("width", "width is a study: dognet --multirun experiment=width"),
        (
            "hiddenNodes=2,",
            "'hiddenNodes=2,' is cut in two: no blanks around = and after commas, as in hiddenNodes=2,4",
        ),
        ("--hiddenNodes", "no option --hiddenNodes: settings are written hiddenNodes=value"),
        ("lr=0.1", "no setting lr: did you mean stepSize?"),
        ("iters=3", "no setting iters: did you mean ITERS?"),
        ("study=pipeline", "study=pipeline is the run of dvc repro: choose another name"),
        ("hydra/launcher=foo", "hydra/launcher=foo: no such option, there are "),
        ("plan=true", "plan=true tells what a sweep would train: dognet --multirun … plan=true"),
        ("data=../data/generated", "data must be a plain name: letters, digits, _ - and . inside, got '../data/gen"),
        ("stepSize=1e308", "the weights are no longer finite at iteration "),
    ],
)
def test_a_mistake_is_told_in_one_line(run: Run, project: Path, override: str, message: str) -> None:
    answer = run("dognet", override, check=False)
    assert answer.stderr.startswith(f"dognet: {message}")
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
    assert answer.returncode == 1


def test_a_file_in_conf_that_is_not_yaml_is_told_in_one_line(run: Run, project: Path) -> None:
    (project / "conf" / "config.yaml").write_text("seed: [")
    answer = run("dognet", check=False)
    assert answer.returncode == 1
    assert re.fullmatch(r"dognet: while parsing .*conf/config.yaml.*\n", answer.stderr)


def test_several_mistakes_are_told_at_once(run: Run) -> None:
    answer = run("dognet", "hiddenNodes=0", "stepSize=0", check=False)
    assert "hiddenNodes must be" in answer.stderr
    assert "stepSize must be" in answer.stderr


def test_a_failed_run_keeps_its_traceback(run: Run, project: Path) -> None:
    run("dognet", "stepSize=1e308", check=False)
    failed = next(runs.over(project / "experiments" / "adhoc" / "runs"))
    assert failed.info["status"] == "failed"
    assert failed.info["error"].startswith("FloatingPointError: the weights are no longer finite")
    assert "Traceback (most recent call last)" in (failed.folder / "traceback.txt").read_text()


def on_a_terminal(project: Path, *words: str) -> str:
    """Run a command on a terminal of 80 columns and return everything it shows."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project)
        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execvpe(words[0], list(words), environment(project) | {"TERM": "xterm"})
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
    shown = on_a_terminal(project, "dognet", "ITERS=30000", "tracking_uri=none")
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
    assert list(runs.over(folder)) == []


@pytest.mark.parametrize("name", ["dognet", "dognet-report", "dognet-sync", "dognet-ui"])
def test_an_interrupt_while_a_command_is_loaded_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "omegaconf.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    answer = run_in(tmp_path)(name, "--help", check=False, PYTHONPATH=f"{tmp_path}:{REPOSITORY / 'src'}")
    assert (answer.returncode, answer.stdout, answer.stderr) == (130, "", f"{name}: interrupted\n")


@pytest.mark.parametrize(
    "name", ["dognet", "dognet-plot", "dognet-report", "dognet-sync", "dognet-ui", "dognet-export"]
)
def test_a_current_folder_that_was_deleted_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    words = f"mkdir gone && cd gone && rmdir ../gone && {name}"
    answer = run_in(tmp_path)("bash", "-c", words, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"{name}: the current folder has been deleted: cd to one that is there\n"


def test_an_installed_wheel_works_outside_the_repository(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY],
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    values = environment(tmp_path) | {"PYTHONPATH": str(tmp_path / "site")}
    words = [sys.executable, "-c", "import dognet.cli as cli; cli.main()", "ITERS=100", "tracking_uri=none"]
    (tmp_path / "anywhere").mkdir()
    answer = subprocess.run(words, cwd=tmp_path / "anywhere", env=values, capture_output=True, text=True, check=True)
    assert "test " in answer.stdout
    assert (
        str(tmp_path / "site")
        in subprocess.run(
            [sys.executable, "-c", "import dognet.cli; print(dognet.cli.CONF)"],
            cwd=tmp_path / "anywhere",
            env=values,
            capture_output=True,
            text=True,
        ).stdout
    )
    assert list((tmp_path / "anywhere" / "experiments" / "adhoc" / "runs").iterdir())
    words = [*words[:3], "--multirun", "experiment=nope"]
    told = subprocess.run(words, cwd=tmp_path / "anywhere", env=values, capture_output=True, text=True).stderr
    studies = sorted(path.parent.name for path in REPOSITORY.glob("experiments/*/study.yaml"))
    assert told == f"dognet: experiment=nope: no such option, there are {', '.join(studies)}\n"


def test_help_names_every_setting(run: Run) -> None:
    shown = run("dognet", "--help").stdout
    for name in ("hiddenNodes", "stepSize", "ITERS", "seed", "data", "dtype", "study", "force", "plan"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) <= 50


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
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as ``dognet`` has it
with interruptible("dognet"):
    thing = Thing()
    weak = weakref.ref(thing, lambda _: signal.raise_signal(int(sys.argv[1])))
    del thing  # Python goes on after what is raised in a callback like this
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("sent", "ended"), [(signal.SIGINT, (130, "dognet: interrupted\n")), (signal.SIGTERM, (143, ""))]
)
def test_a_signal_in_a_callback_whose_errors_python_ignores_is_not_lost(
    tmp_path: Path, sent: int, ended: tuple[int, str]
) -> None:
    words = [sys.executable, "-c", SWALLOWED, str(int(sent))]
    answer = subprocess.run(words, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=50)
    assert (answer.returncode, answer.stderr) == ended
