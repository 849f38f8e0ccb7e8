"""``dognet ui`` in a real browser, on the runs of a real sweep: each page shows what the run folders hold.

DOGNET_SCREENSHOTS=docs/pictures python -m pytest tests/test_ui.py     makes the pictures in docs/ anew
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, environment, make_project, run_in
from test_tracking_server import free_port

from dognet.runs.folder import ended_runs
from dognet.tracking import entry

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
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
GRID = list(itertools.product((2, 4), ("0.1", "1.0"), (1, 2, 3)))  # whose four means the page gives four colours
NAMES = {f"h{hiddenNodes} s{stepSize} i3000 seed{seed}" for hiddenNodes, stepSize, seed in GRID}
FIGURES = (  # in the table
    "validation_loss", "test_accuracy", "baseline", "test_loss", "train_loss", "train_accuracy", "validation_accuracy",
    "seconds",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def swept(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which two sweeps have run, recorded as they went."""
    root = tmp_path_factory.mktemp("ui") / "project"
    make_project(root)
    shutil.copy(empty_store, root / "mlflow.db")
    sweep = "dognet", "--multirun", "ITERS=3000"
    run_in(root)(*sweep, "study=seeds", "seed=1,2")
    run_in(root)(*sweep, "study=grid", "hiddenNodes=2,4", "stepSize=0.1,1.0", "seed=1,2,3")
    run_in(root)("dognet", "ITERS=3000", "study=one")  # with pictures
    return root


def figures(root: Path) -> dict[str, dict[str, float]]:
    """The figures of each run of the study grid by the run's name, as its folder holds them."""
    found = {}
    for hiddenNodes, stepSize, seed in GRID:
        folder = root / f"experiments/grid/runs/hiddenNodes={hiddenNodes},stepSize={stepSize},ITERS=3000,seed={seed}"
        seconds = json.loads((folder / "run.json").read_text())["seconds"]
        name = f"h{hiddenNodes} s{stepSize} i3000 seed{seed}"
        found[name] = json.loads((folder / "metrics.json").read_text()) | {"seconds": seconds}
    return found


@pytest.fixture(scope="module")
def addresses(browser: Any, swept: Path) -> Iterator[dict[str, str]]:
    """The addresses that dognet ui prints, by study."""
    begin = time.monotonic()
    words = ["dognet", "ui", "--port", str(free_port())]
    with subprocess.Popen(
        words, cwd=swept, env=environment(swept), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = [re.split(" {2,}", process.stdout.readline().strip()) for _ in range(6)]
        assert time.monotonic() - begin < 60
        yield {study if name == "all runs" else f"{study}, {name}": address for study, name, address in lines}
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        assert process.wait(20) == 130


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page as a newcomer's browser has it, with room for all charts."""
    context = browser.new_context(viewport={"width": 1440, "height": 2400})
    page = context.new_page()
    page.set_default_timeout(120_000)  # the machine may be busy
    yield page
    context.close()


PLACE = """() => {for (let all = document.createTreeWalker(document.body, 4), one; one = all.nextNode();)
    one.data = one.data.replace(/file:\\/\\/.*?\\/project\\//, 'file:///home/dog/project/')}"""


def keep(page: Any, name: str, height: int = 900) -> None:
    """Keep a picture of the page for the documentation, if that is wanted."""
    if folder := os.environ.get("DOGNET_SCREENSHOTS"):
        from PIL import Image

        page.set_viewport_size({"width": 1440, "height": height})
        page.wait_for_timeout(2000)  # the charts fit themselves to it
        page.evaluate(PLACE)
        file = REPOSITORY / folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=file)
        with Image.open(file) as picture:
            picture.convert("RGB").quantize(128).save(file, optimize=True)


CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(({layout, data}) => ({
    axes: [layout.xaxis?.title?.text, layout.yaxis?.title?.text], scales: [layout.xaxis?.type, layout.yaxis?.type],
    kind: data[0]?.type, bands: data.filter(one => one.fill && one.fill != 'none').length,
    curves: data.filter(one => one.name && one.x?.length > 1 && !(one.fill && one.fill != 'none'))
        .map(({name, x, y}) => [name, [...x], [...y]])}))"""  # each run twice: as recorded, and smoothed


def charts(page: Any, count: int, curves: int) -> list[dict[str, Any]]:
    """The page's charts, as soon as there are so many and the first one has so many curves."""
    ready = f"() => {{const all = ({CHARTS})(); return all.length == {count} && all[0].curves.length == {2 * curves}}}"
    page.wait_for_function(ready)
    return list(page.evaluate(CHARTS))


