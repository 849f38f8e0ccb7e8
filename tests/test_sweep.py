"""Sweeps: every run validated first, finished ones skipped, failed ones named, and kills at any moment."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import environment, run_in

ROUNDS = 40 if os.environ.get("DOGNET_SOAK") else 1
WRITE_OUT = "write all values out, as in seed=1,2,3, or one range with an end: seed=range(5)"
GRID = ("hiddenNodes=1,2", "seed=range(4)", "ITERS=300")


def sweep(project: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A sweep without what takes seconds: MLflow, and where nothing else is said, workers."""
    launcher = [] if any("launcher" in word for word in words) else ["hydra/launcher=basic"]
    return run_in(project)("dognet", "--multirun", "tracking_uri=none", *launcher, *words, check=check)


def finished(project: Path, study: str = "adhoc") -> dict[str, dict]:
    """Every finished run's run.json by the name of its folder."""
    infos = {}
    for path in (project / "experiments" / study / "runs").glob("*/run.json"):
        info = json.loads(path.read_text())
        if info["status"] == "finished":
            infos[path.parent.name] = info
    return infos


def results(project: Path, study: str = "adhoc") -> dict[str, tuple[bytes, ...]]:
    """What the finished runs computed, by the name of their folder."""
    folder, names = project / "experiments" / study / "runs", ("weights.npz", "curve.csv", "metrics.json")
    return {run: tuple((folder / run / name).read_bytes() for name in names) for run in finished(project, study)}


def lines_of(output: str) -> list[list[str]]:
    """The cells of each line that stands for a run."""
    return [line.split() for line in output.splitlines() if re.match(r" *\d+/\d+ ", line)]


def study(project: Path, name: str, text: str) -> None:
    (project / "experiments" / name).mkdir(parents=True)
    (project / "experiments" / name / "study.yaml").write_text(text)


# --- points


def test_a_sweep_does_every_combination_and_prints_a_line_for_each(project):
    answer = sweep(project, *GRID, "hydra/launcher=joblib")
    assert answer.stdout.splitlines()[0] == "study adhoc: 8 runs, 0 finished, 8 to do"
    assert [cells[0] for cells in lines_of(answer.stdout)] == [f"{k}/8" for k in range(1, 9)]
    assert {(cells[1], cells[2]) for cells in lines_of(answer.stdout)} == {(h, s) for h in "12" for s in "0123"}
    assert max(map(len, answer.stdout.splitlines())) <= 100
    assert len(finished(project)) == 8
    assert answer.stderr == ""


def test_the_same_value_twice_is_one_run(project):
    assert "study adhoc: 1 run, " in sweep(project, "stepSize=0.1,1e-1,0.1", "ITERS=1").stdout
    assert len(finished(project)) == 1


def test_a_range_of_fractions_has_the_values_that_were_meant(project):
    sweep(project, "stepSize=range(0.1,0.5,0.1)", "ITERS=1")
    assert sorted(name.split(",")[1] for name in finished(project)) == [f"stepSize=0.{k}" for k in (1, 2, 3, 4)]


def test_several_sources_of_images_are_swept_like_a_setting(project):
    sweep(project, "data=generated", "data.train_rows=50,60", "ITERS=1")
    assert len(finished(project)) == 2
    assert all("data=generated-" in name for name in finished(project))


def test_all_faults_are_reported_before_anything_runs(project):
    answer = sweep(project, "hiddenNodes=0,1", "stepSize=-1,0.1", "seed=1,2", check=False)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "dognet: hiddenNodes must be a whole number from 1 to 100000, got 0 "
        "(4 of 8 runs, the first hiddenNodes=0 stepSize=-1 seed=1)",
        "dognet: stepSize must be a positive finite number, got -1 "
        "(4 of 8 runs, the first hiddenNodes=0 stepSize=-1 seed=1)",
    ]
    assert not (project / "experiments" / "adhoc").exists()


