"""Attention at batch 1: over a prompt, and over a static cache for one new token.

The cache is made of blocks of 256 tokens, (blocks, KV heads, 256, head size), so that the first k blocks are one piece of
memory: a decode step reads just those, each KV head of each block as one product, as split-KV decoding does (Dao et
al., "Flash-Decoding", 2023). Which slots count is a mask computed on the device, so a step over k blocks can be captured
once and replayed for 256 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 256
_QUERY_ROWS = 512


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """What all layers share: heads, KV heads, head size, scale and soft cap of the scores."""

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    softcap: float | None


class KeyValueCache:
    """Keys and values of one layer for up to *tokens* tokens; with a *window* the oldest are written over."""

    def __init__(
        self, shape: AttentionShape, tokens: int, window: int | None, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.window = window
        self.blocks = -(-(tokens if window is None else min(tokens, window)) // BLOCK)
        self.capacity = self.blocks * BLOCK
        size = (self.blocks, shape.kv_heads, BLOCK, shape.head_dim)
        self.keys = torch.zeros(size, device=device, dtype=dtype)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self.heads = torch.arange(shape.kv_heads, device=device)

    def write_prompt(self, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values (tokens, KV heads, head size) of positions 0, 1, ..."""
        tokens = keys.shape[0]
        start = max(0, tokens - self.capacity)
        while start < tokens:  # twice at most: up to the end of the ring, then from its beginning
            slot = start % self.capacity
            stop = min(tokens, start + self.capacity - slot)
            _write_run(self.keys, keys[start:stop], slot)
            _write_run(self.values, values[start:stop], slot)
            start = stop

    def write_token(self, keys: Tensor, values: Tensor, place: Place) -> None:
        """Store one token's keys and values (1, KV heads, head size) at *place*, without waiting for the device."""
        where = (place.block, self.heads, place.offset)
        self.keys.index_put_(where, keys[0])
        self.values.index_put_(where, values[0])

    def place(self, position: Tensor, blocks: int) -> Place:
        """Where the token at *position* (1,) goes and what it reads among the first *blocks* blocks."""
        slot = position % self.capacity
        slots = torch.arange(min(blocks, self.blocks) * BLOCK, device=position.device)
        held = position - (position - slots) % self.capacity  # position of the token in each slot
        seen = held >= 0
        if self.window is not None:
            seen = seen & (held > position - self.window)
        mask = torch.zeros(seen.shape, device=position.device, dtype=self.keys.dtype).masked_fill(~seen, float("-inf"))
        return Place(slot // BLOCK, slot % BLOCK, mask.view(-1, 1, 1, BLOCK))


@dataclass(frozen=True, slots=True)
class Place:
    """A step's place in the caches of one window: block and offset (1,) to write, and what it reads.

    ``mask`` (blocks, 1, 1, 256): 0 for slots the token attends to, minus infinity for the others.
    """

    block: Tensor
    offset: Tensor
    mask: Tensor


def _write_run(store: Tensor, new: Tensor, slot: int) -> None:
    """Copy rows to consecutive slots, whole blocks in one copy."""
    flat = store.transpose(1, 2)  # (blocks, 256, KV heads, head size)
    head = min(len(new), -slot % BLOCK)
    if head:
        flat[slot // BLOCK, slot % BLOCK : slot % BLOCK + head] = new[:head]
    block, whole = (slot + head) // BLOCK, (len(new) - head) // BLOCK
    if whole:
        middle = new[head : head + whole * BLOCK]
        flat[block : block + whole] = middle.unflatten(0, (whole, BLOCK))
    tail = len(new) - head - whole * BLOCK
    if tail:
        flat[block + whole, :tail] = new[len(new) - tail :]


def attend_cache(q: Tensor, cache: KeyValueCache, place: Place, shape: AttentionShape) -> Tensor:
    """One token's queries (1, heads, head size) over the cached keys that *place* names -> (1, heads * head size)."""
    blocks, groups = place.mask.shape[0], shape.heads // shape.kv_heads
    batch = blocks * shape.kv_heads
    keys = cache.keys[:blocks].view(batch, BLOCK, shape.head_dim).transpose(1, 2)
    values = cache.values[:blocks].view(batch, BLOCK, shape.head_dim)
    queries = q.view(1, shape.kv_heads, groups, shape.head_dim)
    queries = queries.expand(blocks, -1, -1, -1).reshape(batch, groups, shape.head_dim)
    mask = place.mask.expand(-1, shape.kv_heads, groups, -1)
    if shape.softcap is None:
        scores = torch.baddbmm(mask.reshape(batch, groups, BLOCK), queries, keys, alpha=shape.scale)
    else:
        scores = _capped(torch.bmm(queries, keys) * shape.scale, shape.softcap) + mask.reshape(batch, groups, BLOCK)
    together = scores.view(blocks, shape.kv_heads, groups, BLOCK).permute(1, 2, 0, 3).flatten(2)
    chances = F.softmax(together, dim=-1, dtype=torch.float32).to(q.dtype)
    apart = chances.unflatten(2, (blocks, BLOCK)).permute(2, 0, 1, 3).reshape(batch, groups, BLOCK)
    parts = torch.bmm(apart, values).view(blocks, shape.kv_heads, groups, shape.head_dim)
    return parts.sum(0, dtype=torch.float32).to(q.dtype).view(1, -1)


def attend_prompt(q: Tensor, k: Tensor, v: Tensor, window: int | None, shape: AttentionShape) -> Tensor:
    """Causal attention of a whole prompt: (tokens, heads, head size) -> (tokens, heads * head size).

    With a *window*, or a soft cap (which fused kernels lack), queries are taken in blocks against the keys they can see.
    """
    tokens = q.shape[0]
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    if shape.softcap is None and (window is None or tokens <= window):
        out = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=shape.scale, enable_gqa=shape.heads != shape.kv_heads
        )
        return out[0].transpose(0, 1).reshape(tokens, -1)
    rows = max(window, BLOCK) if window is not None and shape.softcap is None else _QUERY_ROWS
    parts = []
    for start in range(0, tokens, rows):
        stop = min(start + rows, tokens)
        first = 0 if window is None else max(0, start - window + 1)
        mask = _causal(start, stop, first, window, q.device)
        parts.append(_attend(q[:, :, start:stop], k[:, :, first:stop], v[:, :, first:stop], mask, shape))
    return torch.cat(parts, dim=2)[0].transpose(0, 1).reshape(tokens, -1)


def _causal(start: int, stop: int, first: int, window: int | None, device: torch.device) -> Tensor:
    """Mask of queries start..stop over keys first..stop."""
    query = torch.arange(start, stop, device=device)[:, None]
    key = torch.arange(first, stop, device=device)[None]
    seen = key <= query
    return seen if window is None else seen & (key > query - window)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, shape: AttentionShape) -> Tensor:
    groups = shape.heads // shape.kv_heads
    if shape.softcap is None:  # fused kernels take a mask only when every head has its own keys
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=shape.scale)
    queries = q.unflatten(1, (shape.kv_heads, groups))
    scores = torch.matmul(queries * shape.scale, k[:, :, None].transpose(-1, -2)).float()
    scores = _capped(scores, shape.softcap).masked_fill(~mask, float("-inf"))
    return torch.matmul(F.softmax(scores, dim=-1).to(q.dtype), v[:, :, None]).flatten(1, 2)


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap
