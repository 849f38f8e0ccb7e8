"""What the finished runs of a study show: sentences, tables and pictures, all from one table with a row for each run.

The same runs give the same text: no date, a fixed seed for the bootstrap, only digits that other machines reproduce.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from dognet.pictures import heatmap, lines
from dognet.runs.run import Run
from dognet.settings import listed
from dognet.sweep.grid import named

CURVES = 12  # in a picture: no more colours can be distinguished
LISTED = 10  # seeds: with more, a table has the range of the accuracies
NAMED = 5  # settings that overfit; if there are more, those with the widest gap
RISE = 1.05  # of the validation loss above its lowest value, while the train loss falls: overfitting
MIN_SEEDS = 6  # with fewer, not even a difference of one sign in all pairs is significant: 2 / 2^5 > 0.05
LEGEND = """
- Solved: the runs with at least {goal} % test accuracy, and the 95 % Wilson interval of their share.
- Test accuracy: the mean over the seeds, with its 95 % BCa bootstrap interval where they differ.
- By seed: {detail}.
- Baseline, {baseline} %: the test accuracy of always giving the more frequent answer.
- {losses}: the mean over the seeds, in nats.
- An iteration: {iteration}.
- Iterations to 99 %: the first recorded iteration by which half of the runs have had 99 % of the training images right.
"""
BALANCED = "- Balanced accuracy: the mean of the test accuracies of both classes, whose baseline is 50 %.\n"
OVERFITS = """## Overfitting

A run overfits where the validation loss ends more than 5 % above its lowest value, while the train loss falls. Gap:
validation loss minus train loss at the end, the mean over the seeds in nats.

"""
COMPARED = """## Neighbouring settings compared

The test accuracies of runs are compared seed by seed, each run with one that differs in this setting alone. Mean
change: in percentage points. Higher and lower: how many seeds gain and lose. p: how likely so uneven a split is if the
setting makes no difference (two-sided sign test, not corrected for the number of comparisons). Below 0.05 the verdict
is clear; above, there may be a difference that these seeds do not show.

