"""``tracewrap study [QUESTION ...]``: questions about the method, answered by computing."""

from __future__ import annotations

import argparse
from pathlib import Path

from tracewrap.errors import ConfigurationError, missing_extra

FORMATS = ("text", "json", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("questions", metavar="QUESTION", nargs="*", help="names of questions, or all; none: list them")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="folder of measurements; without it from what the project holds"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="with html: where the pages go")


def run(args: argparse.Namespace) -> int:
    """List, or answer. 0 done, 2 usage or data error."""
    from tracewrap.runtime.files import write_whole
    from tracewrap.study.asking import QUESTIONS

    if not args.questions:
        for i, (name, what) in enumerate(QUESTIONS.items(), 1):
            print(f"{i:>2}  {name:<16} {what}")
        print("tracewrap study NAME answers one, tracewrap study all answers all")
        return 0
    if args.format == "html" and args.output is None:
        raise ConfigurationError("--format html writes a page a question: say where with -o FOLDER")
    try:
        import numpy  # noqa: F401
        import scipy  # noqa: F401
    except ImportError:
        raise missing_extra("study", "fit") from None
    from tracewrap.study import asking

    answers = {name: asking.ask(name, args.data) for name in asking.chosen(args.questions)}
    if args.format == "json":
        print(asking.as_json(answers), end="")
    elif args.format == "text":
        print("\n".join(asking.as_text(name, answer) for name, answer in answers.items()), end="")
    else:
        args.output.mkdir(parents=True, exist_ok=True)
        for name, answer in answers.items():
            write_whole(args.output / f"{name}.html", asking.as_page(name, answer))
        write_whole(args.output / "index.html", asking.index_page(answers))
        print(f"{args.output / 'index.html'} and {len(answers)} pages")
    return 0
