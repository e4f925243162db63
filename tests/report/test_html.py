"""The page in a browser: it draws, sorts, prints, fits a phone, asks nobody for anything, and shows hostile names as text.

Needs Chromium and its driver (Debian: chromium, chromium-driver) and selenium; skipped, visibly, where they are not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.report.render import formats as render
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack

HOSTILE = "</script><script>document.title='owned'</script><b>m"
MODELS = ("m-a", "m-b", HOSTILE)


def calls() -> list[Call]:
    """Two days, thirty calls each of three models, one failure; contention grows by the hour."""
    out = []
    for i in range(180):
        model, hour = MODELS[i % 3], 48 * i / 180
        usage = TokenUsage(100 + i, 5 + i % 40)
        out.append(
            call(i + 1, hour, request_model=model, response_model=model, usage=usage, raw_runtime_s=0.5 + hour / 40)
        )
    out.append(call(999, 3, outcome="error", error_type="RateLimitError", raw_runtime_s=0.2))
    return out


def stack(name: str, factor: float) -> ReferenceStack:
    """A stack that knows m-a and m-b."""
    profiles = {
        model: RuntimeProfile(
            id=f"{model}@{name}",
            model=model,
            prompt_knots=((0.0, 0.05 * f),),
            d0=0.004 * f,
            interval=Interval(base=0.1),
        )
        for model, f in (("m-a", factor), ("m-b", 2 * factor))
    }
    return ReferenceStack(
        id=name,
        gpu="h100-sxm",
        precision="bf16",
        price=Price(3.6, "test", "2026-11-01"),
        watts=400.0,
        profiles=profiles,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``full``: two days with everything; ``empty``: a day without calls; ``errors``: all failed; ``many``: 500 tenants."""
    folder = tmp_path_factory.mktemp("pages")
    log = str(write_log(folder / "log" / "a.jsonl", calls()))
    denoised = {
        f"openai|api.openai.com:443|{model}|chat|plain": RuntimeProfile(
            id=f"quiet-{model}", model=model, prompt_knots=((0.0, start),), d0=0.01, overhead_s=0.1
        )
        for model, start in (("m-a", 0.3), ("m-b", 0.4))
    }
    catalog = Catalog(stacks=(stack("fast", 1.0), stack("slow", 2.0)), denoised=denoised)
    (folder / "prices.toml").write_text(
        '[[prices]]\nmodel = "m-a"\ninput_usd_per_million = 1\noutput_usd_per_million = 4\n'
    )
    (folder / "scores.csv").write_text(f'model,mmlu\nm-a,60\nm-b,70\n"{HOSTILE}",99\n')
    options: dict[str, Any] = {
        "catalog": catalog,
        "references": ["fast", "slow"],
        "prices": str(folder / "prices.toml"),
        "scores": str(folder / "scores.csv"),
        "now_ns": DAY_NS * 2,
    }
    built = {"full": report.build(log, **options), "empty": report.build(log, day="2026-11-01", **options)}
    failed = [call(i + 1, i / 2, outcome="error", error_type="Timeout", raw_runtime_s=1.0) for i in range(30)]
    errors = str(write_log(folder / "errors" / "a.jsonl", failed))
    built["errors"] = report.build(errors, **options)
    tenants = [call(i + 1, i / 50, tags={"tenant": f"t-{i}" + "-with-a-rather-long-name" * 2}) for i in range(500)]
    many = str(write_log(folder / "many" / "a.jsonl", tenants))
    built["many"] = report.build(many, **(options | {"scores": None}), group_by=["tenant"])
    paths = {name: folder / f"{name}.html" for name in built}
    for name, found in built.items():
        render.write(found, str(paths[name]), trace_url="http://jaeger.example/trace/{trace_id}")
    return paths


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    from selenium.common.exceptions import WebDriverException

    try:
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    except WebDriverException as error:
        pytest.skip(f"Chromium does not start here: {str(error).splitlines()[0]}")
    opened.set_page_load_timeout(30)
    yield opened
    opened.quit()


