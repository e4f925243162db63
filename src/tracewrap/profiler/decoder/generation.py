"""One generation on a decoder, timed: prompt pass, then one step a token, each token feeding the next on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tracewrap.profiler.decoder.decoder import Decoder


class Timing(NamedTuple):
    """Seconds of one generation: all of it, and up to the first output token."""

    runtime_s: float
    first_token_s: float


GRAPHED_PROMPT = 2048
"""Prompts up to so many tokens are captured too: launching their kernels one by one would take longer than running them."""


class Prompts:
    """Prompt passes of *decoder*; on CUDA a short one is captured once for each (tokens, depth) and replayed."""

    def __init__(self, decoder: Decoder, graphs: bool) -> None:
        self.decoder = decoder
        self.graphs = graphs and decoder.expert_method in (None, "grouped")  # other experts wait for the device
        self._captured: dict[tuple[int, int | None], tuple[Any, Tensor, Tensor]] = {}

    def prepare(self, tokens: int, depth: int | None) -> None:
        """Capture the pass over *tokens* tokens; nothing to do for a long one or without graphs."""
        if not self.graphs or tokens > GRAPHED_PROMPT or (tokens, depth) in self._captured:
            return
        ids = torch.zeros(tokens, dtype=torch.long, device=self.decoder.device)
        _warm(self.decoder.device, lambda: self.decoder.prefill(ids, depth))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self.decoder.prefill(ids, depth)
        self._captured[tokens, depth] = graph, ids, logits

    def run(self, prompt: Tensor, depth: int | None) -> Tensor:
        """Logits after *prompt*."""
        if (found := self._captured.get((len(prompt), depth))) is None:
            return self.decoder.prefill(prompt, depth)
        graph, ids, logits = found
        ids.copy_(prompt)
        graph.replay()
        return logits


def _warm(device: torch.device, run: Callable[[], object]) -> None:
    """Run twice on a side stream: libraries choose kernels and allocate on first use, which capture forbids."""
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.current_stream(device).wait_stream(side)
    torch.cuda.synchronize(device)


class Steps:
    """Decode steps of *decoder*; on CUDA each (cache blocks, depth) is captured once and replayed."""

    def __init__(self, decoder: Decoder, graphs: bool) -> None:
        self.decoder = decoder
        self.graphs = graphs
        self.token = torch.zeros(1, dtype=torch.long, device=decoder.device)
        self.position = torch.zeros(1, dtype=torch.long, device=decoder.device)
        self._captured: dict[tuple[int, int | None], Any] = {}
        self._pool: Any = None

    def begin(self, logits: Tensor, tokens: int) -> None:
        """Start after a prompt of *tokens* tokens that ended in *logits*."""
        with torch.inference_mode():
            self.token.copy_(logits.argmax().view(1))
            self.position.fill_(tokens)

    def advance(self, context: int, depth: int | None) -> None:
        """Generate one token whose step reads *context* tokens, itself included."""
        blocks = self.decoder.blocks_for(context)
        if self.graphs:
            self._captured[blocks, depth].replay()
        else:
            self._step(blocks, depth)

    def prepare(self, first: int, last: int, depth: int | None) -> None:
        """Capture what steps that read *first* to *last* tokens need; nothing to do without graphs."""
        if not self.graphs:
            return
        for blocks in range(self.decoder.blocks_for(first), self.decoder.blocks_for(last) + 1):
            if (blocks, depth) not in self._captured:
                self._captured[blocks, depth] = self._capture(blocks, depth, first)

    def _step(self, blocks: int, depth: int | None) -> None:
        with torch.inference_mode():
            logits = self.decoder.step(self.token, self.position, blocks, depth)
            self.token.copy_(logits.argmax().view(1))
            self.position.add_(1)

    def _capture(self, blocks: int, depth: int | None, first: int) -> Any:
        self.position.fill_(first - 1)
        _warm(self.decoder.device, lambda: self._step(blocks, depth))
        self.position.fill_(first - 1)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._step(blocks, depth)
        return graph


class Timer:
    """Marks on the device's own clock (CUDA events) or on this process's (``wall`` or ``cpu`` seconds)."""

    def __init__(self, device: torch.device, clock: str = "wall") -> None:
        self.device = device
        self.clock = clock
        self._now: Callable[[], float] = time.process_time if clock == "cpu" else time.perf_counter

    def mark(self) -> Any:
        """Now, in the order of the device's work."""
        if self.device.type != "cuda":
            return self._now()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def finish(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks; on CUDA only after ``finish``."""
        if self.device.type != "cuda":
            return float(end - start)
        return float(start.elapsed_time(end)) / 1000.0


class Generation:
    """Runs timed generations on one decoder. *graphs*: replay captured steps (CUDA)."""

    def __init__(self, decoder: Decoder, timer: Timer, graphs: bool, seed: int = 0) -> None:
        self.decoder = decoder
        self.timer = timer
        self.prompts = Prompts(decoder, graphs)
        self.steps = Steps(decoder, graphs)
        self._random = torch.Generator().manual_seed(seed)

    def prompt(self, tokens: int) -> Tensor:
        """Random token ids (tokens,) on the device."""
        ids = torch.randint(0, self.decoder.blueprint.vocab, (tokens,), generator=self._random)
        return ids.to(self.decoder.device)

    def prepare(self, input_tokens: int, output_tokens: int, depth: int | None = None) -> None:
        """Capture what a generation of this size replays."""
        self.prompts.prepare(input_tokens, depth)
        if output_tokens > 1:
            self.steps.prepare(input_tokens + 1, input_tokens + output_tokens - 1, depth)

    def run(self, input_tokens: int, output_tokens: int, depth: int | None = None) -> Timing:
        """Generate *output_tokens* (at least 1) after a random prompt; the first comes from the prompt pass."""
        prompt, timer = self.prompt(input_tokens), self.timer
        self.prepare(input_tokens, output_tokens, depth)
        timer.finish()
        start = timer.mark()
        self.steps.begin(self.prompts.run(prompt, depth), input_tokens)
        first = timer.mark()
        for i in range(1, output_tokens):
            self.steps.advance(input_tokens + i, depth)
        end = timer.mark()
        timer.finish()
        return Timing(timer.seconds(start, end), timer.seconds(start, first))

    def generate(self, prompt: Tensor, output_tokens: int, depth: int | None = None) -> list[int]:
        """The token ids generated after *prompt*, greedily; untimed."""
        self.prepare(len(prompt), output_tokens, depth)
        self.steps.begin(self.prompts.run(prompt, depth), len(prompt))
        out = [int(self.steps.token)]
        for i in range(1, output_tokens):
            self.steps.advance(len(prompt) + i, depth)
            out.append(int(self.steps.token))
        return out
