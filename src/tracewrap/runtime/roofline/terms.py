"""Where the time goes when a decoder runs on GPUs: the terms of the analytic profile.

One decode step at context c, batch b, tensor parallel over n GPUs (extended roofline; Williams et al., CACM 2009, for the
bound itself, the overhead terms are fitted):

    step(c, b)  = W(b)/(n B) + KV(c) b/(n' B_kv) + L c t_scan + (L t_layer + L_moe t_moe)/r + t_step + V t_vocab + [n>1] 2 L t_ar
    prefill(p)  = F(p)/(n P e_f) + A(p)/(n P e_a) + W(p)/(n B) + 2 L sent/link + t_first
                  + L (t_layer/r + t_prompt) + L_moe (t_moe/r + t_prompt_moe) + t_step + V t_vocab + [n>1] 2 L t_ar
    first(p, b) = prefill(p) + q (b-1) work(p) + [b>1] step/2

    W(b)    bytes of weights read: shared layers, output layer, E(1-(1-k/E)^b) experts a layer; not the embedding table
    B       bandwidth reached: peak * efficiency
    n'      n, but a KV head is not split: min(n, kv_heads); a latent cache (MLA) is read whole by every GPU
    r       how fast the engine launches and runs small kernels; t_layer and t_moe count them
    t_scan  serial part of attention, per layer and context token; sequences of a batch are scanned side by side
    F, A    operations of the matrix products (2 per active weight and token) and of attention over p tokens
    work    the part of prefill that grows with the prompt: operations and what is sent between GPUs
    q       prompts of each of the b - 1 other requests that are encoded before one's own is done

Launched eagerly (no captured graph) the host may be slower than the device: a step takes the larger of L * launch and the
sum above, softened because a device that is nearly idle still waits at times. Everything in seconds and bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.gpus import Gpu

Terms = dict[str, float]
"""Coefficients of the constants in the time of one pass: seconds at peak rate, counts."""

REFERENCE_CLOCK_HZ = 1.98e9
"""Clock at which the times per layer and per context token are stated: an H100's."""
HOST_SOFTNESS = 4.0
"""Exponent of the softened larger of host and device time."""
HALF = 2.0  # bytes of a 16-bit value: activations, KV cache, output layer of quantized models
TERM_CONSTANTS: Mapping[str, tuple[str, ...]] = {
    "wide": ("bandwidth_efficiency",),
    "narrow": ("bandwidth_efficiency", "narrow_efficiency"),
    "experts": ("bandwidth_efficiency", "expert_efficiency"),
    "kv": ("kv_efficiency",),
    "flops": ("flop_efficiency",),
    "narrow_flops": ("flop_efficiency", "narrow_flop_gain"),
    "expert_flops": ("flop_efficiency", "expert_flop_efficiency"),
    "attention": ("attention_efficiency",),
    "link": ("link_efficiency",),
    "layer": ("layer_s", "kernel_rate"),
    "narrow_layer": ("narrow_layer_s", "kernel_rate"),
    "moe_layer": ("moe_layer_s", "kernel_rate"),
    "shared_layer": ("shared_layer_s", "kernel_rate"),
    "latent_layer": ("latent_layer_s", "kernel_rate"),
    "linear_layer": ("linear_layer_s", "kernel_rate"),
    "pass": ("step_s",),
    "vocab": ("vocab_s",),
    "scan": ("scan_s",),
    "all_reduce": ("all_reduce_s",),
    "first": ("first_s",),
    "prompt_layer": ("prompt_layer_s",),
    "prompt_moe_layer": ("prompt_moe_layer_s",),
    "prompt_latent_layer": ("prompt_latent_layer_s",),
}
"""The constants of each term of the device: efficiencies divide it, times (``_s``) multiply it."""


