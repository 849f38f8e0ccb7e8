"""``dognet-ui`` in a real browser: the saved views show what they should."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, run_in

from dognet import ui

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = ("hiddenNodes", "stepSize", "ITERS", "seed")
FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")


@pytest.fixture(scope="module")
def recorded(twelve: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose twelve runs are in MLflow."""
    root = Path(shutil.copytree(twelve, tmp_path_factory.mktemp("ui") / "project"))
    shutil.copy(empty_store, root / "mlflow.db")
    run_in(root)("dognet-sync")
    return root


@pytest.fixture(scope="module")
def address(recorded: Path) -> Iterator[str]:
    """The address that dognet-ui prints for the study."""
    begin = time.monotonic()
    words = ["dognet-ui", "grid", "--port", str(ui.free_port())]
    with subprocess.Popen(
        words, cwd=recorded, env=environment(recorded), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        study, _, address = process.stdout.readline().strip().partition("  ")
        assert (study, time.monotonic() - begin < 60) == ("grid", True)
        children = [int(pid) for pid in descendants(process.pid)]
        assert children
        yield address
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        assert process.wait(20) == 130
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def descendants(pid: int) -> list[str]:
    """The processes below this one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return children + [below for child in children for below in descendants(int(child))]


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page of a browser with room for all of it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 2400, "height": 2400})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(({layout, data}) => ({
    axes: [layout.xaxis?.title?.text, layout.yaxis?.title?.text], scales: [layout.xaxis?.type, layout.yaxis?.type],
    kind: data[0]?.type, bands: data.filter(one => one.fill && one.fill != 'none').length,
    curves: [...new Set(data.filter(one => one.x?.length > 1).map(one => one.name))]}))"""


def charts(page: Any, count: int, curves: int) -> list[dict[str, Any]]:
    """The page's charts, as soon as there are so many and the first one has so many curves."""
    ready = f"() => {{const all = ({CHARTS})(); return all.length == {count} && all[0].curves.length == {curves}}}"
    page.wait_for_function(ready)
    return list(page.evaluate(CHARTS))


def test_the_dashboard_overlays_all_runs_and_draws_every_chart(page: Any, address: str) -> None:
    page.goto(address)
    loss, accuracy, contour, by_nodes, by_loss = charts(page, 5, 12)
    assert loss["scales"] == ["log", "log"]
    assert (accuracy["scales"], len(accuracy["curves"])) == (["log", "linear"], 12)
    assert (contour["kind"], contour["axes"]) == ("contour", ["hiddenNodes", "stepSize"])
    assert by_nodes["axes"] == ["hiddenNodes", "final/train_loss"]
    assert by_loss["axes"] == ["final/train_loss", "final/test_loss"]
    page.get_by_text("Parallel Coordinates").wait_for()
    page.locator(".parcoords canvas").first.wait_for(state="attached")
    page.get_by_text("12 matching runs").wait_for()


def test_the_second_view_shows_the_mean_over_the_seeds(page: Any, address: str) -> None:
    page.goto("about:blank")
    page.goto(address.replace("=dashboard", "=seeds"))
    page.get_by_text("Group: ").first.wait_for()
    assert page.get_by_text(re.compile("^Group: ")).count() == 4
    plots = page.locator(".js-plotly-plot")
    plots.nth(4).wait_for()
    page.wait_for_function(f"() => ({CHARTS})()[0].bands >= 4")
    assert [chart["kind"] for chart in page.evaluate(CHARTS)] == ["scatter", "scatter", "bar", "bar", "bar"]


def test_every_cell_of_the_table_is_filled_and_it_is_sorted_by_train_loss(page: Any, address: str) -> None:
    page.goto("about:blank")
    page.goto(address.replace("&compareRunsMode=CHART", ""))
    for name in [f"params.`{name}`" for name in SETTINGS] + [f"metrics.`final/{name}`" for name in FIGURES]:
        cells = page.locator(f'.ag-center-cols-container [role="gridcell"][col-id$="{name}"]')
        cells.first.wait_for(state="attached")
        texts = [text.strip() for text in cells.all_inner_texts()]
        assert len(texts) == 12
        assert all(text not in ("", "-") for text in texts), name
        if name.endswith("final/train_loss`"):
            assert [float(text) for text in texts] == sorted(float(text) for text in texts)


def test_a_picture_of_a_run_is_shown(page: Any, address: str) -> None:
    page.goto("about:blank")
    page.goto(address.replace("&compareRunsMode=CHART", ""))
    page.get_by_text(re.compile(r"^h\d s")).first.click()
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_role("link", name="Artifacts")).first.click()
    page.get_by_text("weights.svg").first.click()
    pictures = "[...document.querySelectorAll('img[src^=\"blob:\"]')].some(picture => picture.naturalWidth > 100)"
    page.wait_for_function(f"() => {pictures}")


def test_without_runs_it_says_what_to_do(tmp_path: Path) -> None:
    answer = run_in(tmp_path)("dognet-ui", check=False)
    assert answer.returncode == 1
    assert (
        answer.stderr == "dognet-ui: MLflow has no runs yet: dognet trains one, dognet-sync records what is trained\n"
    )


def test_a_study_that_is_not_there_is_told_with_those_that_are(recorded: Path) -> None:
    answer = run_in(recorded)("dognet-ui", "gird", check=False)
    assert answer.stderr == "dognet-ui: MLflow has no study gird, it has grid; dognet-sync records runs\n"
