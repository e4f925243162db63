"""``tracewrap profile probe``: an API's quiet-day profile from calls made on purpose, within a stated budget."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from tracewrap.errors import ConfigurationError, missing_extra

if TYPE_CHECKING:
    from tracewrap.profiler.probe.budget import CallPrice
    from tracewrap.profiler.probe.calling import Probe
    from tracewrap.profiler.probe.probe import Expected, Probed, ProbePlan
    from tracewrap.profiler.sample_file import SampleFile
    from tracewrap.vendors.adapter import Adapter


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--client", choices=tuple(_probed()), default="openai", help="SDK to call with (default %(default)s)"
    )
    parser.add_argument("--model", required=True, help="the model's name at the provider")
    parser.add_argument(
        "--base-url", help="another server than the SDK's own; keys come from the SDK's environment variables"
    )
    parser.add_argument("--n", type=int, default=10, metavar="N", help="points to probe (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="calls a point (default %(default)s)")
    parser.add_argument(
        "--max-input-tokens", type=int, default=2048, metavar="N", help="longest prompt (default %(default)s)"
    )
    parser.add_argument(
        "--stream", action="store_true", help="streamed calls: separates network and admission from the rest"
    )
    parser.add_argument(
        "--over-minutes", type=float, default=0.0, metavar="M", help="spread the calls over so long (default: at once)"
    )
    parser.add_argument("--budget-usd", type=float, metavar="USD", help="never spend more in this run")
    parser.add_argument("--budget-tokens", type=int, metavar="N", help="never use more tokens in this run")
    parser.add_argument("--budget-minutes", type=float, metavar="M", help="never run longer")
    parser.add_argument(
        "--usd-per-mtok-in", type=float, metavar="USD", help="price of a million input tokens (default: list price)"
    )
    parser.add_argument("--usd-per-mtok-out", type=float, metavar="USD", help="price of a million output tokens")
    parser.add_argument("--yes", action="store_true", help="start without asking; needed when no price is known")
    parser.add_argument("--seed", type=int, default=0, help="of order and prompts (default %(default)s)")
    parser.add_argument(
        "-o", "--output", required=True, metavar="PROFILE.json", help="samples go to .samples.csv beside it"
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Estimate, ask, probe, fit, write the profile. An interrupt keeps the samples and exits with 130."""
    _check(args)
    try:
        import numpy  # noqa: F401 - design and fit need it: better said before anything is paid for
    except ImportError:
        raise missing_extra("profile probe", "fit") from None
    from tracewrap.profiler.probe.budget import Budget
    from tracewrap.profiler.probe.calling import open_probe
    from tracewrap.profiler.probe.probe import Prober, expect, open_samples
    from tracewrap.profiler.sample_file import samples_path

    budget = Budget(usd=args.budget_usd, tokens=args.budget_tokens, minutes=args.budget_minutes)
    probe = open_probe(_client(args), args.stream)
    plan = _plan(args, probe)
    price = _price(args, plan.provider)
    file = open_samples(plan, samples_path(args.output))
    expected = expect(plan, file, price)
    if expected.calls and not _agreed(args, plan, expected, price):
        print("tracewrap: nothing was called", file=sys.stderr)
        return 2
    progress = _show if sys.stderr.isatty() else None

    def send(prompt: str, output_tokens: int) -> Any:
        return probe.send(args.model, prompt, output_tokens, args.stream)

    prober = Prober(plan, send, file, budget=budget, price=price, progress=progress)
    try:
        done = prober.run()
    except KeyboardInterrupt:
        print(
            f"\ntracewrap: interrupted; {len(file.rows)} samples are kept in {file.path}, run again to go on",
            file=sys.stderr,
        )
        return 130
    return _finish(args, plan, file, done, price)


def _check(args: argparse.Namespace) -> None:
    for name in ("n", "repeats", "max_input_tokens"):
        if getattr(args, name) < 1:
            raise ConfigurationError(f"--{name.replace('_', '-')} is {getattr(args, name)}, must be at least 1")
    if args.over_minutes < 0:
        raise ConfigurationError(f"--over-minutes is {args.over_minutes}, must not be negative")
    if (args.usd_per_mtok_in is None) != (args.usd_per_mtok_out is None):
        raise ConfigurationError("--usd-per-mtok-in and --usd-per-mtok-out must be given together")