"""


def median_run(iterations: pd.Series[float]) -> float:
    """Return the iteration by which half of the runs have learned their images."""
    return float(iterations.quantile(0.5, interpolation="lower"))


COUNTED: dict[str, tuple[str, Any]] = {  # columns of the groups: a column of their runs, and what is made of it
    "runs": ("solved", "size"),
    "solved": ("solved", "sum"),
    "accuracy": ("test_accuracy", "mean"),
    "lowest": ("test_accuracy", "min"),
    "highest": ("test_accuracy", "max"),
    "baseline": ("baseline", "first"),
    "loss": ("train_loss", "mean"),
    "validation": ("validation_loss", "mean"),
    "balanced": ("balanced_accuracy", "mean"),
    "overfits": ("overfits_from", "count"),
    "overfits_from": ("overfits_from", "median"),
    "iterations": ("learned", median_run),
}


class Summary:
    """The finished runs of a study with their settings; a run with a test accuracy of ``threshold`` solves the task.

    ``runs`` has a row for each run. ``groups`` has a row for runs that differ only in their seed, with counts, means
    and ranges. ``settings`` names the settings in which the groups differ, ``shared`` describes the others in words.
    """

    def __init__(self, finished: Sequence[tuple[Mapping[str, object], Run]], threshold: float) -> None:
        rows, given = [row_of(run) for _, run in finished], pd.DataFrame([settings for settings, _ in finished])
        taken = {*rows[0], *COUNTED, "group"} - {"seed"}  # a setting of a project's own may have such a name
        given = given.rename(columns={name: f"{name} (setting)" for name in taken})
        self.settings, self.shared, self.threshold = differing(given), what_all_have(given), threshold
        runs = pd.concat([given.drop(columns="seed", errors="ignore"), pd.DataFrame(rows)], axis=1)
        runs["group"] = runs.groupby(self.settings, dropna=False).ngroup() if self.settings else 0
        runs["solved"] = runs.test_accuracy >= threshold
        self.runs = runs.sort_values(["group", "seed"], ignore_index=True)  # the bootstrap depends on the order
        self.groups = self.runs.groupby("group").agg(**{name: (name, "first") for name in self.settings}, **COUNTED)

    def name(self, group: int, *, without: str = "") -> str:
        """Return the settings of a group as on the command line."""
        values = {name: self.groups[name][group] for name in self.settings if name != without}
        return named({name: plain(value) for name, value in values.items() if not pd.isna(value)})

    def answer(self) -> str:
        """Return the answer of the study: a sentence or two that say with which settings the task is solved."""
        groups, reach, n = self.groups, f"{percent(self.threshold)} % test accuracy", len(self.runs)
        baseline = f"baseline {span(groups.baseline)} %"
        if not groups.solved.any():
            return f"No run reached {reach}. The best reached {percent(groups.highest.max())} % ({baseline})."
        goal = f"{reach}, {baseline}"
        if len(self.settings) > 1:
            by = "; by ".join(f"{name}: {self.solved_by(name)}" for name in self.settings)
            return f"Share of runs that solve the task ({goal}), by {by}."
        if not self.settings:
            count = f"{groups.solved[0]} of {n} run{'s' * (n != 1)} solve{'s' * (n == 1)} the task ({goal})"
            return f"{count}. The test accuracy of the runs is {span(self.runs.test_accuracy)} %."
        where: dict[str, list[str]] = {"all runs": [], "some runs": [], "no run": []}
        for value, solved, total in zip(groups[self.settings[0]].map(plain), groups.solved, groups.runs, strict=True):
            who = "all runs" if solved == total else "some runs" if solved else "no run"
            where[who].append(f"{value} ({solved} of {total})" if who == "some runs" else value)
        parts = [f"by {who} at {self.settings[0]} {listed(at, 'and')}" for who, at in where.items() if at]
        return f"The task ({goal}) is solved {'; '.join(parts)}."

    def solved_by(self, name: str) -> str:
        """Return the share of runs that solve the task at each value of a setting, whatever the others are."""
        shares = self.runs.groupby(name).solved.mean()
        return ", ".join(f"{plain(value)}: {percent(share)} %" for value, share in shares.items())

    def fastest(self) -> str:
        """Return a sentence that names the setting in which half of the runs learn the training images first."""
        group, goal = int(self.groups.iterations.argmin()), "99 % of the training images right"
        if math.isinf(iterations := self.groups.iterations[group]):
            return f"Fewer than half of the runs get {goal}{', in every setting' if self.settings else ''}."
        if not (name := self.name(group, without="ITERS")):
            return f"Half of the runs get {goal} within {iterations:.0f} iterations."
        return f"The fastest setting is `{name}`: half of its runs get {goal} within {iterations:.0f} iterations."

    def table(self) -> str:
        """Return the table in Markdown with a row for each group of runs, and its legend."""
        groups, seeds = self.groups, sorted(self.runs.seed.unique())
        table = groups[self.settings].map(plain)
        counts = list(zip(groups.solved, groups.runs, strict=True))
        table["solved"] = [f"{n} of {all_} ({span(share_interval(n, all_), '.0f')} %)" for n, all_ in counts]
        table["test accuracy, %"] = self.runs.groupby("group").test_accuracy.agg(mean_with_interval)
        if few := len(seeds) <= LISTED:
            accuracies = self.runs.pivot_table(index="group", columns="seed", values="test_accuracy")
            table["by seed, %"] = accuracies.map(percent).agg(", ".join, axis=1)
        else:
            table["by seed, %"] = self.runs.groupby("group").test_accuracy.agg(span)
        if groups.baseline.nunique() > 1:
            table["baseline, %"] = groups.baseline.map(percent)
        if groups.balanced.notna().any():
            table["balanced accuracy, %"] = groups.balanced.map(percent)
        table["train loss"] = groups.loss.map("{:.3g}".format)
        if validated := groups.validation.notna().any():
            table["validation loss"] = groups.validation.map("{:.3g}".format)
        table["iterations to 99 %"] = groups.iterations.map(lambda first: "–" if math.isinf(first) else f"{first:.0f}")
        detail = f"the test accuracy with seed {listed(seeds, 'and')}" if few else "the range of the test accuracy"
        goal, baseline = percent(self.threshold), span(groups.baseline)
        losses = "Train and validation loss" if validated else "Train loss"
        iteration = what_iterations_are(self.runs)
        legend = LEGEND.format(goal=goal, baseline=baseline, detail=detail, losses=losses, iteration=iteration)
        return markdown(table) + "\n" + (legend + BALANCED * ("balanced accuracy, %" in table)).rstrip()

    def overfitting(self) -> str:
        """Return which settings overfit, and from which iteration on; "" if none does."""
        groups = self.groups.assign(gap=self.groups.validation - self.groups.loss)
        if groups.gap.isna().all():
            return ""
        if not groups.overfits.any():
            widest = int(groups.gap.fillna(-np.inf).argmax())
            at = f" (`{name}`)" if (name := self.name(widest)) else ""
            return OVERFITS + f"No run overfits. The gap is {groups.gap[widest]:.3g} nats at most{at}."
        worst = groups[groups.overfits > 0].sort_values("gap", ascending=False, kind="stable")
        table = pd.DataFrame({
            **{name: worst[name].map(plain) for name in self.settings},
            "runs that overfit": [f"{n} of {all_}" for n, all_ in zip(worst.overfits, worst.runs, strict=True)],
            "lowest validation loss at iteration": worst.overfits_from.map("{:.0f}".format),
            "gap": worst.gap.map("{:.3g}".format),
        })  # fmt: skip
        more = f"\n\nThe {NAMED} settings with the widest gap of {len(table)} that overfit." * (len(table) > NAMED)
        return OVERFITS + markdown(table[:NAMED]) + more

    def comparisons(self) -> str:
        """Return the table in Markdown that compares neighbouring values of each setting, or why there is none."""
        gains = {
            f"{name} {plain(low)} → {plain(high)}": self.gains(name, low, high)
            for name in self.settings
            for low, high in itertools.pairwise(sorted(self.runs[name].dropna().unique()))
        }
        most = max(map(len, gains.values()), default=0)
        if most < MIN_SEEDS:
            few = f"Neighbouring settings have at most {most} seed{'s' * (most != 1)} in common"
            return f"{few}, too few to tell them apart: the sign test needs {MIN_SEEDS}." if gains else ""
        return COMPARED + markdown(pd.DataFrame([{"change": name, **compare(each)} for name, each in gains.items()]))

    def gains(self, name: str, low: object, high: object) -> pd.Series[float]:
        """Return each seed's gain in test accuracy from ``low`` to ``high``, between runs that are equal otherwise."""
        others = [other for other in self.settings if other != name]
        alike = self.runs.groupby(["seed", *others, name], dropna=False)  # NaN: a setting that the method does not use
        accuracy = alike.test_accuracy.mean().unstack(name)
        return (accuracy[high] - accuracy[low]).dropna().groupby("seed").mean().round(12)

    def loss_picture(self) -> Figure:
        """Draw the train loss of each group of runs, or of each seed if there is one group; of many, draw only some."""
        return self.curves("curve", "train loss (nats)", "Train loss", logy=True)

    def gap_picture(self) -> Figure | None:
        """Draw in the same way how far the validation loss lies above the train loss; None without validation."""
        if self.runs.validation_loss.isna().any():
            return None
        return self.curves("gap", "validation loss - train loss (nats)", "Gap to the validation loss", logy=False)

    def curves(self, column: str, y_label: str, what: str, *, logy: bool) -> Figure:
        """Draw a column of curves over the iterations, one curve for each group of runs or each seed."""
        by = "group" if self.settings else "seed"
        ranked = self.runs.groupby(by).selection_loss.mean().sort_values(kind="stable").index
        ranks = np.unique(np.linspace(0, len(ranked) - 1, min(CURVES, len(ranked))).round().astype(int))
        series = {}
        for key in sorted(ranked[ranks]):
            curves = pd.concat(list(self.runs[column][self.runs[by] == key]), axis=1, join="inner")
            with np.errstate(invalid="ignore"):  # there is no value between two infinite losses: the curve has a gap
                low, median, high = np.quantile(curves, (0.25, 0.5, 0.75), axis=1)
            name = self.name(key) if self.settings else f"seed={key}"
            series[name] = curves.index.to_numpy(), median, low, high
        title = f"{what}: median and middle half of the seeds" if self.settings else f"{what} of each seed"
        some = f" ({len(ranks)} of {len(ranked)}, best to worst)" if len(ranks) < len(ranked) else ""
        iteration = f"iteration: {'; '.join(self.runs.iteration.unique())}"
        return lines(series, iteration, y_label, title + some, logy=logy)

    def accuracy_picture(self) -> Figure | None:
        """Draw the test accuracy over one setting, or two as a heat map, or of each seed; None for more settings."""
        groups, (first, *others) = self.groups, (*self.settings, "")
        if len(self.settings) == 2:
            means = groups.pivot(index=first, columns=others[0], values="accuracy")
            ys, xs = (list(map(plain, values)) for values in (means.index, means.columns))
            title = f"Test accuracy: mean over the seeds (baseline {span(groups.baseline)} %)"
            return heatmap(means.to_numpy(), xs, ys, others[0], first, title)
        if not first:
            seeds = self.runs.sort_values("test_accuracy", ignore_index=True)
            series = {name: (seeds.index + 1, seeds[name]) for name in ("test_accuracy", "baseline")}
            title = "Test accuracy of each seed"
            return lines(series, "seeds, worst to best", "test accuracy", title, logx=False, logy=False)
        if len(self.settings) > 2 or not pd.api.types.is_numeric_dtype(groups[first]):
            return None
        x = groups[first].to_numpy(float)
        curves = {
            "mean accuracy": (x, groups.accuracy, groups.lowest, groups.highest),
            "solved": (x, groups.solved / groups.runs),
            "baseline": (x, groups.baseline),
        }
        title, y_label = "Test accuracy over the seeds: mean and range", "test accuracy; share of solved runs"
        return lines(curves, first, y_label, title, logx=bool(0 < 10 * x[0] <= x[-1]), logy=False)


