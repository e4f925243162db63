"""A study as one HTML page: no script, no network, charts as inline SVG, light or dark as the reader's system says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from tracewrap.formats.profile_drawing import Chart, svg

Row = dict[str, Any]

STYLE = """
:root{color-scheme:light dark;--ink:#0f172a;--soft:#475569;--line:#e2e8f0;--paper:#fff;--tint:#f8fafc;--accent:#1d4ed8;--note:#eff6ff}
@media(prefers-color-scheme:dark){:root{--ink:#e2e8f0;--soft:#94a3b8;--line:#334155;--paper:#111827;--tint:#0b1120;
--accent:#93c5fd;--note:#172554}figure svg{background:#fff;border-radius:8px}}
*{box-sizing:border-box}body{margin:0;background:var(--tint);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:36px 24px 80px}h1{font-size:30px;line-height:1.2;margin:0 0 10px}
h2{font-size:21px;margin:0 0 8px}h3{font-size:15px;margin:18px 0 6px}p{max-width:78ch;margin:8px 0}
.lead{font-size:17px;color:var(--soft)}section{background:var(--paper);border:1px solid var(--line);border-radius:12px;
padding:24px 26px;margin:22px 0}.grid{display:grid;
grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));gap:18px}
.grid.wide{grid-template-columns:1fr}.grid.trio{grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr))}
figure{margin:12px 0 0}figure svg{width:100%;height:auto;display:block}
figcaption{color:var(--soft);font-size:13px;margin-top:4px}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:12px 0;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 9px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);vertical-align:bottom}
th.l,td.l{text-align:left}tr:hover td{background:var(--tint)}
.diff{border-left:4px solid var(--accent);background:var(--note);padding:9px 14px;border-radius:0 8px 8px 0;
margin:12px 0;max-width:90ch}.diff b{color:var(--accent)}
.skip{border:1px dashed var(--soft);color:var(--soft);padding:9px 14px;border-radius:8px;margin:12px 0;max-width:90ch}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));
gap:14px;margin:20px 0}.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:14px 18px}
.card b{display:block;font-size:25px;line-height:1.25}.card span{color:var(--soft);font-size:13px}
nav a{color:var(--accent);text-decoration:none;margin-right:14px;font-size:14px;white-space:nowrap;display:inline-block}
a{color:var(--accent)}footer{color:var(--soft);font-size:13px}code{background:var(--tint);padding:1px 4px;border-radius:4px}
.legend span{margin-right:16px;font-size:13px;white-space:nowrap;display:inline-block}.legend i{display:inline-block;
width:10px;height:10px;border-radius:5px;margin-right:5px}.legend{max-width:none}
@media(max-width:560px){.grid{grid-template-columns:1fr}section{padding:16px}main{padding:20px 12px 60px}}
"""


def number(kind: str, value: Any) -> str:
    """*value* as *kind* says: ``%1`` percent to one digit, ``+1`` that with its sign, ``#`` whole,
    ``x2`` a ratio to two decimals, ``2f`` dollars and cents, ``1f`` one decimal, ``3`` significant digits.
    """
    if kind.startswith("%"):
        return f"{100 * value:.{kind[1:]}f}%"
    if kind.startswith("+"):
        return f"{100 * value:+.{kind[1:]}f}%"
    if kind in ("1f", "2f"):
        return f"{value:,.{kind}}"
    if kind.startswith("x"):
        return f"{value:.{kind[1:]}f}x"
    if kind == "#" or value == 0:
        return f"{value:,.0f}"
    places = max(0, int(kind) - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def cells(rows: Sequence[Row], columns: str) -> tuple[list[str], list[list[str]]]:
    """Heads, and *rows* as text. *columns*: ``key=head|kind`` separated by semicolons; without a kind it is text. Absent is a dash."""
    parsed = _parsed(columns)
    body = [
        ["–" if row.get(key) is None else number(kind, row[key]) if kind else str(row[key]) for key, _, kind in parsed]
        for row in rows
    ]
    return [head for _, head, _ in parsed], body


def _parsed(columns: str) -> list[tuple[str, str, str]]:
    """(key, head, kind) of each column."""
    each = (column.partition("=") for column in columns.split(";"))
    return [(key.strip(), *head.partition("|")[::2]) for key, _, head in each]


def table(rows: Sequence[Row], columns: str) -> str:
    """A table; arguments as ``cells``. Text stands to the left."""
    heads, body = cells(rows, columns)
    left = ["" if kind else ' class="l"' for _, _, kind in _parsed(columns)]
    head = "".join(f"<th{c}>{escape(title)}</th>" for title, c in zip(heads, left, strict=True))
    lines = ("".join(f"<td{c}>{escape(text)}</td>" for text, c in zip(row, left, strict=True)) for row in body)
    inner = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{inner}</tbody></table></div>'


def figure(chart: Chart, caption: str = "") -> str:
    """A chart with a caption."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg(chart)}{below}</figure>"


def grid(figures: Sequence[str], kind: str = "") -> str:
    """Figures side by side: two, or ``trio``, or one ``wide``."""
    return f'<div class="grid {kind}">{"".join(figures)}</div>'


def difference(text: str) -> str:
    """Where ours differs from the paper. *text* is HTML."""
    return f'<div class="diff"><b>Against the paper.</b> {text}</div>'


def skipped(what: str, needs: str) -> str:
    """A visible note in place of *what*, which needs measured data that are not here: *needs*, a file of the data folder."""
    why = "It needs measured data that are not part of the project"
    return f'<div class="skip"><b>Skipped: {escape(what)}.</b> {why}: {escape(needs)}.</div>'


def section(anchor: str, title: str, *parts: str) -> str:
    """One section; *parts* are HTML."""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def cards(items: Sequence[tuple[str, str]]) -> str:
    """Headline figures: (number, what it is)."""
    inner = "".join(f'<div class="card"><b>{escape(n)}</b><span>{escape(t)}</span></div>' for n, t in items)
    return f'<div class="cards">{inner}</div>'


def page(title: str, lead: str, top: str, sections: Sequence[tuple[str, str, str]], foot: str) -> str:
    """The document; *sections*: (anchor, short title, HTML)."""
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections)
    body = "".join(html for _, _, html in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(lead)}</p><nav>{links}</nav>{top}{body}<footer>{foot}</footer></main></body></html>\n'
    )
