"""The suite as text, as CSV and as a page to publish."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from html import escape

from tracewrap.records import PROVENANCES
from tracewrap.study.page import page, section
from tracewrap.study.suite import MixFacts, Quiet, Row, Suite
from tracewrap.words import ABSENT, bounds, count, csv_cell, joules, seconds, table, usd

FORMATS = ("table", "json", "csv", "html")
MARKS: dict[str, str] = dict(zip(PROVENANCES, ("m", "f", "c", "a", "?"), strict=True))
"""Provenance behind a figure: measured, few-shot, calibrated, analytic, assumed."""
LEGEND_TEXT = (
    "* beyond what the profile covers. In brackets the 90% interval. Costs and energies are of one call alone on the hardware (batch 1); "
    "sharing it makes them smaller."
)
LEGEND = (
    "m measured, f fitted to few measurements, c computed with constants calibrated on this card and engine, a computed from the "
    "architecture, ? assumed; " + LEGEND_TEXT
)


def render(found: Suite, form: str) -> str:
    """*found* in one of ``FORMATS``."""
    forms: dict[str, Callable[[Suite], str]] = {"table": as_text, "json": as_json, "csv": as_csv, "html": as_html}
    return forms[form](found)


def as_json(found: Suite) -> str:
    """``tracewrap.suite/1``."""
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def as_csv(found: Suite) -> str:
    """One line a figure row, idealized ones and then the deployments'; what a kind of row lacks is empty."""
    names = ["kind", *dict.fromkeys([*Row.__annotations__, *Quiet.__annotations__])]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    kinds: list[tuple[str, Sequence[Row] | Sequence[Quiet]]] = [
        ("idealized", found["rows"]),
        ("denoised", found["quiet"]),
    ]
    for kind, rows in kinds:
        for row in rows:
            values = {name: csv_cell("" if value is None else value) for name, value in row.items()}
            writer.writerow({"kind": kind, **values})
    return text.getvalue()


def as_text(found: Suite) -> str:
    """A block a mix."""
    lines: list[str] = [f"! {note}" for note in found["notes"]]
    for mix in found["mixes"]:
        lines += ["", f"{mix['name']}: {_means(mix)}", f"  {_source(mix)}", ""]
        head = ("model", "stack", "GPUs", "runtime", "cost", "energy", "from")
        cells = [head, *(_text_row(row) for row in _ranked(found["rows"], mix["name"]))]
        lines += [f"  {line}" for line in table(cells)]
        quiet = [row for row in found["quiet"] if row["mix"] == mix["name"]]
        if quiet:
            shown = [("deployment", "calls", "on a quiet day", "verdict"), *(_text_quiet(row) for row in quiet)]
            lines += ["", *(f"  {line}" for line in table(shown))]
    lines += _gaps(found)
    return "\n".join(lines).strip("\n") + f"\n\n{LEGEND_TEXT}\n"


def _gaps(found: Suite) -> list[str]:
    return ["", *(f"no figure: {gap['model'] or ABSENT}, {gap['where']}: {gap['why']}" for gap in found["missing"])]


def _text_row(row: Row) -> tuple[str, ...]:
    runtime, cost, energy = _figures(row)
    return (row["model"], row["stack"], count(row["n_gpus"]), runtime, cost, energy, row["provenance"] + _beyond(row))


def _figures(row: Row) -> tuple[str, str, str]:
    return (
        _with_bounds(seconds, row["idealized_s"], row["idealized_low_s"], row["idealized_high_s"]),
        _with_bounds(usd, row["cost_usd"], row["cost_low_usd"], row["cost_high_usd"]),
        _with_bounds(joules, row["energy_j"], row["energy_low_j"], row["energy_high_j"]),
    )


def _text_quiet(row: Quiet) -> tuple[str, ...]:
    runtime = _with_bounds(seconds, row["denoised_s"], row["denoised_low_s"], row["denoised_high_s"])
    return (row["deployment"], count(row["calls"]), runtime + _beyond(row), row["verdict"] or ABSENT)


def _with_bounds(
    show: Callable[[float | None], str], value: float | None, low: float | None, high: float | None
) -> str:
    return ABSENT if value is None else show(value) + bounds(show, low, high)


