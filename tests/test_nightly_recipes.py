"""The nightly recipes: the script that all of them run is run here, and each recipe is read by what would read it."""

from __future__ import annotations

import ast
import configparser
import datetime as dt
import fcntl
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fake_jaeger import FakeJaeger
from made_days import call, write_log
from tracewrap.records import Call, TokenUsage
from tracewrap.report.questions.checks import read_limits

NIGHTLY = Path(__file__).resolve().parents[1] / "examples" / "nightly"
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
SCRIPT = "/opt/tracewrap/nightly.sh"
CALLS_A_DAY = 400


def contended_days(days: int) -> list[Call]:
    """Calls of the last *days* days whose runtime is a fixed curve of their tokens, and contention on two of three."""
    draw = random.Random(1)
    made = []
    for i in range(days * CALLS_A_DAY):
        day = YESTERDAY - dt.timedelta(days=i // CALLS_A_DAY)
        start = (
            int(dt.datetime.combine(day, dt.time(0), dt.UTC).timestamp()) + 86_400 * (i % CALLS_A_DAY) // CALLS_A_DAY
        )
        p, o = draw.randrange(50, 4000), draw.randrange(5, 500)
        quiet = 0.2 + 1e-4 * p + 0.01 * o
        raw = quiet * (1 + draw.choice((0.0, draw.expovariate(2), draw.expovariate(1))) + draw.random() * 0.01)
        named = {"request_model": "gpt-4o", "response_model": "gpt-4o"}
        made.append(call(i + 1, usage=TokenUsage(p, o), start_time_ns=start * 10**9, raw_runtime_s=raw, **named))
    return made


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Folders under *folder*, tracewrap first on PATH."""
    own = {
        name: str(folder / name.lower().removeprefix("tracewrap_"))
        for name in ("TRACEWRAP_SOURCE", "TRACEWRAP_LAKE", "TRACEWRAP_REPORTS")
    }
    return os.environ | own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more


def nightly(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of the script."""
    return subprocess.run(
        ["sh", str(NIGHTLY / "nightly.sh"), *arguments], env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Span logs of yesterday: forty calls of one model."""
    start = int(dt.datetime.combine(YESTERDAY, dt.time(9), dt.UTC).timestamp()) * 10**9
    named = {"request_model": "gpt-4o", "response_model": "gpt-4o"}
    made = [call(i + 1, usage=TokenUsage(100, 10), start_time_ns=start + i * 60 * 10**9, **named) for i in range(40)]
    write_log(tmp_path / "source" / "a.jsonl", made)
    return tmp_path


def test_a_night(folder: Path) -> None:
    """Lake, three reports named by the day, limits held; a second run changes no figure; a harsh limit is breached and reported."""
    done = nightly(environment(folder))
    assert done.returncode == 0, done.stderr
    assert "✓ error_share <= 0.02" in done.stdout
    names = {path.name for path in (folder / "reports").iterdir()} - {".lock"}
    assert names == {f"{YESTERDAY}.{suffix}" for suffix in ("html", "json", "md")}
    first = json.loads((folder / "reports" / f"{YESTERDAY}.json").read_text())
    assert first["totals"]["calls"] == 40
    harsh = folder / "harsh.toml"
    harsh.write_text("[limits]\nraw_p95_s = 0.5\n")
    again = nightly(environment(folder, TRACEWRAP_LIMITS=str(harsh)))
    assert again.returncode == 1
    assert "✗ raw_p95_s <= 0.5" in again.stdout
    assert json.loads((folder / "reports" / f"{YESTERDAY}.json").read_text())["totals"] == first["totals"]


def test_three_days_of_a_jaeger_alone(tmp_path: Path) -> None:
    """No span log: the lake is filled from Jaeger night by night, and the third report shows denoised runtimes."""
    jaeger = FakeJaeger(contended_days(3))
    thread = threading.Thread(target=jaeger.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    days = [(YESTERDAY - dt.timedelta(days=back)).isoformat() for back in (2, 1, 0)]
    for day in days:
        done = nightly(environment(tmp_path, TRACEWRAP_SOURCE=jaeger.source), day)
        assert done.returncode in (0, 1), done.stderr
    jaeger.shutdown()
    jaeger.server_close()
    built = json.loads((tmp_path / "reports" / f"{days[-1]}.json").read_text())
    assert built["totals"]["calls"] == CALLS_A_DAY
    assert built["totals"]["denoised"]["n"] == CALLS_A_DAY
    assert len(list((tmp_path / "lake").glob("day=*"))) == 3


def test_another_day(folder: Path) -> None:
    """A day without calls has a report that says so, and limits that cannot be judged: exit 2."""
    done = nightly(environment(folder), "2026-11-20")
    assert done.returncode == 2
    assert "no calls between" in (folder / "reports" / "2026-11-20.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TRACEWRAP_SOURCE": "/nowhere/at/all"}, "/nowhere/at/all: no such folder of span logs; set TRACEWRAP_SOURCE"),
        ({"TRACEWRAP_LIMITS": "/nowhere/limits.toml"}, "no such file of limits"),
        ({"PATH": "/usr/bin:/bin"}, "tracewrap is not on PATH"),
    ],
)
def test_what_is_missing_is_named(folder: Path, change: dict[str, str], said: str) -> None:
    """One line, exit 2, nothing made."""
    if "PATH" in change and shutil.which("tracewrap", path=change["PATH"]):
        pytest.skip("tracewrap is installed for all users here")
    done = nightly(environment(folder, **change))
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert said in done.stderr
    assert not (folder / "reports").exists()


def test_two_runs_at_once(folder: Path) -> None:
    """The second finds the first at work and leaves."""
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed (util-linux)")
    (folder / "reports").mkdir()
    with open(folder / "reports" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = nightly(environment(folder))
    assert (done.returncode, "another run is at work" in done.stderr) == (2, True)


def commands(text: str) -> list[list[str]]:
    """The tracewrap commands of a shell script, continued lines joined: [subcommand words and options]."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.strip().split("||")[0] for line in joined.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("tracewrap ")]


@pytest.mark.parametrize("name", ["nightly.sh", "github-actions.yml"])
def test_every_option_exists(name: str) -> None:
    """Each command of a recipe is one that tracewrap has, with options that it knows."""
    found = commands((NIGHTLY / name).read_text())
    assert {words[0] for words in found} >= {"report", "check"}
    for words in found:
        command = words[:2] if words[0] == "lake" else words[:1]
        shown = subprocess.run(
            [sys.executable, "-m", "tracewrap", *command, "--help"], capture_output=True, text=True, timeout=60
        )
        for option in (word for word in words if word.startswith("-")):
            assert re.search(rf"(^|\s|\[){re.escape(option)}\b", shown.stdout), (command, option)


def test_limits_are_limits() -> None:
    """The example of limits is read by what reads them."""
    assert [limit.name for limit in read_limits(NIGHTLY / "limits.toml")] == [
        "error_share",
        "raw_p95_s",
        "list_cost_usd",
        "min_usage_share",
    ]


def test_crontab() -> None:
    """Five fields and the script; no percent sign, which would end the command."""
    (line,) = [line for line in (NIGHTLY / "crontab").read_text().splitlines() if re.match(r"[\d*]", line)]
    fields = line.split(None, 5)
    assert all(re.fullmatch(r"\*|\d{1,2}", field) for field in fields[:5])
    assert fields[5].startswith(SCRIPT)
    assert "%" not in line


def test_systemd(tmp_path: Path) -> None:
    """Units that systemd itself accepts, where it is installed; the timer runs the service of its name."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(NIGHTLY / "tracewrap-nightly.service")
    timer = configparser.RawConfigParser()
    timer.read(NIGHTLY / "tracewrap-nightly.timer")
    assert (unit["Service"]["Type"], unit["Service"]["ExecStart"]) == ("oneshot", SCRIPT)
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:15:00 UTC"
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (systemd): the units were parsed, not verified")
    script = tmp_path / "nightly.sh"
    shutil.copy(NIGHTLY / "nightly.sh", script)
    for name in ("tracewrap-nightly.service", "tracewrap-nightly.timer"):
        (tmp_path / name).write_text((NIGHTLY / name).read_text().replace(SCRIPT, str(script)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "tracewrap-nightly.timer"), str(tmp_path / "tracewrap-nightly.service")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "tracewrap-nightly" not in done.stderr, done.stderr
    calendar = subprocess.run(
        ["systemd-analyze", "calendar", timer["Timer"]["OnCalendar"]], capture_output=True, text=True, timeout=60
    )
    assert calendar.returncode == 0, calendar.stderr


def _yaml(name: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((NIGHTLY / name).read_text())


def test_kubernetes() -> None:
    """A CronJob that never runs beside itself, and runs the script from its config map."""
    job = _yaml("cronjob.yaml")
    assert (job["kind"], job["spec"]["concurrencyPolicy"], job["spec"]["schedule"]) == (
        "CronJob",
        "Forbid",
        "15 2 * * *",
    )
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["/bin/sh", "/scripts/nightly.sh"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert {item["name"] for item in container["env"]} == {"TRACEWRAP_SOURCE", "TRACEWRAP_LAKE", "TRACEWRAP_REPORTS"}


def test_github_actions() -> None:
    """A schedule, a button, and a report that is kept also when a limit is breached."""
    flow = _yaml("github-actions.yml")
    triggers = flow[True]  # YAML 1.1 reads the word "on" as a truth value
    assert triggers["schedule"] == [{"cron": "15 2 * * *"}]
    assert "workflow_dispatch" in triggers
    steps = flow["jobs"]["report"]["steps"]
    assert steps[-1]["if"] == "always()"
    assert all(("uses" in step) != ("run" in step) for step in steps)


def test_airflow() -> None:
    """A DAG in valid Python whose one task runs the script for the day that ended, one run at a time."""
    tree = ast.parse((NIGHTLY / "airflow_dag.py").read_text())
    keywords = {
        keyword.arg: keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    assert keywords["bash_command"] == f"{SCRIPT} {{{{ data_interval_start | ds }}}} "
    assert (keywords["schedule"], keywords["catchup"], keywords["max_active_runs"]) == ("15 2 * * *", False, 1)


def test_the_readme_names_every_file() -> None:
    """No recipe without a line, no line without a recipe."""
    text = (NIGHTLY / "README.md").read_text()
    names = {path.name for path in NIGHTLY.iterdir()} - {"README.md"}
    shortened = {"tracewrap-nightly.timer": "`.timer`"}
    assert all(shortened.get(name, f"`{name}`") in text for name in names), names
