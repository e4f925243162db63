"""Where the time goes when a decoder runs on GPUs: the terms of the analytic profile.

One decode step at context c, batch b, tensor parallel over n GPUs (extended roofline; Williams et al., CACM 2009, for the
bound itself, the overhead terms are fitted):

    step(c, b)  = W(b)/(n B) + KV(c) b/(n' B_kv) + L c b t_scan + L t_layer + L_moe t_moe + t_step + [n>1] 2 L t_ar
    prefill(p)  = F(p)/(n P e_f) + A(p)/(n P e_a) + W(p)/(n B) + L t_layer + L_moe t_moe + t_first + 2 L (t_ar + bytes/link)

    W(b)    bytes of weights read: shared layers, output layer, E(1-(1-k/E)^b) experts a layer; not the embedding table
    B       bandwidth reached: peak * efficiency, capped by what the GPU's multiprocessors can pull together
    n'      n, but a KV head is not split: min(n, kv_heads); a latent cache (MLA) is read whole by every GPU
    t_scan  serial part of attention, per layer and context token: a head is scanned by few multiprocessors
    F, A    operations of the matrix products (2 per active weight and token) and of attention over p tokens

Launched eagerly (no captured graph) the host may be slower than the device: the step takes the larger of L * launch and
the sum above, softened because a device that is nearly idle still waits at times. Everything in seconds and bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.gpus import Gpu

Terms = dict[str, float]
"""Coefficients of the constants in the time of one pass: bytes, seconds at peak rate, counts."""

REFERENCE_CLOCK_HZ = 1.98e9
"""Clock at which the times per layer and per context token are stated: an H100's."""
NARROW_GAIN = 1.13
"""Prompt speed of fp8 over 16 bits: Qwen3-8B, 128 to 2048 tokens, H100, vLLM 0.30 (silybench-data, CC BY 4.0, 2026-09-24)."""
MLA_KERNELS = 2.0
"""Small kernels of a layer with multi-head latent attention over those of a plain one: five projections, two more norms and
two absorptions beside the attention itself. Counted, not fitted: no data here has such a model."""
HALF = 2.0  # bytes of a 16-bit value: activations, KV cache, output layer of quantized models


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Fitted constants of a software stack (see the module's formula). Times in seconds, efficiencies in (0, 1].

    ``layer_s``, ``moe_layer_s`` and ``scan_s`` are device latencies, stated at the clock of an H100.

    ``sm_bytes_s``: bytes per second one multiprocessor pulls from memory in a matrix-vector product.
    ``vocab_s``: seconds per vocabulary entry of making and sampling the logits, beyond reading the output layer.
    ``scan_s``: seconds per layer and context token, serial. ``launch_s``: host seconds per layer, 0 with captured graphs.
    ``tile``, ``tile_fraction``: prompt lengths are padded to a multiple of ``tile`` in that share of prefill.
    ``pipeline``: several GPUs hold consecutive layers instead of slices of each.
    """

    bandwidth_efficiency: float
    sm_bytes_s: float
    flop_efficiency: float
    attention_efficiency: float
    layer_s: float
    step_s: float
    first_s: float
    all_reduce_s: float
    kv_efficiency: float
    scan_s: float
    moe_layer_s: float
    vocab_s: float = 0.0
    expert_efficiency: float = 1.0
    quantized_efficiency: float = 1.0
    quantized_flop_efficiency: float = 1.0
    quantized_layer_s: float = 0.0
    launch_s: float = 0.0
    tile: int = 1
    tile_fraction: float = 0.0
    pipeline: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run: model, GPU, tensor-parallel width, pipeline stages, weight precision, constants."""

    model: Architecture
    gpu: Gpu
    width: int
    stages: int
    precision: str
    constants: Constants

    @property
    def n_gpus(self) -> int:
        """GPUs in all."""
        return self.width * self.stages


def layer_bytes(precision: str) -> float:
    """Bytes of one weight of the layers; a format for experts alone (mxfp4) leaves the rest at 16 bits."""
    return HALF if precision == "mxfp4" else BYTES_PER_VALUE[precision]


def head_bytes(precision: str) -> float:
    """Bytes of one weight of embedding and output layer, which quantized formats leave at 16 bits."""
    return max(HALF, BYTES_PER_VALUE[precision])


def weight_bytes(model: Architecture, precision: str) -> float:
    """Bytes of all weights."""
    experts = model.moe_layers * model.experts * model.expert_parameters
    tables = model.head_parameters * (1 if model.tied else 2)
    rest = model.shared_layer_parameters * layer_bytes(precision)
    return rest + experts * BYTES_PER_VALUE[precision] + tables * head_bytes(precision)


def kv_bytes(model: Architecture, context: float) -> float:
    """Bytes of keys and values read at *context* tokens (16-bit cache)."""
    return model.kv_token_layers(context) * model.kv_values_per_layer * HALF


def decode_terms(s: Setup, context: float, batch: float = 1.0) -> Terms:
    """What one decode step asks of the hardware: *batch* sequences of *context* tokens get one more token each."""
    m = s.model
    split = 1 if m.attention == "mla" else min(s.width, m.kv_heads)
    terms = _pass_terms(s, batch)
    terms["kv"] = kv_bytes(m, context) * batch / (split * s.gpu.bandwidth_bytes_s)
    terms["scan"] = m.kv_token_layers(context) * batch * _slowness(s.gpu)
    return terms


def prefill_terms(s: Setup, prompt: float) -> Terms:
    """What encoding *prompt* tokens (batch 1) and giving the first output token asks of the hardware."""
    m = s.model
    terms = _pass_terms(s, prompt)
    layers = m.active_parameters - m.head_parameters
    key = "narrow_flops" if BYTES_PER_VALUE[s.precision] < HALF else "flops"
    terms[key] = 2.0 * (prompt * layers + m.head_parameters) / (_compute_flops(s) * s.width)
    terms["attention"] = attention_flops(m, prompt) / (s.gpu.peak_flops("bf16") * s.width)
    terms["first"] = 1.0
    if s.width > 1:
        sent = 2 * m.layers * prompt * m.hidden * HALF * 2 * (s.width - 1) / s.width
        terms["given"] = sent / s.gpu.link_bytes_s
    return terms


def _compute_flops(s: Setup) -> float:
    """Operations per second at peak of one GPU for the matrix products of a prompt.

    Weights alone in 8 or 4 bits are widened and computed in 16 bits. Where activations are narrow too (fp8 on a GPU that
    has it) converting them eats most of the doubled peak.
    """
    wide = s.gpu.peak_flops("bf16")
    narrow = s.precision in ("fp8", "nvfp4", "mxfp4") and s.gpu.flops.get("fp8", 0.0) > wide
    return wide * (NARROW_GAIN if narrow else 1.0)


def _pass_terms(s: Setup, tokens: float) -> Terms:
    """Weights that *tokens* tokens of one pass use, and what depends on neither tokens nor bytes."""
    m = s.model
    quantized = BYTES_PER_VALUE[s.precision] < HALF
    shared = m.shared_layer_parameters * layer_bytes(s.precision)
    experts = m.moe_layers * m.experts_read(tokens) * m.expert_parameters * BYTES_PER_VALUE[s.precision]
    head = m.head_parameters * head_bytes(s.precision)
    wide = head if quantized and s.precision != "mxfp4" else head + shared
    narrow = shared + head - wide
    slowness = _slowness(s.gpu)
    slow = 3.0 if s.gpu.link == "pcie" else 1.0  # an all-reduce through the host takes about three times as long
    return {
        "wide": wide / s.width,
        "narrow": narrow / s.width,
        "experts": experts / s.width,
        "launch": m.layers,
        "layer": m.layers * slowness * (MLA_KERNELS if m.attention == "mla" else 1.0),
        "narrow_layer": m.layers * slowness if quantized else 0.0,
        "moe_layer": m.moe_layers * slowness,
        "pass": 1.0,
        "vocab": m.vocab,
        "all_reduce": 2 * m.layers * slow * math.log2(2 * s.width) / 2 if s.width > 1 else 0.0,
    }


def _slowness(gpu: Gpu) -> float:
    """How much longer a kernel that waits on its own latency takes than at the reference clock."""
    return REFERENCE_CLOCK_HZ / gpu.clock_hz


def seconds(terms: Terms, s: Setup) -> float:
    """The time of a pass with these terms under the setup's constants."""
    c = s.constants
    speed = min(s.gpu.bandwidth_bytes_s * c.bandwidth_efficiency, s.gpu.sm_count * c.sm_bytes_s, s.gpu.matvec_bytes_s)
    narrow_speed = speed * c.quantized_efficiency
    expert_speed = speed * c.expert_efficiency * (c.quantized_efficiency if terms["narrow_layer"] else 1.0)
    device = (
        terms["wide"] / speed
        + terms["narrow"] / narrow_speed
        + terms["experts"] / expert_speed
        + terms["layer"] * c.layer_s
        + terms["narrow_layer"] * c.quantized_layer_s
        + terms["moe_layer"] * c.moe_layer_s
        + terms["pass"] * c.step_s
        + terms["vocab"] * c.vocab_s
        + terms["all_reduce"] * c.all_reduce_s
        + terms.get("kv", 0.0) / c.kv_efficiency
        + terms.get("scan", 0.0) * c.scan_s
        + terms.get("flops", 0.0) / c.flop_efficiency
        + terms.get("narrow_flops", 0.0) / (c.flop_efficiency * c.quantized_flop_efficiency)
        + terms.get("attention", 0.0) / c.attention_efficiency
        + terms.get("first", 0.0) * c.first_s
        + terms.get("given", 0.0)
    )
    host = terms["launch"] * c.launch_s
    return device if host == 0.0 else float((device**4 + host**4) ** 0.25)


def decode_step_s(s: Setup, context: float, batch: float = 1.0) -> float:
    """Seconds of one decode step."""
    return seconds(decode_terms(s, context, batch), s)


def prefill_s(s: Setup, prompt: float) -> float:
    """Seconds to encode *prompt* tokens and give the first output token, batch 1."""
    return seconds(prefill_terms(s, prompt), s)


def attention_flops(model: Architecture, prompt: float) -> float:
    """Operations of causal attention over *prompt* tokens: 2 products of 2 operations, half of them masked."""
    window = model.window or prompt
    near = model.attention_layers - model.context_layers
    pairs_full = prompt * prompt / 2
    seen = min(prompt, window)
    pairs_near = seen * seen / 2 + (prompt - seen) * seen
    width = model.heads * (model.head_dim + model.rope_dim + (model.v_head_dim or model.head_dim))
    return 2.0 * width * (model.context_layers * pairs_full + near * pairs_near)