HOST_CONSTANTS: Mapping[str, tuple[str, ...]] = {
    "launch": ("launch_s",),
    "expert_launch": ("expert_launch_s",),
}
"""The same for what the host of an eager engine does meanwhile: launching."""
PROMPT_WORK = ("flops", "narrow_flops", "expert_flops", "attention", "link")
"""The terms of a prompt that grow with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Fitted constants of a software stack for one case (see the module's formula). Times in seconds.

    Efficiencies lie in (0, 1]; ``narrow_efficiency`` and ``expert_efficiency`` are relative to ``bandwidth_efficiency``,
    ``narrow_flop_gain`` and ``expert_flop_efficiency`` to ``flop_efficiency``, which is a share of the 16-bit peak.
    ``layer_s``, ``*_layer_s`` of decoding and ``scan_s`` are device latencies, stated at the clock of an H100, the former divided
    by ``kernel_rate``: of any layer, and what one adds that chooses among experts (``moe``), has a block beside them
    (``shared``), latent attention, a state (``linear``) or packed weights (``narrow``).

    ``vocab_s``: seconds per vocabulary entry of making and sampling the logits, beyond reading the output layer.
    ``scan_s``: seconds per layer and context token, serial. ``launch_s``: host seconds per layer, 0 with captured graphs;
    ``expert_launch_s``: and per expert of a layer, for engines that loop over them.
    ``prompt_*_layer_s``: a layer's launch and small kernels while a prompt is encoded.
    ``queue_share``: prompts of each other request in flight that are encoded together with one's own.
    ``tile``, ``tile_fraction``: prompt lengths are padded to a multiple of ``tile`` in that share of prefill.
    ``pipeline``: several GPUs hold consecutive layers instead of slices of each.
    ``ring``: all-reduces take longer on more GPUs (one-shot kernels of later engines do not).
    """

    bandwidth_efficiency: float
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
    narrow_efficiency: float = 1.0
    narrow_layer_s: float = 0.0
    narrow_flop_gain: float = 1.0
    expert_flop_efficiency: float = 1.0
    kernel_rate: float = 1.0
    shared_layer_s: float = 0.0
    latent_layer_s: float = 0.0
    linear_layer_s: float = 0.0
    prompt_layer_s: float = 0.0
    prompt_moe_layer_s: float = 0.0
    prompt_latent_layer_s: float = 0.0
    link_efficiency: float = 1.0
    queue_share: float = 0.0
    launch_s: float = 0.0
    expert_launch_s: float = 0.0
    tile: int = 1
    tile_fraction: float = 0.0
    pipeline: bool = False
    ring: bool = False


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

    @property
    def narrow(self) -> bool:
        """Whether the weights beside the experts chosen among take less than 16 bits."""
        return layer_bytes(self.model, self.precision) < HALF


def layer_bytes(model: Architecture, precision: str) -> float:
    """Bytes of one weight of the layers, the experts aside, which a format may be of alone.

    mxfp4 leaves the rest at 16 bits unless the model is published otherwise (``rest_precision``).
    """
    if model.rest_precision and precision == model.precision:
        return BYTES_PER_VALUE[model.rest_precision]
    return HALF if precision == "mxfp4" else BYTES_PER_VALUE[precision]


def head_bytes(precision: str) -> float:
    """Bytes of one weight of embedding and output layer, which quantized formats leave at 16 bits."""
    return max(HALF, BYTES_PER_VALUE[precision])


def weight_bytes(model: Architecture, precision: str) -> float:
    """Bytes of all weights."""
    experts = model.moe_layers * model.experts * model.expert_parameters
    tables = model.head_parameters * (1 if model.tied else 2)
    rest = model.shared_layer_parameters * layer_bytes(model, precision)
    return rest + experts * BYTES_PER_VALUE[precision] + tables * head_bytes(precision)


def kv_bytes(model: Architecture, context: float) -> float:
    """Bytes of keys and values (and recurrent states) read at *context* tokens, in 16 bits."""
    return (model.kv_values(context) + model.index_values(context) + model.state_values) * HALF


def stored_kv_bytes(model: Architecture, context: float) -> float:
    """Bytes that are kept in memory for *context* tokens."""
    return (model.stored_kv_values(context) + model.index_values(context) + model.state_values) * HALF


def read_bytes(s: Setup, tokens: float) -> float:
    """Bytes of weights read by one GPU in a pass over *tokens* tokens."""
    m = s.model
    shared = m.shared_layer_parameters * layer_bytes(m, s.precision)
    experts = m.moe_layers * m.experts_read(tokens) * m.expert_parameters * BYTES_PER_VALUE[s.precision]
    return (shared + experts + m.head_parameters * head_bytes(s.precision)) / s.width


def decode_terms(s: Setup, context: float, batch: float = 1.0) -> Terms:
    """What one decode step asks of the hardware: *batch* sequences of *context* tokens get one more token each."""
    m = s.model
    split = 1 if m.attention == "mla" else min(s.width, m.kv_heads)
    terms = _pass_terms(s, batch)
    terms["kv"] = kv_bytes(m, context) * batch / (split * s.gpu.bandwidth_bytes_s)
    terms["scan"] = m.kv_token_layers(context) * _slowness(s.gpu)
    return terms


def _pass_terms(s: Setup, tokens: float) -> Terms:
    """What any pass over *tokens* tokens asks: reading the weights, the latencies of its kernels, its launches."""
    m, slow = s.model, _slowness(s.gpu)
    terms = _weight_terms(s, tokens)
    terms["layer"] = m.layers * slow
    terms["narrow_layer"] = m.layers * slow if s.narrow else 0.0
    terms["moe_layer"] = m.moe_layers * slow
    terms["shared_layer"] = m.moe_layers * slow if m.shared_ffn else 0.0
    terms["latent_layer"] = m.layers * slow if m.attention == "mla" else 0.0
    terms["linear_layer"] = m.linear_layers * slow
    terms["pass"] = 1.0
    terms["vocab"] = m.vocab
    hops = math.log2(2 * s.width) / 2 if s.constants.ring else 1.0
    terms["all_reduce"] = 2.0 * m.layers * hops if s.width > 1 else 0.0
    terms["launch"], terms["expert_launch"] = m.layers, m.moe_layers * m.experts
    return terms


