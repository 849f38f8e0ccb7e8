"""What a report says, against plain Python: sentences, intervals, comparisons, tables and pictures of made-up runs."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from dognet.runs.run import ImagesId, Manifest, Metrics, Run, curve_text
from dognet.settings import TrainingSettings
from dognet.sweep.summary import Summary, mean_interval, share_interval

IMAGES = ImagesId(source="generated", positive="checkerboard", pixels=("pixel_0", "pixel_1"), train_sha256="a" * 64)
NORMAL = statistics.NormalDist()
Runs = Callable[..., Summary]


@pytest.fixture
def summary_of(tmp_path: Path) -> Runs:
    """Makes the summary of runs, each given as its swept settings, its test accuracy and more figures of it."""

    def make(*runs: tuple[dict[str, Any], float, dict[str, Any]], threshold: float = 0.99) -> Summary:
        members = [(swept, run(Path(mkdtemp(dir=tmp_path)), swept, accuracy, **more)) for swept, accuracy, more in runs]
        return Summary(members, threshold)

    return make


def run(
    folder: Path,
    swept: dict[str, Any],
    test_accuracy: float,
    *,
    train_loss: float = 0.5,
    baseline: float = 0.6,
    curve: Sequence[tuple[float, ...]] = ((0, 0.7, 0.5), (100, 0.5, 0.9)),
    **more: float,
) -> Run:
    """A finished run, of whose files only curve.csv is there."""
    (folder / "curve.csv").write_text(curve_text(curve))
    usual = {"hiddenNodes": 4, "stepSize": 0.3, "ITERS": 100, "seed": 0}
    settings = TrainingSettings(**{name: swept.get(name, value) for name, value in usual.items()})
    metrics = Metrics(
        train_loss=train_loss,
        train_accuracy=0.9,
        test_loss=0.5,
        test_accuracy=test_accuracy,
        baseline=baseline,
        digest="0" * 16,
        **more,
    )
    return Run(folder, settings, IMAGES, Manifest.model_construct(status="finished"), metrics)


def by(name: str, accuracies: dict[Any, Sequence[float]]) -> list[tuple[dict[str, Any], float, dict[str, Any]]]:
    """Runs at the values of a setting, with the seeds 0, 1, … and these test accuracies."""
    return [
        ({name: value, "seed": seed}, accuracy, {})
        for value, each in accuracies.items()
        for seed, accuracy in enumerate(each)
    ]


def row(table: str, *cells: str) -> list[str]:
    """The cells of the table's row that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return next(found for found in rows if tuple(found[: len(cells)]) == cells)


# --- the answer


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        (
            by("stepSize", {0.3: [0.5, 0.6], 3: [0.7, 0.765]}),
            "No run reached 99 % test accuracy. The best reached 76.5 % (baseline 60 %).",
        ),
        (
            by("stepSize", {0.3: [0.99, 1], 3: [0.98, 1], 10: [1, 1], 30: [0.98, 0.1]}),
            "The task (99 % test accuracy, baseline 60 %) is solved by all runs at stepSize 0.3 and 10; by some runs "
            "at stepSize 3 (1 of 2); by no run at stepSize 30.",
        ),
        (
            by("stepSize", {3: [0.98, 1], 0.3: [0.5, 0.5]}),
            "The task (99 % test accuracy, baseline 60 %) is solved by some runs at stepSize 3 (1 of 2); by no run at "
            "stepSize 0.3.",
        ),
        (
            by("hiddenNodes", {2: [1], 10: [1], 9: [1]}),
            "The task (99 % test accuracy, baseline 60 %) is solved by all runs at hiddenNodes 2, 9 and 10.",
        ),
        (
            [({"seed": seed}, accuracy, {}) for seed, accuracy in enumerate([0.76, 1, 0.99])],
            "2 of 3 runs solve the task (99 % test accuracy, baseline 60 %). The test accuracy of the runs is 76 "
            "to 100 %.",
        ),
        (
            [({}, 0.995, {})],
            "1 of 1 run solves the task (99 % test accuracy, baseline 60 %). The test accuracy of the runs is 99.5 %.",
        ),
        (
            [
                ({"hiddenNodes": h, "stepSize": s, "seed": seed}, 1 if h + seed > 3 else 0.5, {})
                for h in (2, 3, 10)
                for s in (0.3, 1)
                for seed in (0, 1)
            ],
            "Share of runs that solve the task (99 % test accuracy, baseline 60 %), by hiddenNodes: 2: 0 %, 3: 50 %, "
            "10: 100 %; by stepSize: 0.3: 50 %, 1: 50 %.",
        ),
    ],
)
def test_the_answer_says_in_plain_words_where_the_task_is_solved(
    summary_of: Runs, runs: list[tuple[dict[str, Any], float, dict[str, Any]]], answer: str
) -> None:
    assert summary_of(*runs).answer() == answer


