"""Write the tables of docs/reference/settings.md from the model of the settings and the values in conf/.

python docs/settings_tables.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from dognet import settings
from dognet.conf import GROUPS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"
TABLE = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(page: str) -> str:
    """Return the page with its tables as the model has them."""
    made = tables()
    return TABLE.sub(lambda found: f"{found[1]}{made[found[2]]}{found[3]}", page)


def tables() -> dict[str, str]:
    """Return each table of the page by its name: result, execution, and one for each kind of images."""
    conf = ROOT / "conf"
    values = settings.as_written(conf / "config.yaml") | settings.as_written(conf / "execution.yaml")
    for group in GROUPS:
        values[group] = next(entry[group] for entry in values["defaults"] if group in entry)
    result = [*settings.TrainingSettings.model_fields, "data"]
    execution = [name for name in settings.GivenSettings.model_fields if name not in result]
    made = {"result": table(result, values), "execution": table(execution, values)}
    for kind in settings.DATA_KINDS:
        (name,) = get_args(kind.model_fields["kind"].annotation)
        fields = settings.as_written(conf / "data" / f"{name}.yaml")
        names = [f"data.{field}" for field in kind.model_fields if field != "kind"]
        made[name] = table(names, {f"data.{field}": value for field, value in fields.items()})
    return made


def table(names: Iterable[str], values: Mapping[str, object]) -> str:
    """Return a table with a row for each setting: its name, its value in conf/, what it must be, what it means."""
    rows = ["| setting | value | must be | meaning |", "|---|---|---|---|"]
    for name in names:
        value = shown(str(values[name]))
        rows.append(f"| `{name}` | {value} | {must_be(name)} | {meaning(name)} |")
    return "\n".join(rows) + "\n"


def shown(value: str) -> str:
    """Return a value as code, long ones shortened; nothing for an empty one."""
    short = value if len(value) <= 60 else f"{value[:12]}…"
    return f"`{short}`" if value else ""


def must_be(name: str) -> str:
    """Return what the value of a setting must be."""
    return f"the name of a file in `conf/{name}/`" if name in GROUPS else settings.bound(name)


def meaning(name: str) -> str:
    """Return what a setting means."""
    text = "where the images come from" if name == "data" else str(settings.all_settings()[name].description)
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    main()
