"""Price and power ranges: how far a cost or an energy depends on whom one asks."""

from __future__ import annotations

from pathlib import Path

from tracewrap.runtime.roofline.estimating import estimate_by_name
from tracewrap.runtime.roofline.gpus import DEFAULT_POWER_FRACTION, Gpu, load_gpus
from tracewrap.study.mixes import MIXES
from tracewrap.study.questions.answer import Answer, Row, median
from tracewrap.study.suite import over_mix

QUESTION = "How wide are the ranges of price and power, and what do they do to a cost?"
MODEL = "meta-llama/Llama-3.3-70B-Instruct"
MEASURED_SHARES = (0.52, 0.59)
"""Shares of the power limit that A100 and H100 were measured to draw for one request."""
PUE = (1.05, 1.5)
"""Power usage effectiveness: the best and an ordinary building."""


def answer(data: Path | None) -> Answer:
    """Of each card with two prices at least: what vendors ask, what it draws, and a chat call's cost and energy."""
    rows = [row for gpu in load_gpus().values() if len(gpu.asked_prices) > 1 and (row := _row(gpu)) is not None]
    rows.sort(key=lambda r: -float(r["price_ratio"]))
    prices, models = median([r["price_ratio"] for r in rows]), median([r["runtime_ratio"] for r in rows])
    powers = median([r["power_ratio"] for r in rows])
    widest = rows[0]
    return Answer(
        QUESTION,
        f"Prices on demand seen since 2025, as the GPU table has them with source and date. A chat call of {MODEL.split('/')[1]} on the "
        f"fewest cards that hold it, "
        "vLLM. Power: 52 to 59% of the limit for one request where it was measured, in a building of PUE 1.05 to 1.5. Ratios are "
        "largest over smallest.",
        "gpu=card;vendors=prices|#;low=from $/h|2f;high=to $/h|2f;price_ratio=price|x2;power_ratio=power|x2;runtime_ratio=runtime, 90%|x2;"
        "cents_low=cents a call, from|3;cents_high=to|3;joules_low=joules, from|3;joules_high=to|3",
        rows,
        [
            f"At the median over cards prices differ by {prices:.1f}x, power with its building by {powers:.1f}x, and the runtime's own "
            f"90% interval by "
            f"{models:.1f}x. {widest['gpu']} has the widest price range, {widest['price_ratio']:.1f}x.",
            f"Where no one measured power, {DEFAULT_POWER_FRACTION:.0%} of the limit is taken; energies of cards are then ordered by "
            f"their data sheets.",
        ],
        "State whose price and whose building: a cost without its vendor and date is good to a factor of two or three, whatever the "
        "profile.",
        "the project's GPU table (prices with source and date) and analytic profiles",
    )


def _row(gpu: Gpu) -> Row | None:
    from tracewrap.errors import TracewrapError

    try:
        profile = estimate_by_name(MODEL, f"{gpu.id}:vllm")
    except TracewrapError:
        return None
    runtime = over_mix(MIXES["chat"], lambda s: profile.estimate(s.input_tokens, s.output_tokens))
    asked = sorted(price.usd_per_gpu_hour for price in gpu.asked_prices)
    n = profile.n_gpus or 1
    share = gpu.power_fraction or DEFAULT_POWER_FRACTION
    shares = MEASURED_SHARES if MEASURED_SHARES[0] <= share <= MEASURED_SHARES[1] else (share * 0.95, share * 1.05)
    watts = [gpu.tdp_w * s * pue for s, pue in zip(shares, PUE, strict=True)]
    row: Row = {
        "gpu": gpu.id,
        "vendors": len(asked),
        "low": asked[0],
        "high": asked[-1],
        "price_ratio": asked[-1] / asked[0],
    }
    row |= {"power_ratio": watts[1] / watts[0], "runtime_ratio": runtime.high / runtime.low}
    row |= {"cents_low": runtime.low * n * asked[0] / 36, "cents_high": runtime.high * n * asked[-1] / 36}
    return row | {"joules_low": runtime.low * n * watts[0], "joules_high": runtime.high * n * watts[1]}