def test_the_study_says_what_counts_as_solved(summary_of: Runs) -> None:
    summary = summary_of(*by("stepSize", {1: [0.8, 0.9], 3: [0.79, 0.5]}), threshold=0.8)
    assert summary.answer().startswith(
        "The task (80 % test accuracy, baseline 60 %) is solved by all runs at stepSize 1; by no run"
    )
    assert row(summary.table(), "1")[1].startswith("2 of 2")


def test_baselines_that_differ_are_both_given(summary_of: Runs) -> None:
    runs = [({"data.seed": seed}, 0.7, {"baseline": baseline}) for seed, baseline in ((1, 0.55), (2, 0.6))]
    summary = summary_of(*runs)
    assert summary.answer() == "No run reached 99 % test accuracy. The best reached 70 % (baseline 55 to 60 %)."
    assert [row(summary.table(), seed)[4] for seed in "12"] == ["55", "60"]


# --- the table


def test_the_table_agrees_with_plain_python(summary_of: Runs) -> None:
    numbers = random.Random(1)
    accuracies = {h: [round(numbers.uniform(0.9, 1), 3) for _ in range(7)] for h in (2, 16, 8)}
    runs = [(*each[:2], {"train_loss": 2 - each[1]}) for each in by("hiddenNodes", accuracies)]
    numbers.shuffle(runs)
    table = summary_of(*runs).table()
    for h, each in accuracies.items():
        count = sum(accuracy >= 0.99 for accuracy in each)
        cells = row(table, str(h))
        assert cells[1].startswith(f"{count} of 7 (")
        assert cells[2].startswith(f"{100 * statistics.fmean(each):.2f} (")
        assert cells[3:5] == [", ".join(f"{100 * one:.4g}" for one in each), f"{2 - statistics.fmean(each):.3g}"]
    assert "- Baseline, 60 %: " in table
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:5]]
    assert rows == ["2", "8", "16"]  # numbers in their order


def test_the_text_does_not_depend_on_the_order_of_the_runs(summary_of: Runs, tmp_path: Path) -> None:
    numbers = random.Random(2)
    runs = by("stepSize", {s: [round(numbers.uniform(0.5, 1), 3) for _ in range(9)] for s in (0.1, 1, 3)})
    one = summary_of(*runs)
    numbers.shuffle(runs)
    members = [(swept, run(Path(mkdtemp(dir=tmp_path)), swept, accuracy)) for swept, accuracy, _ in runs]
    other = Summary(members, 0.99)
    for method in ("answer", "fastest", "table", "comparisons"):
        assert getattr(one, method)() == getattr(other, method)()


