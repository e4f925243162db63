"""T(p, o): properties of every profile, exact files, one number however it is evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewrap.errors import ProfileFormatError
from tracewrap.runtime.files import load_profile, save_profile
from tracewrap.runtime.profile import Interval, RuntimeProfile

seconds = st.floats(1e-6, 10.0)
small = st.floats(0.0, 0.5)


@st.composite
def profiles(draw: st.DrawFn) -> RuntimeProfile:
    """Any valid profile."""
    tokens = draw(st.lists(st.integers(1, 100_000), min_size=1, max_size=6, unique=True))
    rises = draw(st.lists(seconds, min_size=len(tokens), max_size=len(tokens)))
    knots = tuple(zip(map(float, sorted(tokens)), np.cumsum(rises).tolist(), strict=True))
    return RuntimeProfile(
        id="x",
        model="m",
        prompt_knots=knots,
        d0=draw(small),
        d1=draw(st.floats(0.0, 1e-5)),
        tile=draw(st.sampled_from([1, 64, 128, 256])),
        tile_fraction=draw(st.sampled_from([0.0, 0.3, 1.0])),
        overhead_s=draw(small),
        interval=Interval(draw(small), draw(small), draw(small), draw(small)),
        max_output_tokens=draw(st.sampled_from([None, 1, 64, 4096])),
    )


counts = st.integers(0, 200_000)


@given(profiles(), counts, counts)
def test_runtime_never_falls(profile: RuntimeProfile, p: int, o: int) -> None:
    """More input or output tokens never take less time."""
    here = profile.runtime(p, o)
    assert profile.runtime(p + 1, o) >= here * (1 - 1e-12)
    assert profile.runtime(p, o + 1) >= here * (1 - 1e-12)


@given(profiles(), st.floats(1.0, 150_000.0))
def test_prompt_time_is_continuous_in_effective_length(profile: RuntimeProfile, x: float) -> None:
    """A vanishing step in p~ makes a vanishing step in prompt time, at knots too."""
    plain = RuntimeProfile(id="x", model="m", prompt_knots=profile.prompt_knots)
    points = [x, *(knot for knot, _ in plain.prompt_knots)]
    steepest = max(
        [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(plain.prompt_knots, plain.prompt_knots[1:], strict=False)]
        or [0.0]
    )
    for point in points:
        step = plain.prompt_time(point + 1e-6) - plain.prompt_time(point - 1e-6)
        assert step <= steepest * 2.1e-6 + 1e-9


@given(profiles(), st.lists(st.tuples(counts, counts), min_size=1, max_size=20))
def test_scalar_equals_numpy(profile: RuntimeProfile, points: list[tuple[int, int]]) -> None:
    """One call in plain Python and an array in numpy give the same value, interval and flag, to 1e-9."""
    value, low, high, outside = profile.predict([p for p, _ in points], [o for _, o in points])
    for i, (p, o) in enumerate(points):
        scalar = profile.estimate(p, o)
        assert value[i] == pytest.approx(scalar.value, rel=1e-9)
        assert low[i] == pytest.approx(scalar.low, rel=1e-9)
        assert high[i] == pytest.approx(scalar.high, rel=1e-9)
        assert bool(outside[i]) == scalar.extrapolated
        assert scalar.low <= scalar.value <= scalar.high


@settings(max_examples=50)
@given(profiles())
def test_file_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, profile: RuntimeProfile) -> None:
    """What is read is what was written, to the last bit."""
    path = tmp_path_factory.mktemp("profiles") / "p.json"
    save_profile(profile, path)
    assert load_profile(path) == profile


@given(profiles(), counts, counts)
def test_units_scale(profile: RuntimeProfile, p: int, o: int) -> None:
    """Every coefficient in milliseconds gives every runtime in milliseconds."""
    scaled = RuntimeProfile(
        id="x",
        model="m",
        prompt_knots=tuple((x, 1000 * y) for x, y in profile.prompt_knots),
        d0=1000 * profile.d0,
        d1=1000 * profile.d1,
        tile=profile.tile,
        tile_fraction=profile.tile_fraction,
        overhead_s=1000 * profile.overhead_s,
    )
    assert scaled.runtime(p, o) == pytest.approx(1000 * profile.runtime(p, o), rel=1e-9)


def test_formula_by_hand() -> None:
    """Knots (100, 1 s), (300, 2 s), tile 100 at f = 0.5, d0 = 0.1, d1 = 0.001, overhead 0.2."""
    profile = RuntimeProfile(
        id="x",
        model="m",
        prompt_knots=((100, 1.0), (300, 2.0)),
        d0=0.1,
        d1=0.001,
        tile=100,
        tile_fraction=0.5,
        overhead_s=0.2,
    )
    # p = 150: p~ = 0.5*150 + 0.5*200 = 175; prompt = 1 + 75/200 = 1.375. o = 3: 2*0.1 + 0.001*2*(150 + 1.5) = 0.503.
    assert profile.runtime(150, 3) == pytest.approx(0.2 + 1.375 + 0.503)
    assert profile.runtime(150, 0) == pytest.approx(1.575)
    # p = 400: beyond the last knot the last slope continues: 2 + 100*0.005 = 2.5.
    assert profile.prompt_time(400) == pytest.approx(2.5)
    assert profile.extrapolated(400, 1)
    assert not profile.extrapolated(300, 1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"prompt_knots": []}, "prompt_knots"),
        ({"prompt_knots": [[1, 2.0], [1, 3.0]]}, "increase in tokens"),
        ({"prompt_knots": [[1, 2.0], [2, 1.0]]}, "not decrease"),
        ({"d0": -1.0}, "d0"),
        ({"d0": "fast"}, "'fast' is not a number"),
        ({"tile": 0}, "tile"),
        ({"provenance": "guessed"}, "provenance"),
        ({"schema": "other/1"}, "schema"),
        ({"model": None, "id": None}, ""),
    ],
)
def test_impossible_files_are_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    """The error names the file and the key."""
    data = RuntimeProfile(id="x", model="m", prompt_knots=((1, 1.0),)).to_dict() | change
    if change.get("model", "") is None:
        del data["model"]
        word = "'model' is missing"
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ProfileFormatError, match=word) as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)
