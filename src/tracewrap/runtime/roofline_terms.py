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

from dataclasses import dataclass

from tracewrap.runtime.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.gpus import Gpu

HALF = 2.0  # bytes of a 16-bit value: activations, KV cache, output layer of quantized models


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Fitted constants of a software stack (see the module's formula). Times in seconds, efficiencies in (0, 1].

    ``sm_bytes_s``: bytes per second one multiprocessor pulls from memory in a matrix-vector product.
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
    expert_efficiency: float = 1.0
    quantized_efficiency: float = 1.0
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


def bandwidth(s: Setup) -> float:
    """Bytes per second of one GPU in matrix-vector products."""
    c = s.constants
    reached = s.gpu.bandwidth_bytes_s * c.bandwidth_efficiency
    cap = s.gpu.sm_count * c.sm_bytes_s
    return min(reached, cap)


def weight_read_s(s: Setup, tokens: float) -> float:
    """Seconds to read the weights that *tokens* tokens of one pass use, per step."""
    m, c = s.model, s.constants
    efficiency = c.quantized_efficiency if BYTES_PER_VALUE[s.precision] < HALF else 1.0
    shared = m.shared_layer_parameters * layer_bytes(s.precision)
    experts = m.moe_layers * m.experts_read(tokens) * m.expert_parameters * BYTES_PER_VALUE[s.precision]
    head = m.head_parameters * head_bytes(s.precision)
    weights = shared / efficiency + experts / (efficiency * c.expert_efficiency) + head
    return weights / (s.width * bandwidth(s))


def _fixed_s(s: Setup, once: float) -> float:
    """Seconds that depend on neither tokens nor bytes: per layer, per pass, and waiting for the other GPUs."""
    m, c = s.model, s.constants
    quantized = c.quantized_layer_s if BYTES_PER_VALUE[s.precision] < HALF else 0.0
    fixed = m.layers * (c.layer_s + quantized) + m.moe_layers * c.moe_layer_s + once
    return fixed + (2 * m.layers * _all_reduce_s(s) if s.width > 1 else 0.0)


def _all_reduce_s(s: Setup) -> float:
    """Latency of one small all-reduce; through the host's PCIe it takes about three times as long as over a link."""
    return s.constants.all_reduce_s * (3.0 if s.gpu.link == "pcie" else 1.0)


def _with_launch(s: Setup, device_s: float) -> float:
    """Device time, or the host's launches where those take longer (norm of order 4: a soft maximum)."""
    host = s.model.layers * s.constants.launch_s
    return device_s if host == 0.0 else float((device_s**4 + host**4) ** 0.25)


def decode_step_s(s: Setup, context: float, batch: float = 1.0) -> float:
    """Seconds of one decode step that gives *batch* sequences of *context* tokens one more token each."""
    m, c = s.model, s.constants
    split = 1 if m.attention == "mla" else min(s.width, m.kv_heads)
    kv = kv_bytes(m, context) * batch / (split * s.gpu.bandwidth_bytes_s * c.kv_efficiency)
    scan = m.kv_token_layers(context) * batch * c.scan_s
    return _with_launch(s, weight_read_s(s, batch) + kv + scan + _fixed_s(s, c.step_s))


def prefill_s(s: Setup, prompt: float) -> float:
    """Seconds to encode *prompt* tokens and give the first output token, batch 1."""
    m, c = s.model, s.constants
    peak = s.gpu.peak_flops(s.precision) * s.width
    layers = m.active_parameters - m.head_parameters
    flops = 2.0 * prompt * layers + 2.0 * m.head_parameters
    time = flops / (peak * c.flop_efficiency) + attention_flops(m, prompt) / (_half_peak(s) * c.attention_efficiency)
    time += weight_read_s(s, prompt) + _fixed_s(s, c.step_s + c.first_s)
    if s.width > 1:
        time += 2 * m.layers * prompt * m.hidden * HALF * 2 * (s.width - 1) / s.width / s.gpu.link_bytes_s
    return _with_launch(s, time)


def _half_peak(s: Setup) -> float:
    return s.gpu.peak_flops("bf16") * s.width


def attention_flops(model: Architecture, prompt: float) -> float:
    """Operations of causal attention over *prompt* tokens: 2 products of 2 operations, half of them masked."""
    window = model.window or prompt
    near = model.attention_layers - model.context_layers
    pairs_full = prompt * prompt / 2
    seen = min(prompt, window)
    pairs_near = seen * seen / 2 + (prompt - seen) * seen
    width = model.heads * (model.head_dim + model.rope_dim + (model.v_head_dim or model.head_dim))
    return 2.0 * width * (model.context_layers * pairs_full + near * pairs_near)