def row_of(run: Run) -> dict[str, object]:
    """Return a run's seed, metrics and curves, and the first recorded iteration with 99 % right, else infinity.

    Metrics that the run does not have are NaN.
    """
    curve = run.curve()
    learned = next(iter(curve.index[curve.train_accuracy >= 0.99]), math.inf)
    validation = curve.get("validation_loss", math.nan * curve.train_loss)
    with np.errstate(invalid="ignore"):  # where both are infinite there is no gap
        gap = validation - curve.train_loss
    absent = {"validation_loss": math.nan, "balanced_accuracy": math.nan}
    ours = {"seed": run.settings.seed, "selection_loss": run.figures.selection_loss, "learned": float(learned)}
    method = {"method_name": run.settings.method.name, "iteration": run.settings.method.build().iteration}
    curves = {"curve": curve.train_loss, "gap": gap, "overfits_from": overfits_from(curve.train_loss, validation)}
    return {**absent, **run.figures.by_name(), **ours, **method, **curves}


def what_iterations_are(runs: pd.DataFrame) -> str:
    """Return in words what an iteration is, for each method of the runs."""
    found = runs.drop_duplicates(["method_name", "iteration"]).groupby("method_name").iteration.agg(", ".join)
    return "; ".join(f"{what} (`method={method}`)" for method, what in found.items())