@pytest.mark.parametrize("labels", [("007", "7", "1e5"), ("1.0", "a|b", "0x1")])
def test_a_setting_that_is_text_stays_as_it_was_written(summary_of: Runs, labels: tuple[str, ...]) -> None:
    table = summary_of(*[({"data.positive": label}, 1, {}) for label in labels]).table()
    written = {label.replace("|", "&#124;") for label in labels}
    assert {line.split("|")[1].strip() for line in table.splitlines()[2:5]} == written


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (6, 10), (0, 10), (10, 10), (44, 60)])
def test_a_share_has_its_wilson_interval(count: int, total: int) -> None:
    z, p = NORMAL.inv_cdf(0.975), count / total
    middle = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    assert share_interval(count, total) == pytest.approx((middle - half, middle + half), abs=1e-12)


@pytest.mark.parametrize("values", [[0.5, 0.6, 0.9, 0.95], [1, 1, 1, 0.8, 0.99], [0.76, 0.99, 1, 1, 0.75]])
def test_a_mean_has_its_bca_bootstrap_interval(values: list[float]) -> None:
    n, mean = len(values), statistics.fmean(values)
    means = sorted(statistics.fmean(sample) for sample in itertools.product(values, repeat=n))  # all resamples
    below = sum(each < mean - 1e-12 for each in means) + sum(abs(each - mean) <= 1e-12 for each in means) / 2
    z0 = NORMAL.inv_cdf(below / len(means))
    leave_one_out = [statistics.fmean(values[:k] + values[k + 1 :]) for k in range(n)]
    deviations = [statistics.fmean(leave_one_out) - each for each in leave_one_out]
    a = sum(d**3 for d in deviations) / (6 * sum(d**2 for d in deviations) ** 1.5)
    ends = []
    for z in (NORMAL.inv_cdf(0.025), NORMAL.inv_cdf(0.975)):
        share = NORMAL.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
        ends.append(means[min(int(share * len(means)), len(means) - 1)])
    spread = max(values) - min(values)
    assert mean_interval(values) == pytest.approx(ends, abs=0.05 * spread)  # scipy draws 9999 of the resamples


@given(st.lists(st.integers(0, 1000).map(lambda right: right / 1000), min_size=1, max_size=12))
def test_every_interval_lies_among_its_values(values: list[float]) -> None:
    low, high = mean_interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_one_seed_and_equal_seeds_have_no_interval_and_no_warning(summary_of: Runs) -> None:
    summary = summary_of(*by("hiddenNodes", {2: [1.0], 3: [0.98] * 6, 4: [0.98] * 6}))
    table = summary.table()
    assert [row(table, h)[2] for h in "23"] == ["100.00", "98.00"]
    assert row(summary.comparisons(), "hiddenNodes 3 → 4")[1:] == [
        "no clear difference",
        "+0.00",
        "0 of 6",
        "0 of 6",
        "1",
    ]
    assert row(summary.comparisons(), "hiddenNodes 2 → 3")[1:3] == ["too few seeds", "–"]


def test_the_table_has_the_accuracy_of_each_seed_or_of_many_the_range(summary_of: Runs) -> None:
    table = summary_of(*by("stepSize", {0.3: [0.5, 0.61], 3: [0.7], 10: [0.8123, 1]})).table()
    assert [row(table, value)[3] for value in ("stepSize", "0.3", "3", "10")] == [
        "by seed, %",
        "50, 61",
        "70, –",
        "81.23, 100",
    ]
    assert "- By seed: the test accuracy with seed 0 and 1.\n" in table
    many = summary_of(*[({"seed": 10 + seed}, seed / 20, {}) for seed in range(20)]).table()
    assert row(many, "0 of 20 (0 to 16 %)")[2] == "0 to 95"


def test_a_setting_may_have_the_name_of_a_figure(summary_of: Runs) -> None:
    runs = [({"runs": runs, "curve": 3, "seed": seed}, runs / 10, {}) for runs in (1, 2) for seed in (0, 1)]
    summary = summary_of(*runs)
    assert row(summary.table(), "1")[:2] == ["1", "0 of 2 (0 to 66 %)"]
    assert "curve (setting)=3" in summary.shared


