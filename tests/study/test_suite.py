"""The suite: models and stacks over named mixes, by hand on a stack with round numbers, and as a page to publish.

Stack "s": 2 GPUs at 3.6 $/h each, so 0.002 $ a second; 500 W each. T(p, o) = p / 10,000 + 0.05 (o - 1), interval factor e^0.1.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap.cli import main
from tracewrap.errors import ConfigurationError, ProfileNotFoundError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack
from tracewrap.study.mixes import MIXES, Mix, Shape
from tracewrap.study.suite import Suite, over_mix, suite
from tracewrap.study.suite_page import as_csv, as_html, as_text

PROFILE = RuntimeProfile(
    id="p",
    model="m-a",
    prompt_knots=((0.0, 0.0), (100_000.0, 10.0)),
    d0=0.05,
    n_gpus=2,
    interval=Interval(base=0.1),
    max_output_tokens=5000,
)
STACK = ReferenceStack(
    id="s", gpu="g", precision="bf16", price=Price(3.6, "test", "2026-11-01"), watts=500.0, profiles={"m-a": PROFILE}
)


def built(**options: object) -> Suite:
    """The suite of m-a on "s"."""
    return suite(["m-a"], catalog=Catalog(stacks=(STACK,)), **options)  # type: ignore[arg-type]


def row_of(found: Suite, mix: str) -> dict[str, object]:
    """The row of one mix."""
    (row,) = (row for row in found["rows"] if row["mix"] == mix)
    return dict(row)


def test_retrieval_by_hand() -> None:
    """(2000, 100), (4000, 100), (6000, 100): 0.4 s of prompt and 99 x 0.05 s at the mean; dollars and joules of two GPUs."""
    row = row_of(built(), "retrieval")
    assert row["idealized_s"] == pytest.approx(0.4 + 4.95)
    assert row["cost_usd"] == pytest.approx(5.35 * 0.002)
    assert row["energy_j"] == pytest.approx(5.35 * 1000)
    assert row["idealized_low_s"] == pytest.approx(5.35 / math.exp(0.1))
    assert row["cost_high_usd"] == pytest.approx(5.35 * 0.002 * math.exp(0.1))
    assert (row["provenance"], row["profile"], row["price_source"]) == ("measured", "p", "test")


def test_a_cached_prefix_saves_its_prompt_time() -> None:
    """Agent turns: 8596 in, 59% of them cached, 182 out. The cached ones' prompt time is gone, their decoding is not."""
    row = row_of(built(), "agent")
    assert row["idealized_uncached_s"] == pytest.approx(0.8596 + 181 * 0.05)
    assert row["idealized_s"] == pytest.approx(0.41 * 0.8596 + 181 * 0.05)


def test_weights_count() -> None:
    """A shape of weight 3 counts three times one of weight 1."""
    mix = Mix("x", "x", (Shape(1000, 1, weight=3), Shape(5000, 1)), "here")
    found = over_mix(mix, lambda s: PROFILE.estimate(s.input_tokens, s.output_tokens))
    assert found.value == pytest.approx((3 * 0.1 + 0.5) / 4)


def test_every_mix_has_its_source() -> None:
    """Seven mixes, each naming a public paper or data set; only agent turns have a cached prefix."""
    assert list(MIXES) == ["chat", "retrieval", "summarising", "code", "agent", "thinking", "batch"]
    assert all(re.search(r"arXiv|Azure/|FAST 2025|mlcommons/", mix.source) for mix in MIXES.values())
    assert [mix.name for mix in MIXES.values() if mix.mean("cached_tokens")] == ["agent"]


def test_beyond_the_profile_is_said() -> None:
    """A profile measured to 100 output tokens says of thinking that it is extrapolated, of retrieval that it is not."""
    import dataclasses

    short = dataclasses.replace(STACK, profiles={"m-a": dataclasses.replace(PROFILE, max_output_tokens=100)})
    found = suite(["m-a"], catalog=Catalog(stacks=(short,)))
    assert row_of(found, "thinking")["extrapolated"] is True
    assert row_of(found, "retrieval")["extrapolated"] is False


