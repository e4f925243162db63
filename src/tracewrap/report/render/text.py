"""Words and numbers shared by the formats that people read: terminal table and Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from tracewrap.report.schema import Capability, Group, ReferenceFigures, Report, SplitSeconds
from tracewrap.words import ABSENT, bounds, count, joules, ratio, seconds, share, sparkline, tokens, usd


def key_text(key: dict[str, str | None]) -> str:
    """The names of one group."""
    return ", ".join(ABSENT if value is None else value for value in key.values()) or "all calls"


def title(report: Report) -> str:
    """One line: what and when."""
    period = report["period"]
    if len(period["days"]) == 1:
        return f"LLM calls of {period['days'][0]} ({period['timezone']})"
    return f"LLM calls from {period['since']} to {period['until']} ({period['timezone']})"


def coverage_lines(report: Report) -> list[str]:
    """Coverage first: what share of the traffic the figures rest on."""
    c = report["coverage"]
    if not c["calls"]:
        return ["0 calls"]
    ideal = "; ".join(f"{share(value)} {_on(name)}" for name, value in c["idealized_share"].items())
    counts = f"{count(c['calls'])} calls: {count(c['complete_calls'])} complete"
    for name, key in (("partial", "partial_calls"), ("cancelled", "cancelled_calls"), ("failed", "failed_calls")):
        if c[key]:  # type: ignore[literal-required]
            counts += f", {count(c[key])} {name}"  # type: ignore[literal-required]
    usage = f"usage of {share(c['usage_share'])} known"
    if c["usage_estimated_calls"]:
        usage += f" ({count(c['usage_estimated_calls'])} calls estimated)"
    dropped = f"; {count(c['dropped_spans'])} lines or copies dropped" if c["dropped_spans"] else ""
    return [
        f"{counts}{dropped}",
        f"{usage}; {share(c['priced_share'])} priced; {share(c['denoised_share'])} denoised; {ideal}",
    ]


def total_rows(report: Report) -> list[tuple[str, str]]:
    """(what, figure with interval and provenance) of the totals."""
    t = report["totals"]
    raw, d, c = t["raw"], t["denoised"], t["contention"]
    rows = [
        (
            "tokens",
            f"{tokens(t['input_tokens'])} in ({tokens(t['cached_input_tokens'])} cached), {tokens(t['output_tokens'])} out",
        ),
        ("retries", f"{count(t['retried_calls'])} calls, {seconds(t['retry_s'])}"),
        (
            "raw runtime",
            f"{seconds(raw['sum_s'])}; p50 {seconds(raw['p50_s'])}, p90 {seconds(raw['p90_s'])}, p99 {seconds(raw['p99_s'])}",
        ),
        (
            "denoised runtime",
            f"{seconds(d['sum_s'])}{bounds(seconds, d['sum_low_s'], d['sum_high_s'])}, {_provenance(d['provenance'])}",
        ),
        (
            "contention",
            f"{seconds(c['seconds'])}, {share(c['share'])} of the last attempts{bounds(share, c['share_low'], c['share_high'])}",
        ),
        *([("us or the provider", split_text(t))] if t["split"]["n"] else []),
        (
            "list cost",
            f"{usd(t['list_cost_usd'])} for {count(t['priced_calls'])} calls, {report['prices']['source']}, as of call time",
        ),
    ]
    for r in t["references"]:
        i, cost, energy = r["idealized"], r["idealized_cost_usd"], r["idealized_energy_j"]
        s = r["serving_ratio"]
        rows += [
            (
                f"idealized on {r['stack']}",
                f"{seconds(i['sum_s'])}{bounds(seconds, i['sum_low_s'], i['sum_high_s'])}, {_provenance(i['provenance'])}",
            ),
            ("  serving ratio", f"{ratio(s['value'])}{bounds(ratio, s['low'], s['high'])}"),
            (
                "  idealized cost",
                f"{usd(cost['value'])}{bounds(usd, cost['low'], cost['high'])} for {count(cost['n'])} calls;"
                f" list {usd(r['list_cost_usd'])} for {count(r['list_cost_calls'])} of them",
            ),
            ("  idealized energy", f"{joules(energy['value'])}{bounds(joules, energy['low'], energy['high'])}"),
        ]
    return rows


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
    values = {name: (key, s[key]) for name, key in SPLIT_PARTS.items()}  # type: ignore[literal-required]
    named = [
        f"{name} {seconds(value)}"
        for name, (key, value) in values.items()
        if value is not None and (value or key in _ALWAYS)
    ]
    who = ", ".join(f"{count(n)} {name}{_of_ours(s, name)}" for name, n in s["calls"].items() if n)
    return f"{seconds(s['raw_s'])} = {' + '.join(named)}; slow by: {who}"


def _of_ours(split: SplitSeconds, verdict: str) -> str:
    """What of ours it was, most frequent first."""
    kinds = sorted(((n, kind.replace("_", " ")) for kind, n in split["us"].items() if n), reverse=True)
    return f" ({', '.join(kind for _, kind in kinds)})" if verdict == "us" and kinds else ""


CAPABILITY_HEAD = ("score", "idealized", "idealized cost", "energy", "on the frontier of")


def capability_rows(found: Capability) -> list[list[str]]:
    """Model and the cells of ``CAPABILITY_HEAD``, best score first."""
    plain = {"idealized_runtime_s": "runtime", "idealized_cost_usd": "cost", "idealized_energy_j": "energy"}
    return [
        [
            row["model"],
            f"{row['score']:g}",
            seconds(row["idealized_runtime_s"])
            + bounds(seconds, row["idealized_runtime_low_s"], row["idealized_runtime_high_s"]),
            usd(row["idealized_cost_usd"]),
            joules(row["idealized_energy_j"]),
            ", ".join(plain[name] for name in row["frontier"]) or ABSENT,
        ]
        for row in found["rows"]
    ]


def on_stack(name: str) -> str:
    """``on NAME``; the default is not one stack."""
    return "on the first stack that has the model" if name == "default" else f"on {name}"


def _on(name: str) -> str:
    return "idealized" if name == "default" else f"idealized on {name}"


def _provenance(classes: dict[str, int]) -> str:
    return (
        "; ".join(f"{name}: {count(n)} calls" for name, n in sorted(classes.items(), key=lambda item: -item[1]))
        or "no profile"
    )


GROUP_HEAD = ("calls", "failed", "in", "out", "raw p50", "p90", "p99", "denoised p50", "contention", "list cost")
STACK_HEAD = ("calls", "idealized", "p50", "serving ratio", "idealized cost", "list cost", "list / idealized")


def group_cells(row: Group) -> list[str]:
    """The cells of ``GROUP_HEAD``."""
    return [
        *(count(row["calls"]), share(row["error_share"]), tokens(row["input_tokens"]), tokens(row["output_tokens"])),
        *(seconds(row["raw"]["p50_s"]), seconds(row["raw"]["p90_s"]), seconds(row["raw"]["p99_s"])),
        *(seconds(row["denoised"]["p50_s"]), share(row["contention"]["share"]), usd(row["list_cost_usd"])),
    ]


def stack_cells(figures: ReferenceFigures) -> list[str]:
    """The cells of ``STACK_HEAD``; the list cost is that of the calls whose idealized cost stands beside it."""
    i = figures["idealized"]
    return [
        *(count(i["n"]), seconds(i["sum_s"]), seconds(i["p50_s"]), ratio(figures["serving_ratio"]["value"])),
        *(
            usd(figures["idealized_cost_usd"]["value"]),
            usd(figures["list_cost_usd"]),
            ratio(figures["list_to_idealized"]),
        ),
    ]


CALL_HEAD = ("start", "model", "service", "in", "out", "raw", "denoised", "contention", "trace id")


def call_cells(row: object) -> list[str]:
    """The cells of ``CALL_HEAD`` for a ``CallRow``."""
    r: dict[str, object] = dict(row)  # type: ignore[call-overload]
    return [
        str(r["start"])[5:19].replace("T", " "),
        str(r["model"] or ABSENT),
        str(r["service"] or ABSENT),
        *(ABSENT if r[name] is None else f"{r[name]:,}" for name in ("input_tokens", "output_tokens")),
        *(
            ABSENT if r[name] is None else f"{r[name]:,.2f} s"
            for name in ("raw_runtime_s", "denoised_runtime_s", "contention_s")
        ),
        str(r["trace_id"]),
    ]


def hours_line(report: Report) -> str | None:
    """Contention share hour by hour as one line of bars; None when no hour has any or there are too many."""
    shares = [hour["contention_share"] for hour in report["hours"]]
    known = [value for value in shares if value is not None]
    if not known or len(shares) > 100:
        return None
    worst = max(range(len(shares)), key=lambda i: -1e9 if (value := shares[i]) is None else value)
    return f"{sparkline(shares)}  highest {share(shares[worst])} at {report['hours'][worst]['hour'][11:16]}"


def missing_lines(report: Report) -> list[str]:
    """Unpriced and unprofiled models, by name."""
    out = [
        f"unpriced: {m['model'] or 'no model name'} at {m['provider']}, {count(m['calls'])} calls ({m['reason']})"
        for m in report["unpriced"]
    ]
    for u in report["unprofiled"]:
        what = "no denoised profile" if u["stack"] is None else f"no idealized profile {on_stack(u['stack'])}"
        out.append(
            f"{what}: {u['deployment'] if u['stack'] is None else u['model'] or 'no model name'}, {count(u['calls'])} calls"
        )
    return out
