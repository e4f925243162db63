"""Sentences shared by the formats that people read: terminal, Markdown, HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracewrap.report.render.columns import p99
from tracewrap.report.render.training import training_rows
from tracewrap.report.schema import CallRow, Group, Grouping, ReferenceFigures, Report, SplitSeconds, Unprofiled
from tracewrap.report.scores import Capability
from tracewrap.words import (
    ABSENT,
    bounds,
    chosen,
    clean,
    count,
    counted,
    grams,
    joules,
    name,
    printable,
    ratio,
    seconds,
    share,
    sparkline,
    tokens,
    usd,
)


def days_text(report: Report) -> str:
    """The report's period: one day, days, or two moments, with the time zone."""
    period = report["period"]
    days, zone = period["days"], period["timezone"]
    if not days:
        return f"{period['since']} to {period['until']}"
    return f"{days[0]} ({zone})" if len(days) == 1 else f"{days[0]} to {days[-1]} ({zone})"


def title(report: Report) -> str:
    """One line: what, which and when."""
    return f"LLM calls{chosen(report['where'])} of {days_text(report)}"


def groupings(report: Report) -> list[Grouping]:
    """The tables of groups; days first, where the period has several and they were not asked for anyway."""
    asked = report["groups"]
    if not report["days"] or any(one["by"] == ["day"] for one in asked):
        return asked
    return [{"by": ["day"], "rows": report["days"], "more_rows": 0}, *asked]


def coverage_lines(report: Report) -> list[str]:
    """Coverage: what share of the traffic the figures rest on; failed calls apart."""
    c = report["coverage"]
    if not c["calls"]:
        return ["0 calls"]
    counts = f"{counted(c['calls'], 'call')}: {count(c['complete_calls'])} complete"
    for what, key in (("partial", "partial_calls"), ("cancelled", "cancelled_calls"), ("failed", "failed_calls")):
        if c[key]:  # type: ignore[literal-required]
            counts += f", {count(c[key])} {what}"  # type: ignore[literal-required]
    dropped = (
        f"; {counted(c['dropped_spans'], 'line or copy', 'lines or copies')} dropped" if c["dropped_spans"] else ""
    )
    if c["lost_calls"]:
        dropped += f"; {counted(c['lost_calls'], 'call')} lost before they were logged"
    if c["failed_calls"] == c["calls"]:
        return [f"{counts}{dropped}"]
    usage = f"usage of {share(c['usage_share'])} known"
    if c["usage_estimated_calls"]:
        usage += f" ({counted(c['usage_estimated_calls'], 'call')} estimated)"
    ideal = "; ".join(f"{share(value)} {_on(stack, report)}" for stack, value in c["idealized_share"].items())
    others = "of those that did not fail, " if c["failed_calls"] else ""
    quiet = f"{share(c['denoised_share'])} denoised{unsure(c['denoised_verdicts'])}"
    return [
        f"{counts}{dropped}",
        f"{others}{usage}; {share(c['priced_share'])} priced; {quiet}; {ideal}",
    ]


def unsure(verdicts: Mapping[str, int]) -> str:
    """`` (few_hours: 12 calls)``: calls whose denoised profile is not sure of itself, by its verdict; empty where all are ok."""
    found = {verdict: n for verdict, n in verdicts.items() if verdict != "ok"}
    return f" ({_provenance(found, every=True)})" if found else ""


def total_rows(report: Report) -> list[tuple[str, str]]:
    """(what, figure with interval and provenance) of the totals; failed calls have none but their retries."""
    t = report["totals"]
    if t["failed_calls"] == t["calls"]:
        return _retries(t)
    raw, first, step = t["raw"], t["time_to_first_chunk"], t["time_per_output_token"]
    last = "" if p99(t) is None else f", p99 {seconds(p99(t))}"
    rows = [
        ("raw runtime", f"{seconds(raw['sum_s'])}; p50 {seconds(raw['p50_s'])}, p95 {seconds(raw['p95_s'])}{last}"),
        *_denoised_rows(report),
        *((("us or the provider", split_text(t)),) if t["split"]["n"] else ()),
    ]
    if first["n"]:
        text = f"p50 {seconds(first['p50_s'])}, p95 {seconds(first['p95_s'])} over {counted(first['n'], 'stream')}"
        rows.append(("time to first token", text))
    if step["n"]:
        rows.append(("time per output token", f"p50 {seconds(step['p50_s'])}, p95 {seconds(step['p95_s'])}"))
    if t["output_tokens_per_s"] is not None:
        rows.append(("output tokens a second", f"{t['output_tokens_per_s']:,.1f}"))
    cached = f" ({tokens(t['cached_input_tokens'])} cached)" if t["cached_input_tokens"] else ""
    rows.append(("tokens", f"{tokens(t['input_tokens'])} in{cached}, {tokens(t['output_tokens'])} out"))
    rows += _retries(t)
    rows.append(("list cost", _list_cost(report)))
    for reference in t["references"]:
        rows += _stack_rows(reference, report)
    return rows + training_rows(report["training"])