def test_the_dashboard_overlays_the_curves_of_all_runs_as_recorded(
    page: Any, addresses: dict[str, str], swept: Path
) -> None:
    page.goto(addresses["grid"])
    loss, accuracy, validation_loss, validation_accuracy, contour, *pairs = charts(page, 8, 12)
    scale = "log" if min(run["train_loss"] for run in figures(swept).values()) < 0.007 else "linear"
    assert (loss["scales"], accuracy["scales"]) == (["log", scale], ["log", "linear"])
    assert (validation_loss["scales"], validation_accuracy["scales"]) == (["log", scale], ["log", "linear"])
    assert sorted(name for name, _, _ in loss["curves"]) == sorted([*NAMES, *NAMES])
    rows = (swept / "experiments/grid/runs/hiddenNodes=4,stepSize=0.1,ITERS=3000,seed=2/curve.csv").read_text()
    recorded = [[float(cell) for cell in row.split(",")] for row in rows.splitlines()[1:]]
    for column, chart in enumerate((loss, accuracy, validation_loss, validation_accuracy), 1):
        for name, x, y in chart["curves"]:
            if name == "h4 s0.1 i3000 seed2":
                assert len(x) > 100
                curve = {row[0]: row[column] for row in recorded}
                assert y == pytest.approx([curve[iteration] for iteration in x])
    assert (contour["kind"], contour["axes"]) == ("contour", ["hiddenNodes", "stepSize"])
    assert [pair["axes"] for pair in pairs] == [
        ["hiddenNodes", "final/validation_loss"],
        ["stepSize", "final/validation_loss"],
        ["final/validation_loss", "final/test_loss"],
    ]
    page.get_by_text("Parallel Coordinates").wait_for()
    page.locator(".parcoords canvas").first.wait_for(state="attached")
    page.get_by_text("12 matching runs").wait_for()
    keep(page, "study-dashboard", 1480)


@pytest.mark.parametrize("study", ["one", "grid"])
def test_no_two_labels_of_an_axis_overlap(page: Any, addresses: dict[str, str], study: str) -> None:
    page.goto(addresses[study])
    page.locator(".ytick text").first.wait_for()
    boxes = page.evaluate(
        "() => [...document.querySelectorAll('.js-plotly-plot')].map(chart => "
        "[...chart.querySelectorAll('.ytick text')].map(label => label.getBoundingClientRect())"
        ".map(({top, bottom}) => [top, bottom]))"
    )
    assert max(map(len, boxes)) > 2
    for labels in boxes:
        ordered = sorted(labels)
        assert all(bottom <= top for (_, bottom), (top, _) in itertools.pairwise(ordered)), ordered


def test_settings_and_figures_are_in_sight_beside_the_curves(page: Any, addresses: dict[str, str]) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(addresses["grid"])
    curve, lines = page.locator(".js-plotly-plot").first, page.locator(".parcoords").first
    curve.wait_for()
    lines.wait_for()
    beside, below = curve.bounding_box(), lines.bounding_box()
    assert beside["x"] + beside["width"] < below["x"]
    assert max(beside["y"] + beside["height"], below["y"] + below["height"]) <= 900


def test_no_assistant_stands_beside_the_charts(page: Any, addresses: dict[str, str]) -> None:
    page.goto(addresses["grid"])
    charts(page, 8, 12)
    assert page.locator("[data-assistant-ui]").count() == 0
    assert page.locator(".js-plotly-plot").first.bounding_box()["width"] > 350  # pixels of 1440: two charts in a row