def overfits_from(train: pd.Series[float], validation: pd.Series[float]) -> float:
    """Return from which iteration on a run overfits, that of its lowest validation loss; NaN if it does not overfit."""
    lowest = int(validation.argmin()) if validation.notna().all() else -1
    rises, falls = validation.iloc[-1] > RISE * validation.iloc[lowest], train.iloc[-1] < train.iloc[lowest]
    return float(validation.index[lowest]) if rises and falls else math.nan


def differing(table: pd.DataFrame) -> list[str]:
    """Return the settings in which runs differ, except the seed and the settings that others imply.

    The images' settings may imply the images, and the method may imply a setting that not every method uses.
    """
    names = [str(name) for name in table if name != "seed" and table[name].nunique(dropna=False) > 1]
    for name in ("images", "data", *(name for name in names if table[name].isna().any())):
        rest = [other for other in names if other != name]
        if name in names and rest and len(table[rest].drop_duplicates()) == len(table[names].drop_duplicates()):
            names = rest
    return names


def what_all_have(table: pd.DataFrame) -> str:
    """Return in words the settings that all runs share, and the folder of their images if they share it."""
    values = {str(name): table[name].dropna().unique() for name in table}
    whole = {name: plain(found[0]) for name, found in values.items() if len(found) == 1 and table[name].notna().all()}
    partly = {name: plain(found[0]) for name, found in values.items() if len(found) == 1 and name not in whole}
    content, folder = whole.pop("images", ""), whole.pop("data", "")
    parts = [f"`{named(whole)}`"] * bool(whole) + [f"the images in `data/{folder}/`"] * bool(content and folder)
    parts += [f"`{named(partly)}` where the method uses it"] * bool(partly)
    return listed(parts, "and") if parts else "other settings"


