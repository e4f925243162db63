"""``tracewrap models [NAME]``: the open models whose shape is known, and what one of them needs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tracewrap.errors import ConfigurationError, ProfileNotFoundError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import get_model, load_models, nearest_models, resolve_model
from tracewrap.runtime.roofline.gpus import get_gpu

CARDS = ("h100-sxm", "h200-sxm", "b200")
PROMPT, OUTPUT = 1024, 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a model by any host's name, or part of one to search for"
    )
    parser.add_argument(
        "--gpu", metavar="G", action="append", help=f"card to estimate on, repeatable; default: {', '.join(CARDS)}"
    )
    parser.add_argument("--stack", metavar="S", help="software, as in tracewrap profile estimate")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, search, or show one model."""
    if args.name is None:
        return _list(list(load_models().values()), args.json)
    if resolve_model(args.name) is not None:
        return _show(get_model(args.name), args)
    found = _search(args.name)
    if not found:
        get_model(args.name)  # raises, naming the nearest
    return _list(found, args.json)


def _search(text: str) -> list[Architecture]:
    """Models with *text* in their id, family or another name, any case."""
    wanted = text.lower()
    return [
        model
        for model in load_models().values()
        if any(wanted in name.lower() for name in (model.id, model.family, *model.aliases))
    ]


def _list(models: list[Architecture], as_json: bool) -> int:
    if as_json:
        print(json.dumps([facts(model) for model in models], indent=1))
        return 0
    for model in models:
        size = f"{model.total_parameters / 1e9:.1f}B"
        active = f" ({model.active_parameters / 1e9:.1f}B active)" if model.is_moe else ""
        assumed = "  shape partly assumed" if model.assumed else ""
        print(f"{model.id:<52} {size:>8}{active:<18} {model.precision:<6} {model.context:>9,} tokens{assumed}")
    print(f"{len(models)} models; tracewrap models NAME shows one")
    return 0


def facts(model: Architecture) -> dict[str, Any]:
    """What is known of *model*, for reading by programs: shape fields that differ from their default, sizes, names."""
    import dataclasses

    shape = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("id", "aliases", "source", "parameters", "assumed")
        and (field.default is dataclasses.MISSING or getattr(model, field.name) != field.default)
    }
    return {
        "id": model.id,
        "aliases": list(model.aliases),
        "total_parameters": model.total_parameters,
        "active_parameters": model.active_parameters,
        "architecture": shape,
        "source": model.source,
        "assumed": model.assumed or None,
    }


def _show(model: Architecture, args: argparse.Namespace) -> int:
    cards = [_on_card(model, name, args.stack) for name in args.gpu or CARDS]
    if args.json:
        print(json.dumps({**facts(model), "estimates": cards}, indent=1))
        return 0
    known = facts(model)
    print(f"{model.id}: {model.total_parameters / 1e9:.1f}B weights, {model.active_parameters / 1e9:.1f}B for a token")
    print("  " + ", ".join(f"{key} {value}" for key, value in known["architecture"].items()))
    if model.aliases:
        print(f"  also: {', '.join(model.aliases)}")
    print(f"  source: {model.source}")
    if model.assumed:
        print(f"  assumed, no published configuration was found: {model.assumed}")
    print(f"\nfirst token of {PROMPT} tokens and time per further token, one request, {model.precision}")
    for card in cards:
        if "reason" in card:
            print(f"  {card['gpu']:<18} {card['reason']}")
            continue
        first, token = card["first_token_s"], card["time_per_output_token_s"]
        print(
            f"  {card['n_gpus']:>3} x {card['gpu']:<14} {1e3 * first[0]:8.1f} ms ({1e3 * first[1]:.1f} to {1e3 * first[2]:.1f})"
            f" {1e3 * token[0]:8.2f} ms ({1e3 * token[1]:.2f} to {1e3 * token[2]:.2f})  {card['provenance']}, {card['stack']}"
            + ("" if card["usd_per_hour"] is None else ", ${:.2f} to {:.2f} an hour".format(*card["usd_per_hour"]))
        )
    near = [name for name in nearest_models(model.id, 4) if name != model.id]
    if near:
        print(f"\nalike by name: {', '.join(near[:3])}")
    return 0


def _on_card(model: Architecture, gpu: str, stack: str | None) -> dict[str, Any]:
    """Memory and estimates of *model* on the fewest of a card that hold it, or the reason why there are none."""
    from tracewrap.runtime.roofline.estimating import prepare, server_times
    from tracewrap.runtime.roofline.terms import stored_kv_bytes, weight_bytes

    card = get_gpu(gpu)
    try:
        setup, found = prepare(model, card, stack=stack)
    except (ConfigurationError, ProfileNotFoundError) as error:
        return {"gpu": card.id, "reason": str(error)}
    times = server_times(setup, found, PROMPT, OUTPUT)
    asked = [price.usd_per_gpu_hour * setup.n_gpus for price in card.asked_prices]
    return {
        "gpu": card.id,
        "n_gpus": setup.n_gpus,
        "stack": found.id,
        "weight_bytes": weight_bytes(model, model.precision),
        "cache_bytes_per_1k_tokens": stored_kv_bytes(model, 1024),
        "first_token_s": [times.first_s.value, times.first_s.low, times.first_s.high],
        "time_per_output_token_s": [times.token_s.value, times.token_s.low, times.token_s.high],
        "provenance": times.provenance,
        "usd_per_hour": [min(asked), max(asked)] if asked else None,
    }
