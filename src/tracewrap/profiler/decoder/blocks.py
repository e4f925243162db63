"""The parts of a decoder layer: linear map, norm, feed-forward block, mixture of experts, rotary positions.

Batch 1 throughout: activations are (tokens, width). Nothing here waits for the device unless it says so, so that a decode
step can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.decoder.blueprint import Rope

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""Type of activations, embedding and output layer by precision; fp8 is the layers' linear maps alone."""

_FP8_MAX = 448.0


@dataclass(slots=True)
class Linear:
    """x W^T + b. With ``scale`` the weight is 8-bit floating point and x is quantized on the way in, one scale a tensor."""

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.scale is None:
            return F.linear(x, self.weight, self.bias)
        x_scale = (x.abs().amax().float() / _FP8_MAX).clamp(min=1e-12)
        x8 = (x / x_scale.to(x.dtype)).to(torch.float8_e4m3fn)
        return torch._scaled_mm(
            x8, self.weight.t(), scale_a=x_scale, scale_b=self.scale, bias=self.bias, out_dtype=x.dtype
        )

    def quantized(self) -> Linear:
        """The same map with its weight in 8 bits."""
        scale = (self.weight.abs().amax().float() / _FP8_MAX).clamp(min=1e-12)
        return Linear((self.weight / scale.to(self.weight.dtype)).to(torch.float8_e4m3fn), self.bias, scale)


@dataclass(slots=True)
class Norm:
    """RMSNorm, or LayerNorm when ``centred``, over the last dimension."""

    weight: Tensor
    bias: Tensor | None
    eps: float
    centred: bool

    def __call__(self, x: Tensor) -> Tensor:
        if self.centred:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def activate(x: Tensor, kind: str) -> Tensor:
    """SiLU, GELU, or GELU in its tanh form."""
    if kind == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


@dataclass(slots=True)
class FeedForward:
    """Feed-forward block; gated, ``up`` holds gate and up projection in one matrix."""

    up: Linear
    down: Linear
    gated: bool
    activation: str

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(gate(self.up(x), self.gated, self.activation))


def gate(x: Tensor, gated: bool, activation: str) -> Tensor:
    """Activation, times the second half when *gated*."""
    if not gated:
        return activate(x, activation)
    first, second = x.chunk(2, dim=-1)
    return activate(first, activation) * second


