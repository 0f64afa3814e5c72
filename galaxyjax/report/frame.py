"""The frame of every page: one style, nothing loaded from elsewhere, no script."""

from __future__ import annotations

import html

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


def frame(title: str, body: str) -> str:
    """A whole page around a body of HTML. The policy forbids scripts and the network; escapes the title."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
