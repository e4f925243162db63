"""Prompts of a wanted number of tokens, by the vendor's own count.

A prompt is a list of common short English words, most of which are one token in every tokenizer in use, in random order:
no two prompts begin alike, so no prompt cache can answer. How many tokens the vendor's template adds, and how many a word
is worth, is learned from the usage the vendor reports.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_TEXT = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not "
    "what all were we when your can said there use an each which she do how their if will up other about out many then "
    "them these so some her would make like him into time has look two more write go see number no way could people my "
    "than first water been call who its now find long down day did get come made may part over new take only little work "
    "know place year live me back give most very after thing our just name good man think say great where help through "
    "much before line right too mean old any same tell boy follow came want show also around form three small set put end"
)
_WORDS = _TEXT.split()
_ASK_ON = "\n\nContinue this list with one thousand more words."
_GUESS_TEMPLATE = 8.0
_GUESS_ASK_ON = 10.0


@dataclass(slots=True)
class PromptWriter:
    """Writes prompts and learns from what they were counted as. ``tokens = template + per_word * words``."""

    random: random.Random
    per_word: float = 1.0
    template: dict[bool, float] = field(
        default_factory=lambda: {False: _GUESS_TEMPLATE, True: _GUESS_TEMPLATE + _GUESS_ASK_ON}
    )
    _seen: dict[bool, dict[int, int]] = field(default_factory=lambda: {False: {}, True: {}})

    def write(self, input_tokens: int, output_tokens: int) -> tuple[str, int]:
        """(prompt, its number of words) that should count as *input_tokens*; as short as can be when they are too few.

        A prompt that is to be answered with more than one token ends by asking for a long answer.
        """
        asks = output_tokens > 1
        words = max(1, round((input_tokens - self.template[asks]) / self.per_word))
        return " ".join(self.random.choices(_WORDS, k=words)) + (_ASK_ON if asks else ""), words

    def learn(self, words: int, output_tokens: int, reported: int) -> None:
        """The vendor counted *reported* tokens for a prompt of *words* words."""
        asks = output_tokens > 1
        seen = self._seen[asks]
        seen[words] = reported
        fewest, most = min(seen), max(seen)
        if most >= fewest + 50:
            self.per_word = (seen[most] - seen[fewest]) / (most - fewest)
        shift = reported - self.per_word * words - self.template[asks]
        self.template[asks] += shift
        if not self._seen[not asks]:
            self.template[not asks] += shift