def test_faults_of_type_and_of_bounds_are_reported_together(project):
    answer = sweep(project, "hiddenNodes=a,b", "stepSize=x,1", "seed=-1,2", check=False)
    messages = [line.partition(" (")[0] for line in answer.stderr.splitlines()]
    assert sorted(messages) == [
        "dognet: hiddenNodes must be a whole number from 1 to 100000, got 'a'",
        "dognet: hiddenNodes must be a whole number from 1 to 100000, got 'b'",
        "dognet: seed must be a whole number from 0 to 10^15, got -1",
        "dognet: stepSize must be a positive finite number, got 'x'",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data=glob(*)", f"data=glob(*): {WRITE_OUT}"),
        ("seed=1,2 hydra.sweeper.params={seed:3}", "hydra.sweeper.params={seed:3}: of Hydra's own settings, only"),
        ("seed=1,2 hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs must be a number of processes, or -1 for all"),
        ("seed=1,2 hydra.launcher.n_jobs=two", "hydra.launcher.n_jobs: Value 'two' of type 'str' could not be"),
        ("seed=1,2 hydra.launcher.foo=1", "hydra.launcher.foo: the launcher has no such setting"),
        ("seed=1,2 hydra.launcher.n_jobs=1,2", "hydra.launcher.n_jobs=1,2: a setting of the launcher takes one value"),
        ("seed=range(2),5", f"seed=range(2),5: {WRITE_OUT}"),
        ("data=generated,lecture data.seed=1", "data.seed is no setting of lecture data, got 1 (data=lecture)"),
        ("seed=1,2 hydra/sweeper=basic", "hydra/sweeper=basic: of Hydra's own settings, only hydra/launcher"),
        ("hiddenNode=1,2", "no setting hiddenNode: did you mean hiddenNodes?"),
        ("hiddenNode=1 seed=1,2", "no setting hiddenNode: did you mean hiddenNodes?"),
        ("hiddenNodes=1.5,2", "hiddenNodes must be a whole number from 1 to 100000, got 1.5 (hiddenNodes=1.5)"),
        ("data=generated,nope", "data=nope: no such option, there are csv, generated, lecture (data=nope)"),
        ("experiment=width,step", "experiment=width,step: one study at a time, each has a grid of its own"),
        (
            "study=a,b",
            "study=a,b: only hiddenNodes, stepSize, ITERS, seed, method, dtype and data may have several values",
        ),
        ("stepSize=interval(0,1)", f"stepSize=interval(0,1): {WRITE_OUT}"),
        ("seed=range(0)", "seed=range(0): it has no value, so there is no run"),
        ("seed=range(1,5,0)", f"seed=range(1,5,0): {WRITE_OUT}"),
        ("stepSize=range(0.1,0.5,0)", f"stepSize=range(0.1,0.5,0): {WRITE_OUT}"),
        ("seed=range(1,5,-1) ITERS=1,2", "seed=range(1,5,-1): it has no value, so there is no run"),
        ("study=../up seed=1,2", "study must be a plain name: letters, digits, _ - and . inside, got '../up'"),
        ("experiment=nope", "experiment=nope: no such study, there are "),
    ],
)
def test_a_mistake_is_one_line(project, words, message):
    answer = sweep(project, *words.split(), check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"dognet: {message}")
    assert answer.stderr.count("\n") == 1
    assert not list((project / "experiments").glob("adhoc/runs/*"))


def runs_of(project: Path, study: str = "adhoc") -> list[Path]:
    """The folders of a study's runs, sorted."""
    return sorted(path for path in (project / "experiments" / study / "runs").iterdir() if path.is_dir())


def test_a_launchers_timeout_that_is_too_short_is_one_line(project):
    answer = sweep(project, "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.timeout=0.01", check=False)
    message = "dognet: a run took longer than hydra.launcher.timeout=0.01 s: raise it\n"
    assert (answer.returncode, answer.stderr) == (1, message)


