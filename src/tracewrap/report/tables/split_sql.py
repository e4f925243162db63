"""Us, the network or the provider, for whole tables: ``estimate.split.split_of`` as SQL, step by step; a test holds the two together."""

from __future__ import annotations

from tracewrap.estimate.split import LAG_WITHOUT_QUIET, SLOW_SHARE, US_SHARE
from tracewrap.report.tables.join_sql import dbl

SIDE_NUMBERS = (
    "client_pool_s",
    "client_sdk_s",
    "client_lag_s",
    "network_s",
    "network_transit_s",
    "server_processing_s",
)
"""Columns of ``CALL_COLUMNS`` that tell of our side of the wire, numbers all."""
VERDICTS = ("unknown", "us", "network", "provider", "model")
"""Who made a call slow, as ``joined.verdict`` numbers them."""
KINDS = ("pool", "sdk", "event_loop", "threads", "consumer")
"""What of ours it was, as ``joined.us_kind`` numbers them; -1 where the verdict is not ``us``."""
PARTS = ("pool", "sdk", "lag", "network", "admission", "model", "contention", "unexplained")
"""Parts of the last attempt, each a column ``split_<part>_s``."""
_ZERO, _HALF = dbl(0), dbl(US_SHARE)


def split_stages() -> list[dict[str, str]]:
    """Stages of columns over a call beside its denoised estimate: the parts of comparable calls, and who made them slow.

    Engines differ in what ``least`` and ``greatest`` make of NULL, so none reaches them.
    """
    blamed = "blamed_pool_s + blamed_network_s + blamed_sdk_s"
    measured = {"pool": "client_pool_s", "sdk": "client_sdk_s", "network": "network_s"}
    return [
        {
            "last_attempt_s": _comparable(f"greatest(raw_runtime_s - retry_s, {_ZERO})"),
            "held_s": _comparable(f"coalesce(consumer_s, {_ZERO})"),
            "overhead_s": f"CASE WHEN denoised_s IS NOT NULL AND denoised_overhead_s > {_ZERO} THEN denoised_overhead_s END",
            **{f"split_{part}_s": _comparable(f"coalesce({column}, {_ZERO})") for part, column in measured.items()},
            "late_s": f"coalesce(client_lag_s, {_ZERO})",
            "server_s": "CASE WHEN dims_stream THEN NULL ELSE server_processing_s END",
        },
        {"excess_s": "last_attempt_s - denoised_s"},
        {"over_s": _quiet(f"greatest(excess_s, {_ZERO})")},
        {"blamed_pool_s": _quiet("least(split_pool_s, over_s)")},
        {"blamed_network_s": _quiet("least(split_network_s, over_s - blamed_pool_s)")},
        {"blamed_sdk_s": _quiet("least(split_sdk_s, over_s - blamed_pool_s - blamed_network_s)")},
        {
            "split_lag_s": f"CASE WHEN excess_s IS NOT NULL THEN least(late_s, over_s - ({blamed}))"
            f" WHEN comparable = 1 THEN {dbl(LAG_WITHOUT_QUIET)} * late_s END",
            "inside_s": f"split_pool_s + split_network_s + split_sdk_s - ({blamed})",
        },
        {
            "left_s": f"over_s - ({blamed} + split_lag_s)",
            "split_admission_s": f"CASE WHEN overhead_s IS NOT NULL THEN greatest({_ZERO}, overhead_s - inside_s) END",
        },
        {
            "provider_s": "CASE WHEN excess_s IS NULL THEN NULL WHEN network_transit_s IS NOT NULL THEN"
            f" left_s - least(left_s, greatest({_ZERO}, network_transit_s - coalesce(overhead_s, {_ZERO})))"
            " WHEN server_s IS NOT NULL THEN"
            f" least(left_s, greatest({_ZERO}, server_s - (denoised_s - coalesce(overhead_s, {_ZERO}))))"
            f" WHEN network_s IS NOT NULL THEN left_s ELSE {_ZERO} END",
            "split_model_s": f"denoised_s - inside_s - coalesce(split_admission_s, {_ZERO})",
        },
        {
            "split_contention_s": f"CASE WHEN excess_s < {_ZERO} THEN excess_s ELSE provider_s END",
            "split_unexplained_s": "CASE WHEN excess_s IS NOT NULL THEN left_s - provider_s WHEN comparable = 1 THEN"
            f" greatest({_ZERO}, last_attempt_s - split_pool_s - split_sdk_s - split_lag_s - split_network_s) END",
            "ours_s": "coalesce(blamed_pool_s, split_pool_s) + coalesce(blamed_sdk_s, split_sdk_s) + split_lag_s",
            "lost_s": f"raw_runtime_s - last_attempt_s + coalesce(provider_s, {_ZERO})",
        },
        {"verdict": _verdict()},
        {"us_kind": _kind()},
    ]


