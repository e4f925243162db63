"""One model's calls on one stack: how they slow down in a batch, what they draw, and what their cost rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError, ProfileNotFoundError
from tracewrap.report.questions.rental import Use
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import batch_slowdown, prepare
from tracewrap.runtime.roofline.gpus import Gpu, get_gpu
from tracewrap.runtime.roofline.scaling import parallel_efficiency
from tracewrap.runtime.stack import Price, ReferenceStack


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one stack at the sizes of its calls: (input tokens, output tokens, calls)."""

    stack: ReferenceStack
    profile: RuntimeProfile
    at: Sequence[tuple[float, float, int]]

    @property
    def gpu(self) -> Gpu | None:
        """The stack's card; None where it is none of those known."""
        try:
            return get_gpu(self.stack.gpu)
        except ProfileNotFoundError:
            return None

    @property
    def n_gpus(self) -> int:
        """GPUs of one replica."""
        return self.profile.n_gpus or 1

    def power_share(self, batch: float) -> float | None:
        """Share of its power limit that a card draws with *batch* calls in flight; None: unknown."""
        watts = self.watts(batch)
        return None if watts is None or self.gpu is None else watts / (self.n_gpus * self.gpu.tdp_w)

    def watts(self, batch: float) -> float | None:
        """Watts of all its GPUs with *batch* calls in flight; None: unknown."""
        alone = self.stack.watts_for(self.profile)
        if alone is None:
            return None
        one = alone if self.gpu is None or batch <= 1.0 else self.gpu.watts(batch, alone)
        return one * self.n_gpus

    def efficiency(self) -> float | None:
        """Parallel efficiency of a call of mean size; None where the formula does not know model, card or software."""
        calls = sum(n for _, _, n in self.at)
        if not calls or not self.profile.provenance.startswith("analytic"):
            return None
        try:
            setup, _ = prepare(
                get_model(self.profile.model),
                get_gpu(self.stack.gpu),
                n_gpus=self.profile.n_gpus,
                stack=self.stack.id.partition(":")[2] or None,
            )
        except (ConfigurationError, ProfileNotFoundError):
            return None
        mean = [sum(each[i] * each[2] for each in self.at) / calls for i in (0, 1)]
        return parallel_efficiency(setup, mean[0], max(mean[1], 1.0))

    def slowdown(self, batch: float) -> tuple[float | None, str | None]:
        """(how much longer a call takes in a batch than alone, why that is unknown)."""
        total = sum(self.profile.runtime(p, o) * n for p, o, n in self.at)
        if not total:
            return None, "no comparable call"
        decode = sum(self.profile.decode_time(p, o) * n for p, o, n in self.at)
        steps = sum(max(o - 1, 0) * n for _, o, n in self.at)
        context = sum((p + o / 2) * max(o - 1, 0) * n for p, o, n in self.at) / steps if steps else 1.0
        try:
            longer = batch_slowdown(
                get_model(self.profile.model),
                get_gpu(self.stack.gpu),
                batch,
                context=context,
                n_gpus=self.profile.n_gpus,
                stack=self.stack.id.partition(":")[2] or None,
            )
        except (ConfigurationError, ProfileNotFoundError) as error:
            return None, str(error)
        return min(batch, max(1.0, batch * (1 - decode / total) + longer * decode / total)), None

    def vendors(self) -> tuple[Price, ...]:
        """What vendors ask for the card, the cheapest first."""
        return tuple(sorted(self.gpu.asked_prices if self.gpu else (), key=lambda each: each.usd_per_gpu_hour))

    def shared_factors(self, batch: float, utilisation: float) -> dict[tuple[str, str], tuple[float, float]]:
        """What an amortised cost is multiplied by at half and twice the batch and the busy share, by input and range."""
        half, twice = utilisation / 2, min(1.0, utilisation * 2)
        costs = {each: self.slowdown(each)[0] for each in (max(1.0, batch / 2), batch, batch * 2)}
        known = {each: longer / each for each, longer in costs.items() if longer is not None}
        few, most = min(known), max(known)
        return {
            ("busy share", f"{half:.0%} to {twice:.0%}"): (utilisation / half, utilisation / twice),
            ("batch", f"{few:g} to {most:g}"): (known[few] / known[batch], known[most] / known[batch]),
        }


def factors(runtime_s: tuple[float, float, float], use: Use) -> dict[tuple[str, str], tuple[float, float]]:
    """What any cost is multiplied by at the ends of the runtime's interval (value, low, high) and of what vendors ask."""
    runtime, low, high = runtime_s
    found: dict[tuple[str, str], tuple[float, float]] = {}
    if runtime > 0:
        found["runtime", "its 90% interval"] = low / runtime, high / runtime
    if use.usd_hour and use.vendors_usd_hour:
        cheapest, dearest = use.vendors_usd_hour
        found["price", "what vendors ask"] = cheapest / use.usd_hour, dearest / use.usd_hour
    return found