@pytest.mark.parametrize(
    ("timeout", "ended"),
    [
        (3, (1, "dognet: a run took longer than hydra.launcher.timeout=3.0 s: raise it\n")),
        (None, (130, "dognet: interrupted\n")),
    ],
    ids=["timeout", "Ctrl-C"],
)
def test_a_sweep_given_up_while_runs_wait_in_joblib_ends_in_one_line(project, timeout, ended):
    launcher = (
        "hydra/launcher=joblib",
        "hydra.launcher.pre_dispatch=all",
        f"hydra.launcher.timeout={timeout or 'null'}",
    )
    sweeping = start(project, "seed=range(12)", "ITERS=2000000", *launcher)
    if not timeout:
        begun = project / "experiments" / "adhoc" / "runs"  # by workers, which made room in joblib's queue
        assert wait_for(lambda: len(list(begun.glob("*/config.yaml"))) >= min(2, os.cpu_count() or 1), 40)
        os.killpg(sweeping.pid, signal.SIGINT)
    _, errors = sweeping.communicate(timeout=60)
    assert (sweeping.returncode, errors) == ended
    assert wait_for(lambda: not [pid for pid in processes(project) if "tracker" not in command(pid)], 3)


# --- skipping


def test_finished_runs_are_skipped_and_a_grid_that_grew_trains_only_what_is_new(project):
    sweep(project, *GRID)
    before = finished(project)
    again = sweep(project, *GRID)
    assert again.stdout.splitlines()[0] == "study adhoc: 8 runs, 8 finished, 0 to do"
    assert finished(project) == before
    grown = sweep(project, "hiddenNodes=1,2,3", *GRID[1:])
    assert len(lines_of(grown.stdout)) == 4
    assert {name: info for name, info in finished(project).items() if name in before} == before
    assert len(finished(project)) == 12


def test_force_trains_again_and_plan_trains_nothing(project):
    words = ("seed=1,2", "ITERS=50")
    assert "2 runs, 0 finished, 2 to do" in sweep(project, *words, "plan=true").stdout
    assert not finished(project)
    sweep(project, *words)
    before = finished(project)
    plan = sweep(project, "seed=range(1,9)", "ITERS=500000", "plan=true").stdout
    assert "8 runs, 0 finished, 8 to do" in plan
    assert "2 to do (2 forced)" in sweep(project, *words, "force=true").stdout
    assert all(finished(project)[name]["start"] > info["start"] for name, info in before.items())


def test_the_plan_knows_how_long_the_rest_will_take(project):
    sweep(project, "seed=1", "ITERS=3000")
    words = ("seed=range(1,10)", "ITERS=3000")
    assert re.search(r"1 finished, 8 to do, about \d+ s with 1 at a time", sweep(project, *words, "plan=true").stdout)
    cluster = sweep(project, *words, "plan=true", "hydra/launcher=cluster").stdout
    assert re.search(r"1 finished, 8 to do, about \d+ s on one core\n", cluster)
    seconds = finished(project)["hiddenNodes=4,stepSize=0.3,ITERS=3000,seed=1"]["seconds"]
    longer = sweep(project, "seed=2,3", "ITERS=300000", "plan=true").stdout  # a grid of which no run is finished yet
    estimate = re.search(r"0 finished, 2 to do, about (\d+) (s|min) with 1 at a time", longer)
    assert estimate
    expected = 2 * seconds * 300_300 / 3_300  # files weigh like 300 iterations
    assert int(estimate[1]) * (60 if estimate[2] == "min" else 1) == pytest.approx(expected, rel=0.6, abs=2)


