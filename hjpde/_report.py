"""A report for people: one HTML file that holds all of itself, its figures as PNG and its tables as CSV."""

import base64
import csv
import dataclasses
import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hjpde._formula import formula

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

_DPI = 160


@final
@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    - `key`: its name in the CSV. - `title`: its name for readers.
    - `shown`: how a value is shown; by default as it is. - `number`: whether to align it to the right.
    """

    key: str
    title: str
    shown: Callable[[Any], str] = str
    number: bool = True


@final
@dataclasses.dataclass(frozen=True)
class TableOf:
    """A table: `rows` are dictionaries by `Column.key`; it is written to `<name>.csv` in full precision."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[dict[str, Any]]


@final
@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, what it shows and what to conclude; it is written to `<name>.png`."""

    name: str
    figure: "Figure"
    alternative: str
    caption: str


@final
@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands below it: a string is a paragraph, a list of strings a list; `$...$` is a formula."""

    heading: str
    content: Sequence[str | list[str] | TableOf | Picture]


def write_report(folder: Path, title: str, lead: str, sections: Sequence[Section], settings: dict[str, Any]) -> Path:
    """Writes `report.html`, the figures beside it (they are inside it too) and the tables.

    **Arguments:**

    - `folder`: an existing folder.
    - `title`, `lead`: the heading, and the answer in one or two sentences.
    - `sections`: the body.
    - `settings`: under which the results were made; shown at the end.

    **Returns:** the path of the page.
    """
    body = "\n".join(_section(folder, section) for section in sections)
    rows = "\n".join(
        f"<tr><th scope='row'>{_text(name)}</th><td>{_text(str(value))}</td></tr>" for name, value in settings.items()
    )
    page = _PAGE.format(title=_text(title), lead=_prose(lead), body=body, settings=rows, style=_STYLE)
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def print_table(table: TableOf, console: "Console", without: Sequence[str] = ()) -> None:
    """The table for a terminal, `without` some columns (by key) to make it narrower."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    columns = [column for column in table.columns if column.key not in without]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(escape(column.title), justify="right" if column.number else "left", no_wrap=not column.number)
    for row in table.rows:
        shown.add_row(*(column.shown(row[column.key]) for column in columns))
    console.print(shown)
    console.print(table.caption, highlight=False, markup=False)


def png(figure: "Figure") -> bytes:
    """The figure as the bytes of a PNG; changes no setting of matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    # Without the software's version in it, the file depends on the figure alone.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _text(words: str) -> str:
    return html.escape(words, quote=True)


def _prose(words: str) -> str:
    """`$...$` is a formula in TeX's notation."""
    parts = re.split(r"\$([^$]+)\$", words)
    return "".join(formula(part) if k % 2 else _text(part) for k, part in enumerate(parts))


def _section(folder: Path, section: Section) -> str:
    parts = [f"<section>\n<h2>{_text(section.heading)}</h2>"]
    for item in section.content:
        if isinstance(item, str):
            parts.append(f"<p>{_prose(item)}</p>")
        elif isinstance(item, list):
            parts.append("<ul>" + "".join(f"<li>{_prose(line)}</li>" for line in item) + "</ul>")
        elif isinstance(item, TableOf):
            parts.append(_table(folder, item))
        else:
            parts.append(_picture(folder, item))
    return "\n".join([*parts, "</section>"])


def _table(folder: Path, table: TableOf) -> str:
    with open(folder / f"{table.name}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.key for column in table.columns])
        writer.writerows([[row[column.key] for column in table.columns] for row in table.rows])

    def cell(tag: str, column: Column, words: str) -> str:
        kind = " class='number'" if column.number else ""
        scope = " scope='col'" if tag == "th" else ""
        return f"<{tag}{kind}{scope}>{_text(words)}</{tag}>"

    head = "".join(cell("th", column, column.title) for column in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(cell("td", column, column.shown(row[column.key])) for column in table.columns) + "</tr>"
        for row in table.rows
    )
    return (
        f"<div class='wide'><table>\n<caption>{_prose(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _picture(folder: Path, picture: Picture) -> str:
    content = png(picture.figure)
    (folder / f"{picture.name}.png").write_bytes(content)
    width = round(picture.figure.get_figwidth() * 96)
    return (
        f"<figure id='{_text(picture.name)}'>\n<img width='{width}' alt='{_text(picture.alternative)}' "
        f"src='data:image/png;base64,{base64.b64encode(content).decode()}'>\n"
        f"<figcaption>{_prose(picture.caption)}</figcaption>\n</figure>"
    )


_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 17px/1.55 Georgia, "Times New Roman", serif; }
main { max-width: 50rem; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
h1, h2, table, figcaption, footer { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.85rem; line-height: 1.2; margin: 0 0 0.8rem; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.4rem 0 0.6rem; }
p, ul { margin: 0.6rem 0; }
li { margin: 0.3rem 0; }
.lead { font-size: 1.15rem; border-left: 4px solid #0072b2; margin: 0; padding: 0.1rem 0 0.1rem 1rem; }
i { font-style: normal; white-space: nowrap; }
sub { font-size: 0.72em; line-height: 0; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.84rem; line-height: 1.4; }
caption { text-align: left; color: #444; padding-bottom: 0.5rem; }
th, td { padding: 0.35rem 0.6rem; text-align: left; vertical-align: bottom; }
td { vertical-align: top; }
tbody th { vertical-align: top; }
.wide td { white-space: nowrap; }
thead th { border-bottom: 2px solid #1a1a1a; font-weight: 600; }
tbody td, tbody th { border-bottom: 1px solid #d5d5d5; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.settings th { font-weight: 500; width: 14rem; color: #444; }
figure { margin: 1.4rem 0 1.8rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { font-size: 0.86rem; line-height: 1.45; color: #333; margin-top: 0.5rem; }
@page { size: A4; margin: 18mm 16mm; }
@media print {
  html { font-size: 12.5px; }
  body { font-size: 13.5px; line-height: 1.45; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  figure, tr, li, table { break-inside: avoid; }
  figure { margin: 0.8rem 0 1.1rem; }
  .wide { overflow: visible; }
  .wide th, .wide td { padding: 0.3rem 0.4rem; }
  img { max-height: 78mm; width: auto; }
  p { orphans: 3; widows: 3; }
}
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
</header>
{body}
<footer>
<h2>Settings</h2>
<table class="settings">
<tbody>
{settings}
</tbody>
</table>
</footer>
</main>
</body>
</html>
"""
