"""Limits on a report: held or breached.

Limits are a TOML file, any subset:

    [limits]                       # over all calls
    raw_p95_s = 4.0                # also p50, p90, p99; denoised_*, idealized_*, time_to_first_chunk_*
    contention_share = 0.5
    provider_share = 0.5           # of raw: retries and what is the provider's; also client_share, network_share, unexplained_share
    error_share = 0.01
    list_cost_usd = 200.0
    idealized_cost_usd = 50.0
    retried_share = 0.05
    drift_ratio = 1.1              # of any deployment, either way
    min_usage_share = 0.95         # coverage: at least
    min_priced_share = 0.9
    min_denoised_share = 0.5
    min_idealized_share = 0.5

    [[group]]                      # over the calls of one group
    by = { model = "gpt-5-mini" }
    raw_p95_s = 2.0

A limit on a figure that is unknown (no calls, no profile, no price) cannot be judged: it is never held.
Of a sample of the traces, costs are those of all calls; of a tail sample, costs and the error share are unknown.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.report.schema import Group, Report

_PARTS = ("raw", "denoised", "idealized", "time_to_first_chunk")
_COVERAGE = ("usage_share", "priced_share", "denoised_share", "idealized_share")
_RUNTIMES = tuple(f"{part}_{quantile}_s" for part in _PARTS for quantile in ("p50", "p90", "p95", "p99"))
_SPLIT: Mapping[str, tuple[str, ...]] = {
    "client_share": ("pool_s", "sdk_s", "lag_s"),
    "network_share": ("network_s",),
    "provider_share": ("retries_s", "contention_s"),
    "unexplained_share": ("unexplained_s",),
}
"""Shares of raw runtime, over the calls with a denoised profile, and the parts that make them."""
_OTHERS = (*_SPLIT, "contention_share", "error_share", "retried_share", "list_cost_usd", "idealized_cost_usd")
GROUP_LIMITS = (*_RUNTIMES, *_OTHERS)
LIMITS = (*GROUP_LIMITS, "drift_ratio", *(f"min_{name}" for name in _COVERAGE))


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of the file. ``by``: the group it is on, empty for all calls."""

    name: str
    value: float
    by: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A limit beside what was found; ``found`` None: unknown, so it cannot be judged."""

    limit: Limit
    found: float | None

    @property
    def held(self) -> bool | None:
        """Whether the limit held; None when it cannot be judged."""
        if self.found is None:
            return None
        return self.found >= self.limit.value if self.limit.name.startswith("min_") else self.found <= self.limit.value

    @property
    def text(self) -> str:
        """One line, as k6 prints its thresholds."""
        mark = {True: "✓", False: "✗", None: "?"}[self.held]
        sign = ">=" if self.limit.name.startswith("min_") else "<="
        group = "".join(f" {{{name}:{value}}}" for name, value in self.limit.by)
        found = "unknown" if self.found is None else f"{self.found:.4g}"
        return f"{mark} {self.limit.name}{group} {sign} {self.limit.value:g}  found {found}"


def read_limits(path: str | os.PathLike[str]) -> list[Limit]:
    """The limits in a TOML file; ConfigurationError naming file and key for what is wrong."""
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML ({error})") from None
    unknown = set(data) - {"limits", "group"}
    if unknown:
        raise ConfigurationError(f"{path}: unknown table {sorted(unknown)[0]!r}; there is [limits] and [[group]]")
    limits = _limits(path, "limits", data.get("limits", {}), LIMITS, ())
    groups = data.get("group", [])
    if not (isinstance(groups, list) and all(isinstance(table, dict) for table in groups)):
        raise ConfigurationError(f"{path}: group is no list of tables; write [[group]]")
    for number, table in enumerate(groups, start=1):
        by = table.pop("by", None)
        if not isinstance(by, dict) or not by:
            raise ConfigurationError(f"{path}: group {number} has no 'by', such as by = {{ model = \"gpt-5-mini\" }}")
        key = tuple((str(name), str(value)) for name, value in by.items())
        limits += _limits(path, f"group {number}", table, GROUP_LIMITS, key)
    if not limits:
        raise ConfigurationError(f"{path}: holds no limit; write one under [limits], such as raw_p95_s = 4.0")
    return limits


def _limits(
    path: object, where: str, table: object, known: tuple[str, ...], by: tuple[tuple[str, str], ...]
) -> list[Limit]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {where} is no table of limits; write [limits], and below it raw_p95_s = 4.0")
    found = []
    for name, value in table.items():
        if name not in known:
            raise ConfigurationError(f"{path}: {where}: no limit {name!r}; there is {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{path}: {where}: {name} is {value!r}, must be a number")
        found.append(Limit(name, float(value), by))
    return found


def groupings(limits: list[Limit]) -> list[str]:
    """The groupings that *limits* need, as ``report.build`` takes them."""
    return list(dict.fromkeys(",".join(name for name, _ in limit.by) for limit in limits if limit.by))


def judge(report: Report, limits: list[Limit]) -> list[Result]:
    """Each limit beside what *report* found."""
    return [Result(limit, _found(report, limit)) for limit in limits]


def _found(report: Report, limit: Limit) -> float | None:
    name = limit.name
    if name == "drift_ratio":
        if report["drift_note"] is not None:
            return None
        return max([max(event["ratio"], 1 / event["ratio"]) for event in report["drift"]], default=1.0)
    if name.startswith("min_"):
        coverage: Mapping[str, Any] = report["coverage"]
        value = coverage[name.removeprefix("min_")]
        if isinstance(value, dict):
            value = next(iter(value.values()), None)
        return None if value is None else float(value)
    group = report["totals"] if not limit.by else _group(report, dict(limit.by))
    if name in ("list_cost_usd", "idealized_cost_usd") and report["sample"] is not None:
        scaled = report["sample"]["list_cost_usd" if name == "list_cost_usd" else "idealized_cost_usd"]
        return None if scaled is None or limit.by else scaled["value"]
    return None if group is None else _figure(group, name)


def _group(report: Report, key: Mapping[str, str]) -> Group | None:
    for grouping in report["groups"]:
        for row in grouping["rows"]:
            if row["key"] == key:
                return row
    return None


def _figure(group: Group, name: str) -> float | None:
    """One figure of a group; None when it is unknown."""
    reference = group["references"][0] if group["references"] else None
    if name in ("error_share", "list_cost_usd"):
        plain: Mapping[str, Any] = group
        return None if plain[name] is None else float(plain[name])
    if name == "retried_share":
        return group["retried_calls"] / group["calls"] if group["calls"] else None
    if name in _SPLIT:
        parts: Mapping[str, Any] = group["split"]
        found = [parts[part] for part in _SPLIT[name]]
        return None if not parts["raw_s"] or None in found else math.fsum(found) / float(parts["raw_s"])
    if name == "contention_share":
        return group["contention"]["share"]
    if name == "idealized_cost_usd":
        return None if reference is None else reference["idealized_cost_usd"]["value"]
    part, _, quantile = name.removesuffix("_s").rpartition("_")
    runtimes: Mapping[str, Any] = {**group, "idealized": {} if reference is None else reference["idealized"]}
    value = runtimes[part].get(f"{quantile}_s")
    return None if value is None else float(value)
