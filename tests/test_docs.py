"""README and the pages in docs/: their commands print what they show, the site builds, the reference is complete."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import REPOSITORY, environment, with_forks
from test_tracking_server import free_port, postgres

__all__ = ["postgres"]

from dognet import settings
from dognet.cli import SUBCOMMANDS
from dognet.network import methods

sys.path.insert(0, str(REPOSITORY / "docs"))
import settings_tables

PAGES = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md"))
FRONT = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
TEXT = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in [*FRONT, *PAGES]}

IN_PLACE = {  # what a test runs instead, in the environment that there is
    "git clone ADDRESS dognet": 'git clone --quiet "$CLONE" dognet',
    "source .venv/bin/activate": "true",
    "make repro": "make -o .venv/installed repro",
    "make test": "python -m pytest --version",
    "dognet --multirun experiment=seed": "sed -i 's/range(60)/range(3)/' experiments/seed/study.yaml && "
    "dognet --multirun experiment=seed",
}
SERVING = r"dognet ui( \w+)?"  # until Ctrl-C; with a team's server it prints the addresses and ends
ELSEWHERE = {
    "docs/cluster.md": "test_cluster.py runs its commands on two nodes",
    "docs/how-to/slurm.md": "test_slurm.py runs its sweep on a cluster of one node",
    "CONTRIBUTING.md": "what CI runs",
}

# of runs, of studies, of users
OTHER_FILES = {"config.yaml", "random.py", "mlflow.py", "served.py", "study.yaml", "report.md"}

# words with a meaning of this house's own; each has a usual one
UNUSUAL = ("told", "tells? of", "lacks?", "lacking", "gone on from", "goes on from", "go on from", "stands? for itself",
           "passed by", "anew", "held to", "is had", "whoever will", "as it comes", "as they come")  # fmt: skip

TIME = r"\d+(\.\d+)? (s|min)\b"
# a row of a sweep's table: the order in which runs end is as it comes
ROW = r" *\d+/\d+  (.*\d +(?=\d+\.\d\d)|.*failed: .*)(\d+\.\d\d(  +TIME)?)?"
FAILURE = re.compile(r"^(dognet( \w+)?|fetch|train|evaluate|plot|track|ERROR): ", re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """The page's blocks: the file that a block is to be written to, its language, its lines."""
    block = r"(?:<!-- write (\S+) -->\n)?^```(.*?)\n(.*?)^```$"
    return re.findall(block, TEXT[page], re.DOTALL | re.MULTILINE)


def shown(page: str) -> Iterator[tuple[str, str]]:
    """Each command of the page with the lines shown below it; files that the page shows come as commands too."""
    for file, language, content in blocks(page):
        if file:
            yield f"mkdir -p '{Path(file).parent}' && cat > '{file}' <<'END OF FILE'\n{content}END OF FILE", ""
        elif language == "console":
            for piece in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, _, lines = piece.partition("\n")
                yield command.partition("  #")[0].strip(), lines


DOCKER = r"docker run --rm .*--env (\S+) --env (\S+) .*python:3\.\d+ (.*)"


def in_place(command: str) -> str:
    """What a test runs for a command that is shown; in a container a user has no entry in passwd, and no forks."""
    if found := re.fullmatch(DOCKER, command):
        *variables, inner = found.groups()
        kept = ['PATH="${PATH#*:}"', 'PYTHONPATH="$PYTHONPATH"', *variables]
        inner = IN_PLACE.get(inner, inner.removeprefix(".venv/bin/"))
        return " ".join(["unshare --user --map-user=12345 --map-group=12345 env --ignore-environment", *kept, inner])
    if re.fullmatch(SERVING, command):
        until = "until grep -qs Ctrl-C ui || ! kill -0 $! 2> /dev/null; do sleep 0.1; done"
        return f"({command} > ui 2>&1 & {until}; kill $! 2> /dev/null; wait $!; cat ui; rm ui)"
    return IN_PLACE.get(command, command)