def test_changed_images_and_changed_numeric_code_train_anew(project):
    words = ("data=csv", "data.train=own/train.csv", "data.test=own/test.csv", "seed=1,2", "ITERS=5")
    sweep(project, "ITERS=0")
    shutil.copytree(project / "data" / "generated", project / "own")
    sweep(project, *words)
    assert "2 finished, 0 to do" in sweep(project, *words).stdout
    lines = (project / "own" / "test.csv").read_text().splitlines(keepends=True)
    (project / "own" / "test.csv").write_text("".join(lines[:-1]))
    assert "0 finished, 2 to do (2 images changed)" in sweep(project, *words).stdout
    code = project / "src" / "dognet" / "network" / "training.py"
    code.write_text(code.read_text().replace("import numpy as np", "import numpy as np\n\nCHANGED = True", 1))
    assert "0 finished, 2 to do (2 numeric code changed)" in sweep(project, *words).stdout
    for run, content in zip(
        sorted(path for path in runs_of(project) if "csv" in path.name), ("{}", "half"), strict=True
    ):
        (run / "run.json" if content == "{}" else run / "curve.csv").write_text(content)
    old = json.dumps({"status": "finished", "study": "adhoc", "digest": "0" * 16, "sha256": {}, "checksum": "0" * 16})
    (runs_of(project)[-1] / "run.json").write_text(old)
    plan = sweep(project, *words, "plan=true", "seed=1,2,3").stdout
    assert "3 runs, 0 finished, 3 to do" in plan
    assert all(f"1 {reason}" in plan for reason in ("damaged", "made by dognet 0.1", "new"))


def test_an_ITERS_sweep_resumes_from_the_shorter_run_to_the_same_bits(project):
    for ITERS in (40, 400, 1200):
        sweep(project, "study=apart", f"ITERS={ITERS}", "seed=1", "force=true")
    for launcher in ("basic", "joblib"):
        sweep(project, f"study={launcher}", "ITERS=1200,40,400", "seed=1", f"hydra/launcher={launcher}")
        assert len(finished(project, launcher)) == 3
        assert results(project, launcher) == results(project, "apart")
    one_by_one = sorted(finished(project, "basic").values(), key=lambda info: info["start"])
    came = [info.get("continued_from") for info in one_by_one]
    assert [name and name.split(",")[2] for name in came] == [None, "ITERS=40", "ITERS=400"]


def test_a_large_grid_is_planned_in_seconds(project):
    sweep(project, "seed=1,2", "ITERS=0")
    before = os.times()
    plan = sweep(project, "seed=range(2000)", "ITERS=0", "plan=true").stdout
    after = os.times()
    assert "2000 runs, 2 finished, 1998 to do" in plan
    assert after.children_user - before.children_user < 8  # seconds of computing, however busy the machine is


# --- failing


def test_one_bad_run_does_not_sink_the_sweep(project):
    blocked = project / "experiments" / "adhoc" / "runs" / "hiddenNodes=4,stepSize=0.3,ITERS=50,seed=2"
    (blocked / "weights.npz").mkdir(parents=True)
    answer = sweep(project, "seed=1,2,3", "ITERS=50", check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("dognet: seed=2: IsADirectoryError: ")
    assert answer.stderr.count("\n") == 1
    assert len(finished(project)) == 2
    assert "Traceback" in (blocked / "traceback.txt").read_text()
    assert any(cells[2] == "failed:" for cells in lines_of(answer.stdout))
    (blocked / "weights.npz").rmdir()
    assert "3 runs, 2 finished, 1 to do" in sweep(project, "seed=1,2,3", "ITERS=50").stdout


def test_a_forced_run_that_fails_is_named_though_the_run_of_before_stays(project):
    sweep(project, "seed=1,2", "ITERS=50")
    before = {path: path.read_bytes() for path in runs_of(project)[0].iterdir() if path.is_file()}
    train = project / "src" / "dognet" / "stages" / "train.py"
    code = '    if settings.seed == 1:\n        raise MemoryError("too many images")\n    clock ='
    train.write_text(train.read_text().replace("    clock =", code, 1))
    answer = sweep(project, "seed=1,2", "ITERS=50", "force=true", check=False)
    assert (answer.returncode, answer.stderr) == (1, "dognet: seed=1: MemoryError: too many images\n")
    assert {path: path.read_bytes() for path in before} == before


def test_workers_look_for_no_plugins(project, tmp_path):
    """Hydra executes every module of hydra_plugins when it looks for plugins, and would do so before each run."""
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "seen.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'a').write('once ')")
    words = ("--multirun", "seed=range(6)", "ITERS=10", "tracking_uri=none", "hydra.launcher.n_jobs=2")
    run_in(project)("dognet", *words, PYTHONPATH=f"{project / 'src'}{os.pathsep}{tmp_path}")
    assert len(finished(project)) == 6
    assert (tmp_path / "seen").read_text() == "once "  # in the process of the sweep


