"""design within a budget: seconds, dollars, and what the command refuses."""

from __future__ import annotations

import json

import pytest

from tracewrap.cli import main
from tracewrap.errors import ConfigurationError
from tracewrap.runtime.fit.design import TokenPrices, design
from tracewrap.runtime.profile import RuntimeProfile

PRICES = TokenPrices(2.5, 10.0)
COMMAND = ["profile", "design", "--n", "12", "--json"]
BOTH = ["--usd-per-million-input-tokens", "2.5", "--usd-per-million-output-tokens", "10"]


def test_price_of_a_point() -> None:
    """A million tokens each way cost the sum of both prices."""
    assert TokenPrices(2.5, 10.0).usd(design(1, max_input_tokens=1, max_output_tokens=1)[0]) == pytest.approx(12.5e-6)


def test_dollars_cut_the_design_short() -> None:
    """The points are the first of the unbounded design, within the budget, and the next one would exceed it."""
    unbounded, budget = design(12), 0.01
    points = design(12, budget_usd=budget, prices=PRICES)
    assert 0 < len(points) < 12
    assert points == unbounded[: len(points)]
    assert sum(PRICES.usd(q) for q in points) <= budget
    assert sum(PRICES.usd(q) for q in unbounded[: len(points) + 1]) > budget


def test_the_tighter_of_two_budgets_holds() -> None:
    """Seconds and dollars together: as few points as the tighter one alone allows."""
    prior = RuntimeProfile(id="p", model="m", prompt_knots=((1, 0.05), (2048, 0.5)), d0=0.03)
    seconds = design(12, budget_s=3.0, prior=prior)
    both = design(12, budget_s=3.0, prior=prior, budget_usd=100.0, prices=PRICES)
    assert 0 < len(seconds) < 12
    assert both == seconds


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"budget_usd": 1.0}, "needs prices"),
        ({"budget_s": 1.0}, "needs a prior"),
        ({"budget_usd": 0.0, "prices": PRICES}, "budget_usd is 0.0"),
        ({"budget_usd": float("nan"), "prices": PRICES}, "budget_usd is nan"),
        ({"budget_usd": 1.0, "prices": TokenPrices(-1.0, 1.0)}, "price per million tokens is -1.0"),
        ({"budget_usd": 1e-9, "prices": PRICES}, "does not reach for the first point"),
    ],
)
def test_impossible_budgets(values: dict[str, object], says: str) -> None:
    """One line that names the value."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        design(3, **values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_command_stops_at_dollars(capsys: pytest.CaptureFixture[str]) -> None:
    """``--max-usd`` leaves fewer points than asked for."""
    assert main([*COMMAND, "--max-usd", "0.01", *BOTH]) == 0
    assert 0 < len(json.loads(capsys.readouterr().out)["points"]) < 12


@pytest.mark.parametrize(
    "given", [["--max-usd", "1"], BOTH, BOTH[:2], ["--max-usd", "1", *BOTH[:2]], ["--max-usd", "1", *BOTH[2:]]]
)
def test_command_refuses_one_without_the_other(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A budget without both prices, or a price without a budget: one line that names what is missing."""
    assert main([*COMMAND, *given]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert "needs --" in streams.err
    missing = {"--max-usd", BOTH[0], BOTH[2]} - set(given)
    assert all(flag in streams.err for flag in missing)