def test_the_second_view_shows_the_mean_over_the_seeds(page: Any, addresses: dict[str, str], swept: Path) -> None:
    page.goto(addresses["grid, mean over seeds"])
    page.wait_for_function(f"() => ({CHARTS})()[0]?.bands >= 4 && ({CHARTS})().length == 14")
    groups = page.get_by_text(re.compile("^Group: ")).all_inner_texts()
    assert set(groups) == {
        "Group: h2 s0.1 i3000",
        "Group: h2 s1.0 i3000",
        "Group: h4 s0.1 i3000",
        "Group: h4 s1.0 i3000",
    }
    kinds = [chart["kind"] for chart in page.evaluate(CHARTS)]
    assert kinds == [*4 * ["scatter"], "contour", *9 * ["bar"]]  # of 12 bars as many as have room
    first, lines = "document.querySelector('.js-plotly-plot').data", "!one.fill || one.fill == 'none'"
    colours = page.evaluate(f"() => {first}.filter(one => {lines}).map(one => one.line?.color ?? one.marker?.color)")
    assert len({colour[:7] for colour in colours}) == 4  # a mean and its band share a colour
    mean = page.evaluate("() => [...document.querySelectorAll('.js-plotly-plot')][5].data[0].x.map(Number)")
    found = figures(swept)
    losses = [
        [found[f"h{h} s{s} i3000 seed{seed}"]["validation_loss"] for seed in (1, 2, 3)]
        for h, s in {g[:2] for g in GRID}
    ]
    assert sorted(mean) == pytest.approx(sorted(sum(group) / 3 for group in losses))
    keep(page, "mean-over-seeds")


def test_a_study_of_seeds_has_no_empty_chart(page: Any, addresses: dict[str, str]) -> None:
    page.goto(addresses["seeds"])
    *_, by_seed, _ = charts(page, 6, 2)
    assert by_seed["axes"] == ["seed", "final/validation_loss"]
    assert page.get_by_text("No charts in this section").count() == 0


def cells(page: Any, column: str) -> list[str]:
    """The texts in a column of the table of runs, from the top."""
    found = page.locator(f'.ag-center-cols-container [role="gridcell"][col-id$="{column}"]')
    found.nth(11).wait_for(state="attached")
    rows = [
        (cell.evaluate("cell => +cell.closest('[row-index]').ariaRowIndex"), cell.inner_text()) for cell in found.all()
    ]
    return [text.strip() for _, text in sorted(rows)]


def test_the_table_holds_what_the_folders_hold_the_swept_settings_first(
    page: Any, addresses: dict[str, str], swept: Path
) -> None:
    page.set_viewport_size({"width": 2400, "height": 1200})
    page.goto(addresses["grid"].replace("&compareRunsMode=CHART", ""))
    names = (
        [cell.inner_text() for cell in page.get_by_text(re.compile(r"^h\d s")).all()] if cells(page, "ITERS`") else []
    )
    found = figures(swept)
    assert sorted(names) == sorted(NAMES)
    assert names == sorted(names, key=lambda name: found[name]["validation_loss"])
    for figure in FIGURES:
        assert [float(text) for text in cells(page, f"`final/{figure}`")] == [found[name][figure] for name in names]
    for setting, letter in (("hiddenNodes", "h"), ("stepSize", "s"), ("seed", "seed"), ("ITERS", "i")):
        words = [dict(re.findall(r"([a-z]+)([\d.]+)", name))[letter] for name in names]
        assert cells(page, f"params.`{setting}`") == words
    places = "all => all.map(one => [one.getBoundingClientRect().x, one.innerText.trim()])"
    heads = [head for _, head in sorted(page.locator(".ag-header-cell").evaluate_all(places))]
    figures_shown = [f"final/{name}" for name in FIGURES]
    assert heads[3:-1] == ["hiddenNodes", "stepSize", "seed", *figures_shown, "ITERS", "method", "dtype"]
    keep(page, "runs-table", 640)


def test_runs_are_compared_side_by_side(page: Any, addresses: dict[str, str], swept: Path) -> None:
    page.set_viewport_size({"width": 3200, "height": 2400})  # or columns are left out until one scrolls
    page.goto(addresses["grid"].replace("&compareRunsMode=CHART", ""))
    cells(page, "stepSize`")
    page.locator(".ag-header-cell input[type=checkbox]").first.click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Comparing 12 Runs from 1 Experiment").wait_for()
    page.locator("canvas.gl-canvas").first.wait_for(state="attached")
    for name, figure in figures(swept).items():
        page.get_by_text(name, exact=True).first.wait_for()
        page.get_by_text(f"{figure['test_accuracy']:.3f}".rstrip("0").rstrip(".")).first.wait_for()
    keep(page, "compare-runs", 1100)


