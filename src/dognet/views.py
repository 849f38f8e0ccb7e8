"""Saved views of a study on MLflow's page: its runs compared, and their mean over the seeds.

A view is a tag of the experiment. Its form is written nowhere and was read out of the page of MLflow 3.17; a test looks
at it in a browser.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from contextlib import suppress
from typing import Any

from dognet import runs
from dognet.tracking import Store, StoreError

SWEPT = ("hiddenNodes", "stepSize", "ITERS")  # the seed aside
LOSS, TEST_LOSS, TEST_ACCURACY = "final/train_loss", "final/test_loss", "final/test_accuracy"
COLUMNS = [f"params.`{name}`" for name in (*SWEPT, "seed")] + [
    f"metrics.`{name}`" for name in (LOSS, "final/train_accuracy", TEST_LOSS, TEST_ACCURACY, "final/seconds")
]


def save(store: Store, study: str) -> None:
    """Write the study's views, if they aren't there already; the runs do without, so nothing is raised."""
    with suppress(StoreError), store.writing():
        experiment = store.experiment(study)
        some = store.client.search_runs([experiment], max_results=200)
        values = {name: {run.data.params.get(name) for run in some} for name in SWEPT}
        varied = [name for name in SWEPT if len(values[name]) > 1] or ["hiddenNodes"]
        there = store.client.get_experiment(experiment).tags
        for key, name, state in (
            ("dashboard", "dognet: all runs", compared(varied)),
            ("seeds", "dognet: mean over seeds", averaged(varied)),
        ):
            packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
            tag, now = f"mlflow.sharedViewState.{key}", round(1000 * time.time())
            if packed not in there.get(tag, ""):
                view = {"name": name, "createdAt": now, "updatedAt": now, "state": packed}
                store.client.set_experiment_tag(experiment, tag, json.dumps(view))


def address(base: str, experiment: str, key: str = "dashboard") -> str:
    """Return where the server at ``base`` shows a view."""
    view = f"workflowType=machine_learning&viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment}/runs?{view}"


def compared(varied: list[str]) -> dict[str, Any]:
    """Return the view of all runs: curves, parallel coordinates, contour and scatter over the settings that vary."""
    x, y = [*varied, *(name for name in SWEPT if name not in varied)][:2]
    coordinates = {"selectedParams": [*varied, "seed"], "selectedMetrics": [LOSS, TEST_ACCURACY], "showAllRuns": True}
    charts = [
        *curves(),
        chart("PARALLEL", "runs", **coordinates),
        chart("CONTOUR", "runs", xaxis=axis(x, "PARAM"), yaxis=axis(y, "PARAM"), zaxis=axis(LOSS)),
        chart("SCATTER", "runs", xaxis=axis(x, "PARAM"), yaxis=axis(LOSS)),
        chart("SCATTER", "runs", xaxis=axis(LOSS), yaxis=axis(TEST_LOSS)),
    ]
    return page(charts, groupBy=None)


def averaged(varied: list[str]) -> dict[str, Any]:
    """Return the view of the runs in groups that differ in their seed only: the mean, and the band they lie in."""
    keys = [{"mode": "param", "groupByData": name} for name in varied]
    bars = [chart("BAR", "runs", metricKey=name) for name in (LOSS, TEST_LOSS, TEST_ACCURACY)]
    return page(curves() + bars, groupBy={"aggregateFunction": "average", "groupByKeys": keys})


def curves() -> list[dict[str, Any]]:
    """Return the charts of the curves, both axes of the loss logarithmic."""
    return [
        chart("LINE", "train", metricKey=name, selectedMetricKeys=[name], xAxisScaleType="log", scaleType=scale)
        for name, scale in (("train/loss", "log"), ("train/accuracy", "linear"))
    ]


def axis(key: str, kind: str = "METRIC") -> dict[str, str]:
    """Return the axis of a setting or a figure."""
    return {"key": key, "type": kind}


def chart(kind: str, section: str, **settings: object) -> dict[str, Any]:
    """Return a chart of up to 100 runs."""
    own = {"uuid": runs.hash_of({"kind": kind, **settings}), "type": kind, "metricSectionId": section}
    return {**own, "runsCountToCompare": 100, "deleted": False, "isGenerated": False, **settings}


def page(charts: list[dict[str, Any]], **settings: object) -> dict[str, Any]:
    """Return the page of these charts beside the table of all runs, sorted by train loss and never by a test figure."""
    sections = [
        {"uuid": name, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}
        for name, shown in (("train", True), ("runs", True), ("final", False))
    ]
    return {
        "orderByKey": f"metrics.`{LOSS}`",
        "orderByAsc": True,
        "selectedColumns": COLUMNS,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        **settings,
    }