def _client(args: argparse.Namespace) -> Any:
    """A client of the SDK asked for, with the key its environment variable holds."""
    import importlib

    adapter = _probed()[args.client]
    target, _, name = adapter.probe_client.partition(":")
    try:
        module = importlib.import_module(target)
    except ImportError:
        raise missing_extra(f"profile probe --client {args.client}", args.client) from None
    try:
        where = {"base_url": args.base_url} if args.base_url else {}
        return getattr(module, name)(**({"http_options": where} if adapter.base_url_in_options and where else where))
    except Exception as error:  # noqa: BLE001 - each SDK raises its own for a key that is missing
        raise ConfigurationError(f"{args.client} client cannot be made: {' '.join(str(error).split())[:160]}") from None


def _plan(args: argparse.Namespace, probe: Probe) -> ProbePlan:
    from tracewrap.profiler.probe.probe import ProbePlan
    from tracewrap.runtime.fit.design import design

    return ProbePlan(
        model=args.model,
        provider=probe.provider,
        server=args.base_url,
        stream=args.stream,
        points=[(p.input_tokens, p.output_tokens) for p in design(args.n, max_input_tokens=args.max_input_tokens)],
        repeats=args.repeats,
        over_s=args.over_minutes * 60.0,
        seed=args.seed,
    )


def _price(args: argparse.Namespace, provider: str) -> CallPrice | None:
    from tracewrap.profiler.probe.budget import TokenPrice, list_price

    if args.usd_per_mtok_in is not None:
        return TokenPrice(args.usd_per_mtok_in, args.usd_per_mtok_out, "given")
    return None if args.base_url else list_price(args.model, provider)


def _probed() -> dict[str, Adapter]:
    """Vendors that can be probed, by name."""
    from tracewrap.vendors import adapters

    return {adapter.name: adapter for adapter in adapters() if adapter.probe_client}


def _agreed(args: argparse.Namespace, plan: ProbePlan, expected: Expected, price: CallPrice | None) -> bool:
    """Show what is to come and ask, unless told not to."""
    cost = (
        "price unknown"
        if price is None or expected.usd is None
        else f"about {expected.usd:.4f} dollars ({price.source})"
    )
    text = (
        f"{plan.provider} {plan.model}: {expected.calls} calls and a warm-up, about {expected.input_tokens:,} input and "
        f"at most {expected.output_tokens:,} output tokens, {cost}"
    )
    if plan.over_s:
        text += f", over {plan.over_s / 60:g} minutes"
    print(text, file=sys.stderr)
    if args.yes:
        return True
    if price is None:
        raise ConfigurationError(
            "no price is known for this model: give --usd-per-mtok-in and -out, or --yes to start anyway"
        )
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody to ask: give --yes to start")
    return input("start? [y/N] ").strip().lower() in ("y", "yes")


def _show(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _finish(args: argparse.Namespace, plan: ProbePlan, file: SampleFile, done: Probed, price: CallPrice | None) -> int:
    from tracewrap.profiler.probe.api_profile import api_profile
    from tracewrap.runtime.files import save_profile

    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    stopped = None if done.stopped is None else f"stopped at the budget of {done.stopped}; run again to go on"
    if stopped:
        print(f"tracewrap: {stopped}", file=sys.stderr)
    command = " ".join(["tracewrap", *sys.argv[1:]])
    profile, result = api_profile(plan, file.rows, command=command, samples_file=str(file.path))
    save_profile(profile, args.output)
    spent = done.spending.usd(price)
    summary = {
        "profile": args.output,
        "samples": str(file.path),
        "count": len(file.rows),
        "verdict": result.verdict,
        "messages": list(result.messages),
        "stopped": done.stopped,
        "input_tokens": done.spending.input_tokens,
        "output_tokens": done.spending.output_tokens,
        "usd": spent,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    if args.json:
        print(json.dumps(summary))
        return 0
    dollars = "" if spent is None else f", {spent:.4f} dollars"
    used = f"{done.spending.input_tokens:,} input and {done.spending.output_tokens:,} output tokens{dollars}"
    print(f"{args.output}: {profile.id}, {len(file.rows)} samples in {file.path}; this run used {used}")
    print(f"verdict: {result.verdict}" + "".join(f"; {text}" for text in result.messages))
    return 0
