"""``tracewrap denoise``: from recorded calls or samples to a quiet-day profile, with the profiles before a drift beside it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import load_catalog, report
from tracewrap.cli import main
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.files import load_profile, save_profiles
from tracewrap.runtime.profile import RuntimeProfile

KEY = "openai|api.openai.com:443|m-a|chat|plain"


def calls(factors: list[float], a_day: int = 120) -> list[Call]:
    """Days of a service T = factor (0.2 + 0.0002 p + 0.01 (o - 1)), four calls in ten of which wait."""
    rng = random.Random(3)
    out = []
    for day, factor in enumerate(factors):
        for i in range(a_day):
            p, o = int(rng.lognormvariate(6, 1)) + 1, int(rng.lognormvariate(4, 0.8)) + 1
            wait = rng.expovariate(2.0) if rng.random() < 0.4 else 0.0
            raw = factor * (0.2 + 0.0002 * p + 0.01 * (o - 1)) * rng.lognormvariate(0, 0.01) + wait
            number = 1000 * day + i + 1
            out.append(call(number, 24 * day + 24 * i / a_day, usage=TokenUsage(p, o), raw_runtime_s=raw))
    return out


def truth(p: int, o: int) -> float:
    """Seconds of the service on a quiet first day."""
    return 0.2 + 0.0002 * p + 0.01 * (o - 1)


def test_from_a_span_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The profile is near the truth, names its deployment, and the catalog finds it there."""
    log = write_log(tmp_path / "log.jsonl", calls([1.0]))
    assert main(["denoise", str(log), "-o", str(tmp_path / "quiet.json")]) == 0
    assert "verdict: ok" in capsys.readouterr().out
    profile = load_profile(tmp_path / "quiet.json")
    assert profile.runtime(500, 60) == pytest.approx(truth(500, 60), rel=0.06)
    assert load_catalog(tmp_path / "quiet.json", shipped=False).denoised[KEY] == profile


def test_drift_leaves_both_profiles_with_their_dates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half again as slow from the seventh day on: the newer profile is written, the older beside it with its days in the name."""
    log = write_log(tmp_path / "log.jsonl", calls([1.0] * 6 + [1.5] * 3))
    folder = tmp_path / "profiles"
    folder.mkdir()
    assert main(["denoise", str(log), "-o", str(folder / "quiet.json"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["deployments"]
    assert (found["since"], found["until"]) == ("2026-11-26", "2026-11-28")
    assert found["ratio_to_before"] == pytest.approx(1.5, rel=0.05)
    assert [(e["since"], e["until"], e["ratio_to_before"]) for e in found["earlier"]] == [
        ("2026-11-20", "2026-11-25", None)
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["quiet.2026-11-20..2026-11-25.json", "quiet.json"]
    old, new = load_profile(folder / "quiet.2026-11-20..2026-11-25.json"), load_profile(folder / "quiet.json")
    assert old.runtime(500, 60) == pytest.approx(truth(500, 60), rel=0.06)
    assert new.runtime(500, 60) == pytest.approx(1.5 * truth(500, 60), rel=0.06)
    # The catalog's newest is the newer one, and a report of an earlier day uses the profile of its time.
    assert load_catalog(folder, shipped=False).denoised[KEY] == new
    for day in ("2026-11-21", "2026-11-27"):
        built = report.build(str(log), day=day, profile_paths=[str(folder)], now_ns=DAY_NS)
        assert [used["calls"] for used in built["denoised_profiles"]] == [120]
        share = built["totals"]["contention"]["share"]
        assert share is not None
        assert 0.1 < share < 0.4  # with the other day's profile it would be near 0.45, or below 0


def test_text_says_since_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People read the change as a date and a percentage."""
    log = write_log(tmp_path / "log.jsonl", calls([1.5] * 6 + [1.0] * 3))
    assert main(["denoise", str(log)]) == 0
    assert "since 2026-11-26, 33% faster than before:" in capsys.readouterr().out


def test_from_samples(tmp_path: Path) -> None:
    """A CSV of samples will do; its name stands for the deployment."""
    rows = [f"{c.usage.input_tokens},{c.usage.output_tokens},{c.raw_runtime_s}" for c in calls([1.0]) if c.usage]
    samples = tmp_path / "mine.csv"
    samples.write_text("\n".join(["input_tokens,output_tokens,runtime_s", *rows]) + "\n")
    assert main(["denoise", str(samples), "-o", str(tmp_path / "quiet.json")]) == 0
    assert load_profile(tmp_path / "quiet.json").stack["deployment"] == "mine"