def _beyond(row: Row | Quiet) -> str:
    return "*" if row["extrapolated"] else ""


def _ranked(rows: Sequence[Row], mix: str) -> list[Row]:
    return sorted((row for row in rows if row["mix"] == mix), key=lambda row: row["idealized_s"])


def _means(mix: MixFacts) -> str:
    cached = f", {count(mix['cached_tokens'])} of them cached" if mix["cached_tokens"] else ""
    return f"{mix['title']}; mean {count(mix['input_tokens'])} in{cached}, {count(mix['output_tokens'])} out"


def _source(mix: MixFacts) -> str:
    return mix["source"] + (f" (assumed: {mix['assumed']})" if mix["assumed"] else "")


def as_html(found: Suite) -> str:
    """One page, a section a mix: fastest first, the interval and provenance with every figure."""
    lead = "Idealized runtime, cost and energy a call, alone on the named hardware."
    if found["quiet"]:
        lead += " Beside them what deployments that were called take for the same tokens on a quiet day."
    gaps = "".join(f"<li>{escape(line)}</li>" for line in _gaps(found)[1:])
    foot = f"<p>{escape(LEGEND)}</p>" + (f"<ul>{gaps}</ul>" if gaps else "")
    return page(
        "Standard suite of token mixes",
        lead,
        "",
        [(mix["name"], mix["name"], _mix_section(found, mix)) for mix in found["mixes"]],
        foot,
    )


def _mix_section(found: Suite, mix: MixFacts) -> str:
    rows = _ranked(found["rows"], mix["name"])
    quiet = [row for row in found["quiet"] if row["mix"] == mix["name"]]
    parts = [f"<p>{escape(_means(mix))}.<br>Source: {escape(_source(mix))}.</p>"]
    parts.append(
        _html_table(
            ("", "model", "stack", "GPUs", "runtime", "cost", "energy"),
            [_html_row(i, r) for i, r in enumerate(rows, 1)],
        )
    )
    if quiet:
        parts.append("<h3>Deployments on a quiet day, learned from recorded calls</h3>")
        parts.append(
            _html_table(("model", "deployment", "calls", "runtime", "verdict"), [_html_quiet(row) for row in quiet])
        )
    return section(mix["name"], mix["name"].capitalize(), *parts)


def _html_table(heads: Sequence[str], rows: Sequence[str]) -> str:
    left = {"model", "stack", "deployment", "verdict"}
    names = {h: ' class="l"' if h in left else "" for h in heads}
    head = "".join(f"<th{kind}>{escape(h)}</th>" for h, kind in names.items())
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _html_row(rank: int, row: Row) -> str:
    mark = MARKS[row["provenance"]] + _beyond(row)
    price = (
        ""
        if row["usd_per_gpu_hour"] is None
        else f"; {row['usd_per_gpu_hour']:g} $ a GPU-hour ({row['price_source']}, {row['price_date']})"
    )
    told = escape(f"{row['provenance']}: {row['profile']}{price}", quote=True)
    figures = "".join(f'<td title="{told}">{_figure(text, mark)}</td>' for text in _figures(row))
    return (
        f'<tr><td>{rank}</td><td class="l">{escape(row["model"])}</td><td class="l">{escape(row["stack"])}</td>'
        f"<td>{row['n_gpus']}</td>{figures}</tr>"
    )


def _figure(text: str, mark: str) -> str:
    """The value with its mark, its interval in small print below."""
    value, _, interval = text.partition(" (")
    below = f"<br><small>{escape(interval.rstrip(')'))}</small>" if interval else ""
    return f"{escape(value)}<sup>{escape(mark)}</sup>{below}"


def _html_quiet(row: Quiet) -> str:
    _, calls, runtime, verdict = _text_quiet(row)
    return (
        f'<tr><td class="l">{escape(row["model"] or ABSENT)}</td><td class="l">{escape(row["deployment"])}</td><td>{calls}</td>'
        f'<td>{_figure(runtime, "")}</td><td class="l">{escape(verdict)}</td></tr>'
    )