def parted(text: str) -> tuple[list[str], list[str]]:
    """The lines of an output and, sorted, the rows of its tables of runs; times, processors and ports left out."""
    text = re.sub(r"with \d+ at a time", "with N at a time", re.sub(TIME, "TIME", text))
    text = re.sub(r"(localhost|127\.0\.0\.1):\d{4,}", r"\1:PORT", text)
    lines = [line.rstrip() for line in text.splitlines()]
    rows = [re.fullmatch(ROW, line) for line in lines]
    return [line for line, row in zip(lines, rows, strict=True) if not row], sorted(
        row[1].rstrip() for row in rows if row
    )


def differs(expected: str, printed: str) -> str:
    """What is wrong with an output, if anything: … stands for anything, alone in a line for any number of lines."""
    (lines, rows), (printed_lines, printed_rows) = parted(expected), parted(printed)
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines
    )  # fmt: skip
    if not re.fullmatch(pattern, "".join(f"{line}\n" for line in printed_lines)):
        return "not as shown"
    missing = [row for row in rows if row not in printed_rows]
    if missing or (rows != printed_rows and "…" not in lines):
        return f"other rows: {missing or printed_rows}"
    return ""


def printed(script: list[str], folder: Path, clone: Path) -> Iterator[tuple[int, str]]:
    """Run the commands in one shell; the exit code of each and what it printed, errors included."""
    end, log = "-- end of command", folder / "printed"
    text = "\n".join(f"{command}\necho; echo '{end}' $?" for command in script)
    where = with_forks(environment(folder / "dognet")) | {"CLONE": str(clone), "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}
    where |= {"HOME": str(folder), "GIT_TERMINAL_PROMPT": "0"}
    start = folder / "dognet" if (folder / "dognet").exists() else folder
    with log.open("wb") as file, subprocess.Popen(
        ["bash", "-c", text], cwd=start, env=where, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        start_new_session=True,
    ) as shell:  # fmt: skip
        try:
            shell.wait(600)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # servers that the page started
    pieces = re.split(rf"\n?^{end} (\d+)\n", log.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(pieces) == 2 * len(script) + 1, pieces[-1]
    yield from ((int(code), text) for text, code in zip(pieces[::2], pieces[1::2], strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.soak if page == "docs/tutorial.md" else ())  # it trains 50 runs and more
        for page in ["README.md", *PAGES]
        if list(shown(page))
    ],
)
def test_every_command_of_a_page_prints_what_the_page_shows(
    page: str, clone: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    commands = list(shown(page))
    if "git clone ADDRESS dognet" not in dict(commands):
        shutil.copytree(clone, tmp_path / "dognet")
    script = [in_place(command) for command, _ in commands]
    if page == "docs/how-to/tracking-server.md":
        server = urlsplit(request.getfixturevalue("postgres"))
        here = {"db.example.org": "127.0.0.1", "5432": f"{server.port}", "PGUSER=mlflow": f"PGUSER={server.username}"}
        here |= {"5000": f"{free_port()}", "/srv/mlflow": "../artifacts"}
        script = [re.sub("|".join(here), lambda found: here[found[0]], command) for command in script]
    wrong = []
    for (command, lines), (code, text) in zip(commands, printed(script, tmp_path, clone), strict=True):
        fault = differs(lines, text)
        if code and not FAILURE.search(lines):
            fault += f" exit code {code}"
        if fault:
            wrong.append(f"$ {command}\n{text}[{fault.strip()}]")
    assert not wrong, "\n\n".join(wrong)


def test_a_wrong_figure_is_a_difference_and_a_time_is_none() -> None:
    shown = "study width: 2 runs, about 3 s with 2 at a time\n1/2  2  0.4616  0.7452     0.63        1 s\n…\n"
    printed = "study width: 2 runs, about 41 s with 8 at a time\n1/2  4  0.1  1.0   7.63        1 s\n"
    row = "2/2  2  0.4616  0.7452     0.71\n"
    assert differs(shown, printed + row) == ""
    assert differs(shown, printed + row.replace("0.4616", "0.4617"))
    assert differs(shown.replace("2 runs", "3 runs"), printed + row)
    assert differs(shown.replace("…\n", ""), printed + row)
    assert differs("loss 0.1\n", "loss 0.1\nand more\n")


def test_runs_may_end_in_another_order_failed_ones_too() -> None:
    good, bad = "{}/2  0.3  0.4616  0.7452     0.63{}\n", "{}/2  1e9  failed: too large\n"
    assert not differs(good.format(1, "        1 s") + bad.format(2), bad.format(1) + good.format(2, ""))
    assert differs(good.format(1, "") + bad.format(2), bad.format(1).replace("large", "small") + good.format(2, ""))


def test_every_command_block_is_one_that_a_test_runs() -> None:
    for page in TEXT:
        for _, language, content in blocks(page):
            where = f"{page}: {content.splitlines()[0]}"
            assert language not in ("sh", "bash", "shell") or page in ELSEWHERE, where
            assert language != "console" or content.startswith("$ ") or page in ELSEWHERE, where
            assert language or not re.search(r"^(\$ |dognet|dvc|make|python|pip)", content), where


@pytest.mark.parametrize("name", TEXT)
def test_links_of_the_plain_pages_lead_somewhere(name: str) -> None:
    page = REPOSITORY / name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT[name]):
        assert target.startswith("http") or (page.parent / target).exists(), target


# --- what pages say of the code


def test_the_mathematics_shows_the_lines_of_the_code() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "src/dognet/network").rglob("*.py"))]
    code = "".join(f"{line.strip()}\n" for source in sources for line in source.splitlines())
    pieces = [content for file, language, content in blocks("docs/mathematics.md") if language == "python" and not file]
    assert len(pieces) > 10
    for piece in pieces:
        lines = [line.strip() for line in piece.splitlines()]
        pattern = "".join(r"(.*\n)*?" if line == "…" else re.escape(f"{line}\n") for line in lines)
        assert re.search(f"^{pattern}", code, re.MULTILINE), piece


