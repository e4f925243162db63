"""Settings: an argument wins over the environment, the environment over the file; a value is read as its annotation says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tracewrap.errors import ConfigurationError
from tracewrap.settings import Settings, destination_set, settings, unknown_variables


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pyproject.toml and no variable but the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRACEWRAP_")]:
        monkeypatch.delenv(name)


def _file(text: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.tracewrap]\n{text}\n")


def test_defaults_record_nowhere() -> None:
    """Nothing said: nothing is written or sent, and what is learned stays in memory."""
    assert settings() == Settings()
    assert not destination_set()


def test_argument_wins_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three is used where the stronger ones are silent; an argument of None is silent."""
    _file('span_log = "file"\notlp = "http://file"\nprices = "file"\n')
    monkeypatch.setenv("TRACEWRAP_SPAN_LOG", "environment")
    monkeypatch.setenv("TRACEWRAP_OTLP", "http://environment")
    chosen = settings(span_log="argument", otlp=None)
    assert (chosen.span_log, chosen.otlp, chosen.prices) == ("argument", "http://environment", "file")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry reads its own."""
    _file('span_log = "file"')
    monkeypatch.setenv("TRACEWRAP_SPAN_LOG", "")
    assert settings().span_log == "file"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("span_log", "calls", "calls"),
        ("sampled_only", "true", True),
        ("terminal", "YES", True),
        ("denoise", "0", False),
        ("inline", "off", False),
        ("metrics", "1", True),
        ("profiles", f"a.json{os.pathsep}b c.json{os.pathsep}", ("a.json", "b c.json")),
        ("references", "one, two", ("one", "two")),
        ("stand_ins", "gpt-x=llama-3-8b,claude-y=qwen", {"gpt-x": "llama-3-8b", "claude-y": "qwen"}),
        ("semconv_metrics", "v1.41", "v1.41"),
        ("stream_usage", "never", "never"),
        ("queue_size", "50", 50),
        ("exit_timeout_s", "0.5", 0.5),
        ("span_log_roll_bytes", "1000", 1000),
        ("span_log_keep_bytes", "0", 0),
        ("span_log_keep_days", "1.5", 1.5),
        ("span_log_lake", "lake", "lake"),
        ("grid", "DEU", "DEU"),
    ],
)
def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any) -> None:
    """Text becomes what the setting holds; stand-ins map the closed model to the open one."""
    monkeypatch.setenv(f"TRACEWRAP_{name.upper()}", text)
    assert getattr(settings(), name) == value


def test_each_value_of_the_file_is_read() -> None:
    """TOML's own types."""
    _file(
        'profiles = ["a"]\nreferences = ["r"]\nstand_ins = { closed = "open" }\nterminal = true\nqueue_size = 7\n'
        "exit_timeout_s = 2\n"
    )
    chosen = settings()
    assert (chosen.profiles, chosen.references, chosen.stand_ins) == (("a",), ("r",), {"closed": "open"})
    assert (chosen.terminal, chosen.queue_size, chosen.exit_timeout_s) == (True, 7, 2.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("TERMINAL", "maybe", "TRACEWRAP_TERMINAL is 'maybe'; set it to true or false"),
        ("QUEUE_SIZE", "many", "TRACEWRAP_QUEUE_SIZE is 'many'; set it to a whole number"),
        ("SPAN_LOG_KEEP_BYTES", "10GB", "TRACEWRAP_SPAN_LOG_KEEP_BYTES is '10GB'; set it to a whole number"),
        ("SPAN_LOG_KEEP_DAYS", "-1", "TRACEWRAP_SPAN_LOG_KEEP_DAYS is -1.0; the least is 0"),
        ("QUEUE_SIZE", "0", "TRACEWRAP_QUEUE_SIZE is 0; the least is 1"),
        ("EXIT_TIMEOUT_S", "nan", "TRACEWRAP_EXIT_TIMEOUT_S is nan; the least is 0"),
        ("STAND_INS", "gpt-x", "TRACEWRAP_STAND_INS is 'gpt-x'; write closed-model=open-model, comma between"),
        ("SEMCONV_METRICS", "v1", "TRACEWRAP_SEMCONV_METRICS is 'v1'; there is latest, v1.41, both"),
        ("STREAM_USAGE", "sometimes", "TRACEWRAP_STREAM_USAGE is 'sometimes'; there is auto, always, never"),
        ("SPAN_LOG", "s3://bucket/calls", "s3://bucket/calls: only local files and folders are written"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str) -> None:
    """One line: variable, value, what to write."""
    monkeypatch.setenv(f"TRACEWRAP_{name}", text)
    with pytest.raises(ConfigurationError) as raised:
        settings()
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spanlog": "x"}, "configure() has no setting 'spanlog'; did you mean span_log?"),
        ({"span_log": 3}, "configure(span_log=...) is 3; a text was expected"),
        ({"terminal": "yes"}, "configure(terminal=...) is 'yes'; set it to a truth value (true or false)"),
        ({"queue_size": True}, "configure(queue_size=...) is True; set it to a whole number"),
        ({"profiles": "one.json"}, "configure(profiles=...) is 'one.json'; give a list of texts"),
        ({"stand_ins": "a=b"}, "configure(stand_ins=...) is 'a=b'; give closed model -> open model"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], said: str) -> None:
    """What a type checker would have refused is refused at run time too."""
    with pytest.raises(ConfigurationError) as raised:
        settings(**options)
    assert str(raised.value) == said


def test_a_wrong_file_is_named() -> None:
    """A key that is no setting, and a file that is no TOML."""
    _file("queue = 3")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml: \[tool\.tracewrap\] has no setting 'queue'"):
        settings()
    Path("pyproject.toml").write_text("[tool.tracewrap\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml: not valid TOML"):
        settings()
    Path("pyproject.toml").write_text("tool = 3\n")
    assert settings() == Settings()


def test_paths_may_be_path_objects() -> None:
    """As everywhere in Python."""
    assert settings(span_log=Path("calls"), profiles=[Path("a.json")]).span_log == "calls"


def test_a_destination_is_told_from_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what says where calls go makes wrap() configure by itself."""
    monkeypatch.setenv("TRACEWRAP_DENOISE", "false")
    assert not destination_set()
    _file('span_log = "calls"')
    assert destination_set()


def test_misspelt_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a setting and is none, with the one that was meant; variables of other tools are left alone."""
    monkeypatch.setenv("TRACEWRAP_SPANLOG", "calls")
    monkeypatch.setenv("TRACEWRAP_JAEGER", "/usr/bin/jaeger")
    assert unknown_variables() == [("TRACEWRAP_SPANLOG", "TRACEWRAP_SPAN_LOG")]