@dataclass(slots=True)
class Experts:
    """Mixture of experts: softmax over all, the best ``active``, an optional shared expert with an optional gate.

    ``up`` (experts, 2*width, hidden), ``down`` (experts, hidden, width). ``method``: how chosen experts are read:
    ``grouped`` (one grouped matrix product, no wait for the device), ``gathered`` (chosen weights copied; no wait, but
    reads them twice) or ``looped`` (one expert after another; waits to learn which).
    """

    router: Linear
    up: Tensor
    down: Tensor
    active: int
    normalize: bool
    activation: str
    shared: FeedForward | None = None
    shared_gate: Linear | None = None
    method: str = "looped"

    def __call__(self, x: Tensor) -> Tensor:
        chances = F.softmax(self.router(x).float(), dim=-1)
        weights, chosen = chances.topk(self.active, dim=-1)
        if self.normalize:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        out = _READ[self.method](self, x, chosen, weights.to(x.dtype))
        if self.shared is not None:
            extra = self.shared(x)
            out = out + (extra if self.shared_gate is None else torch.sigmoid(self.shared_gate(x)) * extra)
        return out

    def _looped(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for expert in sorted(set(chosen.flatten().tolist())):
            rows, slots = torch.where(chosen == expert)
            h = gate(F.linear(x[rows], self.up[expert]), True, self.activation)
            out.index_add_(0, rows, F.linear(h, self.down[expert]) * weights[rows, slots, None])
        return out

    def _gathered(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        if len(x) > 1:
            return self._looped(x, chosen, weights)
        h = gate(torch.matmul(self.up[chosen[0]], x[0]), True, self.activation)
        each = torch.bmm(self.down[chosen[0]], h[:, :, None])[:, :, 0]
        return (weights @ each).reshape(1, -1)

    def _grouped(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        flat = chosen.flatten()
        order = flat.argsort()
        counts = torch.zeros(len(self.up), dtype=torch.int32, device=x.device)
        counts.index_add_(0, flat, torch.ones_like(flat, dtype=torch.int32))
        ends = counts.cumsum(0, dtype=torch.int32)
        rows = order // self.active
        h = F.grouped_mm(x[rows], self.up.transpose(1, 2), offs=ends)
        each = F.grouped_mm(gate(h, True, self.activation), self.down.transpose(1, 2), offs=ends)
        each = each * weights.flatten()[order, None]
        return torch.zeros_like(x).index_add_(0, rows, each)


_READ = {"grouped": Experts._grouped, "gathered": Experts._gathered, "looped": Experts._looped}
"""``Experts.method`` -> how the chosen experts are read."""


def grouped_product_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch multiplies groups of rows by their own matrices on *device* without waiting for it.

    The kernels are written for compute capabilities 9.0 and 10.0; elsewhere torch loops on the host, which capture forbids.
    """
    if not hasattr(F, "grouped_mm") or device.type != "cuda" or dtype != torch.bfloat16:
        return False
    if torch.cuda.get_device_capability(device) not in ((9, 0), (10, 0)):
        return False
    try:
        x = torch.ones(4, 64, device=device, dtype=dtype)
        ends = torch.tensor([1, 4], device=device, dtype=torch.int32)
        F.grouped_mm(x, torch.ones(2, 64, 64, device=device, dtype=dtype), offs=ends)
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigurationError when *device* has no arithmetic for *precision*."""
    if precision not in DTYPES:
        raise ConfigurationError(f"precision is {precision!r}, must be one of {', '.join(DTYPES)}")
    if precision != "fp8":
        return
    try:
        Linear(torch.ones(32, 32, device=device, dtype=torch.bfloat16)).quantized()(
            torch.ones(1, 32, device=device, dtype=torch.bfloat16)
        )
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"precision fp8: this device or torch has no 8-bit product ({reason})") from None


class RotaryTable:
    """Cosines and signed sines for positions 0..tokens-1, shape (tokens, dim) each, in float32.

    A pair (a, b) turns into (a cos - b sin, b cos + a sin): each element times its cosine plus its partner times a signed sine.
    """

    def __init__(self, rope: Rope, tokens: int, device: torch.device) -> None:
        frequencies, factor = _frequencies(rope)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float32), frequencies)
        cos, sin = angles.cos() * factor, angles.sin() * factor
        self.dim = rope.dim
        self.interleaved = rope.interleaved
        if rope.interleaved:
            self.cos = cos.repeat_interleave(2, dim=1).to(device)
            self.sin = torch.stack((-sin, sin), dim=2).flatten(1).to(device)
        else:
            self.cos = torch.cat((cos, cos), dim=1).to(device)
            self.sin = torch.cat((-sin, sin), dim=1).to(device)

    def at(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(cos, signed sin) for *positions*, shaped (tokens, 1, dim) to spread over heads."""
        return self.cos[positions][:, None].to(dtype), self.sin[positions][:, None].to(dtype)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """*x* (tokens, heads, head size) with its first ``dim`` dimensions turned."""
        part = x[..., : self.dim]
        partner = part.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if self.interleaved else part.roll(self.dim // 2, -1)
        turned = torch.addcmul(part * cos, partner, sin)
        return turned if self.dim == x.shape[-1] else torch.cat((turned, x[..., self.dim :]), dim=-1)


def _frequencies(rope: Rope) -> tuple[Tensor, float]:
    """Angles per position of each pair, and the factor on cosine and sine.

    Scalings: linear (Chen et al., arXiv 2306.15595), YaRN (Peng et al., arXiv 2309.00071, sections 3.2 to 3.4) and the
    wavelength-dependent one of Llama 3.1.
    """
    exponents = torch.arange(0, rope.dim, 2, dtype=torch.float64) / rope.dim
    base = rope.theta**-exponents
    s: Any = rope.scaling
    kind = s.get("rope_type", s.get("type")) if s else None
    if kind == "linear":
        return (base / float(s["factor"])).float(), 1.0
    if kind == "llama3":
        original, low, high = s["original_max_position_embeddings"], s["low_freq_factor"], s["high_freq_factor"]
        turns = original * base / (2 * math.pi)
        share = ((turns - low) / (high - low)).clamp(0.0, 1.0)
        return (base * share + base / float(s["factor"]) * (1 - share)).float(), 1.0
    if kind == "yarn":
        return _yarn(rope, base, s)
    return base.float(), 1.0


def _yarn(rope: Rope, base: Tensor, s: Any) -> tuple[Tensor, float]:
    original = s.get("original_max_position_embeddings") or s["context"]
    factor = float(s["factor"])

    def dimension(turns: float) -> float:
        return rope.dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low = max(math.floor(dimension(float(s.get("beta_fast") or 32))), 0)
    high = min(math.ceil(dimension(float(s.get("beta_slow") or 1))), rope.dim - 1)
    ramp = ((torch.arange(len(base), dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    scale = s.get("attention_factor") or (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return (base * (1 - ramp) + base / factor * ramp).float(), float(scale)