def test_the_reference_of_settings_is_the_one_that_the_model_gives() -> None:
    page = TEXT["docs/reference/settings.md"]
    assert settings_tables.written(page) == page, "run python docs/settings_tables.py"
    assert settings.all_settings().keys() <= set(re.findall(r"^\| `(\S+)`", page, re.M))
    for file in (REPOSITORY / "conf" / "method").glob("*.yaml"):
        names = [field.name for field in dataclasses.fields(methods.find(file.stem))]
        assert f"| `{file.stem}` |" in page
        written = settings.as_written(file)
        assert written.pop("name") == file.stem
        assert all(f"| `method.{name}` | `{value}` |" in page for name, value in written.items())
        assert set(names) == set(written)


def test_every_module_has_its_line_in_contributing() -> None:
    tables = re.split(r"^(?:`(\w+)/`|In `src/(\w+)`).*$", TEXT["CONTRIBUTING.md"], flags=re.MULTILINE)[1:]
    listed = {
        f"{plugins or package}/{name}"
        for package, plugins, table in zip(tables[::3], tables[1::3], tables[2::3], strict=True)
        for name in re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    }
    sources = (REPOSITORY / "src").rglob("*.py")
    assert listed == {f"{path.parent.name}/{path.stem}" for path in sources if path.stem != "__init__"}


def test_every_picture_is_on_a_page() -> None:
    pictures = [path for path in (REPOSITORY / "docs").rglob("*.*g") if "_build" not in path.parts]
    assert pictures
    for path in pictures:
        assert any(f"{path.name})" in text for text in TEXT.values()), path.name


