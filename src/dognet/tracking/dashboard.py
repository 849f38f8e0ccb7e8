"""Dashboards of a study on MLflow's page: all its runs compared, and their mean over the seeds.

A dashboard is a tag of the experiment, which the page calls a shared view. Its form is documented nowhere and was read
out of the page of MLflow 3.17; a test looks at it in a browser.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dognet.runs.digest import hash_of
from dognet.runs.run import Metrics
from dognet.settings import TrainingSettings
from dognet.tracking.address import StoreError
from dognet.tracking.entry import WITHOUT_SEED
from dognet.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import RunData

CHOSEN_BY = "final/train_loss"  # sorts the table and is drawn over the settings; never a test figure
TEST_LOSS, TEST_ACCURACY = "final/test_loss", "final/test_accuracy"
CURVES = {"train/loss": "log", "train/accuracy": "linear"}  # the scale of their axis
DASHBOARDS = {"dashboard": "all runs", "seeds": "mean over seeds"}
SECTIONS = {"train": 2, "settings and figures": 1, "in pairs": 2, "final": 3}  # charts in a row
RUNS, PAIRS = list(SECTIONS)[1:3]
SEEDS = ("seed", "data.seed")
JSON = dict[str, Any]  # what the page reads


def save(store: Store, study: str) -> None:
    """Write the study's dashboards unless they are there already; MLflow works without, so nothing is raised."""
    with suppress(StoreError), store.writing():
        experiment = store.experiment(study)
        runs = [run.data for run in store.client.search_runs([experiment], max_results=1000)]
        varied = varied_settings([run.params for run in runs])
        present = store.client.get_experiment(experiment).tags
        for (key, name), state in zip(DASHBOARDS.items(), (compare(varied), average(varied, runs)), strict=True):
            packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
            tag, now = f"mlflow.sharedViewState.{key}", round(1000 * time.time())
            if packed not in present.get(tag, ""):
                view = {"name": f"dognet: {name}", "createdAt": now, "updatedAt": now, "state": packed}
                store.client.set_experiment_tag(experiment, tag, json.dumps(view))


def varied_settings(params: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the settings in which runs differ, with their values; those of the training first, in their order."""
    names = [*TrainingSettings.model_fields, *sorted({name for run in params for name in run})]
    values = {name: sorted({run.get(name, "") for run in params}) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}


def address(base: str, experiment: str, key: str = "dashboard") -> str:
    """Return where the server at ``base`` shows a dashboard."""
    view = f"workflowType=machine_learning&viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment}/runs?{view}"


def compare(varied: Mapping[str, list[str]]) -> JSON:
    """Return the dashboard of all runs: curves, parallel coordinates, contour and scatter over the varied settings."""
    figures = [CHOSEN_BY, TEST_ACCURACY]
    charts = [
        *shared(varied),
        chart("PARALLEL", RUNS, selectedParams=list(varied), selectedMetrics=figures, showAllRuns=True),
        *(chart("SCATTER", PAIRS, xaxis=x, yaxis=axis(CHOSEN_BY)) for x in axes(varied) or [axis("seed", "PARAM")]),
        chart("SCATTER", PAIRS, xaxis=axis(CHOSEN_BY), yaxis=axis(TEST_LOSS)),
    ]
    return page(charts, varied, groupBy=None)


def average(varied: Mapping[str, list[str]], runs: Sequence[RunData]) -> JSON:
    """Return the dashboard of groups of runs that differ in their seed only: the mean, and the band they lie in.

    Where several settings vary, a group goes by one tag: the list of runs has no room for all their names.
    """
    settings = [name for name in varied if name != "seed"]
    mode, key = ("param", settings[0]) if len(settings) == 1 else ("tag", WITHOUT_SEED)
    groups = {(run.params if mode == "param" else run.tags).get(key) for run in runs}
    closed = {f"{mode}.{key}.{group}": False for group in sorted(map(str, groups))[:100]}
    bars = [chart("BAR", "final", metricKey=name) for name in (CHOSEN_BY, TEST_LOSS, TEST_ACCURACY)]
    grouping = {"aggregateFunction": "average", "groupByKeys": [{"mode": mode, "groupByData": key}]}
    return page([*shared(varied), *bars], varied, groupBy=grouping, groupsExpanded=closed)


def axes(varied: Mapping[str, list[str]]) -> list[JSON]:
    """Return the axes of the first two settings that vary and are numbers, the seeds aside."""
    found = []
    for name, values in varied.items():
        with suppress(ValueError):
            if name not in SEEDS and [float(value) for value in values]:
                found.append(axis(name, "PARAM"))
    return found[:2]


def shared(varied: Mapping[str, list[str]]) -> list[JSON]:
    """Return the charts of both dashboards: curves over iterations, and the final loss over two settings that vary."""
    charts = [
        chart(
            "LINE",
            "train",
            metricKey=name,
            selectedMetricKeys=[name],
            scaleType=scale,
            xAxisScaleType="log",
            lineSmoothness=0,
        )
        for name, scale in CURVES.items()
    ]
    if len(pair := axes(varied)) == 2:
        charts.append(chart("CONTOUR", PAIRS, xaxis=pair[0], yaxis=pair[1], zaxis=axis(CHOSEN_BY)))
    return charts


def axis(key: str, kind: str = "METRIC") -> JSON:
    """Return the axis of a setting or a figure."""
    return {"key": key, "type": kind}


def chart(kind: str, section: str, **options: object) -> JSON:
    """Return a chart of up to 100 runs."""
    own = {"uuid": hash_of({"kind": kind, **options}), "type": kind, "metricSectionId": section}
    return {**own, "runsCountToCompare": 100, "deleted": False, "isGenerated": False, **options}


def page(charts: list[JSON], varied: Mapping[str, list[str]], **options: object) -> JSON:
    """Return the page of these charts beside the table of all runs.

    The table's columns are the varied settings, the figures, then the settings that are the same in all runs.
    """
    others = [f"final/{name}" for name in (*Metrics.model_fields, "seconds") if name not in ("digest", "baseline")]
    figures = dict.fromkeys([CHOSEN_BY, TEST_ACCURACY, TEST_LOSS, *others])
    same = [name for name in TrainingSettings.model_fields if name not in varied]
    columns = [
        *(f"params.`{name}`" for name in varied),
        *(f"metrics.`{name}`" for name in figures),
        *(f"params.`{name}`" for name in same),
    ]
    used = {one["metricSectionId"] for one in charts}
    sections = [
        {"uuid": name, "name": name, "columns": in_a_row, "display": name in used, "isReordered": True}
        | {"deleted": False, "isGenerated": False}
        for name, in_a_row in SECTIONS.items()
        if name in {*used, "final"}  # left out, the page shows that of its own accord
    ]
    return {
        "orderByKey": f"metrics.`{CHOSEN_BY}`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: 45 + 6 * len(name.split("`")[1]) for name in columns},  # the whole heading
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        **options,
    }