def _retries(t: Group) -> list[tuple[str, str]]:
    text = f"{counted(t['retried_calls'], 'call')}, {seconds(t['retry_s'])}"
    return [("retries", text)] if t["retried_calls"] else []


def _denoised_rows(report: Report) -> list[tuple[str, str]]:
    t = report["totals"]
    d, c = t["denoised"], t["contention"]
    if not d["n"]:
        return [("denoised runtime", f"{ABSENT} ({next_step(report, None) or 'no comparable call'})")]
    of = f" of {counted(d['n'], 'call')}"
    return [
        (
            "denoised runtime",
            f"{seconds(d['sum_s'])}{bounds(seconds, d['sum_low_s'], d['sum_high_s'])}{of}, {_provenance(d['provenance'])}"
            f"{unsure(d['verdicts'])}",
        ),
        (
            "contention",
            f"{seconds(c['seconds'])}, {share(c['share'])} of the last attempts{bounds(share, c['share_low'], c['share_high'])}",
        ),
    ]


def _list_cost(report: Report) -> str:
    t = report["totals"]
    if t["list_cost_usd"] is None:
        return f"{ABSENT} ({report['unpriced'][0]['next'] if report['unpriced'] else 'no call with token counts'})"
    source = f"{report['prices']['source']}, as of call time"
    return f"{usd(t['list_cost_usd'])} for {counted(t['priced_calls'], 'call')}, {source}"


def _stack_rows(r: ReferenceFigures, report: Report) -> list[tuple[str, str]]:
    """The totals on one reference stack; costs beside each other are of the same calls."""
    i, cost, energy, s = r["idealized"], r["idealized_cost_usd"], r["idealized_energy_j"], r["serving_ratio"]
    named = f"idealized on {stack_name(r['stack'], report)}"
    if not i["n"]:
        return [(named, f"{ABSENT} ({next_step(report, r['stack']) or 'no comparable call'})")]
    runtime = f"{seconds(i['sum_s'])}{bounds(seconds, i['sum_low_s'], i['sum_high_s'])} for {counted(i['n'], 'call')}"
    rows = [(named, f"{runtime}, {_provenance(i['provenance'])}")]
    if s["value"] is not None:
        rows.append(("  serving ratio", f"{ratio(s['value'])}{bounds(ratio, s['low'], s['high'])}"))
    if cost["value"] is None:
        rows.append(("  idealized cost", f"{ABSENT} (the stack states no price an hour)"))
    else:
        every = f"{usd(cost['value'])}{bounds(usd, cost['low'], cost['high'])} for {counted(cost['n'], 'call')}"
        rows.append(("  idealized cost", every))
    if r["list_cost_calls"]:
        both = f"{usd(r['list_cost_usd'])} against {usd(r['list_cost_idealized_usd'])}"
        times = f", {ratio(r['list_to_idealized'])} times"
        rows.append(("  list against idealized", f"{both}{times}, the same {counted(r['list_cost_calls'], 'call')}"))
    if energy["value"] is not None:
        rows.append(("  idealized energy", f"{joules(energy['value'])}{bounds(joules, energy['low'], energy['high'])}"))
    co2e, grid = r["idealized_co2e_g"], report["grid"]
    if co2e["value"] is not None and grid is not None:
        on = f" at {grid['g_per_kwh']:g} g/kWh ({grid['name']}: {grid['source']})"
        rows.append(("  idealized CO2e", f"{grams(co2e['value'])}{bounds(grams, co2e['low'], co2e['high'])}{on}"))
    return rows


def next_step(report: Report, stack: str | None) -> str:
    """What would mend the largest gap: in denoised profiles (*stack* None) or in those of a stack; nothing where there is none."""
    return next((printable(gap["next"]) for gap in report["unprofiled"] if gap["stack"] == stack), "")


SPLIT_PARTS: Mapping[str, str] = {
    "retries": "retries_s",
    "waiting for a connection": "pool_s",
    "SDK": "sdk_s",
    "late loop or threads": "lag_s",
    "network": "network_s",
    "admission": "admission_s",
    "contention": "contention_s",
    "unexplained": "unexplained_s",
    "model": "model_s",
}
"""Part of raw runtime, in words, to its key; those of ours and unexplained ones are shown where they are not 0."""
_ALWAYS = ("retries_s", "admission_s", "contention_s", "model_s")


def split_text(row: Group) -> str:
    """Raw runtime in its parts, over the calls with a denoised profile, and who made calls slow."""
    s = row["split"]
    values = {part: (key, s[key]) for part, key in SPLIT_PARTS.items()}  # type: ignore[literal-required]
    named = [
        f"{part} {seconds(value)}"
        for part, (key, value) in values.items()
        if value is not None and (value or key in _ALWAYS)
    ]
    who = ", ".join(f"{count(n)} {verdict}{_of_ours(s, verdict)}" for verdict, n in s["calls"].items() if n)
    return f"{seconds(s['raw_s'])} = {' + '.join(named)}; slow by: {who}"


