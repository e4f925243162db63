"""What-if as text."""

from __future__ import annotations

from tracewrap.report.questions.rental import Rental
from tracewrap.report.questions.whatif import Row, WhatIf
from tracewrap.report.render.training import training_rows
from tracewrap.words import ABSENT, bounds, count, joules, ratio, seconds, table, tokens, usd


def render_whatif(found: WhatIf) -> str:
    """A block a model: batch 1 and amortised apart, list price beside both."""
    period = found["period"]
    lines = [
        f"{count(found['comparable_calls'])} comparable of {count(found['calls'])} calls"
        f" from {period['since']} to {period['until']}"
    ]
    lines += [f"! {note}" for note in found["notes"]]
    for model in dict.fromkeys(row["model"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["model"] == model]
        lines += ["", *_model(model, rows, found["batch"], found["utilisation"])]
    if told := training_rows(found["training"]):
        lines += ["", *(f"{name}: {text}" for name, text in told)]
    if found["missing"]:
        lines += ["", "no profile of the model on the stack (unknown, or too large for it):"]
        for model in dict.fromkeys(gap["model"] for gap in found["missing"]):
            gaps = [gap for gap in found["missing"] if gap["model"] == model]
            lines.append(
                f"  {model or ABSENT} ({count(gaps[0]['calls'])} calls): {', '.join(g['stack'] for g in gaps)}"
            )
        lines.append("a closed model needs a stand-in: --stand-in CLOSED=OPEN")
    return "\n".join(lines) + "\n"


def _model(model: str | None, rows: list[Row], batch: float, utilisation: float) -> list[str]:
    first = rows[0]
    listed = (
        "unpriced, so without a break-even: --prices FILE with its price"
        if first["list_cost_usd"] is None
        else f"list cost {usd(first['list_cost_usd'])}"
    )
    month = "" if first["list_usd_month"] is None else f", a month at this rate {usd(first['list_usd_month'])}"
    out = [f"{model or ABSENT}: {count(first['calls'])} calls, {listed}{month}", ""]
    out += _uses(
        "batch 1: one call after another",
        [
            (row, row["batch_1"], bounds(usd, row["idealized_cost_low_usd"], row["idealized_cost_high_usd"]))
            for row in rows
        ],
    )
    shared: list[tuple[Row, Rental | None, str]] = [
        (row, row["amortized"], f" (slowdown {ratio(row['slowdown'])})") for row in rows if row["amortized"]
    ]
    out += ["", *_uses(f"amortised: batch {batch:g}, busy {utilisation:.0%} of the time", shared)]
    out += [
        f"  {row['stack']}: no amortised cost: {row['amortized_reason']}" for row in rows if row["amortized"] is None
    ]
    return out + _beside(rows)


def _beside(rows: list[Row]) -> list[str]:
    """Under the tables: how many GPUs scale, what vendors ask, what the cheapest stack's cost hangs on."""
    out = [
        f"  {row['stack']}: {row['n_gpus']} GPUs give {row['parallel_efficiency']:.0%} of {row['n_gpus']} times one"
        for row in rows
        if row["n_gpus"] > 1 and row["parallel_efficiency"] is not None
    ]
    for row in rows:
        asked, use = row["vendor_prices"], row["amortized"] or row["batch_1"]
        if len(asked) > 1:
            ends = [
                f"{usd(each['usd_per_gpu_hour'])} ({each['source']}, {each['date']})" for each in (asked[0], asked[-1])
            ]
            cost = f"{usd(use['cost_low_usd'])} to {usd(use['cost_high_usd'])}"
            out.append(f"  {row['stack']}: vendors ask {ends[0]} to {ends[1]} per GPU-hour: cost {cost}")
    unpriced = [row["stack"] for row in rows if row["batch_1"]["cost_usd"] is None]
    if unpriced:
        out.append(
            f"  {', '.join(unpriced)}: no rental price is known; a reference stack of yours with a price tells the cost"
        )
    first = next((row for row in rows if row["sensitivity"]), None)
    if first is not None:
        moved = (
            f"{x['input']} ({x['range']}) {usd(x['low_usd'])} to {usd(x['high_usd'])}" for x in first["sensitivity"]
        )
        kind = "amortised cost" if first["amortized"] else "cost"
        out.append(f"  {first['stack']}: its {kind} moves most with {'; '.join(moved)}")
    return ["", *out] if out else []


def _uses(title: str, uses: list[tuple[Row, Rental | None, str]]) -> list[str]:
    head = (
        "  " + title,
        "GPUs",
        "idealized",
        "energy",
        "cost",
        "break-even a month",
        "capacity a month",
        "replicas a month",
    )
    rows: list[tuple[str, ...]] = [head]
    for row, use, beside in uses:
        if use is not None:
            even = use["break_even_tokens_month"]
            rows.append(
                (
                    f"  {row['stack']}",
                    str(row["n_gpus"]),
                    seconds(row["idealized_runtime_s"]),
                    joules(use["energy_j"]),
                    usd(use["cost_usd"]) + beside,
                    "never" if even is None and row["list_cost_usd"] and use["cost_usd"] else _tokens(even),
                    _tokens(use["capacity_tokens_month"]),
                    ABSENT if use["replicas"] is None else f"{use['replicas']} for {usd(use['usd_month'])}",
                )
            )
    return table(rows)


def _tokens(value: float | None) -> str:
    return ABSENT if value is None else f"{tokens(round(value))} tokens"