def test_a_stack_without_price_or_power_has_no_cost_and_no_energy() -> None:
    """Absent is absent: the runtime is there, dollars and joules are None, a dash and an empty cell."""
    import dataclasses

    bare = dataclasses.replace(STACK, price=None, watts=None)
    found = suite(["m-a"], catalog=Catalog(stacks=(bare,)), mixes=["chat"])
    row = row_of(found, "chat")
    assert row["idealized_s"]
    assert row["cost_usd"] is None
    assert row["energy_high_j"] is None
    (line,) = csv.DictReader(io.StringIO(as_csv(found)))
    assert (line["cost_usd"], line["energy_j"], line["kind"]) == ("", "", "idealized")
    assert "None" not in as_text(found) + as_html(found)


def test_recorded_calls_give_the_quiet_side(tmp_path: Path) -> None:
    """300 calls of an API that takes 0.2 + 0.02 s an output token: over chat, 0.2 + 0.02 x 211 s on a quiet day, verdict beside."""
    sizes = [(50 + 37 * (i % 97), 20 + 13 * (i % 41)) for i in range(300)]
    calls = [
        call(
            i + 1,
            i * 24 / 300,
            usage=TokenUsage(p, o),
            raw_runtime_s=0.2 + 0.02 * o,
            request_model="m-a",
            response_model="m-a",
        )
        for i, (p, o) in enumerate(sizes)
    ]
    log = str(write_log(tmp_path / "log.jsonl", calls))
    found = built(source=log, day="2026-11-20", learn=True)
    (quiet,) = (row for row in found["quiet"] if row["mix"] == "chat")
    assert quiet["calls"] == 300
    assert quiet["denoised_s"] == pytest.approx(0.2 + 0.02 * MIXES["chat"].mean("output_tokens"), rel=0.05)
    assert quiet["denoised_low_s"] <= quiet["denoised_s"] <= quiet["denoised_high_s"]
    assert "on a quiet day" in as_text(found)
    assert as_html(found).count("Deployments on a quiet day") == 7


def test_too_few_calls_are_a_gap_not_a_figure(tmp_path: Path) -> None:
    """Three calls tell no quiet day: no row, and why stands among the missing."""
    calls = [call(i + 1, i, usage=TokenUsage(100, 11), request_model="m-a", response_model="m-a") for i in range(3)]
    found = built(source=str(write_log(tmp_path / "log.jsonl", calls)), day="2026-11-20", learn=True)
    assert found["quiet"] == []
    assert "usable calls needed" in found["missing"][0]["why"]


def test_the_page_names_provenance_in_every_cell() -> None:
    """Each of the three figures of each row says in its tooltip what profile and price it is from; no script, nothing fetched."""
    html = as_html(suite(["meta-llama/Llama-3.1-8B-Instruct"], references=["h100-sxm:vllm"]))
    assert html.count('<td title="analytic_calibrated: ') == 3 * 7
    assert html.count("<sup>c</sup>") == 3 * 7
    assert "<script" not in html
    assert 'src="http' not in html


def test_unknown_names_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown mix lists the mixes; an unknown model names the nearest; exit code 2."""
    with pytest.raises(ConfigurationError, match="no mix 'chats'; there are chat, "):
        suite(mixes=["chats"])
    with pytest.raises(ProfileNotFoundError):
        suite(["llama-3.1-8c-instruct"])
    assert main(["suite", "--mix", "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``tracewrap suite --format json -o FILE``: five models on four stacks over one mix."""
    assert main(["suite", "--mix", "chat", "--format", "json", "-o", str(tmp_path / "suite.json")]) == 0
    found = json.loads((tmp_path / "suite.json").read_text(encoding="utf-8"))
    assert found["schema"] == "tracewrap.suite/1"
    assert len({(row["model"], row["stack"]) for row in found["rows"]}) == len(found["rows"]) == 20
    assert capsys.readouterr().out.strip().endswith("suite.json")
