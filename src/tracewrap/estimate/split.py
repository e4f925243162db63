"""Us, the network or the provider? The raw runtime of a call, split into what each party added.

    raw = retries + client + network + admission + model + contention + unexplained

``retries``: before the last attempt began. ``client``: waiting for a pooled connection, the SDK's own work, and ``lag``,
the time by which a blocked event loop or starved threads fetched the answer late. ``network``: connecting, TLS, sending.
``admission`` and ``model``: the denoised runtime. ``contention``: what the last attempt took longer and nothing on our
side explains; negative when faster than on a quiet day. ``unexplained``: the part of it that the provider's own timing
header denies, or that nobody measured.
``consumer`` is what the program itself held the stream: it is no part of raw and stands beside it.

The quiet day contains the usual time of the client and the network already. So their measured seconds explain the excess over the
quiet day first, and what they are beyond it is taken out of its constant; the parts add up to raw in every case. Without a quiet
day only what was measured is known: retries, pool, SDK, network.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, NamedTuple

from tracewrap import semconv
from tracewrap.records import JoinedCall

Verdict = Literal["us", "network", "provider", "model", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("us", "network", "provider", "model", "unknown")

US_SHARE = 0.5
"""The program held the stream for longer than this share of everything: it is us."""
SLOW_SHARE = 1.0 / 3.0
"""A call that lost more than this share of raw was slow, and whoever lost most of it made it so."""
LAG_WITHOUT_QUIET = 0.5
"""Without a quiet day, what a block can have cost counts half: answers arrive anywhere within it."""


class Side(NamedTuple):
    """What was measured on our side of the wire, in seconds. ``known``: it was measured at all."""

    pool_s: float = 0.0
    sdk_s: float = 0.0
    network_s: float = 0.0
    lag_s: float = 0.0
    """An upper bound: what blocks can have cost."""
    lag_kind: str = "event_loop"
    transit_s: float | None = None
    """Of the wait for the answer's head, what the provider denies."""
    server_s: float | None = None
    """What the provider says it took, of a call that is not streamed."""
    known: bool = False


class Split(NamedTuple):
    """Seconds of each part; None where nothing is known of it. A named tuple: one is made for every span joined."""

    raw_s: float
    retries_s: float
    consumer_s: float
    pool_s: float = 0.0
    sdk_s: float = 0.0
    lag_s: float = 0.0
    network_s: float = 0.0
    admission_s: float | None = None
    model_s: float | None = None
    contention_s: float | None = None
    unexplained_s: float | None = None
    verdict: Verdict = "unknown"
    kind: str | None = None
    """What of ours it was: pool, sdk, event_loop, threads, consumer; None where the verdict is not ``us``."""

    @property
    def client_s(self) -> float:
        """All of ours inside raw."""
        return self.pool_s + self.sdk_s + self.lag_s


NOTHING = Side()


def split_of(
    raw_s: float,
    retry_s: float,
    consumer_s: float,
    quiet_s: float | None,
    admission_s: float | None,
    side: Side = NOTHING,
) -> Split:
    """The parts of *raw_s*. *quiet_s*: the denoised runtime, *admission_s* the constant inside it, where known; all in seconds."""
    retries_s = min(retry_s, raw_s)
    if quiet_s is None:
        return _without_quiet(raw_s, retries_s, consumer_s, side)
    excess_s = raw_s - retries_s - quiet_s
    left_s = max(0.0, excess_s)
    pool_s = min(side.pool_s, left_s)
    network_s = min(side.network_s, left_s - pool_s)
    sdk_s = min(side.sdk_s, left_s - pool_s - network_s)
    lag_s = min(side.lag_s, left_s - pool_s - network_s - sdk_s)
    left_s -= pool_s + network_s + sdk_s + lag_s
    inside_s = (
        side.pool_s + side.network_s + side.sdk_s - pool_s - network_s - sdk_s
    )  # the usual, part of the quiet day
    contention_s = _provider_s(left_s, quiet_s, admission_s or 0.0, side)
    verdict, kind = _verdict(
        raw_s,
        consumer_s,
        side.lag_kind,
        (pool_s, sdk_s, lag_s),
        network_s,
        retries_s + contention_s,
        left_s - contention_s,
    )
    known_admission_s = None if admission_s is None else max(0.0, admission_s - inside_s)
    return Split(
        raw_s,
        retries_s,
        consumer_s,
        side.pool_s,
        side.sdk_s,
        lag_s,
        side.network_s,
        known_admission_s,
        quiet_s - inside_s - (known_admission_s or 0.0),
        excess_s if excess_s < 0.0 else contention_s,
        left_s - contention_s,
        verdict,
        kind,
    )


