"""Named token-shape mixes: how long prompts and answers are in seven kinds of work, each with its public source.

A mix is a few shapes of equal weight unless stated. Shapes of a trace are the means of its eighths, sorted by input tokens, so a mean
over the shapes is close to a mean over the trace, long prompts included. Tokens are counted as the source counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Shape:
    """One size of call. ``cached_tokens`` of the ``input_tokens`` were read from a cache of earlier calls' prefixes."""

    input_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Mix:
    """A kind of work: its shapes, where they are from, and what of them is not from there."""

    name: str
    title: str
    shapes: tuple[Shape, ...]
    source: str
    assumed: str = ""

    def mean(self, field: str) -> float:
        """Weighted mean of a field of the shapes."""
        total = sum(shape.weight for shape in self.shapes)
        return float(sum(getattr(shape, field) * shape.weight for shape in self.shapes) / total)


def _shapes(*pairs: tuple[float, ...]) -> tuple[Shape, ...]:
    return tuple(Shape(*pair) for pair in pairs)


WORDS_TO_TOKENS = 4 / 3
"""Tokens a word of English: what lengths in words are multiplied by."""

MIXES: dict[str, Mix] = {
    mix.name: mix
    for mix in (
        Mix(
            "chat",
            "chat",
            _shapes((167, 148), (369, 79), (407, 106), (862, 281), (1052, 413), (1125, 404), (1524, 180), (3733, 78)),
            "Azure LLM inference trace 2023, conversation, 19,366 calls (Azure/AzurePublicDataset; Patel et al., Splitwise, ISCA 2024)",
        ),
        Mix(
            "retrieval",
            "questions over retrieved documents",
            _shapes((2000, 100), (4000, 100), (6000, 100)),
            "Liu et al., Lost in the Middle (arXiv 2307.03172): 10, 20 and 30 retrieved documents, about 2k, 4k and 6k tokens, "
            "answers of at most 100",
        ),
        Mix(
            "summarising",
            "summaries of articles and of reports",
            _shapes(
                (781 * WORDS_TO_TOKENS, 56 * WORDS_TO_TOKENS),
                (9409 * WORDS_TO_TOKENS, 553 * WORDS_TO_TOKENS),
            ),
            "half CNN/DailyMail (781 words to 56: See et al., arXiv 1704.04368), half GovReport (9,409 words to 553: Huang et al., arXiv "
            "2104.02112)",
            "4/3 tokens a word",
        ),
        Mix(
            "code",
            "code completion",
            _shapes((92, 27), (355, 30), (809, 28), (1215, 23), (1744, 31), (2376, 25), (3417, 32), (6371, 27)),
            "Azure LLM inference trace 2023, code, 8,819 calls (Azure/AzurePublicDataset; Patel et al., Splitwise, ISCA 2024)",
        ),
        Mix(
            "agent",
            "agent turns with a cached prefix",
            _shapes((8596, 182, 0.59 * 8596)),
            "Mooncake tool-and-agent trace, 23,608 calls (Qin et al., FAST 2025, table 2): means of input and output, share cached",
            "one shape, the mean: the trace's own spread is not in the table",
        ),
        Mix(
            "thinking",
            "thinking before the answer",
            _shapes((800, 1278), (800, 3886)),
            "MLPerf Inference: mean output of gpt-oss-120b at low effort, 1,278 tokens, and of DeepSeek-R1, 3,886, thoughts included "
            "(mlcommons/inference, reference implementations)",
            "800 input tokens",
        ),
        Mix(
            "batch",
            "labels for many documents",
            _shapes((1279, 1), (1768, 1), (833, 3), (554, 1)),
            "BoolQ, IMDB, RAFT and MMLU with examples in the prompt, davinci's token counts (arXiv 2305.02440)",
        ),
    )
}


def chosen(names: Sequence[str]) -> list[Mix]:
    """The mixes called *names*, all when there are none; ConfigurationError names an unknown one."""
    for name in names:
        if name not in MIXES:
            raise ConfigurationError(f"no mix {name!r}; there are {', '.join(MIXES)}")
    return [MIXES[name] for name in names or MIXES]