def show(
    browser: Any, page: Path, width: int = 1440, height: int = 900, scheme: str = "light", media: str = ""
) -> None:
    """Open *page* in a window of that size, in that colour scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(page.as_uri())


def complaints(browser: Any) -> list[str]:
    """Warnings and errors on the console since it was last read."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


DRAWN = """return [...document.querySelectorAll("canvas")].map(canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let colours = new Set();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
  return [canvas.getAttribute("aria-label"), colours.size];
});"""


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_and_asks_nobody(browser: Any, pages: dict[str, Path], width: int, scheme: str) -> None:
    """Five charts with something on them, an empty console, no request but the file's own, no sideways scrolling of the page."""
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, pages["full"], width, scheme=scheme)
    drawn = browser.execute_script(DRAWN)
    assert [label.split(":")[0].split(",")[0] for label, _ in drawn] == [
        "Median runtime by model",
        "Us or the provider",
        "Contention by hour",
        "List cost beside idealized cost",
        "mmlu against efficiency",
    ]
    assert all(colours > 3 for _, colours in drawn), drawn
    assert complaints(browser) == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    light = sum(
        map(
            int,
            browser.execute_script("return getComputedStyle(document.body).backgroundColor").strip("rgb()").split(","),
        )
    )
    assert (light < 200) is (scheme == "dark")


TABLE = "document.querySelectorAll('table.sortable')[arguments[0]]"


def _column(browser: Any, table: int, column: int) -> list[str]:
    script = f"return [...{TABLE}.tBodies[0].rows].map(row => row.cells[arguments[1]].dataset.v)"
    found: list[str] = browser.execute_script(script, table, column)
    return found


def _sort(browser: Any, table: int, column: int, action: str) -> str:
    """What the heading says after *action* on it, named ``head``."""
    head = f"const head = {TABLE}.querySelectorAll('th')[arguments[1]];"
    found: str = browser.execute_script(f"{head} {action} return head.getAttribute('aria-sort')", table, column)
    return found


def test_tables_sort_by_mouse_and_key(browser: Any, pages: dict[str, Path]) -> None:
    """Numbers as numbers, largest first, then smallest; what is unknown stays last; the heading says how it is sorted."""
    show(browser, pages["full"])
    heads = browser.execute_script(f"return [...{TABLE}.querySelectorAll('th')].map(head => head.textContent)", 2)
    assert heads[0] == "model"
    at = heads.index("denoised p50")
    press = "head.focus(); head.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', cancelable: true}));"
    assert _sort(browser, 2, at, "head.click();") == "descending"
    down = _column(browser, 2, at)
    assert _sort(browser, 2, at, press) == "ascending"
    up = _column(browser, 2, at)
    assert down[-1] == up[-1] == ""
    assert [float(x) for x in down[:-1]] == sorted((float(x) for x in up[:-1]), reverse=True)
    assert len(set(down)) == 3


@pytest.mark.parametrize("width", [1024, 1440, 1920])
def test_the_page_is_as_wide_as_the_window(browser: Any, pages: dict[str, Path], width: int) -> None:
    """Tables use the whole width; the costs of the first stack are in sight from 1,440 on; the page itself never scrolls sideways."""
    show(browser, pages["full"], width)
    wide = browser.execute_script("return document.querySelector('.scroll').getBoundingClientRect().width")
    assert wide > 0.93 * width
    head = "[...t.querySelectorAll('th')].find(h => h.textContent.startsWith('idealized cost'))"
    right = f"return [...document.querySelectorAll('table.groups')].map(t => {head}.getBoundingClientRect().right)"
    assert max(browser.execute_script(right)) <= (width if width >= 1440 else 1.2 * width)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_thousand_groups_stay_usable(browser: Any, pages: dict[str, Path]) -> None:
    """Fifty rows of five hundred are shown; a filter finds any by a part of its name; a button shows all; sorting keeps fifty."""
    show(browser, pages["many"])
    rows = (
        "return [...document.querySelectorAll('table.groups')].at(-1).querySelectorAll('tbody tr:not(.folded)').length"
    )
    assert browser.execute_script(rows) == 50
    assert browser.execute_script("return document.documentElement.scrollHeight") < 9000
    tools = "const tools = [...document.querySelectorAll('.tools')].at(-1);"
    typed = (
        "tools.querySelector('input').value = 't-33'; tools.querySelector('input').dispatchEvent(new Event('input'));"
    )
    browser.execute_script(tools + typed)
    assert browser.execute_script(rows) == 11  # 33 and 330 to 339
    browser.execute_script(tools + typed.replace("t-33", ""))
    browser.execute_script("[...document.querySelectorAll('table.groups')].at(-1).querySelector('th').click()")
    assert browser.execute_script(rows) == 50
    browser.execute_script(tools + "tools.querySelector('button').click()")
    assert browser.execute_script(rows) == 500
    name = "return [...document.querySelectorAll('table.groups')].at(-1).querySelector('td').textContent"
    assert "…" in browser.execute_script(name)


