"""join_call(call, catalog) -> JoinedCall: one pure function. Its SQL form lives in report; a test holds them equal.

Rules. Only generation calls (chat, text completion) have estimates. A failed, cancelled or queued call has none. A call whose token
counts are unknown has none. Estimates are of the last attempt, without prompt caching: where the provider read the prompt
from its cache they are upper bounds, and the joined call says ``prompt_cached``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracewrap import semconv
from tracewrap.join.catalog import Catalog, Idealized
from tracewrap.records import Call, Estimate, JoinedCall
from tracewrap.runtime.cost import idealized_cost, idealized_energy
from tracewrap.runtime.stack import ReferenceStack


def join(calls: Iterable[Call], catalog: Catalog) -> Iterator[JoinedCall]:
    """Each of *calls* beside its estimates."""
    return (join_call(call, catalog) for call in calls)


def join_call(call: Call, catalog: Catalog) -> JoinedCall:
    """*call* beside its denoised and idealized estimates; ``join_status`` says why one is missing."""
    missing = _not_joinable(call)
    if missing is not None:
        return JoinedCall(call=call, join_status=missing)
    usage = call.usage
    assert usage is not None
    p, o = usage.input_tokens or 0, usage.output_tokens or 0
    status = []
    profile = catalog.denoised_for(call.deployment)
    denoised = None if profile is None else profile.estimate(p, o)
    if denoised is None:
        status.append("no_denoised_profile")
    found = _idealized(call, catalog)
    stack, runtime, cost, energy = None, None, None, None
    if found is None:
        status.append("no_idealized_profile" if call.model else "unknown_model")
    else:
        stack, ideal = found
        runtime = ideal.estimate(p, o)
        cost, energy = cost_and_energy(runtime, stack, ideal.n_gpus or 1)
    if call.outcome == "partial":
        status.append("partial")
    return JoinedCall(
        call=call,
        join_status=",".join(status) or "ok",
        denoised_runtime=denoised,
        idealized_runtime=runtime,
        idealized_cost=cost,
        idealized_energy=energy,
        reference_stack=None if stack is None else stack.id,
        prompt_cached=bool(usage.cached_input_tokens),
    )


def _not_joinable(call: Call) -> str | None:
    """The status of a call that can have no estimate at all."""
    if call.operation not in semconv.GENERATION_OPERATIONS:
        return "not_generation"
    if call.outcome not in ("complete", "partial"):
        return "failed"
    usage = call.usage
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return "no_usage"
    return None


def _idealized(call: Call, catalog: Catalog) -> Idealized | None:
    """By the model that answered, else by the model asked for."""
    for model in dict.fromkeys((call.response_model, call.request_model)):
        if model is not None and (found := catalog.idealized(model)) is not None:
            return found
    return None


def cost_and_energy(runtime: Estimate, stack: ReferenceStack, n_gpus: int) -> tuple[Estimate | None, Estimate | None]:
    """US dollars and joules of *runtime* on *stack*, batch 1; None where its price or power is unknown."""
    price = stack.price
    cost = None if price is None else idealized_cost(runtime, n_gpus, price.usd_per_gpu_hour)
    energy = None if stack.watts is None else idealized_energy(runtime, n_gpus, stack.watts)
    return cost, energy