# --- intervals and words


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of the mean; for equal values or a single one, that value."""
    sample = np.array(list(values))
    if np.ptp(sample) == 0:  # the bootstrap can't resample a difference that is not there
        return sample[0], sample[0]
    return stats.bootstrap((sample,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    return stats.binomtest(count, total).proportion_ci(method="wilson")


def mean_with_interval(accuracies: pd.Series[float]) -> str:
    """Return the mean of accuracies in percent, with its interval if it has one."""
    low, high = mean_interval(accuracies)
    return percent(accuracies.mean(), ".2f") + (f" ({span((low, high), '.2f')})" if low < high else "")


def compare(gains: pd.Series[float]) -> dict[str, str]:
    """Return cells of the table of comparisons for the gains of each seed."""
    higher, lower = int((gains > 0).sum()), int((gains < 0).sum())
    p = stats.binomtest(higher, higher + lower).pvalue if higher + lower else 1.0
    clear = "no clear difference" if p >= 0.05 else "higher" if higher > lower else "lower"
    counts = {"higher": f"{higher} of {len(gains)}", "lower": f"{lower} of {len(gains)}", "p": f"{p:.2g}"}
    if len(gains) < MIN_SEEDS:
        return {"verdict": "too few seeds", "mean change": "–", **counts}
    return {"verdict": clear, "mean change": f"{100 * gains.mean():+.2f}", **counts}


def markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    rows = [table.columns, ["--:"] * table.shape[1], *table.to_numpy()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows)


def plain(value: object) -> str:
    """Return a setting's value as on the command line: 3 for 3.0; a dash for one that the method does not use."""
    return str(value) if not isinstance(value, float) else "–" if math.isnan(value) else f"{value:.12g}"


def percent(share: float, digits: str = ".4g") -> str:
    """Return 0.985 as 98.5, and a missing share as a dash."""
    return "–" if math.isnan(share) else f"{100 * share:{digits}}"


def span(shares: Iterable[float], digits: str = ".4g") -> str:
    """Return 76 to 100 for the lowest and the highest share, or 76 where both are the same."""
    return " to ".join(dict.fromkeys(percent(end, digits) for end in (min(shares), max(shares))))