@pytest.mark.parametrize("name", TEXT)
def test_commands_and_files_that_a_page_names_exist(name: str) -> None:
    if name == "CHANGELOG.md":  # it names what is gone
        return
    code = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT[name])
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    written = {file for file, _, _ in blocks(name)}
    for text in code:
        words = text.split()
        if words[0] == "make":
            assert words[1] in targets, text
        if words[0] == "dognet" and len(words) > 1 and re.fullmatch("[a-z]+", words[1]):
            assert words[1] in SUBCOMMANDS, text
        if re.fullmatch(r"[\w/-]+\.(py|yaml|md|toml|dvc)", text) and text not in written | OTHER_FILES:
            folders = ("", "src/dognet", "conf/data")
            found = [*(REPOSITORY / folder / text for folder in folders), *(REPOSITORY / "src").rglob(text)]
            assert any(path.exists() for path in found), text


@pytest.mark.parametrize("name", TEXT)
def test_pages_use_the_usual_words(name: str) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", TEXT[name], flags=re.DOTALL)
    if name == "docs/reliability.md":  # less the names of tests
        prose = re.sub(r" \|[^|]*\|$", "", prose, flags=re.MULTILINE)
    found = re.findall(rf"[^.]*\b(?:{'|'.join(UNUSUAL)})\b[^.]*", prose, re.IGNORECASE)
    assert not found


def messages(file: Path) -> Iterator[str]:
    """The texts of the errors that a module raises, and of its help; X stands for what is filled in."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            texts = node.exc.args
        elif isinstance(node, ast.Call):
            texts = [word.value for word in node.keywords if word.arg in ("help", "description")]
        else:
            continue
        for text in texts:
            if isinstance(text, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in text.values)
            elif isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value


def test_errors_and_help_are_short_sentences_with_the_usual_words() -> None:
    found = [(file.name, text) for file in (REPOSITORY / "src").rglob("*.py") for text in messages(file)]
    assert len(found) > 100
    for where, text in found:
        assert all(len(sentence.split()) <= 30 for sentence in re.split(r"[.:;] ", text)), f"{where}: {text}"
        assert not re.search(r"\b(told|lacks?|passed by|gone on|goes on from)\b", text), f"{where}: {text}"


# --- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as a site, built with warnings as errors."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", f"{folder}/doctrees"]
    answer = subprocess.run(
        [*words, "docs", f"{folder}/html"], cwd=REPOSITORY, env=environment(REPOSITORY), capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return folder / "html"


class Page(HTMLParser):
    """The links of a page, what it loads by itself, and the names that links may lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.names: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.names.add(values.get("id", ""))
        if tag == "a" or values.get("rel") in ("search", "index", "next", "prev"):
            self.links |= {values[name] for name in ("href",) if name in values}
        else:
            self.loads |= {values[name] for name in ("src", "href", "data", "poster") if name in values}


def test_the_site_builds_and_every_link_in_it_leads_somewhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    assert len(pages) > len(PAGES)
    for file, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), f"{file.name}: {link}"
            assert target not in pages or unquote(parts.fragment) in pages[target].names, f"{file.name}: {link}"


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    for file in site.rglob("*.html"):
        assert not [load for load in Page(file).loads if urlsplit(load).netloc], file.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", style.read_text("utf-8")), style.name


def test_every_promise_has_its_test() -> None:
    rows = [line.split(" | ") for line in TEXT["docs/reliability.md"].splitlines() if line.startswith("| ")]
    named = [name for row in rows for name in row[-1].removesuffix(" |").split("; ") if ": " in name]
    assert len(named) > len(rows) - 10  # all but the headings
    for name in named:
        module, _, sentence = name.partition(": ")
        text = (REPOSITORY / "tests" / f"test_{module}.py").read_text(encoding="utf-8")
        assert re.search(rf"^def test_{sentence.replace(' ', '_')}\(", text, re.MULTILINE | re.IGNORECASE), name