def test_uneven_classes_have_a_column_of_balanced_accuracy(summary_of: Runs) -> None:
    runs = [({"stepSize": s, "seed": k}, 0.8, {"balanced_accuracy": s / 10 + k / 20}) for s in (3, 7) for k in (0, 1)]
    table = summary_of(*runs).table()
    column = row(table, "stepSize").index("balanced accuracy, %")
    assert [row(table, s)[column] for s in "37"] == ["32.5", "72.5"]
    assert "- Balanced accuracy: the mean of the test accuracies of both classes, whose baseline is 50 %." in table
    assert "alanced" not in summary_of(*by("stepSize", {1: [0.5]})).table()


# --- validation


def validated(*losses: tuple[float, float]) -> dict[str, Any]:
    """The figures and the curve of a run with these train and validation losses at iteration 0, 10, 100, …."""
    curve = [(10**k if k else 0, train, 0.5, validation, 0.5) for k, (train, validation) in enumerate(losses)]
    return {"curve": curve, "train_loss": losses[-1][0], "validation_loss": losses[-1][1], "validation_accuracy": 0.5}


LEARNS = validated((0.7, 0.7), (0.5, 0.52), (0.3, 0.33), (0.1, 0.14))
OVERFITS = validated((0.7, 0.7), (0.5, 0.52), (0.3, 0.55), (0.1, 0.6))
LATE = validated((0.7, 0.7), (0.5, 0.52), (0.3, 0.4), (0.1, 0.43))
BREAKS = validated((0.7, 0.7), (0.5, 0.52), (0.6, 0.8), (0.9, 1.0))
WOBBLES = validated((0.7, 0.7), (0.5, 0.52), (0.3, 0.4), (0.1, 0.41))


def test_overfitting_is_named_with_its_settings_where_it_begins_and_the_gap(summary_of: Runs) -> None:
    curves = {2: (LEARNS, LEARNS), 8: (OVERFITS, OVERFITS), 4: (LATE, LEARNS), 1: (BREAKS, WOBBLES)}
    runs = [({"hiddenNodes": h, "seed": k}, 0.9, more) for h, each in curves.items() for k, more in enumerate(each)]
    summary = summary_of(*runs)
    text = summary.overfitting()
    assert [row(text, h) for h in "84"] == [["8", "2 of 2", "10", "0.5"], ["4", "1 of 2", "100", "0.185"]]
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 4  # neither 1 nor 2
    assert text.index("| 8 |") < text.index("| 4 |")  # the widest gap first
    table = summary.table()
    places = [row(table, "hiddenNodes").index(f"{part} loss") for part in ("train", "validation")]
    assert [row(table, "4")[place] for place in places] == ["0.1", "0.285"]
    assert "- Train and validation loss: the mean over the seeds, in nats." in table


def test_runs_that_do_not_overfit_have_their_widest_gap_named(summary_of: Runs) -> None:
    runs = [({"stepSize": s, "seed": 0}, 0.9, more) for s, more in ((1, LEARNS), (3, WOBBLES))]
    assert summary_of(*runs).overfitting().endswith("\n\nNo run overfits. The gap is 0.31 nats at most (`stepSize=3`).")
    alone = summary_of(({"seed": 0}, 0.9, LEARNS)).overfitting()
    assert alone.endswith("\n\nNo run overfits. The gap is 0.04 nats at most.")


def test_of_many_settings_that_overfit_the_five_with_the_widest_gap_are_named(summary_of: Runs) -> None:
    runs = []
    for h in range(1, 8):
        curve = validated((0.7, 0.7), (0.5, 0.5), (0.1, 0.6 + h / 10))
        runs.append(({"hiddenNodes": h, "seed": 0}, 0.9, curve))
    text = summary_of(*runs).overfitting()
    assert [line.split()[1] for line in text.splitlines() if line[:1] == "|"][2:] == ["7", "6", "5", "4", "3"]
    assert text.endswith("\n\nThe 5 settings with the widest gap of 7 that overfit.")