@pytest.mark.slow
def test_a_killed_worker_costs_no_run(project):
    sweeping = start(project, "seed=range(6)", "ITERS=6000")
    wait_for(lambda: finished(project), 60)  # then others are in training
    workers = [pid for pid in processes(project) if "loky" in command(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    sweeping.communicate(timeout=120)
    assert sweeping.returncode == 0
    assert len(finished(project)) == 6


@pytest.mark.slow
def test_a_run_that_failed_before_and_is_killed_now_is_said_to_be_killed(project):
    train = project / "src" / "dognet" / "stages" / "train.py"
    whole = train.read_text()
    for fault, launcher, message in (
        ('raise MemoryError("too many images")', "basic", "MemoryError: too many images"),
        ("os.kill(os.getpid(), 9)", "joblib", "its process was killed, perhaps because memory ran out"),
    ):
        train.write_text(whole.replace("    clock =", f"    if settings.seed == 1:\n        {fault}\n    clock =", 1))
        answer = sweep(project, "seed=1,2", "ITERS=50", f"hydra/launcher={launcher}", check=False)
        assert (answer.returncode, answer.stderr) == (1, f"dognet: seed=1: {message}\n")


def test_images_that_change_during_a_sweep_are_reported(project):
    sweep(project, "ITERS=0")
    shutil.copytree(project / "data" / "generated", project / "own")
    words = ("data=csv", "data.train=own/train.csv", "data.test=own/test.csv", "seed=range(4)", "ITERS=20000")
    sweeping = start(project, *words, "hydra/launcher=basic")
    assert wait_for(lambda: [name for name in finished(project) if "csv" in name], 60)
    lines = (project / "own" / "test.csv").read_text().splitlines(keepends=True)
    (project / "own" / "test.csv").write_text("".join(lines[:-1]))
    _, errors = sweeping.communicate(timeout=120)
    assert sweeping.returncode == 1
    for line in errors.splitlines():
        assert re.fullmatch(
            r"dognet: seed=\d: its images or dognet's code have changed meanwhile: repeat the command", line
        )
    sweep(project, *words)
    assert "4 runs, 4 finished, 0 to do" in sweep(project, *words).stdout


# --- killing


def start(project: Path, *words: str) -> subprocess.Popen[str]:
    """A sweep in a process group of its own, like a shell's."""
    return subprocess.Popen(
        ["dognet", "--multirun", "tracking_uri=none", *words],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def processes(project: Path) -> list[int]:
    """The processes at work in the project."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")) == project and "\nState:\tZ" not in (path / "status").read_text():
                found.append(int(path.name))
        except OSError:
            continue  # it has ended, or is another's
    return found


def wait_for(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_killed_sweep_leaves_nothing_half_done_and_goes_on_where_it_stopped(project, how, launcher):
    words = ("seed=range(8)", "ITERS=2000", "data.train_rows=1000", f"hydra/launcher={launcher}")
    whole = results_of_a_whole_sweep(project, words)
    rng = random.Random(f"{how} {launcher}")
    for _ in range(ROUNDS):
        sweeping = start(project, *words)
        assert wait_for(lambda: sweeping.poll() is not None or catches_sigterm(sweeping.pid), 20)  # noqa: B023 - called at once
        time.sleep(rng.uniform(0, 3.5))
        done = sweeping.poll() is not None
        if not done:
            (os.killpg if how == "SIGINT" else os.kill)(sweeping.pid, getattr(signal, how))  # Ctrl-C reaches the group
        _, errors = sweeping.communicate(timeout=30)
        if not done and sweeping.returncode:
            # below 0: by the signal itself, while the interpreter was ending; there is nothing to tell any more
            assert sweeping.returncode in {"SIGINT": (130, -2), "SIGTERM": (143, -15), "SIGKILL": (-9,)}[how]
            errors = re.sub(
                r".*resource_tracker: There appear to be.*\n +warnings.warn\(\n", "", errors
            )  # joblib cleans up
            assert errors == ("dognet: interrupted\n" if sweeping.returncode == 130 else "")
        assert wait_for(lambda: not [pid for pid in processes(project) if "tracker" not in command(pid)], 3)
        for name in finished(project):
            assert results(project)[name] == whole[name]
        if len(finished(project)) == 8:
            shutil.rmtree(project / "experiments" / "adhoc")
    sweep(project, *words)
    assert results(project) == whole


@pytest.mark.soak
def test_sigterm_at_any_moment_of_a_large_grid_ends_in_143_without_a_word(project):
    sweep(project, "ITERS=0")
    rng = random.Random(143)
    for _ in range(ROUNDS * 2):
        sweeping = start(project, "seed=range(3000)", "ITERS=1", "study=large", "plan=true")
        assert wait_for(lambda: sweeping.poll() is not None or catches_sigterm(sweeping.pid), 20)  # noqa: B023 - called at once
        time.sleep(rng.uniform(0, 3))
        ended = sweeping.poll() is not None
        sweeping.terminate()
        _, errors = sweeping.communicate(timeout=30)
        assert errors == ""
        assert sweeping.returncode in ((0,) if ended else (143, -15, 0))


def test_a_sweep_killed_while_its_workers_start_leaves_none(project):
    sweep(project, "ITERS=0")
    for wait in (0, 0.1, 0.2, 0.3):
        sweeping = start(project, "seed=range(8)", "ITERS=2000")
        assert wait_for(lambda: [pid for pid in processes(project) if "popen_loky" in command(pid)], 20)
        time.sleep(wait)  # so that the kill meets another moment of the start
        sweeping.kill()
        sweeping.communicate(timeout=30)  # until nobody has its output open
        assert wait_for(lambda: not [pid for pid in processes(project) if "tracker" not in command(pid)], 3)


def catches_sigterm(pid: int) -> bool:
    """Whether ``dognet`` has come so far: before, any Python ends by the signal itself."""
    caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def results_of_a_whole_sweep(project: Path, words: tuple[str, ...]) -> dict[str, tuple[bytes, ...]]:
    sweep(project, *words)
    whole = results(project)
    assert len(whole) == 8
    shutil.rmtree(project / "experiments" / "adhoc")
    return whole


def test_a_second_sweep_of_the_same_study_says_why_not(project):
    sweeping = start(project, "seed=range(4)", "ITERS=20000")
    assert wait_for(lambda: list((project / "experiments").glob("adhoc/runs/*=*")), 20)
    answer = sweep(project, "seed=1,2", "ITERS=1", check=False)
    sweeping.terminate()
    sweeping.communicate()
    assert answer.returncode == 1
    assert "another sweep is running in experiments/adhoc/runs: wait for it to end, or stop it" in answer.stderr


# --- studies


def test_a_study_is_a_folder_and_shows_in_help_completion_and_errors(project):
    study(project, "own", "# Why?\nITERS: 3\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n")
    run = run_in(project)
    assert "own" in run("dognet", "--help").stdout
    query = {"COMP_LINE": "dognet experiment=o", "COMP_POINT": "19", "COMP_CWORD": "1"}
    assert "experiment=own" in run("dognet", "-sc", "query=bash", **query).stdout
    assert "own" in sweep(project, "experiment=nope", check=False).stderr
    sweep(project, "experiment=own")
    assert sorted(finished(project, "own")) == [f"hiddenNodes=4,stepSize=0.3,ITERS=3,seed={k}" for k in (1, 2)]


def test_a_study_without_multirun_is_refused(project):
    answer = run_in(project)("dognet", "experiment=width", check=False)
    assert (answer.returncode, answer.stderr) == (
        1,
        "dognet: experiment=width is a study of many runs: dognet --multirun experiment=width\n",
    )


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {launcher: {_target_: os.system}, sweeper: {params: {seed: '1,2'}}}",
        "hydra: {sweeper: {_target_: os.system, params: {seed: '1,2'}}}",
        "hydra: {sweeper: {params: {hydra.launcher._target_: os.system}}}",
        "defaults: [/hydra/launcher: basic]\nhydra: {sweeper: {params: {seed: '1,2'}}}",
        "study: ../up\nhydra: {sweeper: {params: {seed: '1,2'}}}",
        "dtype: ${oc.env:HOME}\nhydra: {sweeper: {params: {seed: '1,2'}}}",
        "hydra: {sweeper: {params: {seed: '${oc.env:HOME}'}}}",
        "hydra: {sweeper: {params: {seed: &a [*a]}}}",
        "seed: [1, 2]",
        "seed: {",
        "",
    ],
)
def test_a_broken_study_can_start_nothing(project, text):
    study(project, "bad", text)
    answer = sweep(project, "experiment=bad", check=False)
    assert answer.returncode == 1
    assert "experiments/bad/study.yaml: " in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (project / "experiments/bad/runs").exists()


def test_a_broken_study_breaks_only_itself(project):
    study(project, "bad", "seed: {")
    study(project, "good", "hydra: {sweeper: {params: {seed: 1}}}\nITERS: 1")
    sweep(project, "experiment=good")
    assert len(finished(project, "good")) == 1


def test_words_on_the_command_line_go_before_the_study(project):
    study(project, "own", "ITERS: 3\nhydra: {sweeper: {params: {seed: '1,2,3', hiddenNodes: '1,2'}}}")
    sweep(project, "experiment=own", "seed=7", "ITERS=4")
    assert sorted(finished(project, "own")) == [f"hiddenNodes={k},stepSize=0.3,ITERS=4,seed=7" for k in (1, 2)]


# --- a new setting


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def test_a_new_setting_touches_the_model_conf_and_its_place_of_use_alone(project):
    sweep(project, "seed=1", "ITERS=5")
    (old,) = runs_of(project)
    source = project / "src" / "dognet"
    replace(
        source / "settings.py",
        "    def training(self,",
        """    decay: Annotated[float, Field(ge=0, le=1, description="how far an update shrinks the weights")] = 0

    def training(self,""",
    )
    replace(project / "conf" / "config.yaml", "seed: 123 ", "decay: 0                  # weight decay\nseed: 123 ")
    sweep(project, "seed=1", "ITERS=5", "decay=0,0.1", "plan=true")
    assert runs_of(project) == [old]  # the old run has the new setting's default
    assert "2 runs, 1 finished, 1 to do" in sweep(project, "seed=1", "ITERS=5", "decay=0,0.1", "plan=true").stdout
    net, training = source / "network" / "nnet.py", source / "network" / "training.py"
    replace(net, "        dtype: str", "        decay: float = 0,\n        dtype: str")
    replace(net, "float(stepSize), range", "float(stepSize), decay, range")
    replace(training, "stepSize: float, iterations", "stepSize: float, decay: float, iterations")
    update = "method.update(state, images, stepSize)"
    replace(training, f"{update}\n", f"{update}\n                state.W2 -= stepSize * decay * state.W2\n")
    answer = sweep(project, "seed=1", "ITERS=5", "decay=0,0.1")
    assert "2 runs, 0 finished, 2 to do (1 numeric code changed, 1 new)" in answer.stdout
    before, new = runs_of(project)
    assert (before, new.name) == (old, f"{old.name},decay=0.1")
    assert "decay: 0.1" in (new / "config.yaml").read_text()
    assert (new / "weights.npz").read_bytes() != (old / "weights.npz").read_bytes()
    assert "decay         how far an update shrinks the weights (0)" in run_in(project)("dognet", "--help").stdout
    faulty = sweep(project, "seed=1", "decay=2", check=False).stderr
    assert faulty == "dognet: decay must be a number from 0 to 1, got 2\n"