def test_a_day_of_errors_has_no_empty_chart(browser: Any, pages: dict[str, Path]) -> None:
    """One sentence on top; no chart, no tile of nothing, no table of slow calls."""
    browser.get_log("browser")
    show(browser, pages["errors"])
    assert browser.execute_script("return document.querySelector('#verdict').innerText").startswith(
        "All 30 calls failed"
    )
    assert browser.execute_script("return document.querySelectorAll('canvas, .tile').length") == 0
    assert "Slowest" not in browser.execute_script("return document.querySelector('main').innerText")
    assert complaints(browser) == []


def test_hostile_names_are_text(browser: Any, pages: dict[str, Path]) -> None:
    """A model that is called like a script runs nothing and is shown as it is called, in tables and in chart data."""
    show(browser, pages["full"])
    assert browser.title.startswith("LLM calls 2026-11-20 to 2026-11-21")
    assert HOSTILE in browser.execute_script("return document.body.innerText")
    assert HOSTILE in browser.execute_script("return data.runtimes.labels")


def test_everything_is_said(browser: Any, pages: dict[str, Path]) -> None:
    """The verdict, coverage; both stacks; errors, unpriced and unprofiled models, drift, prices, provenance; traces are linked."""
    show(browser, pages["full"])
    text = browser.execute_script("return document.querySelector('main').innerText")
    assert text.index("calls took") < text.index("Coverage.") < text.index("raw runtime") < text.index("By provider")
    for part in (
        "idealized median, fast",
        "idealized median, slow",
        "RateLimitError",
        "unpriced:",
        "no denoised profile",
        "next step",
        "--prices FILE",
        "user file",
        "m-a@fast",
        "serving ratio",
        "List prices",
        "Drift",
    ):
        assert part in text, part
    links = browser.execute_script("return [...document.querySelectorAll('td a')].map(a => a.href)")
    assert len(links) >= 10
    assert all(link.startswith("http://jaeger.example/trace/0000") for link in links)
    assert "11-21 00:00" in browser.execute_script("return data.hours.labels")


def test_it_prints(browser: Any, pages: dict[str, Path]) -> None:
    """On paper: no controls, a white ground, also from a dark screen."""
    show(browser, pages["full"], scheme="dark", media="print")
    style = "return getComputedStyle(document.querySelector(arguments[0])).{}"
    assert browser.execute_script(style.replace("{}", "display"), "#theme") == "none"
    assert browser.execute_script(style.replace("{}", "backgroundColor"), "body") == "rgb(255, 255, 255)"
    assert len(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 20_000


def test_a_day_without_calls(browser: Any, pages: dict[str, Path]) -> None:
    """Its note, no chart, no error."""
    browser.get_log("browser")
    show(browser, pages["empty"])
    assert "no calls between" in browser.execute_script("return document.body.innerText")
    assert browser.execute_script("return document.querySelectorAll('canvas').length") == 0
    assert complaints(browser) == []


def test_one_small_file(pages: dict[str, Path]) -> None:
    """Under 2 MB, and nothing in it points elsewhere but to traces and licences."""
    for page in pages.values():
        text = page.read_text(encoding="utf-8")
        assert len(text.encode()) < 2_000_000
        assert 'src="' not in text
        assert "@import" not in text