def _comparable(sql: str) -> str:
    return f"CASE WHEN comparable = 1 THEN {sql} END"


def _quiet(sql: str) -> str:
    return f"CASE WHEN excess_s IS NOT NULL THEN {sql} END"


def _verdict() -> str:
    """The number in ``VERDICTS``; -1 for calls that are not comparable."""
    held = f"held_s > {_HALF} * (raw_runtime_s + held_s)"
    blind = (
        f"CASE WHEN ours_s > {_HALF} * raw_runtime_s THEN 1 WHEN split_network_s > {_HALF} * raw_runtime_s THEN 2"
        f" WHEN raw_runtime_s > {_ZERO} AND lost_s > {dbl(SLOW_SHARE)} * raw_runtime_s THEN 3 ELSE 0 END"
    )
    parts = ("ours_s", "blamed_network_s", "lost_s", "split_unexplained_s")
    calm = f"raw_runtime_s <= {_ZERO} OR {' + '.join(parts)} <= {dbl(SLOW_SHARE)} * raw_runtime_s"
    most = f"greatest({', '.join(parts)})"  # none of them is NULL where there is a quiet day
    return (
        f"CASE WHEN comparable = 0 THEN -1 WHEN {held} THEN 1 WHEN excess_s IS NULL THEN {blind} WHEN {calm} THEN 4"
        f" WHEN ours_s = {most} THEN 1 WHEN blamed_network_s = {most} THEN 2 WHEN lost_s = {most} THEN 3 ELSE 0 END"
    )


def _kind() -> str:
    pool, sdk = "coalesce(blamed_pool_s, split_pool_s)", "coalesce(blamed_sdk_s, split_sdk_s)"
    late = "CASE WHEN client_lag_kind = 'threads' THEN 3 ELSE 2 END"
    return (
        f"CASE WHEN verdict <> 1 THEN -1 WHEN held_s > {_HALF} * (raw_runtime_s + held_s) THEN 4"
        f" WHEN {pool} >= {sdk} AND {pool} >= split_lag_s THEN 0 WHEN {sdk} >= split_lag_s THEN 1 ELSE {late} END"
    )


def split_sums() -> dict[str, str]:
    """Raw runtime in its parts, over the calls with a denoised estimate, and calls by who made them slow and by what of ours."""
    known = "CASE WHEN denoised_s IS NOT NULL THEN"
    out = {
        "last_attempt_sum_s": f"sum({known} last_attempt_s END)",
        "split_raw_s": f"sum({known} raw_s END)",
        "split_held_s": f"sum({known} held_s END)",
        "split_admission_n": "count(split_admission_s)",
    }
    out |= {f"split_{part}_sum_s": f"sum({known} split_{part}_s END)" for part in PARTS}
    out |= {f"verdict_{name}": f"sum(CASE WHEN verdict = {i} THEN 1 ELSE 0 END)" for i, name in enumerate(VERDICTS)}
    return out | {f"us_{name}": f"sum(CASE WHEN us_kind = {i} THEN 1 ELSE 0 END)" for i, name in enumerate(KINDS)}
