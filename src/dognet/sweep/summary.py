"""What the finished runs of a study show: sentences, tables and pictures, all from one table with a row for each run.

The same runs give the same text: no date, a fixed seed for the bootstrap, no more digits than another machine repeats.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from dognet.runs.run import Run
from dognet.settings import is_text
from dognet.sweep.members import selection_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNED = 0.99  # the share of right answers on the training images at which a run's speed is measured
CURVES = 12  # in a picture: as many colours can be told apart
MIN_SEEDS = 6  # with fewer, not even a difference of one sign in all pairs is significant: 2 / 2^5 > 0.05


@dataclass(frozen=True)
class Summary:
    """The finished runs of a study, a row each: the swept settings, the figures, the Run itself."""

    runs: pd.DataFrame  # settings…, seed, test_accuracy, train_loss, baseline, iterations_to_99, solved, group, run
    settings: list[str]  # in which the runs differ, without the seed
    threshold: float  # the test accuracy that solves the task

    @cached_property
    def groups(self) -> pd.DataFrame:
        """A row for each group of runs that differ in their seed alone, sorted by their settings."""
        by_group = self.runs.groupby("group")
        groups = by_group.agg(
            **{name: (name, "first") for name in self.settings},
            runs=("solved", "size"),
            solved=("solved", "sum"),
            accuracy=("test_accuracy", "mean"),
            lowest=("test_accuracy", "min"),
            highest=("test_accuracy", "max"),
            baseline=("baseline", "first"),
            loss=("train_loss", "mean"),
        )
        groups["iterations"] = by_group["iterations_to_99"].quantile(0.5, interpolation="lower")
        return groups

    def name(self, group: int, *, without: str = "") -> str:
        """Return the settings of a group as on the command line."""
        values = self.groups.loc[group]
        return " ".join(f"{name}={plain(values[name])}" for name in self.settings if name != without)

    def answer(self) -> str:
        """Return in a sentence or two in which settings the task is solved."""
        groups, goal, baseline = self.groups, f"{percent(self.threshold)} test accuracy", self.baseline()
        lowest, highest = groups.lowest.min(), groups.highest.max()
        if not groups.solved.any():
            return f"No run reached {goal}. The best reached {percent(highest)} {baseline}."
        if len(self.runs) == 1:
            return f"The only run solves the task ({goal}): it reached {percent(highest)} {baseline}."
        if not self.settings:
            count = f"{groups.solved.sum()} of {len(self.runs)} runs solve the task ({goal})"
            return f"{count}. The test accuracy of the runs is {span(lowest, highest)} {baseline}."
        if len(self.settings) > 1:
            shares = "; ".join(f"by {name}: {solved_by(self.runs, name)}" for name in self.settings)
            return f"Share of runs that solve the task ({goal}), {shares}."
        values, all_solved = groups[self.settings[0]].map(plain), groups.solved == groups.runs
        some = values + " (" + groups.solved.astype(str) + " of " + groups.runs.astype(str) + ")"
        where = {
            "all runs": values[all_solved],
            "some runs": some[(groups.solved > 0) & ~all_solved],
            "no run": values[groups.solved == 0],
        }
        parts = [f"by {who} at {self.settings[0]} {listed(list(at))}" for who, at in where.items() if len(at)]
        return f"The task ({goal}) is solved {'; '.join(parts)}."

    def fastest(self) -> str:
        """Return in a sentence in which setting half of the runs learn the training images first."""
        goal = f"{percent(LEARNED)} of the training images right"
        group = int(self.groups.iterations.argmin())
        iterations = self.groups.iterations[group]
        if math.isinf(iterations):
            return f"Fewer than half of the runs get {goal}{', in every setting' if self.settings else ''}."
        if not (name := self.name(group, without="ITERS")):
            return f"Half of the runs get {goal} within {iterations:.0f} iterations."
        return f"The fastest setting is `{name}`: half of its runs get {goal} within {iterations:.0f} iterations."

    def best_sentence(self, best: Run | None) -> str:
        """Return in words which run is the best, and by what it was chosen."""
        if best is None:
            return "There is none: the runs have different images, and losses on different images don't compare."
        return (
            f"`{best.folder.name}` has the lowest train loss, {selection_loss(best):.3g} nats. The test images play no "
            f"part in this choice. Its test accuracy is {percent(best.figures.test_accuracy)} "
            f"(baseline {percent(best.figures.baseline)})."
        )

    def groups_table(self) -> str:
        """Return the table in Markdown with a row for each group of runs, and its legend."""
        groups = self.groups
        means = self.runs.groupby("group")["test_accuracy"].agg(mean_interval)
        shares = [share_interval(count, total) for count, total in zip(groups.solved, groups.runs, strict=True)]
        solved = groups.solved.astype(str) + " of " + groups.runs.astype(str)
        columns = {
            **{name: groups[name].map(plain) for name in self.settings},
            "solved": [
                f"{count} ({span(low, high, '.0f')})" for count, (low, high) in zip(solved, shares, strict=True)
            ],
            "test accuracy": [
                percent(mean, ".2f") + ("" if low == high else f" ({span(low, high, '.2f')})")
                for mean, (low, high) in zip(groups.accuracy, means, strict=True)
            ],
            "lowest": groups.lowest.map(lambda value: percent(value, ".2f")),
            "baseline": groups.baseline.map(lambda value: percent(value, ".2f")),
            "train loss": groups.loss.map("{:.3g}".format),
            "iterations to 99 %": [f"{value:.0f}" if math.isfinite(value) else "–" for value in groups.iterations],
        }
        legend = (
            f"Solved: the runs with at least {percent(self.threshold)} test accuracy, and the 95 % Wilson interval of "
            "their share. Test accuracy: the mean over the seeds with its 95 % BCa bootstrap interval, and the lowest. "
            "Baseline: the share of the larger class among the test images, which is the accuracy of always giving the "
            "same answer. Train loss: the mean, in nats. Iterations to 99 %: the first recorded iteration by which "
            "half of the runs have had 99 % of the training images right."
        )
        return f"{markdown(pd.DataFrame(columns))}\n\n{legend}"

    def comparisons(self) -> str:
        """Return the table in Markdown that compares neighbouring values of each setting, or why there is none."""
        found = {
            f"{name} {plain(low)} → {plain(high)}": self.differences(name, low, high)
            for name in self.settings
            for low, high in itertools.pairwise(sorted(self.runs[name].unique()))
        }
        most = max(map(len, found.values()), default=0)
        if not found:
            return ""
        if most < MIN_SEEDS:
            return (
                f"Two settings have at most {most} seed{'s' * (most != 1)} in common. That is too few to tell them "
                f"apart: the sign test needs at least {MIN_SEEDS}."
            )
        legend = (
            "Difference: of the test accuracy, the mean over the pairs of runs that have the same seed and differ in "
            "this setting alone, in percentage points. Higher and lower: the number of seeds. p: two-sided sign test "
            "over the seeds, not corrected for the number of comparisons; below 0.05 the difference is clear."
        )
        return f"{markdown(pd.DataFrame([compare(*pair) for pair in found.items()]))}\n\n{legend}"

    def differences(self, name: str, low: object, high: object) -> pd.Series[float]:
        """Return for each seed the gain in test accuracy from ``low`` to ``high``, over runs equal otherwise."""
        others = [other for other in self.settings if other != name]
        accuracy = self.runs.pivot_table(index=["seed", *others], columns=name, values="test_accuracy")
        return (accuracy[high] - accuracy[low]).dropna().groupby("seed").mean().round(12)

    def runs_table(self) -> str:
        """Return the table in Markdown with the test accuracy of every run."""
        table = self.runs.pivot(index="group", columns="seed", values="test_accuracy")
        table = table.map(lambda value: "–" if math.isnan(value) else f"{100 * value:.2f}")
        table.index = pd.Index([self.name(group) or "test accuracy" for group in table.index], name="")
        table.columns = [f"seed {seed}" for seed in table.columns]
        if table.shape[1] > table.shape[0]:
            table = table.T
        return markdown(table.reset_index(names=""))

    def loss_picture(self) -> Figure:
        """Draw the train loss of each group of runs: the median over the seeds, and a band for their middle half."""
        from dognet.pictures import lines

        ranked = self.groups.loss.sort_values(kind="stable").index
        ranks = np.unique(np.linspace(0, len(ranked) - 1, min(CURVES, len(ranked))).round().astype(int))
        series, band = {}, {}
        for group in sorted(ranked[ranks]):
            runs = self.runs[self.runs.group == group]
            curves, name = losses(runs.run), self.name(group) or "median"
            with np.errstate(invalid="ignore"):  # between two infinite losses lies none: the curve has a gap
                low, median, high = np.quantile(curves, (0.25, 0.5, 0.75), axis=1)
            series[name], band[name] = (curves.index.to_numpy(), median), (low, high)
        if not self.settings and len(self.runs) > 1:
            for run in self.runs.sort_values("train_loss", kind="stable").run.iloc[[0, -1]]:
                curve = losses([run])
                series[f"seed={run.settings.seed}"] = curve.index.to_numpy(), curve.iloc[:, 0].to_numpy()
        which = "" if len(ranks) == len(ranked) else f" ({len(ranks)} of {len(ranked)} settings, best to worst)"
        title = f"Train loss: median and middle half of the seeds{which}"
        return lines(series, "iteration", "train loss (nats)", title, band=band)

    def accuracy_picture(self) -> Figure | None:
        """Draw the test accuracy over the settings: a line for one, a heat map for two, nothing for more."""
        from dognet.pictures import heatmap, lines

        groups, names = self.groups, self.settings
        if len(names) == 2:
            means = groups.pivot(index=names[0], columns=names[1], values="accuracy")
            ys, xs = ([plain(value) for value in values] for values in (means.index, means.columns))
            return heatmap(
                means.to_numpy(), xs, ys, names[1], names[0], f"Test accuracy: mean over the seeds {self.baseline()}"
            )
        if not names:
            ordered, title = self.runs.sort_values("test_accuracy"), "Test accuracy of each seed"
            columns = {"test accuracy": ordered.test_accuracy, "baseline": ordered.baseline}
            series = {name: (np.arange(1, len(ordered) + 1), column.to_numpy()) for name, column in columns.items()}
            return lines(series, "seeds, worst to best", "test accuracy", title, logx=False, logy=False)
        if len(names) > 2 or len(groups) < 2 or not pd.api.types.is_numeric_dtype(groups[names[0]]):
            return None
        x = groups[names[0]].to_numpy(float)
        columns = {"mean accuracy": groups.accuracy, "solved": groups.solved / groups.runs, "baseline": groups.baseline}
        series = {name: (x, column.to_numpy()) for name, column in columns.items()}
        band = {"mean accuracy": (groups.lowest.to_numpy(), groups.highest.to_numpy())}
        title, ylabel = "Test accuracy over the seeds: mean and range", "test accuracy; share of solved runs"
        logx = bool(0 < 10 * x[0] <= x[-1])
        return lines(series, names[0], ylabel, title, logx=logx, logy=False, band=band)

    def baseline(self) -> str:
        """Return in brackets the accuracy of always giving the same answer; two where the runs have other images."""
        return f"(baseline {span(self.groups.baseline.min(), self.groups.baseline.max())})"


def summarize(members: Sequence[tuple[Mapping[str, str], Run]], threshold: float) -> Summary:
    """Make the table of finished runs, each given with the settings in which the runs of its study differ."""
    runs = [run for _, run in members]
    table = pd.DataFrame([dict(swept) for swept, _ in members], index=range(len(runs)))
    for name in table:
        table[name] = table[name] if name == "images" or is_text(str(name)) else as_numbers(table[name])
    settings = [str(name) for name in table if name != "seed"]
    table["group"] = table.groupby(settings).ngroup() if settings else 0
    table["seed"] = [run.settings.seed for run in runs]
    for name in ("test_accuracy", "train_loss", "baseline"):
        table[name] = [getattr(run.figures, name) for run in runs]
    table["iterations_to_99"] = [iterations_to_99(run) for run in runs]
    table["solved"] = table["test_accuracy"] >= threshold
    table["run"] = pd.Series(list(runs), dtype=object)
    table = table.sort_values(["group", "seed"], ignore_index=True)  # the bootstrap depends on the order
    return Summary(table, settings, threshold)


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a setting's values as numbers if all of them are numbers."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def iterations_to_99(run: Run) -> float:
    """Return the first recorded iteration with 99 % of the training images right, infinity if there is none."""
    return next((point.iteration for point in run.curve() if point.train_accuracy >= LEARNED), math.inf)


# --- intervals


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of the mean; of equal values and of a single one it is their value."""
    sample = np.array(list(values))
    if np.ptp(sample) == 0:  # the bootstrap can't resample a difference that is not there
        return float(sample[0]), float(sample[0])
    low, high = stats.bootstrap((sample,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    return float(low), float(high)


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    low, high = stats.binomtest(count, total).proportion_ci(method="wilson")
    return float(low), float(high)


# --- words


def solved_by(runs: pd.DataFrame, name: str) -> str:
    """Return the share of runs that solve the task at each value of a setting, whatever the others are."""
    shares = runs.groupby(name)["solved"].mean()
    return ", ".join(f"{plain(value)}: {percent(share)}" for value, share in shares.items())


def compare(change: str, difference: pd.Series[float]) -> dict[str, str]:
    """Return a row of the table of comparisons."""
    higher, lower = int((difference > 0).sum()), int((difference < 0).sum())
    p = stats.binomtest(higher, higher + lower).pvalue if higher + lower else 1.0
    clear = "no clear difference" if p >= 0.05 else "higher" if higher > lower else "lower"
    return {
        "change": change,
        "seeds": str(len(difference)),
        "difference": f"{100 * difference.mean():+.2f}" if len(difference) else "–",
        "higher": str(higher),
        "lower": str(lower),
        "p": f"{p:.2g}",
        "test accuracy": "too few seeds" if len(difference) < MIN_SEEDS else clear,
    }


def markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    escaped = table.rename(columns=str).map(lambda text: str(text).replace("|", "&#124;"))
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=["right"] * len(table.columns))


def plain(value: object) -> str:
    """Return a setting's value as on the command line: 3 for 3.0."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def percent(share: float, digits: str = ".4g") -> str:
    """Return 0.985 as 98.5 %."""
    return f"{100 * share:{digits}} %"


def span(low: float, high: float, digits: str = ".4g") -> str:
    """Return 76 to 100 %, or 76 % where both ends are the same."""
    ends = f"{100 * low:{digits}}", f"{100 * high:{digits}}"
    return f"{' to '.join(dict.fromkeys(ends))} %"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def losses(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the train losses, a row for each iteration that all runs have recorded, a column for each run."""
    curves = [pd.Series({point.iteration: point.train_loss for point in run.curve()}) for run in runs]
    return pd.concat(curves, axis=1, join="inner").sort_index()
