"""Dashboards of a study on MLflow's page: all its runs compared, and their mean over the seeds.

A dashboard is a tag of the experiment, which the page calls a shared view. Its form is undocumented and was read off
the page of MLflow 3.17; a test checks it in a browser.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dognet.runs.digest import hash_of
from dognet.runs.run import Metrics, chosen_by
from dognet.settings import TrainingSettings
from dognet.tracking.address import StoreError
from dognet.tracking.entry import WITHOUT_SEED
from dognet.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import RunData

TEST_LOSS, TEST_ACCURACY = "final/test_loss", "final/test_accuracy"
LOW = 0.007  # nats, a hundredth of the loss of a coin: on a log axis of less than two decades the page's labels overlap
DASHBOARDS = {"dashboard": "all runs", "seeds": "mean over seeds"}
SECTIONS = {"train": 2, "validation": 2, "in pairs": 2, "final": 3}  # charts in a row
PAIRS = "in pairs"
SEEDS = ("seed", "data.seed")
JSON = dict[str, Any]  # what the page reads


def save(store: Store, study: str) -> None:
    """Write the study's dashboards unless they are there already; MLflow works without, so nothing is raised."""
    with suppress(StoreError), store.writing():
        experiment = store.experiment(study)
        runs = [run.data for run in store.client.search_runs([experiment], max_results=1000)]
        present = store.client.get_experiment(experiment).tags
        for (key, name), state in zip(DASHBOARDS.items(), (compare(runs), average(runs)), strict=True):
            packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
            tag, now = f"mlflow.sharedViewState.{key}", round(1000 * time.time())
            if packed not in present.get(tag, ""):
                first = figures_of(runs)[0].partition("/")[2].replace("_", " ")
                view = {"name": f"dognet: {name}, the lowest {first} first", "createdAt": now, "updatedAt": now}
                store.client.set_experiment_tag(experiment, tag, json.dumps(view | {"state": packed}))


def varied_settings(runs: Sequence[RunData]) -> dict[str, list[str]]:
    """Return the settings in which runs differ, with their values; those of the training first, in their order."""
    names = [*TrainingSettings.model_fields, *sorted({name for run in runs for name in run.params})]
    values = {name: sorted({run.params.get(name, "") for run in runs}) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}


def figures_of(runs: Sequence[RunData]) -> list[str]:
    """Return the final metrics that runs have, in the order of the table.

    The table is sorted by the first one, which is also drawn over the settings: the loss that chooses the best run. How
    many images a run gets right in each class is shown on its own page.
    """
    shown = [name for name in (*Metrics.model_fields, "seconds") if not name.endswith(("positives", "negatives"))]
    names = [name for name in shown if any(f"final/{name}" in run.metrics for run in runs)]
    first = [chosen_by(names), "test_accuracy", "baseline", "test_loss"]
    return [f"final/{name}" for name in dict.fromkeys([*first, *names])]


def address(base: str, experiment: str, key: str) -> str:
    """Return where the server at ``base`` shows a dashboard."""
    view = f"workflowType=machine_learning&viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment}/runs?{view}"


def compare(runs: Sequence[RunData]) -> JSON:
    """Return the dashboard of all runs: curves, parallel coordinates, contour and scatter over the varied settings."""
    loss, varied = figures_of(runs)[0], varied_settings(runs)
    first, *others = shared(runs)
    of_all_runs = [name for name, values in varied.items() if "" not in values]  # a run without one would have no line
    charts = [
        first,  # the train loss, and beside it, in sight without scrolling, the settings
        chart("PARALLEL", "train", selectedParams=of_all_runs, selectedMetrics=[loss, TEST_ACCURACY], showAllRuns=True),
        *others,
        *(chart("SCATTER", PAIRS, xaxis=x, yaxis=axis(loss)) for x in axes(runs) or [axis("seed", "PARAM")]),
        chart("SCATTER", PAIRS, xaxis=axis(loss), yaxis=axis(TEST_LOSS)),
    ]
    return page(charts, runs, groupBy=None)


def average(runs: Sequence[RunData]) -> JSON:
    """Return the dashboard of groups of runs that differ in their seed only: the mean, and the band they lie in.

    If several settings vary, a group is named by one tag: the list of runs has no room for all their names.
    """
    settings = [name for name in varied_settings(runs) if name != "seed"]
    mode, key = ("param", settings[0]) if len(settings) == 1 else ("tag", WITHOUT_SEED)
    groups = {(run.params if mode == "param" else run.tags).get(key) for run in runs}
    closed = {f"{mode}.{key}.{group}": False for group in sorted(map(str, groups))[:100]}
    bars = [chart("BAR", "final", metricKey=name) for name in (figures_of(runs)[0], TEST_LOSS, TEST_ACCURACY)]
    grouping = {"aggregateFunction": "average", "groupByKeys": [{"mode": mode, "groupByData": key}]}
    return page([*shared(runs), *bars], runs, groupBy=grouping, groupsExpanded=closed)


def axes(runs: Sequence[RunData]) -> list[JSON]:
    """Return the axes of the first two settings, except the seeds, that vary and are numbers."""
    found = []
    for name, values in varied_settings(runs).items():
        with suppress(ValueError):
            if name not in SEEDS and [float(value) for value in values]:
                found.append(axis(name, "PARAM"))
    return found[:2]


def shared(runs: Sequence[RunData]) -> list[JSON]:
    """Return the charts of both dashboards: curves over iterations, and the final loss over two settings that vary."""
    figures, same = figures_of(runs), {"xAxisScaleType": "log", "lineSmoothness": 0}
    loss_scale = "log" if any(run.metrics.get("final/train_loss", 1) < LOW for run in runs) else "linear"
    charts = [
        chart("LINE", part, metricKey=name, selectedMetricKeys=[name], scaleType=scale, **same)
        for part in ("train", "validation")
        if f"final/{part}_loss" in figures
        for name, scale in ((f"{part}/loss", loss_scale), (f"{part}/accuracy", "linear"))
    ]
    pairs = itertools.pairwise(axes(runs))
    return [*charts, *(chart("CONTOUR", PAIRS, xaxis=x, yaxis=y, zaxis=axis(figures[0])) for x, y in pairs)]


def axis(key: str, kind: str = "METRIC") -> JSON:
    """Return the axis of a setting or a metric."""
    return {"key": key, "type": kind}


def chart(kind: str, section: str, **options: object) -> JSON:
    """Return a chart of up to 100 runs."""
    uuid = hash_of({"kind": kind, **options})
    return {"uuid": uuid, "type": kind, "metricSectionId": section, "runsCountToCompare": 100, **options}


def page(charts: list[JSON], runs: Sequence[RunData], **options: object) -> JSON:
    """Return the page of these charts beside the table of all runs.

    The table's columns are the varied settings, the figures, then the settings that are the same in all runs.
    """
    varied, shown = varied_settings(runs), [f"metrics.`{name}`" for name in figures_of(runs)]
    settings = [f"params.`{name}`" for name in dict.fromkeys([*varied, *TrainingSettings.model_fields])]
    columns = [*settings[: len(varied)], *shown, *settings[len(varied) :]]
    used = {one["metricSectionId"] for one in charts}
    sections = [
        {"uuid": name, "name": name, "columns": in_a_row, "display": name in used, "isReordered": True}
        for name, in_a_row in SECTIONS.items()
        if name in {*used, "final"}  # the page would add final by itself
    ]
    return {
        "orderByKey": shown[0],
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: 45 + 6 * len(name.split("`")[1]) for name in columns},  # the whole heading
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        **options,
    }