def prefill_terms(s: Setup, prompt: float) -> Terms:
    """What encoding *prompt* tokens and giving the first output token asks of the hardware."""
    m = s.model
    terms = _pass_terms(s, prompt)
    wide = s.gpu.peak_flops("bf16") * s.width
    experts = m.moe_layers * m.active_experts * m.expert_parameters
    terms["narrow_flops" if s.narrow else "flops"] = (
        2.0 * (prompt * (m.active_parameters - m.head_parameters - experts) + m.head_parameters) / wide
    )
    terms["expert_flops"] = 2.0 * prompt * experts / wide
    terms["attention"] = attention_flops(m, prompt) / wide
    terms["first"] = 1.0
    terms["prompt_layer"] = m.layers
    terms["prompt_moe_layer"] = m.moe_layers
    terms["prompt_latent_layer"] = m.layers if m.attention == "mla" else 0.0
    if s.width > 1:
        sent = 2 * m.layers * prompt * m.hidden * HALF * 2 * (s.width - 1) / s.width
        terms["link"] = sent / s.gpu.link_bytes_s
    return terms


def _weight_terms(s: Setup, tokens: float) -> Terms:
    """Seconds at the GPU's peak bandwidth of reading the weights for *tokens* tokens."""
    m = s.model
    speed = peak_bandwidth(s.gpu) * s.width
    shared = m.shared_layer_parameters * layer_bytes(m, s.precision)
    head = m.head_parameters * head_bytes(s.precision)
    experts = m.moe_layers * m.experts_read(tokens) * m.expert_parameters * BYTES_PER_VALUE[s.precision]
    return {
        "wide": (head if s.narrow else head + shared) / speed,
        "narrow": (shared if s.narrow else 0.0) / speed,
        "experts": experts / speed,
    }


def peak_bandwidth(gpu: Gpu) -> float:
    """Bytes a second of reading weights that no software of this GPU exceeds."""
    return min(gpu.bandwidth_bytes_s, gpu.matvec_bytes_s)


def _slowness(gpu: Gpu) -> float:
    """How much longer a kernel that waits on its own latency takes than at the reference clock."""
    return REFERENCE_CLOCK_HZ / gpu.clock_hz


def seconds(terms: Terms, c: Constants) -> float:
    """The time of a pass with these terms under constants *c*."""
    device, host = _side(terms, TERM_CONSTANTS, c), _side(terms, HOST_CONSTANTS, c)
    return device if host == 0.0 else float((device**HOST_SOFTNESS + host**HOST_SOFTNESS) ** (1 / HOST_SOFTNESS))


def _side(terms: Terms, names: Mapping[str, tuple[str, ...]], c: Constants) -> float:
    total = 0.0
    for name, keys in names.items():
        value = terms.get(name, 0.0)
        if value:
            for key in keys:
                factor = getattr(c, key)
                value = value * factor if key.endswith("_s") else value / factor
            total += value
    return total


def decode_step_s(s: Setup, context: float, batch: float = 1.0) -> float:
    """Seconds of one decode step."""
    return seconds(decode_terms(s, context, batch), s.constants)


def prefill_s(s: Setup, prompt: float) -> float:
    """Seconds to encode *prompt* tokens and give the first output token, alone."""
    return seconds(prefill_terms(s, prompt), s.constants)


def first_token_s(s: Setup, prompt: float, batch: float = 1.0) -> float:
    """Seconds to the first token of a prompt of *prompt* tokens with *batch* requests in flight, like ones."""
    terms = prefill_terms(s, prompt)
    if batch <= 1.0:
        return seconds(terms, s.constants)
    work = seconds({key: terms.get(key, 0.0) for key in PROMPT_WORK}, s.constants)
    queued = s.constants.queue_share * (batch - 1.0) * work
    return seconds(terms, s.constants) + queued + decode_step_s(s, prompt, batch) / 2


def token_s(s: Setup, prompt: float, output: float, batch: float = 1.0) -> float:
    """Mean seconds per further output token with *batch* requests in flight, like ones.

    Beside the steps themselves each token waits for its share of the prompts of the others, encoded in between.
    """
    step = decode_step_s(s, prompt + output / 2, batch)
    return step + (batch - 1.0) * prefill_s(s, prompt) / max(output, 1.0)


def attention_flops(model: Architecture, prompt: float) -> float:
    """Operations of causal attention over *prompt* tokens: 2 products of 2 operations, half of them masked.

    Sparse attention looks at ``index_top`` tokens of those before; scoring its index, in 8 bits, is not counted.
    """
    full, near = model.context_layers, model.attention_layers - model.context_layers
    pairs = full * _pairs(prompt, model.index_top or prompt) + near * _pairs(prompt, model.window or prompt)
    width = model.heads * (model.head_dim + model.rope_dim + (model.v_head_dim or model.head_dim))
    return 2.0 * width * pairs


def _pairs(prompt: float, most: float) -> float:
    """Pairs of a token and one that it looks at, each at *most* that many before it."""
    seen = min(prompt, most)
    return seen * seen / 2 + (prompt - seen) * seen