def _provider_s(left_s: float, quiet_s: float, admission_s: float, side: Side) -> float:
    """How much of what nothing on our side explains is the provider's: all of it where our side was measured, less what it denies."""
    if side.transit_s is not None:
        return left_s - min(left_s, max(0.0, side.transit_s - admission_s))
    if side.server_s is not None:
        return min(left_s, max(0.0, side.server_s - (quiet_s - admission_s)))
    return left_s if side.known else 0.0


def _without_quiet(raw_s: float, retries_s: float, consumer_s: float, side: Side) -> Split:
    lag_s = LAG_WITHOUT_QUIET * side.lag_s
    ours_s = side.pool_s + side.sdk_s + lag_s
    rest_s = max(0.0, raw_s - retries_s - ours_s - side.network_s)
    verdict: Verdict = "unknown"
    kind = None
    if consumer_s > US_SHARE * (raw_s + consumer_s):
        verdict, kind = "us", "consumer"
    elif ours_s > US_SHARE * raw_s:
        verdict, kind = "us", _largest(side.lag_kind, (side.pool_s, side.sdk_s, lag_s))
    elif side.network_s > US_SHARE * raw_s:
        verdict = "network"
    elif raw_s > 0.0 and retries_s > SLOW_SHARE * raw_s:
        verdict = "provider"
    parts = (side.pool_s, side.sdk_s, lag_s, side.network_s)
    return Split(raw_s, retries_s, consumer_s, *parts, unexplained_s=rest_s, verdict=verdict, kind=kind)


def _verdict(
    raw_s: float,
    consumer_s: float,
    lag_kind: str,
    ours: tuple[float, float, float],
    network_s: float,
    provider_s: float,
    unexplained_s: float,
) -> tuple[Verdict, str | None]:
    """Who made a call with a quiet day slow, and what of ours it was. *ours*: pool, SDK and lag beyond the usual."""
    if consumer_s > US_SHARE * (raw_s + consumer_s):
        return "us", "consumer"
    ours_s = ours[0] + ours[1] + ours[2]
    if raw_s <= 0.0 or ours_s + network_s + provider_s + unexplained_s <= SLOW_SHARE * raw_s:
        return "model", None
    most = max(ours_s, network_s, provider_s, unexplained_s)
    if most == ours_s:
        return "us", _largest(lag_kind, ours)
    if most == network_s:
        return "network", None
    return ("provider", None) if most == provider_s else ("unknown", None)


def _largest(lag_kind: str, ours: tuple[float, float, float]) -> str:
    return ("pool", "sdk", lag_kind)[ours.index(max(ours))]


def split(joined: JoinedCall) -> Split | None:
    """The parts of *joined*'s raw runtime; None when it has none."""
    call, denoised = joined.call, joined.denoised_runtime
    if call.raw_runtime_s is None:
        return None
    quiet = None if denoised is None else denoised.value
    side = Side(
        call.client_pool_s or 0.0,
        call.client_sdk_s or 0.0,
        call.network_s or 0.0,
        call.client_lag_s or 0.0,
        call.client_lag_kind or "event_loop",
        call.network_transit_s,
        None if call.stream else call.server_processing_s,
        call.network_s is not None,
    )
    return split_of(call.raw_runtime_s, call.retry_s, call.consumer_s or 0.0, quiet, joined.admission_s, side)


def side_of(attributes: Mapping[str, Any]) -> Side:
    """What span *attributes* say of our side of the wire."""
    read = attributes.get
    network_s = read(semconv.NETWORK)
    server_s = None if semconv.REQUEST_STREAM in attributes else read(semconv.SERVER_PROCESSING)
    if network_s is None:
        transit_s = read(semconv.NETWORK_TRANSIT)
        return NOTHING if server_s is None and transit_s is None else Side(transit_s=transit_s, server_s=server_s)
    return Side(
        read(semconv.CLIENT_POOL, 0.0),
        read(semconv.CLIENT_SDK, 0.0),
        network_s,
        read(semconv.CLIENT_LAG, 0.0),
        read(semconv.CLIENT_LAG_KIND, "event_loop"),
        read(semconv.NETWORK_TRANSIT),
        server_s,
        True,
    )


def put_split(attributes: MutableMapping[str, Any], parts: Split | None) -> None:
    """Write what span *attributes* do not say yet: the parts that need the quiet day, and the verdict where there is one."""
    if parts is None:
        return
    if parts.model_s is not None:
        attributes[semconv.SPLIT_MODEL] = parts.model_s
        if parts.admission_s is not None:
            attributes[semconv.SPLIT_ADMISSION] = parts.admission_s
        attributes[semconv.SPLIT_CONTENTION] = parts.contention_s
    if parts.unexplained_s:
        attributes[semconv.SPLIT_UNEXPLAINED] = parts.unexplained_s
    if parts.lag_s:
        attributes[semconv.SPLIT_LAG] = parts.lag_s
    if parts.verdict != "unknown":
        attributes[semconv.SPLIT_VERDICT] = parts.verdict
        if parts.kind is not None:
            attributes[semconv.SPLIT_KIND] = parts.kind