def _of_ours(split: SplitSeconds, verdict: str) -> str:
    """What of ours it was, most frequent first."""
    kinds = sorted(((n, kind.replace("_", " ")) for kind, n in split["us"].items() if n), reverse=True)
    return f" ({', '.join(kind for _, kind in kinds)})" if verdict == "us" and kinds else ""


CAPABILITY_HEAD = ("model", "score", "idealized", "idealized cost", "energy", "profile", "on the frontier of")


def capability_rows(found: Capability) -> list[list[str]]:
    """The cells of ``CAPABILITY_HEAD``, best score first."""
    plain = {"idealized_runtime_s": "runtime", "idealized_cost_usd": "cost", "idealized_energy_j": "energy"}
    return [
        [
            name(row["model"]),
            f"{row['score']:g}",
            seconds(row["idealized_runtime_s"])
            + bounds(seconds, row["idealized_runtime_low_s"], row["idealized_runtime_high_s"]),
            usd(row["idealized_cost_usd"]),
            joules(row["idealized_energy_j"]),
            row["provenance"],
            ", ".join(plain[measure] for measure in row["frontier"]) or ABSENT,
        ]
        for row in found["rows"]
    ]


def stack_name(stack: str, report: Report) -> str:
    """*stack*, or what "default" stood for: the only stack used, or the first one that has each model."""
    used = [reference["id"] for reference in report["references"]]
    if stack in used or not used:
        return "a reference stack" if stack == "default" else clean(stack)
    return clean(used[0]) if len(used) == 1 else "the first stack that has the model"


def _on(stack: str, report: Report) -> str:
    return f"idealized on {stack_name(stack, report)}"


def _provenance(classes: Mapping[str, int], every: bool = False) -> str:
    if len(classes) == 1 and not every:
        return next(iter(classes))
    ordered = sorted(classes.items(), key=lambda item: -item[1])
    return "; ".join(f"{what}: {counted(n, 'call')}" for what, n in ordered)


def hours_line(report: Report) -> str | None:
    """Contention share hour by hour as one line of bars; None when no hour has any or there are too many."""
    shares = [hour["contention_share"] for hour in report["hours"]]
    known = [value for value in shares if value is not None]
    if not known or len(shares) > 100:
        return None
    worst = max(range(len(shares)), key=lambda i: -1e9 if (value := shares[i]) is None else value)
    hour = report["hours"][worst]["hour"]
    when = f"{hour[5:10]} {hour[11:16]}" if len(report["period"]["days"]) > 1 else hour[11:16]
    return f"{sparkline(shares)}  highest {share(shares[worst])} at {when}"


def call_tables(report: Report) -> list[tuple[str, Sequence[CallRow]]]:
    """Title and calls of each table of calls; a call stands in one of them only."""
    slowest = report["slowest"]
    seen = {(call["trace_id"], call["span_id"]) for call in slowest}
    others = [call for call in report["most_contended"] if (call["trace_id"], call["span_id"]) not in seen]
    contended = [call for call in others if (call["contention_s"] or 0.0) > 0]
    named = (("slowest calls", slowest), ("most contended of the other calls", contended))
    return [(what, calls) for what, calls in named if calls]


LISTED = 3
"""So many deployments that lack the same are named one by one; of more, the most used one is."""


def missing_lines(report: Report) -> list[str]:
    """Unpriced and unprofiled models, by name, with the next step; one line for what is missing in the same way."""
    out = [
        f"unpriced: {name(m['model'])} at {name(m['provider'])}, {counted(m['calls'], 'call')} ({m['reason']}): {m['next']}"
        for m in report["unpriced"]
    ]
    quiet = [gap for gap in report["unprofiled"] if gap["stack"] is None]
    alike: dict[str, list[Unprofiled]] = {}
    for gap in quiet:
        alike.setdefault(gap["next"], []).append(gap)
    for step, gaps in alike.items():
        named, others = (gaps, []) if len(gaps) <= LISTED else (gaps[:1], gaps[1:])
        rest = f" and {counted(len(others), 'other deployment')}" if others else ""
        out += [
            f"no denoised profile: {name(gap['deployment'])}{rest},"
            f" {counted(gap['calls'] + sum(other['calls'] for other in others), 'call')}: {printable(step)}"
            for gap in named
        ]
    lacking: dict[tuple[str | None, str, str], int] = {}
    for gap in report["unprofiled"]:
        if gap["stack"] is not None:
            key = (gap["model"], gap["stack"], gap["next"])
            lacking[key] = lacking.get(key, 0) + gap["calls"]
    return out + [
        f"not {_on(stack, report)}: {name(model)}, {counted(n, 'call')}: {printable(step)}"
        for (model, stack, step), n in lacking.items()
    ]
