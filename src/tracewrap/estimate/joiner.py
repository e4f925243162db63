"""join_call(call, catalog) -> JoinedCall: one pure function. Its SQL form lives in report; a test holds them equal.

Rules. Only generation calls (chat, text completion) have estimates. A failed, cancelled or queued call has none. A call whose token
counts are unknown has none. Estimates are of the last attempt. A denoised profile that has learned what cached prompt tokens take
uses it; a reference stack has no cache, so where the provider read the prompt from its cache the idealized runtime is an upper bound, the
joined call says ``prompt_cached``, and beside it stands what the same stack would take with a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.split import put_split, side_of, split_of
from tracewrap.prices.list_cost import Pricer
from tracewrap.records import Call, Estimate, JoinedCall, deployment_key
from tracewrap.runtime.cost import idealized_cost, idealized_energy
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack


class Facts(NamedTuple):
    """What the join needs to know of a call."""

    operation: str
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    deployment: str
    response_model: str | None
    request_model: str | None
    cached_input_tokens: int | None = None


class Estimates(NamedTuple):
    """What the join says of a call; ``status`` as ``JoinedCall.join_status``."""

    status: str
    denoised_runtime: Estimate | None = None
    idealized_runtime: Estimate | None = None
    idealized_cached_runtime: Estimate | None = None
    idealized_cost: Estimate | None = None
    idealized_energy: Estimate | None = None
    reference_stack: str | None = None
    admission_s: float | None = None


def join(calls: Iterable[Call], catalog: Catalog, pricer: Pricer | None = None) -> Iterator[JoinedCall]:
    """Each of *calls* beside its estimates, and beside its list cost where there is a *pricer* (``load_pricer``)."""
    return (join_call(call, catalog, pricer) for call in calls)


def join_call(call: Call, catalog: Catalog, pricer: Pricer | None = None) -> JoinedCall:
    """*call* beside its denoised and idealized estimates; ``join_status`` says why one is missing."""
    usage = call.usage
    facts = Facts(
        call.operation,
        call.outcome,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.output_tokens,
        call.deployment.key,
        call.response_model,
        call.request_model,
        None if usage is None else usage.cached_input_tokens,
    )
    found = estimate(facts, catalog)
    listed = None if pricer is None else pricer.cost(semconv.call_attributes(call), call.start_time_ns)
    joinable = found.denoised_runtime is not None or found.idealized_runtime is not None
    return JoinedCall(
        call=call,
        join_status=found.status,
        denoised_runtime=found.denoised_runtime,
        idealized_runtime=found.idealized_runtime,
        idealized_cached_runtime=found.idealized_cached_runtime,
        idealized_cost=found.idealized_cost,
        idealized_energy=found.idealized_energy,
        list_cost_usd=None if listed is None else listed.usd,
        reference_stack=found.reference_stack,
        admission_s=found.admission_s,
        prompt_cached=joinable and usage is not None and bool(usage.cached_input_tokens),
    )


def join_attributes(attributes: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Attributes that the join adds to a span with *attributes* as tracewrap writes them: ``join_call`` without the records between."""
    read = attributes.get
    input_tokens = read(semconv.PROCESSED_INPUT, read(semconv.INPUT_TOKENS))
    output_tokens = read(semconv.PROCESSED_OUTPUT, read(semconv.OUTPUT_TOKENS))
    response_model, request_model = read(semconv.RESPONSE_MODEL), read(semconv.REQUEST_MODEL)
    operation = attributes[semconv.OPERATION]
    key = deployment_key(
        attributes[semconv.PROVIDER],
        read(semconv.SERVER_ADDRESS),
        read(semconv.SERVER_PORT),
        response_model or request_model,
        operation,
        semconv.REQUEST_STREAM in attributes,
        read(semconv.SERVICE_TIER, read(semconv.OPENAI_SERVICE_TIER)),
        read(semconv.SPEED),
        read(semconv.REGION),
    )
    outcome, cached = read(semconv.OUTCOME, "complete"), read(semconv.CACHE_READ)
    facts = Facts(operation, outcome, input_tokens, output_tokens, key, response_model, request_model, cached)
    found = estimate(facts, catalog)
    raw_s, retry_s = read(semconv.RUNTIME_RAW), read(semconv.RETRY, 0.0)
    attempt_s = None if raw_s is None else max(0.0, raw_s - retry_s)
    added = semconv.estimate_attributes(found, attempt_s, bool(cached))
    if raw_s is None:
        return added
    quiet = None if found.denoised_runtime is None else found.denoised_runtime.value
    side = side_of(attributes)
    put_split(added, split_of(raw_s, retry_s, read(semconv.CONSUMER, 0.0), quiet, found.admission_s, side))
    return added


def estimate(facts: Facts, catalog: Catalog) -> Estimates:
    """Denoised and idealized estimates of a call with these *facts*."""
    if facts.operation not in semconv.GENERATION_OPERATIONS:
        return Estimates("not_generation")
    if facts.outcome not in ("complete", "partial"):
        return Estimates("failed")
    p, o = facts.input_tokens, facts.output_tokens
    if p is None or o is None:
        return Estimates("no_usage")
    profile = catalog.denoised.get(facts.deployment)
    c = facts.cached_input_tokens or 0
    denoised = None if profile is None else profile.estimate(p, o, c)
    status = [] if denoised is not None else ["no_denoised_profile"]
    if denoised is not None and denoised.verdict is not None and denoised.verdict != "ok":
        status.append(f"denoised_{denoised.verdict}")
    found = None
    for model in (facts.response_model, facts.request_model):
        if found is None and model is not None:
            found = catalog.idealized(model)
    runtime = cached = cost = energy = None
    if found is None:
        known = facts.response_model or facts.request_model
        status.append("no_idealized_profile" if known else "unknown_model")
    else:
        runtime = found[1].estimate(p, o)
        cached = found[1].cached_estimate(p, o, min(c, p), runtime) if c else None
        cost, energy = cost_and_energy(runtime, *found)
    if facts.outcome == "partial":
        status.append("partial")
    stack = None if found is None else found[0].id
    admission = profile.overhead_s if profile is not None and profile.overhead_s > 0 else None
    return Estimates(",".join(status) or "ok", denoised, runtime, cached, cost, energy, stack, admission)


def cost_and_energy(
    runtime: Estimate, stack: ReferenceStack, profile: RuntimeProfile
) -> tuple[Estimate | None, Estimate | None]:
    """US dollars and joules of *runtime* on *stack*, batch 1; None where its price or power is unknown."""
    price, n_gpus, watts = stack.price, profile.n_gpus or 1, stack.watts_for(profile)
    cost = None if price is None else idealized_cost(runtime, n_gpus, price.usd_per_gpu_hour)
    energy = None if watts is None else idealized_energy(runtime, n_gpus, watts)
    return cost, energy