def test_several_deployments_need_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two deployments and one output: the error lists both, nothing is written; chosen, one is."""
    both = calls([1.0]) + [
        call(90_000 + i, i / 9, stream=True, usage=c.usage, raw_runtime_s=c.raw_runtime_s)
        for i, c in enumerate(calls([1.0]))
    ]
    log = write_log(tmp_path / "log.jsonl", both)
    out = tmp_path / "quiet.json"
    assert main(["denoise", str(log), "-o", str(out)]) == 2
    assert "holds 2 deployments, choose one with --deployment" in capsys.readouterr().err
    assert not out.exists()
    assert main(["denoise", str(log), "-o", str(out), "--deployment", KEY]) == 0
    assert out.exists()


def test_a_folder_takes_every_deployment(tmp_path: Path) -> None:
    """One file each, of the period asked for, that a report finds by their deployments; a folder by URL is refused."""
    both = calls([1.0]) + [
        call(90_000 + i, i / 9, stream=True, usage=c.usage, raw_runtime_s=c.raw_runtime_s)
        for i, c in enumerate(calls([1.0]))
    ]
    log = write_log(tmp_path / "log.jsonl", both)
    folder = tmp_path / "quiet"
    assert main(["denoise", str(log), "--since", "2026-11-20", "--until", "2026-12-20", "-o", f"{folder}/"]) == 0
    assert set(load_catalog(folder).denoised) == {KEY, KEY.replace("plain", "stream")}
    assert main(["denoise", str(log), "--day", "2020-01-01", "-o", f"{folder}/"]) == 2
    assert main(["denoise", str(log), "-o", "s3://bucket/quiet/"]) == 2


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("input_tokens,output_tokens,runtime_s\n", 2, "samples.csv"),
        ("input_tokens,output_tokens\n1,1\n", 2, "runtime_s"),
        ("input_tokens,output_tokens,runtime_s,time_to_first_chunk_s\n1,1,1,soon\n", 2, "'soon' is not a number"),
        ("input_tokens,output_tokens,runtime_s\n1,1,1\n", 1, "at least"),
    ],
)
def test_bad_and_few_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, said: str
) -> None:
    """One line naming file and column, exit 2; too few calls are no error of usage: exit 1, and what is needed."""
    file = tmp_path / "samples.csv"
    file.write_text(text)
    assert main(["denoise", str(file), "-o", str(tmp_path / "quiet.json")]) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert not (tmp_path / "quiet.json").exists()


def test_an_unknown_deployment_is_named_beside_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not "no usable call": the calls are there, under another name."""
    log = write_log(tmp_path / "log.jsonl", calls([1.0]))
    assert main(["denoise", str(log), "--deployment", "openai|other"]) == 2
    assert f"no deployment 'openai|other' in it; there is {KEY}" in capsys.readouterr().err


def test_samples_of_two_tiers_make_one_file(tmp_path: Path) -> None:
    """Cached tokens, tiers and images of a CSV are learned, a profile a tier in one file; predict uses the row's own."""
    rng, samples = random.Random(5), tmp_path / "s.csv"
    lines = ["input_tokens,output_tokens,runtime_s,cached_input_tokens,service_tier,images"]
    for i in range(600):
        p, o = int(rng.lognormvariate(7, 1)) + 1, int(rng.lognormvariate(4, 0.8)) + 1
        cached, images, tier = (p * 9 // 10 if i % 2 else 0), int(i % 5 == 0), "flex" if i % 3 == 0 else "default"
        seconds = truth(p - cached, o) + 0.00002 * cached + 0.4 * images
        wait = 1.0 + (rng.expovariate(2.0) if rng.random() < 0.5 else 0.0)
        factor = (2.0 if tier == "flex" else 1.0) * rng.lognormvariate(0, 0.01) * wait
        lines.append(f"{p},{o},{factor * seconds},{cached},{tier},{images}")
    samples.write_text("\n".join(lines) + "\n")
    points, out = tmp_path / "p.csv", tmp_path / "o.csv"
    points.write_text(
        "input_tokens,output_tokens,cached_input_tokens,service_tier,images\n2000,60,1500,default,0\n2000,60,,flex,1\n"
    )
    assert main(["denoise", str(samples), "-o", str(tmp_path / "q.json")]) == 0
    assert main(["profile", "predict", str(tmp_path / "q.json"), str(points), "-o", str(out)]) == 0
    header, *rows = [line.split(",") for line in out.read_text().splitlines()]
    assert header[-5:] == ["predicted_runtime_s", "low_s", "high_s", "extrapolated", "verdict"]
    assert float(rows[0][5]) == pytest.approx(truth(500, 60) + 0.03, rel=0.05)
    assert float(rows[1][5]) == pytest.approx(2 * (truth(2000, 60) + 0.4), rel=0.05)
    assert {row[8] for row in rows} == {"false"}
    assert rows[0][9] == "ok"


def test_a_file_of_several_tiers_is_a_profile_wherever_one_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The catalog takes each tier's profile for its deployment; ``profile show`` finds one by its id and, asked for none, names them."""
    both = [
        RuntimeProfile(id=key, model="m-a", prompt_knots=((1.0, 0.2), (1000.0, 0.4)), d0=d0, stack={"deployment": key})
        for key, d0 in ((KEY, 0.01), (f"{KEY}|flex", 0.03))
    ]
    path = tmp_path / "tiers.json"
    save_profiles(both, path)
    assert load_catalog(path, shipped=False).denoised == {profile.id: profile for profile in both}
    assert main(["profile", "show", str(path), "--model", f"{KEY}|flex", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["d0"] == 0.03
    assert main(["profile", "list", str(path)]) == 0
    capsys.readouterr()
    assert main(["profile", "show", str(path)]) == 2
    assert f"choose one with --model; it holds {KEY}, {KEY}|flex" in capsys.readouterr().err