def test_without_validation_images_the_report_has_neither_gap_nor_losses(summary_of: Runs) -> None:
    summary = summary_of(*by("stepSize", {1: [0.5], 3: [0.6]}))
    assert summary.overfitting() == ""
    assert summary.gap_picture() is None
    assert "alidation" not in summary.table()


def test_the_gap_is_drawn_over_the_iterations(summary_of: Runs) -> None:
    runs = [({"hiddenNodes": h, "seed": 0}, 0.9, more) for h, more in ((2, LEARNS), (8, OVERFITS))]
    axes = summary_of(*runs).gap_picture().axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn["hiddenNodes=2"] == pytest.approx([0, 0.02, 0.03, 0.04])
    assert drawn["hiddenNodes=8"] == pytest.approx([0, 0.02, 0.25, 0.5])


def test_infinite_losses_have_a_gap_of_no_number_and_no_warning(summary_of: Runs) -> None:
    broken = validated((0.7, 0.7), (9.0, 9.5), (math.inf, math.inf), (math.inf, math.inf))
    runs = [({"stepSize": s, "seed": k}, 0.5, broken if s == 100 else LEARNS) for s in (1, 100) for k in range(2)]
    summary = summary_of(*runs)
    assert summary.overfitting().endswith("No run overfits. The gap is 0.04 nats at most (`stepSize=1`).")
    assert summary.gap_picture() is not None


# --- comparisons


def sign_test(higher: int, lower: int) -> float:
    """The probability of so many equal signs or more, if both signs are equally likely."""
    n, k = higher + lower, max(higher, lower)
    return min(1, 2 * sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([0.5, 0.9, 0.6, 0.8, 0.7, 0.55], [0.51, 0.91, 0.61, 0.81, 0.71, 0.56], "higher"),  # small, yet for every seed
        ([0.5, 0.9, 0.6, 0.8, 0.7, 0.55], [0.51, 0.91, 0.61, 0.81, 0.71, 0.54], "no clear difference"),
        ([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], "lower"),
        ([1, 1, 1, 1, 1, 1], [0.1, 0.1, 0.1, 0.1, 0.1, 1], "no clear difference"),
    ],
)
def test_neighbours_are_compared_seed_by_seed(
    summary_of: Runs, before: list[float], after: list[float], verdict: str
) -> None:
    cells = row(summary_of(*by("stepSize", {3: after, 0.3: before})).comparisons(), "stepSize 0.3 → 3")
    gains = [100 * (b - a) for a, b in zip(before, after, strict=True)]
    higher, lower = sum(gain > 1e-9 for gain in gains), sum(gain < -1e-9 for gain in gains)
    p = f"{sign_test(higher, lower):.2g}"
    mean = f"{statistics.fmean(gains):+.2f}"
    assert cells[1:] == [verdict, mean, f"{higher} of {len(before)}", f"{lower} of {len(before)}", p]


def test_seeds_that_both_settings_do_not_have_are_left_out(summary_of: Runs) -> None:
    runs = by("stepSize", {1: [0.5] * 7, 3: [0.6] * 7})
    del runs[0]
    assert row(summary_of(*runs).comparisons(), "stepSize 1 → 3")[1:4] == ["higher", "+10.00", "6 of 6"]


def test_a_seed_counts_once_whatever_the_other_settings_are(summary_of: Runs) -> None:
    runs = [
        ({"hiddenNodes": h, "stepSize": s, "seed": seed}, 0.5 + h / 100 + s * seed / 100, {})
        for h in (2, 4)
        for s in (1, 3, 10)
        for seed in range(4)
    ]
    assert summary_of(*runs).comparisons() == (
        "Neighbouring settings have at most 4 seeds in common, too few to tell them apart: the sign test needs 6."
    )
    assert "at most 1 seed in common" in summary_of(*runs[::4]).comparisons()


