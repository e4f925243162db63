"""How numbers, names and tables are written for people: one spelling, everywhere; nothing from outside gets through."""

from __future__ import annotations

import random
from decimal import Context

import pytest

from tracewrap import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.00012345, "0.123 ms"),
        (0.0099996, "10.0 ms"),
        (0.42, "420 ms"),
        (0.9994, "999 ms"),
        (0.99951, "1.00 s"),
        (1.5, "1.50 s"),
        (99.96, "100 s"),
        (119.7, "2 min 0 s"),
        (4000.0, "66 min 40 s"),
        (7199.8, "2.00 h"),
        (360_000.0, "100 h"),
        (-0.25, "-250 ms"),
        (-320.0, "-5 min 20 s"),
    ],
)
def test_times_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    """Milliseconds below one second, minutes from two, hours from two; rounding decides the side; never an exponent."""
    assert words.seconds(value) == text


def test_three_digits_are_the_nearest_ones() -> None:
    """Of any size, rounded once from the exact value: what the decimal module makes of it."""
    dice = random.Random(0)
    values = [10.0 ** dice.uniform(-9, 9) for _ in range(2000)] + [
        9.995,
        99.95,
        999.5,
        0.09995,
        1e-5,
        1e3,
        100.0,
        2.675,
        0.1,
    ]
    for value in (*values, *(-value for value in values)):
        rounded = float(Context(prec=3).create_decimal(value))
        text = words.three(value)
        assert float(text.replace(",", "")) == rounded
        assert len(text.replace(",", "").lstrip("-0.").replace(".", "")) == max(3, len(f"{abs(rounded):.0f}"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "$0.00"), (0.00123456, "$0.00123"), (0.9996, "$1.00"), (1234.5, "$1,234.50"), (-2.0, "-$2.00")],
)
def test_dollars(value: float | None, text: str) -> None:
    """Cents from one dollar up, three significant digits below, the sign in front."""
    assert words.usd(value) == text


def test_other_numbers() -> None:
    """Joules, shares, ratios, rates, counts and tokens read well at every size; unknown is a dash, one is singular."""
    assert [words.joules(x) for x in (5.0, 5e4, 2e6, 7.2e6, None)] == ["5 J", "50 kJ", "2 MJ", "2.00 kWh", "-"]
    assert [words.share(x) for x in (0.1234, None)] == ["12.3%", "-"]
    assert [words.ratio(x) for x in (1.234, None)] == ["1.23", "-"]
    assert [words.rate(x) for x in (0.01234, 1234.0, None)] == ["0.0123", "1,230", "-"]
    assert [words.count(x) for x in (1234, None)] == ["1,234", "-"]
    assert [words.tokens(x) for x in (9999, 34_000, 1_200_000, 2e9, None)] == ["9,999", "34.0k", "1.20M", "2.00G", "-"]
    assert [words.counted(n, "call") for n in (0, 1, 20_000)] == ["0 calls", "1 call", "20,000 calls"]
    assert [words.duration(x) for x in (90, 300, 3600, 7200)] == ["90 s", "5 min", "1 h", "2 h"]


def test_an_interval_that_reads_as_one_number_is_left_out() -> None:
    """Low and high only where they differ in what is shown."""
    assert words.bounds(words.seconds, 0.23, 0.2301) == ""
    assert words.bounds(words.seconds, 0.23, 0.25) == " (230 ms to 250 ms)"
    assert words.bounds(words.seconds, None, 0.25) == ""


def test_who_made_a_call_slow() -> None:
    """Us with what of ours it was; nothing where nobody made it slow, or nobody knows."""
    assert words.blamed("us", "event_loop") == "us (event loop)"
    assert [words.blamed(who) for who in ("us", "network", "provider")] == ["us", "network", "provider"]
    assert [words.blamed(who) for who in ("model", None, "else")] == [None, None, None]


def test_bars() -> None:
    """A space where there is no value; the largest is the highest."""
    assert words.sparkline([0.0, None, 0.5, 1.0]) == "▁ ▅█"


@pytest.mark.parametrize("evil", ["\x1b]0;owned\x07\x1b[2J", "a\nb", "\u202egpj.exe", "\x9b31m", "a\x00b"])
def test_names_cannot_move_a_terminal(evil: str) -> None:
    """Control characters, line ends and marks that turn the direction of writing become a replacement character."""
    assert words.clean(evil).isprintable()
    assert len(words.clean(evil)) == len(evil)


def test_long_names_are_cut_in_the_middle() -> None:
    """A megabyte of name is as short as a row can show, both ends kept."""
    found = words.clean("front" + "x" * 1_000_000 + "back")
    assert len(found) <= words.LONGEST_NAME
    assert found.startswith("front")
    assert found.endswith("back")


@pytest.mark.parametrize(
    "evil",
    ["<script>x</script>", "![i](http://e/i.png)", "[a](http://e)", "a|b", "`c`", "**b**", "http://e", "www.e.com"],
)
def test_names_are_no_markdown(evil: str) -> None:
    """Every character with a meaning in Markdown has a backslash before it, links that need no brackets too."""
    found = words.markdown(evil)
    bare = found.replace("\\\\", "").split("\\")
    assert not set("`*_[]<>|!#") & set("".join([bare[0], *(part[1:] for part in bare[1:])]))
    assert "http://" not in found
    assert "www." not in found


@pytest.mark.parametrize("evil", ["=cmd|x", "+1+1", "-2", "@SUM(A1)"])
def test_cells_are_no_formulas(evil: str) -> None:
    """Text that a spreadsheet would compute gets an apostrophe; numbers and other text stay as they are."""
    assert words.csv_cell(evil) == f"'{evil}"
    assert words.csv_cell("gpt-5") == "gpt-5"
    assert words.csv_cell(-2.5) == -2.5


ROWS = [
    ("model", "calls", "raw", "cost"),
    ("a-rather-long-name-of-a-model-2026", "1,517", "437 ms", "$1.25"),
    ("模型", "2", "-", "$10.00"),
]


@pytest.mark.parametrize("width", range(1, 70))
def test_tables_fit_and_break_no_number(width: int) -> None:
    """Whatever the width, no line is wider and every number that is shown is whole."""
    lines = words.table(ROWS, width=width)
    assert max(map(words.cells, lines)) <= width
    shown = lines[2].split()[1:]
    assert "".join(shown) in "".join(ROWS[1][1:]).replace(" ", "")


def test_narrow_tables_lose_columns_by_rank() -> None:
    """The highest rank goes first, the first column never."""
    lines = words.table(ROWS, width=30, ranks=(0, 2, 3, 1))
    assert lines[0].split() == ["model", "calls", "cost"]
    assert words.table(ROWS, width=12)[0].split() == ["model"]


def test_figures_stand_to_the_right() -> None:
    """Columns of numbers end in one line, names begin in one; a rule parts them from the head."""
    assert words.table([("a", "b"), ("x", "1 s"), ("yy", "10 s")]) == [
        "a      b",
        "--  ----",
        "x    1 s",
        "yy  10 s",
    ]
