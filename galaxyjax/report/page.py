"""One HTML page that stands alone: figures embedded, no script, no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from galaxyjax.core.files import atomic_path
from galaxyjax.report.style import data_uri

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 Georgia, "Times New Roman", serif; color: #1a1a1a; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.8rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
p.lead { color: #555; margin-top: 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: bottom; }
td { white-space: nowrap; }
th { border-bottom: 1px solid #888; font-weight: 600; }
th:first-child, td:first-child, td.words, th.words { text-align: left; padding-left: 0; }
td.good { color: #00684c; } td.bad { color: #a84900; font-weight: 600; }
div.wide { overflow-x: auto; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .92rem; }
code { font: .9em ui-monospace, Menlo, Consolas, monospace; }
@media print { body { margin: 0; max-width: none; } figure, table { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Cell:
    """One number of a table, with a verdict: "good" or "bad" colours it and adds a mark, "" does not."""

    text: str
    verdict: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column holds words. Cells are text or `Cell`."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading with text, tables and captioned figures below it, in this order."""

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, Figure], ...] = field(default=())


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML. Text is escaped; nothing on it is loaded from elsewhere."""
    body = "\n".join(_section(section) for section in sections)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def write_page(path: str | Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write the page, whole or not at all, and return its path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(page(title, lead, sections), encoding="utf-8")
    return path


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text.split("\n\n") if paragraph]
    parts += [_table(entry) for entry in section.tables]
    parts += [_figure(caption, figure) for caption, figure in section.figures]
    return "\n".join(parts)


def _table(entry: Table) -> str:
    head = "".join(f"<th>{html.escape(header)}</th>" for header in entry.headers)
    rows = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in entry.rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}\n</table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{html.escape(cell)}</td>"
    # The mark says it again for readers who do not see the colour.
    mark = {"good": " \N{CHECK MARK}", "bad": " \N{MULTIPLICATION X}"}.get(cell.verdict, "")
    return f'<td class="{html.escape(cell.verdict)}">{html.escape(cell.text)}{mark}</td>'


def _figure(caption: str, figure: Figure) -> str:
    text = html.escape(caption)
    image = f'<img src="{data_uri(figure)}" alt="{text}">'
    return f"<figure>\n{image}\n<figcaption>{text}</figcaption>\n</figure>"