def test_a_study_of_seeds_compares_nothing(summary_of: Runs) -> None:
    assert summary_of(*[({"seed": seed}, 0.5, {}) for seed in range(9)]).comparisons() == ""


# --- speed


def learns(*iterations: float) -> Iterable[dict[str, Any]]:
    """Curves that have 99 % of the training images right from these iterations on."""
    for iteration in iterations:
        yield {"curve": [(k, 1 / (k + 1), 0.995 if k >= iteration else 0.5) for k in range(0, 1001, 10)]}


def test_the_fastest_setting_is_the_one_whose_half_learns_first(summary_of: Runs) -> None:
    curves = {1: learns(10, 900, 900), 3: learns(100, 120, math.inf, math.inf), 10: learns(500, 500, 510)}
    runs = [({"stepSize": s, "seed": k}, 0.9, more) for s, each in curves.items() for k, more in enumerate(each)]
    summary = summary_of(*runs)
    assert summary.fastest() == (
        "The fastest setting is `stepSize=3`: half of its runs get 99 % of the training images right within 120 "
        "iterations."
    )
    assert [row(summary.table(), s)[-1] for s in ("1", "3", "10")] == ["900", "120", "500"]


def test_settings_that_learn_too_slowly_have_no_fastest_one(summary_of: Runs) -> None:
    runs = [({"stepSize": 1, "seed": k}, 0.9, more) for k, more in enumerate(learns(10, math.inf, math.inf))]
    assert summary_of(*runs).fastest() == "Fewer than half of the runs get 99 % of the training images right."
    summary = summary_of(*runs, ({"stepSize": 3, "seed": 0}, 0.9, {}))
    assert summary.fastest() == "Fewer than half of the runs get 99 % of the training images right, in every setting."
    assert row(summary.table(), "1")[-1] == "–"


# --- pictures


def texts(figure: Any) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def test_of_many_settings_the_loss_picture_shows_the_best_and_the_worst(summary_of: Runs) -> None:
    runs = [({"hiddenNodes": h, "seed": 0}, 0.9, {"train_loss": (h - 20) ** 2 + h / 100}) for h in range(1, 31)]
    shown = {text for text in texts(summary_of(*runs).loss_picture()) if text.startswith("hiddenNodes=")}
    assert len(shown) == 12
    assert {"hiddenNodes=20", "hiddenNodes=1"} < shown


def test_a_run_that_breaks_is_drawn_without_a_warning(summary_of: Runs) -> None:
    broken = {"train_loss": math.inf, "curve": [(0, 0.7, 0.5), (1, 9.0, 0.4), (2, math.inf, 0.4), (10, math.inf, 0.4)]}
    whole = {"train_loss": 0.1, "curve": [(0, 0.7, 0.5), (1, 0.6, 0.5), (2, 0.5, 0.6), (10, 0.1, 0.9)]}
    runs = [({"stepSize": s, "seed": k}, 0.5, broken if s == 100 else whole) for s in (1, 100) for k in range(3)]
    summary = summary_of(*runs)
    shown = texts(summary.loss_picture())
    assert "stepSize=1" in shown
    assert any(text.startswith("stepSize=100") for text in shown)
    assert row(summary.table(), "100")[4] == "inf"


@pytest.mark.parametrize(
    ("names", "drawn"),
    [
        ((), True),
        (("stepSize",), True),
        (("hiddenNodes", "stepSize"), True),
        (("hiddenNodes", "stepSize", "ITERS"), False),
    ],
)
def test_the_accuracy_picture_shows_up_to_two_settings(summary_of: Runs, names: tuple[str, ...], drawn: bool) -> None:
    runs = [
        ({**dict(zip(names, values, strict=True)), "seed": seed}, 0.7, {})
        for values in itertools.product((1, 2, 30), repeat=len(names))
        for seed in (0, 1)
    ]
    figure = summary_of(*runs).accuracy_picture()
    assert (figure is not None) == drawn
    assert not drawn or any("baseline" in text for text in texts(figure))
