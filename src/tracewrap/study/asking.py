"""Asking the ten questions, and their answers as text, JSON and pages."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tracewrap.errors import ConfigurationError
from tracewrap.formats.profile_drawing import text as drawn
from tracewrap.study.page import cells, figure, grid, page, section
from tracewrap.study.page import table as html_table
from tracewrap.study.questions.answer import Answer
from tracewrap.words import table, wrapped

QUESTIONS = {
    "configurations": "which queries configure a profile, and what the choice costs",
    "stacks": "how sensitive results are to the reference stack",
    "slopes": "where slopes change, and whether tile size and SM count derive it",
    "stopping": "how many queries are enough: error against n, with a stop rule",
    "facts": "which facts of an architecture matter",
    "shapes": "hybrids, state-space models, mixtures: error of the form",
    "scaling": "imperfect scaling with accelerators",
    "caching": "what the quiet-day model makes of caching and of load",
    "ranges": "ranges of price and power",
    "amortising": "after how many calls profiling pays",
}
"""Name, which is its file in ``questions``, to what is asked; in order."""
WIDTH = 110


def ask(name: str, data: Path | None = None) -> Answer:
    """The answer to a question of ``QUESTIONS``, computed now; *data*: folder of measurements, for those that take them.

    Raises ConfigurationError for an unknown name, or a folder without what is needed.
    """
    if name not in QUESTIONS:
        raise ConfigurationError(f"no question {name!r}; there are {', '.join(QUESTIONS)}")
    found: Answer = importlib.import_module(f"tracewrap.study.questions.{name}").answer(data)
    return found


def number(name: str) -> int:
    """The question's place, from 1."""
    return list(QUESTIONS).index(name) + 1


def as_text(name: str, answer: Answer) -> str:
    """Question, method, table, charts, findings, and the sentence to act on, last."""
    heads, rows = cells(answer.rows, answer.columns)
    lines = [f"{number(name)}. {answer.question}", "", *wrapped(answer.method, WIDTH), f"From: {answer.source}.", ""]
    lines += table([heads, *rows])
    for chart in answer.charts:
        lines += ["", drawn(chart).rstrip("\n")]
    lines += ["", *(line for text in answer.found for line in wrapped(text, WIDTH))]
    return "\n".join([*lines, "", *wrapped(f"So: {answer.use}", WIDTH)]) + "\n"


def as_json(answers: dict[str, Answer]) -> str:
    """Rows and sentences of each question by its name."""
    out = {
        name: {
            "question": answer.question,
            "source": answer.source,
            "method": answer.method,
            "rows": list(answer.rows),
            "found": list(answer.found),
            "use": answer.use,
        }
        for name, answer in answers.items()
    }
    return json.dumps(out, indent=1, allow_nan=False) + "\n"


def as_page(name: str, answer: Answer) -> str:
    """One page."""
    charts = grid([figure(chart) for chart in answer.charts])
    found = "".join(f"<p>{escape(text)}</p>" for text in answer.found)
    body = section(
        name,
        QUESTIONS[name][0].upper() + QUESTIONS[name][1:],
        f"<p>{escape(answer.method)}</p>",
        html_table(answer.rows, answer.columns),
        charts,
        found,
        f'<div class="diff"><b>So.</b> {escape(answer.use)}</div>',
    )
    foot = f"Computed by <code>tracewrap study {name}</code> from: {escape(answer.source)}."
    return page(answer.question, f"Question {number(name)} of {len(QUESTIONS)}.", "", [(name, name, body)], foot)


def index_page(answers: dict[str, Answer]) -> str:
    """Links to the pages that ``as_page`` makes, each with its sentence."""
    rows = "".join(
        f'<p><b>{number(name)}. <a href="{name}.html">{escape(answer.question)}</a></b><br>{escape(answer.use)}</p>'
        for name, answer in answers.items()
    )
    lead = "What estimating runtimes from a few measurements leaves open, answered from what the project holds."
    return page(
        "Ten questions about idealized runtimes",
        lead,
        "",
        [("answers", "answers", section("answers", "Answers", rows))],
        "",
    )


def chosen(names: Sequence[str]) -> list[str]:
    """*names*, or all of them where one is ``all``."""
    return list(QUESTIONS) if "all" in names else list(dict.fromkeys(names))
