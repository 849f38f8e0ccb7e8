"""Saved views of a study on MLflow's page: its runs compared, and their mean over the seeds.

A view is a tag of the experiment. Its form is written nowhere and was read out of the page of MLflow 3.17; a test looks
at it in a browser.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dognet import runs
from dognet.config import SETTINGS
from dognet.tracking import BUT_SEED, Store, StoreError

if TYPE_CHECKING:
    from mlflow.entities import RunData

LOSS, TEST_LOSS, TEST_ACCURACY = "final/train_loss", "final/test_loss", "final/test_accuracy"
VIEWS = {"dashboard": "all runs", "seeds": "mean over seeds"}
FIRST = SETTINGS[:4]  # the lecture's own
FIGURES = (LOSS, TEST_ACCURACY, TEST_LOSS, "final/train_accuracy", "final/seconds")
SECTIONS = {"train": 2, "settings and figures": 1, "in pairs": 2, "final": 3}  # charts in a row
RUNS, PAIRS = list(SECTIONS)[1:3]


def save(store: Store, study: str) -> None:
    """Write the study's views, if they aren't there already; the runs do without, so nothing is raised."""
    with suppress(StoreError), store.writing():
        experiment = store.experiment(study)
        some = [run.data for run in store.client.search_runs([experiment], max_results=1000)]
        varied = differing([run.params for run in some])
        there = store.client.get_experiment(experiment).tags
        for (key, name), state in zip(VIEWS.items(), (compared(varied), averaged(varied, some)), strict=True):
            packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
            tag, now = f"mlflow.sharedViewState.{key}", round(1000 * time.time())
            if packed not in there.get(tag, ""):
                view = {"name": f"dognet: {name}", "createdAt": now, "updatedAt": now, "state": packed}
                store.client.set_experiment_tag(experiment, tag, json.dumps(view))


def differing(params: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the settings in which the runs differ, the lecture's first."""
    names = [*FIRST, *sorted({name for run in params for name in run}.difference(FIRST))]
    return [name for name in names if len({run.get(name) for run in params}) > 1]


def address(base: str, experiment: str, key: str = "dashboard") -> str:
    """Return where the server at ``base`` shows a view."""
    view = f"workflowType=machine_learning&viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment}/runs?{view}"


def compared(varied: list[str]) -> dict[str, Any]:
    """Return the view of all runs: curves, parallel coordinates, contour and scatter over the settings that vary."""
    axes = axes_of(varied) or [axis("seed", "PARAM")]
    charts = [
        *curves(),
        chart("PARALLEL", RUNS, selectedParams=varied, selectedMetrics=[LOSS, TEST_ACCURACY], showAllRuns=True),
        *contour(varied),
        *(chart("SCATTER", PAIRS, xaxis=x, yaxis=axis(LOSS)) for x in axes),
        chart("SCATTER", PAIRS, xaxis=axis(LOSS), yaxis=axis(TEST_LOSS)),
    ]
    return page(charts, varied, groupBy=None)


def averaged(varied: list[str], some: Sequence[RunData]) -> dict[str, Any]:
    """Return the view of the runs in groups that differ in their seed only: the mean, and the band they lie in.

    Where several settings vary a group goes by one tag: the list of runs has no room for their names.
    """
    settings = [name for name in varied if name != "seed"]
    mode, key = ("param", settings[0]) if len(settings) == 1 else ("tag", BUT_SEED)
    groups = {(run.params if mode == "param" else run.tags).get(key) for run in some}
    closed = {f"{mode}.{key}.{group}": False for group in sorted(map(str, groups))[:100]}
    bars = [chart("BAR", "final", metricKey=name) for name in (LOSS, TEST_LOSS, TEST_ACCURACY)]
    grouping = {"aggregateFunction": "average", "groupByKeys": [{"mode": mode, "groupByData": key}]}
    return page([*curves(), *contour(varied), *bars], varied, groupBy=grouping, groupsExpanded=closed)


def axes_of(varied: list[str]) -> list[dict[str, str]]:
    """Return the axes of the first two settings that vary, the seed aside."""
    return [axis(name, "PARAM") for name in FIRST[:3] if name in varied][:2]


def contour(varied: list[str]) -> list[dict[str, Any]]:
    """Return the chart of the final loss over two settings; none where fewer vary."""
    pairs = itertools.pairwise(axes_of(varied))
    return [chart("CONTOUR", PAIRS, xaxis=x, yaxis=y, zaxis=axis(LOSS)) for x, y in pairs]


def curves() -> list[dict[str, Any]]:
    """Return the charts of the curves, both axes of the loss logarithmic."""
    return [
        chart(
            "LINE",
            "train",
            metricKey=name,
            selectedMetricKeys=[name],
            xAxisScaleType="log",
            scaleType=scale,
            lineSmoothness=0,
        )
        for name, scale in (("train/loss", "log"), ("train/accuracy", "linear"))
    ]


def axis(key: str, kind: str = "METRIC") -> dict[str, str]:
    """Return the axis of a setting or a figure."""
    return {"key": key, "type": kind}


def chart(kind: str, section: str, **settings: object) -> dict[str, Any]:
    """Return a chart of up to 100 runs."""
    own = {"uuid": runs.hash_of({"kind": kind, **settings}), "type": kind, "metricSectionId": section}
    return {**own, "runsCountToCompare": 100, "deleted": False, "isGenerated": False, **settings}


def page(charts: list[dict[str, Any]], varied: list[str], **settings: object) -> dict[str, Any]:
    """Return the page of these charts beside the table of all runs, sorted by train loss and never by a test figure.

    The table's columns are the settings that vary, the figures, then the settings that are the same in all.
    """
    same = [name for name in FIRST if name not in varied]
    columns = [
        *(f"params.`{name}`" for name in varied),
        *(f"metrics.`{name}`" for name in FIGURES),
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
        "orderByKey": f"metrics.`{LOSS}`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: 45 + 6 * len(name.split("`")[1]) for name in columns},  # the headings whole
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        **settings,
    }
