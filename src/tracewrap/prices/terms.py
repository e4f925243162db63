"""How many tokens of each kind a call has, so that each is charged once: in Python and, the same steps, in SQL.

Vendors' counts overlap: audio of the prompt can have been read from the cache, and stands in both counts. Parts never exceed the whole:
each is cut to what the total leaves. Where the overlap is not said, it is what the counts force (parts beyond the total); if it could be
anything and that changes the price, there is no price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracewrap.prices.rates import KINDS
from tracewrap.semconv import DETAILS

_APART = {field.price: field.name for field in DETAILS if field.part_of is None and field.price is not None}
"""Kind billed apart from tokens -> the count of it."""
_MODALITIES = (("audio", "cached_audio_input_tokens"), ("image", "cached_image_input_tokens"))


def quantities(read: Callable[[str], int | None], charged_in: int, charged_out: int) -> dict[str, int]:
    """Kind -> tokens of *charged_in* and *charged_out* billed ones. *read*: count by its field name in ``TokenUsage``."""

    def count(name: str, most: int) -> int:
        return min(max(0, read(name) or 0), max(0, most))

    cached = count("cached_input_tokens", charged_in)
    written = count("cache_write_input_tokens", charged_in - cached)
    written_long = count("cache_write_long_input_tokens", written)
    taken, left_cached, by_kind = cached + written, cached, {}
    for modality, name in _MODALITIES:
        total = count(f"{modality}_input_tokens", charged_in)
        most = min(left_cached, total)
        forced = min(most, max(0, taken + total - charged_in))
        shared = max(forced, count(name, most)) if read(name) is not None else forced
        by_kind[f"cached_{modality}"] = shared
        own = min(total - shared, charged_in - taken)
        by_kind[f"{modality}_input"] = own
        taken, left_cached = taken + own, left_cached - shared
    reasoning = count("reasoning_output_tokens", charged_out)
    audio_out = count("audio_output_tokens", charged_out - reasoning)
    image_out = count("image_output_tokens", charged_out - reasoning - audio_out)
    return {
        "input": charged_in - taken,
        "output": charged_out - reasoning - audio_out - image_out,
        "cached": left_cached,
        "cache_write": written - written_long,
        "cache_write_long": written_long,
        "reasoning": reasoning,
        "audio_output": audio_out,
        "image_output": image_out,
        **{kind: max(0, read(name) or 0) for kind, name in _APART.items()},
        **by_kind,
    }


def tokens_usd(
    usd: Mapping[str, float | None], read: Callable[[str], int | None], inputs: int, outputs: int
) -> float | None:
    """US dollars of a call of *inputs* and *outputs* billed tokens; None where a kind that it has is without a price."""
    total = 0.0
    counts = quantities(read, inputs, outputs)
    for kind in KINDS:
        if counts[kind]:
            rate = usd[kind]
            if rate is None:
                return None
            total += rate * counts[kind]
    return None if _is_ambiguous(usd, read, counts) else total


def _is_ambiguous(
    usd: Mapping[str, float | None], read: Callable[[str], int | None], counts: Mapping[str, int]
) -> bool:
    """Whether more of a modality could have been read from the cache, at another price."""
    for modality, name in _MODALITIES:
        if read(name) is None and counts["cached"] and counts[f"{modality}_input"] and counts["input"]:
            rates = [usd[kind] for kind in (f"cached_{modality}", "input", "cached", f"{modality}_input")]
            if None in rates or rates[0] + rates[1] != rates[2] + rates[3]:  # type: ignore[operator]
                return True
    return False


def sql_stages(inputs: str, outputs: str, usd_request: str = "usd_request") -> list[dict[str, str]]:
    """Column to SQL, stage by stage (each may use the columns before it): the last has ``charged_usd``, NULL where unpriced.

    *inputs*, *outputs*: columns of the billed totals; rates are columns ``usd_KIND``, counts columns of their field names.
    """

    def count(name: str, most: str) -> str:
        return f"least(greatest(coalesce({name}, 0), 0), greatest({most}, 0))"

    i, o = f"coalesce({inputs}, 0)", f"coalesce({outputs}, 0)"
    stages = [
        {"n_all_cached": count("cached_input_tokens", i), "n_reasoning": count("reasoning_output_tokens", o)},
        {
            "n_written": count("cache_write_input_tokens", f"{i} - n_all_cached"),
            "n_audio_output": count("audio_output_tokens", f"{o} - n_reasoning"),
        },
        {
            "n_cache_write_long": count("cache_write_long_input_tokens", "n_written"),
            "n_image_output": count("image_output_tokens", f"{o} - n_reasoning - n_audio_output"),
        },
    ]
    taken, left_cached = "n_all_cached + n_written", "n_all_cached"
    for modality, name in _MODALITIES:
        total, shared, own = f"n_all_{modality}", f"n_cached_{modality}", f"n_{modality}_input"
        most = f"least({left_cached}, {total})"
        forced = f"least({most}, greatest({taken} + {total} - {i}, 0))"
        said = f"greatest({forced}, {count(name, most)})"
        stages.append({total: count(f"{modality}_input_tokens", i)})
        stages.append({shared: f"CASE WHEN {name} IS NULL THEN {forced} ELSE {said} END"})
        stages.append({own: f"least({total} - {shared}, {i} - ({taken}))"})
        taken, left_cached = f"{taken} + {own}", f"{left_cached} - {shared}"
    stages.append(
        {
            "n_input": f"{i} - ({taken})",
            "n_output": f"{o} - n_reasoning - n_audio_output - n_image_output",
            "n_cached": left_cached,
            "n_cache_write": "n_written - n_cache_write_long",
            **{f"n_{kind}": f"greatest(coalesce({name}, 0), 0)" for kind, name in _APART.items()},
        }
    )
    terms = " + ".join(f"CASE WHEN n_{kind} = 0 THEN 0 ELSE usd_{kind} * n_{kind} END" for kind in KINDS)
    unclear = " OR ".join(_ambiguous_sql(modality, name) for modality, name in _MODALITIES)
    stages.append({"charged_usd": f"CASE WHEN NOT ({unclear}) THEN {usd_request} + {terms} END"})
    return stages


def _ambiguous_sql(modality: str, name: str) -> str:
    several = f"{name} IS NULL AND n_cached > 0 AND n_{modality}_input > 0 AND n_input > 0"
    same = f"usd_cached_{modality} + usd_input = usd_cached + usd_{modality}_input"
    return f"({several} AND NOT coalesce({same}, false))"