def open_run(page: Any, address: str, name: str) -> None:
    """Go to a run's page as a person would, from the table."""
    page.goto(address.replace("&compareRunsMode=CHART", ""))
    page.get_by_text(name, exact=True).click()
    page.get_by_role("heading", name=name).wait_for()


def one_run(root: Path) -> str:
    """The name on MLflow's page of the only run of the study one."""
    (run,) = ended_runs(root / "experiments/one")
    return entry.run_name(run)


def tab(page: Any, name: str) -> None:
    """Open a tab of a run's page."""
    page.get_by_role("tab", name=name).or_(page.get_by_role("link", name=name)).first.click()


def test_the_page_of_a_run_shows_its_settings_and_figures(page: Any, addresses: dict[str, str], swept: Path) -> None:
    open_run(page, addresses["grid"], "h4 s1.0 i3000 seed1")
    for figure, value in figures(swept)["h4 s1.0 i3000 seed1"].items():
        if isinstance(value, float | int):
            row = page.get_by_role("row").filter(has=page.get_by_text(f"final/{figure}", exact=True))
            assert float(row.inner_text().split()[-1]) == pytest.approx(value)
    for setting, value in (("hiddenNodes", "4"), ("stepSize", "1.0"), ("ITERS", "3000"), ("seed", "1")):
        row = page.get_by_role("row").filter(has=page.get_by_text(setting, exact=True))
        assert row.inner_text().split()[-1] == value
    page.get_by_text("Finished").wait_for()
    keep(page, "run-overview")


def test_the_page_of_a_run_draws_its_curves(page: Any, addresses: dict[str, str]) -> None:
    open_run(page, addresses["grid"], "h4 s1.0 i3000 seed1")
    tab(page, "Model metrics")
    page.wait_for_function(f"() => ({CHARTS})().filter(one => one.curves.length).length == 4")
    drawn = [chart["curves"][0] for chart in page.evaluate(CHARTS) if chart["curves"]]
    assert [max(x) for _, x, _ in drawn] == [3000] * 4
    keep(page, "run-curves", 1500)


def test_the_pictures_of_a_run_are_shown(page: Any, addresses: dict[str, str], swept: Path) -> None:
    open_run(page, addresses["one"], one_run(swept))
    tab(page, "Artifacts")
    for name in ("curve.svg", "weights.svg", "activations.svg", "mistakes.svg"):
        page.get_by_text(name).first.click()
        page.get_by_role("heading", name=name).or_(page.get_by_text(re.compile(rf"Path:.*{name}"))).first.wait_for()
        shown = "[...document.querySelectorAll('img[src^=\"blob:\"]')].some(one => one.naturalWidth > 100)"
        page.wait_for_function(f"() => {shown}")
        keep(page, f"run-{name.removesuffix('.svg')}")
    files = ["W1.csv", "W2.csv", "config.yaml", "curve.csv", "metrics.json", "run.json", "snapshots.npz", "weights.npz"]
    for name in files:
        page.get_by_text(name).first.wait_for()


def test_without_runs_it_says_what_to_do(tmp_path: Path) -> None:
    answer = run_in(make_project(tmp_path / "project"))("dognet", "ui", check=False)
    assert answer.returncode == 1
    assert (
        answer.stderr == "dognet ui: MLflow has no runs yet: dognet trains one, `dognet sync` records what is trained\n"
    )


def test_a_study_that_is_not_there_is_told_with_those_that_are(swept: Path) -> None:
    answer = run_in(swept)("dognet", "ui", "gird", check=False)
    assert answer.stderr == "dognet ui: MLflow has no study gird, it has one, grid, seeds; `dognet sync` records runs\n"


def test_a_port_that_is_taken_is_reported(swept: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = run_in(swept)("dognet", "ui", "--port", str(port), check=False)
    fault = f"port {port} is in use or not allowed: leave out --port, and dognet finds a free one"
    assert answer.stderr == f"dognet ui: {fault}\n"
